"""Pooling of superpixels' moments over square windows around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.running.compiled import compiled

SPREAD = 9
WIDE = 21
EDGE = WIDE // 2
_INSET = EDGE - SPREAD // 2


@compiled
def pool_windows(moments: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take each map's mean, its standard deviation over 9 × 9, and its mean over 21 × 21.

    Sums of neighbours, not running ones: a value does not depend on where in the array it lies.

    Parameters
    ----------
    moments : ndarray of float32, shape (2, rows + 20, columns + 20, maps)
        Mean and mean square over superpixels.

    Returns
    -------
    ndarray of float32, shape (rows, columns, maps, 3)
    """
    maps = moments.shape[3]
    rows, columns = moments.shape[1] - 2 * EDGE, moments.shape[2] - 2 * EDGE
    length = (columns + 2 * EDGE) * maps
    lines = moments.reshape((2, moments.shape[1], length))
    pooled = np.empty((rows, columns * maps, 3), np.float32)
    down, along = np.empty(length, np.float32), np.empty((3, columns * maps), np.float32)
    near, wide = np.float32(1 / SPREAD**2), np.float32(1 / WIDE**2)
    for y in range(rows):
        for moment in range(2):
            _add(lines[moment, y + _INSET : y + _INSET + SPREAD], down)
            _add_shifted(down[_INSET * maps :], SPREAD, maps, along[moment])
        _add(lines[0, y : y + WIDE], down)
        _add_shifted(down, WIDE, maps, along[2])
        here = lines[0, y + EDGE, EDGE * maps :]
        for i in range(columns * maps):
            mean = near * along[0, i]
            variance = near * along[1, i] - mean * mean
            pooled[y, i, 0] = here[i]
            pooled[y, i, 1] = np.sqrt(max(variance, np.float32(0)))
            pooled[y, i, 2] = wide * along[2, i]
    return pooled.reshape((rows, columns, maps, 3))


@compiled
def _add(lines: NDArray[np.float32], total: NDArray[np.float32]) -> None:
    total[:] = lines[0]
    for n in range(1, len(lines)):
        line = lines[n]
        for i in range(len(total)):
            total[i] += line[i]


@compiled
def _add_shifted(
    line: NDArray[np.float32], count: int, step: int, total: NDArray[np.float32]
) -> None:
    total[:] = line[: len(total)]
    for n in range(1, count):
        shifted = line[n * step :]
        for i in range(len(total)):
            total[i] += shifted[i]
