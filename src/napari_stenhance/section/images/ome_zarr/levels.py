"""Levels of an OME-Zarr as 8-bit colours, read where they are sliced."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.section.images.decoded.samples import Scaling, lay_on_white
from napari_stenhance.section.images.ome_zarr.node import ArrayNode
from napari_stenhance.section.images.slicing import SlicedLevel
from napari_stenhance.storage.reading import reading

_KEPT = 2**22
"""A chunk of more bytes is kept until another is read: a level may consist of a single one."""


class OmeZarrLevel(SlicedLevel):
    """A level of an image of an OME-Zarr, (y, x, 3) uint8, transparency on white.

    Parameters
    ----------
    path : Path
        What errors name.
    level : ArrayNode
    axes : tuple of str
        Of the array; of y, x and c all is read, of others the first.
    scaling : Scaling
        How its samples become 8 bits.
    """

    def __init__(
        self, path: Path, level: ArrayNode, axes: tuple[str, ...], scaling: Scaling
    ) -> None:
        self._level, self._axes, self._scaling = level, axes, scaling
        lengths = dict(zip(axes, level.shape, strict=True))
        chunks = dict(zip(axes, level.chunks, strict=True))
        super().__init__((lengths["y"], lengths["x"]), (chunks["y"], chunks["x"]))
        self._path = path
        self._large = math.prod(self.chunks) > _KEPT
        self._last: tuple[tuple[int, int], NDArray[np.uint8]] | None = None

    def samples(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Read samples as they are stored, (y, x, colours)."""
        where = {"y": rows, "x": columns, "c": slice(None)}
        values = np.asarray(self._level.array[tuple(where.get(axis, 0) for axis in self._axes)])
        left = [axis for axis in self._axes if axis in where]
        return np.moveaxis(values, left.index("c"), -1)

    def _read(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
        if not self._large:
            return self._converted(slice(top, bottom), slice(left, right))
        out = np.empty((bottom - top, right - left, 3), np.uint8)
        high, wide = self.chunks[:2]
        for i, j in itertools.product(
            range(top // high, -(-bottom // high)), range(left // wide, -(-right // wide))
        ):
            y0, x0 = i * high, j * wide
            low_y, high_y = max(top, y0), min(bottom, y0 + high)
            low_x, high_x = max(left, x0), min(right, x0 + wide)
            out[low_y - top : high_y - top, low_x - left : high_x - left] = self._chunk(i, j)[
                low_y - y0 : high_y - y0, low_x - x0 : high_x - x0
            ]
        return out

    def _chunk(self, i: int, j: int) -> NDArray[np.uint8]:
        last = self._last
        if last is not None and last[0] == (i, j):
            return last[1]
        high, wide = self.chunks[:2]
        rows, columns = slice(i * high, (i + 1) * high), slice(j * wide, (j + 1) * wide)
        pixels = self._converted(rows, columns)
        self._last = ((i, j), pixels)
        return pixels

    def _converted(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        with reading(self._path, f"a chunk of its level {self._level.folder.name!r}"):
            values = self.samples(rows, columns)
        eight = self._scaling.apply(values)
        if eight.shape[-1] == 3:
            return np.ascontiguousarray(eight)
        return lay_on_white(eight[..., :3], eight[..., 3])
