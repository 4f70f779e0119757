"""The whole section as one raster of spots, with what is occupied; and windows of near spots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from napari_stenhance.methods import drawing
from napari_stenhance.section.distinct import DistinctPositions

_SIDES = (1.0, 0.87, 0.75)
_SHARING_MOST = 0.01
_NEIGHBOURS = 4
_REACH = 2


@dataclass(frozen=True)
class SpotRaster:
    """Spots on a raster; where several share a place, they share its mean.

    Attributes
    ----------
    place : Tensor of int64, shape (spots,)
        Place of each spot, rows first.
    number : Tensor of float32, shape (rows · columns,)
        How many spots have each place.
    shape : tuple of int
        Rows and columns.
    """

    place: Tensor
    number: Tensor
    shape: tuple[int, int]

    @classmethod
    def from_positions(cls, xy: NDArray[np.float64], device: torch.device) -> SpotRaster:
        """Lay spots on a raster of about their pitch: the median distance to the fourth neighbour.

        Of a side of 1, 0.87 (the rows of a hexagonal lattice) and 0.75 pitches the largest is
        taken at which hardly any spots share a place; cells that lie anyhow get the smallest.
        """
        # Spots may have the very same position: their distance of 0 is no pitch.
        places = DistinctPositions.among(xy)
        apart = xy[places.first]
        near = min(_NEIGHBOURS, len(apart) - 1)
        pitch = float(np.median(cKDTree(apart).query(apart, k=[near + 1])[0])) or 1.0
        # Half a place off: rounding then falls between spots, not on them.
        for side in _SIDES:
            index = np.floor((xy - xy.min(axis=0)) / (pitch * side) + 0.5).astype(np.int64)
            shared = 1 - len(np.unique(index, axis=0)) / len(apart)
            if shared <= _SHARING_MOST:
                break
        index = np.column_stack([_closed_up(along) for along in index.T])
        columns, rows = (int(n) + 1 for n in index.max(axis=0))
        place = torch.tensor(index[:, 1] * columns + index[:, 0], device=device)
        number = torch.zeros(rows * columns, device=device)
        number.index_add_(0, place, torch.ones(len(xy), device=device))
        return cls(place, number, (rows, columns))

    def only(self, windows: Sequence[NDArray[np.int64]]) -> SpotRaster:
        """Lay some windows of spots side by side, so far apart that none sees another."""
        rows, columns, right = [], [], 0
        for window in windows:
            place = self.place[torch.tensor(window, device=self.place.device)]
            row, column = (at - at.min() for at in (place // self.shape[1], place % self.shape[1]))
            rows.append(row)
            columns.append(column + right)
            right = int(columns[-1].max()) + 1 + _REACH
        row, column = torch.cat(rows), torch.cat(columns)
        shape = (int(row.max()) + 1, int(column.max()) + 1)
        place = row * shape[1] + column
        number = torch.zeros(shape[0] * shape[1], device=place.device)
        number.index_add_(0, place, torch.ones(len(place), device=place.device))
        return SpotRaster(place, number, shape)

    @property
    def occupied(self) -> Tensor:
        """1 where there is a spot, else 0, (1, 1, rows, columns)."""
        return (self.number > 0).float().reshape(1, 1, *self.shape)

    def scatter(self, values: Tensor) -> Tensor:
        """Lay (spots, channels) on the raster, (1, channels, rows, columns); 0 between spots."""
        total = torch.zeros(len(self.number), values.shape[1], device=values.device)
        mean = total.index_add(0, self.place, values) / self.number.clamp(min=1)[:, None]
        return mean.T.reshape(1, values.shape[1], *self.shape)

    def gather(self, raster: Tensor) -> Tensor:
        """Read (1, channels, rows, columns) where the spots are, (spots, channels)."""
        return raster.reshape(raster.shape[1], -1).T.index_select(0, self.place)


def _closed_up(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Close gaps that two convolutions do not see across: a far spot makes no large raster."""
    there, at = np.unique(index, return_inverse=True)
    steps = np.minimum(np.diff(there, prepend=there[0]), _REACH + 1)
    closed: NDArray[np.int64] = np.cumsum(steps)[at]
    return closed


def raster_windows(xy: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Cut spots into windows of near ones.

    Returns
    -------
    ndarray of int64, shape (windows, at most `most`)
        Indices of spots; −1 fills up windows that have fewer.
    """
    return filled_up(drawing.windows(xy, most))


def filled_up(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Put windows into one array, in which −1 fills up those that have fewer spots."""
    filled = np.full((len(parts), max(len(part) for part in parts)), -1, np.int64)
    for n, part in enumerate(parts):
        filled[n, : len(part)] = part
    return filled
