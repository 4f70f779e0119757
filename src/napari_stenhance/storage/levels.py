"""Pyramids whose tiles are read, or made, when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.storage.pyramid import Pool, read_tile
from napari_stenhance.storage.tiles import tile_size


@dataclass(frozen=True)
class Levels:
    """A raster and its coarser levels, each half of the one before, in tiles.

    Attributes
    ----------
    shapes : tuple of tuple of int
        (rows, columns) of each level, finest first.
    tile : int
        The side of a tile; those at the edge are smaller.
    read : callable
        `read(level, i, j)` returns a tile as an array (rows, columns). May be called from several
        threads.
    """

    shapes: tuple[tuple[int, int], ...]
    tile: int
    read: Callable[[int, int, int], NDArray[Any]]

    @classmethod
    def from_arrays(cls, arrays: Sequence[zarr.Array[Any]], pool: Pool) -> Levels:
        """Read arrays; a tile of a coarse one that was not built yet is pooled from below."""
        return cls(
            shapes_of(arrays),
            tile_size(arrays[0]),
            lambda level, i, j: read_tile(arrays, level, (i, j), pool),
        )

    def part(
        self, level: int = 0, rows: slice | None = None, columns: slice | None = None
    ) -> NDArray[np.float32]:
        """Return some rows and columns of a level, by default all of it.

        Returns
        -------
        ndarray of float32, shape (rows, columns)
        """
        shape, size = self.shapes[level], self.tile
        rows, columns = rows or slice(0, shape[0]), columns or slice(0, shape[1])
        part = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        for i in range(rows.start // size, -(-rows.stop // size)):
            for j in range(columns.start // size, -(-columns.stop // size)):
                tile = self.read(level, i, j)
                top, left = i * size, j * size
                low_r, low_c = max(rows.start, top), max(columns.start, left)
                high_r = min(rows.stop, top + tile.shape[0])
                high_c = min(columns.stop, left + tile.shape[1])
                part[
                    low_r - rows.start : high_r - rows.start,
                    low_c - columns.start : high_c - columns.start,
                ] = tile[low_r - top : high_r - top, low_c - left : high_c - left]
        return part


def shapes_of(arrays: Sequence[zarr.Array[Any]]) -> tuple[tuple[int, int], ...]:
    """Return the (rows, columns) of each level of a pyramid."""
    return tuple((array.shape[0], array.shape[1]) for array in arrays)
