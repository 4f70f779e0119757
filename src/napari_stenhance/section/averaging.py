"""The compiled loop of area averaging."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.running.compiled import compiled


@compiled
def average(
    lines: NDArray[np.uint8],
    row_of: NDArray[np.int64],
    row_weights: NDArray[np.float32],
    column_of: NDArray[np.int64],
    column_weights: NDArray[np.float32],
    outside: np.float32,
) -> NDArray[np.uint8]:
    """Average lines of RGB pixels, first down, then along; both axes may reach beyond them."""
    averaged = np.empty((len(row_of), 3 * len(column_of)), np.uint8)
    line = np.empty(lines.shape[1], np.float32)
    for y in range(len(row_of)):
        line[:] = 0
        for tap in range(row_weights.shape[1]):
            weight = row_weights[y, tap]
            if weight != 0:
                source = lines[row_of[y] + tap]
                for i in range(len(line)):
                    line[i] += weight * (outside - np.float32(source[i]))
        row = averaged[y]
        for x in range(len(column_of)):
            red = green = blue = np.float32(0)
            for tap in range(column_weights.shape[1]):
                weight = column_weights[x, tap]
                if weight != 0:
                    i = 3 * (column_of[x] + tap)
                    red += weight * line[i]
                    green += weight * line[i + 1]
                    blue += weight * line[i + 2]
            row[3 * x] = np.uint8(np.rint(outside - red))
            row[3 * x + 1] = np.uint8(np.rint(outside - green))
            row[3 * x + 2] = np.uint8(np.rint(outside - blue))
    return averaged
