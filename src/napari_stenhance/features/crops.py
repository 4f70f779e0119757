"""Features of square crops: one vector for each position, on a grid and anywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.features.extract import FeatureMap
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid

_BLOCK = 128
_TISSUE_SHARE = 0.5


class CropEncoder(Protocol):
    """Turns crops into feature vectors, one each."""

    @property
    def name(self) -> str:
        """As the option `encoder` takes it."""
        ...

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        ...

    @property
    def side_px(self) -> int:
        """A crop of any size is resampled to so many pixels along each side."""
        ...

    @property
    def batch(self) -> int:
        """How many crops go through the network at a time; fewer take as long."""
        ...

    def fingerprint(self) -> str:
        """Identify weights and settings: the key of the cache."""
        ...

    def doubts(self, mpp: float, crop_um: float) -> tuple[str, ...]:
        """Say what makes features of crops of that size on such a slide less trustworthy."""
        ...

    def encode(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode crops, (n, side_px, side_px, 3), into (n, dim)."""
        ...


class CropSource(Protocol):
    """Where a `CropMap` takes its features from; sizes of crops lie one after the other."""

    @property
    def key(self) -> str:
        """Of the cache entry."""
        ...

    @property
    def dim(self) -> int:
        """Length of a feature vector: of the encoder's, times the number of sizes."""
        ...

    def cells(
        self, row: NDArray[np.int64], column: NDArray[np.int64], *, raw: bool
    ) -> NDArray[np.float32]:
        """Return the features of superpixels that were asked for when the map was made."""
        ...

    def at(self, xy_um: NDArray[np.float64], job: Job, *, raw: bool) -> NDArray[np.float32]:
        """Return the features at any positions (x, y), (n, dim)."""
        ...


@dataclass(frozen=True)
class CropMap:
    """Features of crops around the centres of a grid, and around any other position.

    Attributes
    ----------
    grid : Grid
    tissue : ndarray of bool, shape (rows, columns)
        Superpixels of which at least half is tissue.
    crops_um : tuple of float
        Sides of the crops, in micrometres.
    source : CropSource
    """

    grid: Grid
    tissue: NDArray[np.bool_]
    crops_um: tuple[float, ...]
    source: CropSource

    @property
    def key(self) -> str:
        """Of the cache entry."""
        return self.source.key

    @property
    def dim(self) -> int:
        """Length of a feature vector, over all sizes of crops."""
        return self.source.dim

    def at(self, xy_um: NDArray[np.float64], job: Job, *, raw: bool = False) -> NDArray[np.float32]:
        """Return the features at any positions (x, y), (n, dim), standardised or raw."""
        return self.source.at(np.asarray(xy_um, np.float64), job, raw=raw)

    def tile(self, rows: slice, columns: slice, halo: int = 0, *, raw: bool = False) -> FeatureTile:
        """Read a rectangle with `halo` around it; beyond the grid there is no tissue."""
        top, left = rows.start - halo, columns.start - halo
        height, width = (s.stop - s.start + 2 * halo for s in (rows, columns))
        row, column = np.arange(top, top + height)[:, None], np.arange(left, left + width)[None]
        there = (row >= 0) & (row < self.grid.shape[0])
        there = there & (column >= 0) & (column < self.grid.shape[1])
        y, x = np.nonzero(there)
        there[y, x] = self.tissue[y + top, x + left]
        y, x = np.nonzero(there)
        values = np.zeros((height, width, self.dim), np.float32)
        if len(y):
            values[y, x] = self.source.cells(y + top, x + left, raw=raw)
        core = slice(halo, height - halo), slice(halo, width - halo)
        return FeatureTile(values, there, self.grid.centres_um(row, column), core)


def pooled_tissue(tissue: NDArray[np.bool_], fine: Grid, grid: Grid) -> NDArray[np.bool_]:
    """Tell which superpixels of a coarser grid over the same slide are at least half tissue."""
    share = tissue.astype(np.float64)
    for axis, size in enumerate(grid.shape):
        edges = np.minimum(np.arange(size + 1) * grid.pitch_um / fine.pitch_um, share.shape[axis])
        share = np.diff(_integral(share, edges, axis), axis=axis)
    half: NDArray[np.bool_] = share >= _TISSUE_SHARE * (grid.pitch_um / fine.pitch_um) ** 2
    return half


def _integral(
    values: NDArray[np.float64], edges: NDArray[np.float64], axis: int
) -> NDArray[np.float64]:
    """Integrate piecewise constant values from 0 to each edge, along one axis."""
    start = np.zeros_like(np.take(values, [0], axis))
    total = np.concatenate([start, np.cumsum(values, axis=axis)], axis=axis)
    low = np.minimum(np.floor(edges).astype(np.int64), values.shape[axis] - 1)
    part = np.expand_dims(edges - low, tuple(n for n in range(values.ndim) if n != axis))
    below, above = np.take(total, low, axis), np.take(total, low + 1, axis)
    return below + part * (above - below)


def needed_around(
    needed: NDArray[np.bool_], grid: Grid, fine: Grid, reach_um: float
) -> NDArray[np.bool_]:
    """Mark the superpixels of a finer grid that crops around those of a coarser one reach."""
    row, column = (
        np.minimum((np.arange(n) + 0.5) * fine.pitch_um / grid.pitch_um, size - 1).astype(np.int64)
        for n, size in zip(fine.shape, grid.shape, strict=True)
    )
    reach = int(np.ceil(reach_um / fine.pitch_um)) + 1
    grown: NDArray[np.bool_] = ndimage.maximum_filter(
        needed[np.ix_(row, column)], size=2 * reach + 1
    )
    return grown


@dataclass(frozen=True)
class PooledCrops:
    """Features of superpixels, averaged over the tissue in each crop: `CropSource`.

    Parts of superpixels count for what lies in the crop. Where a crop holds no tissue, features
    are those of the mean superpixel: 0, standardised.

    Attributes
    ----------
    fine : FeatureMap
    grid : Grid
    crops_um : tuple of float
    """

    fine: FeatureMap
    grid: Grid
    crops_um: tuple[float, ...]

    @property
    def key(self) -> str:
        """Of the finer map."""
        return self.fine.key

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.fine.dim * len(self.crops_um)

    def cells(
        self, row: NDArray[np.int64], column: NDArray[np.int64], *, raw: bool
    ) -> NDArray[np.float32]:
        """Return the features of superpixels of the grid."""
        return self._at(self.grid.centres_um(row, column), None, raw)

    def at(self, xy_um: NDArray[np.float64], job: Job, *, raw: bool) -> NDArray[np.float32]:
        """Return the features at any positions."""
        return self._at(xy_um, job, raw)

    def _at(self, xy_um: NDArray[np.float64], job: Job | None, raw: bool) -> NDArray[np.float32]:
        # Where 0 is the outer corner, in superpixels.
        at = self.fine.grid.position(xy_um) + 0.5
        values = np.empty((len(at), self.dim), np.float32)
        halo = int(np.ceil(max(self.crops_um) / 2 / self.fine.grid.pitch_um)) + 1
        block_of = np.floor(at / _BLOCK).astype(np.int64)
        for block in np.unique(block_of, axis=0):
            here = (block_of == block).all(axis=1)
            rows, columns = (slice(n * _BLOCK, (n + 1) * _BLOCK) for n in block.tolist())
            tile = self.fine.tile(rows, columns, halo)
            values[here] = self._pooled(tile, at[here] - block * _BLOCK + halo)
            if job is not None:
                job.check()
        if raw:
            sizes = len(self.crops_um)
            values *= np.tile(self.fine.sd, sizes)
            values += np.tile(self.fine.mean, sizes)
        return values

    def _pooled(self, tile: FeatureTile, at: NDArray[np.float64]) -> NDArray[np.float32]:
        """Average a tile over crops around positions (row, column), corner at 0."""
        height, width = tile.tissue.shape
        # Values are 0 off the tissue, so that their sums are over the tissue.
        layers = np.concatenate([tile.values, tile.tissue[..., None]], axis=2)
        total = np.zeros((height + 1, width + 1, layers.shape[2]))
        np.cumsum(layers, axis=0, out=total[1:, 1:], dtype=np.float64)
        np.cumsum(total[1:, 1:], axis=1, out=total[1:, 1:])
        parts = []
        for crop_um in self.crops_um:
            half = crop_um / 2 / self.fine.grid.pitch_um
            sums = np.zeros((len(at), layers.shape[2]))
            for down, along, sign in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
                corner = np.clip(at + half * np.array([down, along]), 0, [height, width])
                low = np.minimum(np.floor(corner).astype(np.int64), [height - 1, width - 1])
                part = corner - low
                for i in (0, 1):
                    for j in (0, 1):
                        weight = np.abs(1 - i - part[:, 0]) * np.abs(1 - j - part[:, 1])
                        sums += (sign * weight)[:, None] * total[low[:, 0] + i, low[:, 1] + j]
            share = sums[:, -1:]
            there = share > 1e-6
            parts.append(np.where(there, sums[:, :-1] / np.where(there, share, 1), 0))
        return np.concatenate(parts, axis=1).astype(np.float32)
