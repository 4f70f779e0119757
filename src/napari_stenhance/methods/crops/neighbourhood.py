"""What a network sees of a position: its own crops, and those of superpixels around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.features.source import FeatureSource


class Inputs(NamedTuple):
    """What a network is given, for n positions with k others around each.

    Attributes
    ----------
    own : Tensor of float32, shape (n, dim)
    around : Tensor of float32, shape (n, k, dim)
    offset_um : Tensor of float32, shape (n, k, 2)
        From the position to the others, (x, y).
    there : Tensor of bool, shape (n, k)
        Which of them lie on tissue.
    """

    own: Tensor
    around: Tensor
    offset_um: Tensor
    there: Tensor


@dataclass(frozen=True)
class Neighbourhood:
    """Positions and the superpixels around them; those that several see are held once.

    A position looks at the superpixels nearest to fixed offsets: what it sees does not depend on
    which other positions were asked for.

    Attributes
    ----------
    own : ndarray of float32, shape (n, dim)
    cells : ndarray of float32, shape (m, dim)
        Of the superpixels around.
    index : ndarray of int64, shape (n, k)
        Into `cells`.
    offset_um : ndarray of float32, shape (n, k, 2)
    there : ndarray of bool, shape (n, k)
    """

    own: NDArray[np.float32]
    cells: NDArray[np.float32]
    index: NDArray[np.int64]
    offset_um: NDArray[np.float32]
    there: NDArray[np.bool_]

    @classmethod
    def at(
        cls, features: FeatureSource, xy_um: NDArray[np.float64], offsets_um: NDArray[np.float64]
    ) -> Neighbourhood:
        """Look around any positions."""
        grid = features.grid
        centre = features.at(xy_um)
        cell = np.rint(grid.position(xy_um[:, None] + offsets_um)).astype(np.int64)
        inside: NDArray[np.bool_] = np.all((cell >= 0) & (cell < grid.shape), axis=2)
        row, column = np.moveaxis(np.where(inside[..., None], cell, 0), 2, 0)
        tissue = inside & features.tissue[row, column]
        number = row * grid.shape[1] + column
        unique, place = np.unique(number[tissue], return_inverse=True)
        index = np.zeros(tissue.shape, np.int64)
        index[tissue] = place
        cells = (
            features.superpixels(*np.divmod(unique, grid.shape[1]))
            if len(unique)
            else np.zeros((1, centre.shape[1]), np.float32)
        )
        offset = grid.centres_um(cell[..., 0], cell[..., 1]) - xy_um[:, None]
        return cls(centre, cells, index, offset.astype(np.float32), tissue)

    @classmethod
    def within(
        cls, tile: FeatureTile, pitch_um: float, offsets_um: NDArray[np.float64]
    ) -> Neighbourhood:
        """Look around the tissue superpixels of a tile's core, in row-major order."""
        rows, columns = tile.core
        y, x = np.nonzero(tile.tissue[rows, columns])
        y, x = y + rows.start, x + columns.start
        # Offsets are (x, y).
        step = np.rint(offsets_um / pitch_um).astype(np.int64)
        row, column = y[:, None] + step[:, 1], x[:, None] + step[:, 0]
        offset = np.broadcast_to(step * pitch_um, (len(y), *step.shape))
        dim = tile.values.shape[2]
        return cls(
            own=tile.values[y, x],
            cells=tile.values.reshape(-1, dim),
            index=row * tile.values.shape[1] + column,
            offset_um=offset.astype(np.float32),
            there=tile.tissue[row, column],
        )

    @staticmethod
    def together(parts: list[Neighbourhood]) -> Neighbourhood:
        """Put those of several sections one after the other."""
        before = np.cumsum([0, *(len(p.cells) for p in parts)])
        return Neighbourhood(
            own=np.concatenate([p.own for p in parts]),
            cells=np.concatenate([p.cells for p in parts]),
            index=np.concatenate([p.index + n for p, n in zip(parts, before, strict=False)]),
            offset_um=np.concatenate([p.offset_um for p in parts]),
            there=np.concatenate([p.there for p in parts]),
        )

    def to(self, standard: Standard, device: torch.device) -> NeighbourhoodTensors:
        """Copy to a device, into memory that torch has aligned."""
        parts = (self.own, self.cells, self.index, self.offset_um, self.there)
        return NeighbourhoodTensors(
            standard.to(device), *(torch.tensor(part).to(device) for part in parts)
        )


class Standard(NamedTuple):
    """How features are standardised: subtract, divide, cut off.

    Attributes
    ----------
    shift, scale : Tensor of float32, shape (dim,)
    clip : float
    """

    shift: Tensor
    scale: Tensor
    clip: float

    @classmethod
    def from_features(cls, features: NDArray[np.float32], clip: float) -> Standard:
        """Take mean and standard deviation of features, (n, dim)."""
        shift, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype="f8")
        return cls.given(shift, np.where(scale > 0, scale, 1), clip)

    @classmethod
    def given(
        cls, shift: NDArray[np.floating], scale: NDArray[np.floating], clip: float
    ) -> Standard:
        """Copy from arrays."""
        shift_, scale_ = (torch.tensor(part, dtype=torch.float32) for part in (shift, scale))
        return cls(shift_, scale_, clip)

    def to(self, device: torch.device) -> Standard:
        """Copy to a device."""
        return Standard(self.shift.to(device), self.scale.to(device), self.clip)

    def __call__(self, features: Tensor) -> Tensor:
        """Standardise (…, dim)."""
        return ((features - self.shift) / self.scale).clamp(-self.clip, self.clip)


@dataclass(frozen=True)
class NeighbourhoodTensors:
    """A `Neighbourhood` on a device."""

    standard: Standard
    own: Tensor
    cells: Tensor
    index: Tensor
    offset_um: Tensor
    there: Tensor

    def inputs(self, chosen: Tensor | slice) -> Inputs:
        """Gather what a network is given for some positions, in the shape of their numbers."""
        return Inputs(
            self.standard(self.own[chosen]),
            self.standard(self.cells[self.index[chosen]]),
            self.offset_um[chosen],
            self.there[chosen],
        )


def reach(offsets_um: NDArray[np.float64], pitch_um: float) -> float:
    """Return how far the superpixels looked at lie from that of a position, along an axis.

    Whole superpixels: from a position beside the centre of its own, a step may end in the next.
    """
    steps = np.round(np.abs(offsets_um) / pitch_um, 9)
    return float(np.ceil(steps).max(initial=0.0) * pitch_um)
