"""Levels that are sliced as arrays are, and read in rectangles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from napari_stenhance.section.images.image import STRIP

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.section.images.image import Pixels


class SlicedLevel(ABC):
    """A level, (y, x, 3) uint8, of which a rectangle is read.

    Parameters
    ----------
    shape : tuple of int
        Height and width.
    chunk : tuple of int
        Height and width of what is best read at once.
    """

    def __init__(self, shape: tuple[int, ...], chunk: tuple[int, ...]) -> None:
        # napari asks formats before it needs NumPy.
        import numpy as np

        self.shape: tuple[int, ...] = (*shape[:2], 3)
        self.chunks: tuple[int, ...] = (min(chunk[0], shape[0]), min(chunk[1], shape[1]), 3)
        self.dtype: np.dtype[np.uint8] = np.dtype(np.uint8)
        self.ndim = 3

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        import numpy as np

        keys = (*key, *(slice(None),) * (3 - len(key)))
        rows, columns = (
            range(n)[k] if isinstance(k, slice) else range(n)[k : k + 1 or None]
            for k, n in zip(keys[:2], self.shape, strict=False)
        )
        top, left = rows.start, columns.start
        bottom, right = max(rows.stop, top), max(columns.stop, left)
        if bottom == top or right == left:
            pixels = np.empty((bottom - top, right - left, 3), np.uint8)
        else:
            pixels = self._read(top, bottom, left, right)
        # What is left of the key: steps, and axes of which one place is taken.
        inner = (
            slice(None, None, asked.step) if isinstance(k, slice) else 0
            for k, asked in zip(keys, (rows, columns), strict=False)
        )
        return pixels[(*inner, keys[2])]

    @abstractmethod
    def _read(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
        """Read rows and columns, at least one of each; raises `InputError` if they are damaged."""


def strips_of(level: Pixels | NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Read a level, or pixels in memory, from top to bottom."""
    for top in range(0, level.shape[0], STRIP):
        yield level[top : top + STRIP, :]
