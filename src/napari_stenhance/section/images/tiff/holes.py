"""Tiles that a TIFF leaves out of a coarse level, though a finer one has what they show."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.section.images.image import Pixels
from napari_stenhance.section.images.tiff.images import whole_step
from napari_stenhance.section.resample import area_average, area_weights

_AT_ONCE = 4096
"""Pixels of the finer level along a side that are read for a part of a hole."""


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a level.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the level in pixels.
    tile : tuple of int
        Height and width of a tile.
    stored : ndarray of bool, shape (rows, columns)
        The file holds the tile.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    stored: NDArray[np.bool_]

    def step_to(self, coarse: TileGrid) -> float:
        """Return how many of its pixels lie along one of a coarser level."""
        return whole_step(self.shape, coarse.shape) or max(self.shape) / max(coarse.shape)


def holes_of(levels: Sequence[TileGrid]) -> list[NDArray[np.bool_]]:
    """Find, for each level, the tiles that are left out though the next finer one shows something.

    Parameters
    ----------
    levels : sequence of TileGrid
        From full resolution down; that one has no holes, for nothing is finer.

    Returns
    -------
    list of ndarray of bool, shape (rows, columns)
    """
    holes = [np.zeros_like(levels[0].stored)]
    shown = levels[0].stored
    for finer, level in itertools.pairwise(levels):
        hole = ~level.stored
        step = finer.step_to(level)
        if hole.any():
            sums = np.pad(shown.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
            ends = [
                _ends(n, level.tile[axis] * step / finer.tile[axis], shown.shape[axis])
                for axis, n in enumerate(level.stored.shape)
            ]
            (top, bottom), (left, right) = ends
            under = (
                sums[np.ix_(bottom, right)]
                - sums[np.ix_(top, right)]
                - sums[np.ix_(bottom, left)]
                + sums[np.ix_(top, left)]
            )
            hole &= under > 0
        holes.append(hole)
        shown = level.stored | hole
    return holes


def _ends(count: int, tiles: float, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first finer tile under each of `count`, and that after the last."""
    edges = np.arange(count + 1) * tiles
    low, high = np.floor(edges[:-1] + 1e-6), np.ceil(edges[1:] - 1e-6)
    return np.clip(low, 0, most).astype(np.int64), np.clip(high, 0, most).astype(np.int64)


class Filling:
    """The holes of a level, averaged from the next finer one.

    Parameters
    ----------
    grid : TileGrid
    holes : ndarray of bool, shape (rows, columns)
    finer : Pixels
    step : float
        Its pixels along one of the level.
    """

    def __init__(
        self, grid: TileGrid, holes: NDArray[np.bool_], finer: Pixels, step: float
    ) -> None:
        self._grid, self._holes, self._finer, self._step = grid, holes, finer, step
        self._side = max(1, int(_AT_ONCE / step))

    def fill(self, out: NDArray[np.uint8], top: int, left: int) -> None:
        """Fill what lies in holes of a part of the level, (y, x, 3), from its (top, left)."""
        for rows, columns in self._parts(top, top + out.shape[0], left, left + out.shape[1]):
            place = (
                slice(rows.start - top, rows.stop - top),
                slice(columns.start - left, columns.stop - left),
            )
            out[place] = self._averaged(rows, columns)

    def _parts(self, top: int, bottom: int, left: int, right: int) -> Iterator[tuple[range, range]]:
        high, wide = self._grid.tile
        for i in range(top // high, -(-bottom // high)):
            for j in range(left // wide, -(-right // wide)):
                if not self._holes[i, j]:
                    continue
                rows = range(max(top, i * high), min(bottom, (i + 1) * high))
                columns = range(max(left, j * wide), min(right, (j + 1) * wide))
                for y in range(0, len(rows), self._side):
                    for x in range(0, len(columns), self._side):
                        yield rows[y : y + self._side], columns[x : x + self._side]

    def _averaged(self, rows: range, columns: range) -> NDArray[np.uint8]:
        weights, spans = [], []
        for part, size in zip((rows, columns), self._finer.shape, strict=False):
            start = part.start * self._step
            first = min(int(start), size - 1)
            last = min(max(int(np.ceil(part.stop * self._step)), first + 1), size)
            weights.append(area_weights(start, self._step, len(part), first, last))
            spans.append(slice(first, last))
        return area_average(self._finer[spans[0], spans[1]], weights[0], weights[1], 255)
