"""Noise that is the same wherever a window is cut: what a tile shows depends on the seed alone."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_BLOCK = 256


def generator(seed: int, *key: int | str) -> np.random.Generator:
    """Return a generator of its own for each key, so that no part depends on another's draws."""
    parts = [crc32(k.encode()) if isinstance(k, str) else k for k in key]
    return np.random.default_rng([seed, *parts])


def white(seed: int, name: str, rows: slice, columns: slice) -> NDArray[np.float32]:
    """Return a window of an endless plane of standard normal noise; it may begin below 0."""
    shape = rows.stop - rows.start, columns.stop - columns.start
    window = np.empty(shape, np.float32)
    for i in range(rows.start // _BLOCK, -(-rows.stop // _BLOCK)):
        for j in range(columns.start // _BLOCK, -(-columns.stop // _BLOCK)):
            # Keys must not be negative; no slide reaches that far.
            block = generator(seed, name, i + 2**16, j + 2**16)
            values = block.standard_normal((_BLOCK, _BLOCK), np.float32)
            top, left = i * _BLOCK, j * _BLOCK
            r = slice(max(rows.start, top), min(rows.stop, top + _BLOCK))
            c = slice(max(columns.start, left), min(columns.stop, left + _BLOCK))
            window[
                r.start - rows.start : r.stop - rows.start,
                c.start - columns.start : c.stop - columns.start,
            ] = values[r.start - top : r.stop - top, c.start - left : c.stop - left]
    return window


def smooth(seed: int, name: str, shape: tuple[int, int], sigma: float) -> NDArray[np.float32]:
    """Return smooth noise of mean 0 and variance 1 over a raster; `sigma` in its pixels.

    Wide noise is drawn on a coarser lattice: its cost does not grow with `sigma`.
    """
    step = max(int(sigma // 3), 1)
    coarse = tuple(-(-n // step) + 3 for n in shape)
    drawn = generator(seed, name).standard_normal(coarse, np.float32)
    # Far less than σ is lost at the borders by reflection.
    field = ndimage.gaussian_filter(drawn, sigma / step, mode="wrap")
    field = (field - field.mean()) / field.std()
    return enlarge(field, *(np.arange(n) / step + 1 for n in shape))


def enlarge(
    field: NDArray[np.float32], rows: NDArray[np.floating], columns: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Interpolate a raster linearly at every crossing of row and column positions.

    Integers are its pixels; positions beyond it take its edge. A value depends on its own position
    alone, to the last bit.
    """
    for axis, at in enumerate((rows, columns)):
        at = np.clip(at, 0, field.shape[axis] - 1)
        low = np.minimum(at.astype(np.intp), field.shape[axis] - 2)
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part
        field = field.take(low, axis) * (1 - part) + field.take(low + 1, axis) * part
    return field
