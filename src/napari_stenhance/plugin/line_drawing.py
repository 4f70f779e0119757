"""Draw the outlines of regions into a tile: compiled, for a view holds thousands."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.running.compiled import compiled


@compiled
def draw_lines(
    tile: NDArray[np.int32],
    xy: NDArray[np.float64],
    first: NDArray[np.int64],
    of: NDArray[np.int64],
    rings: NDArray[np.int64],
    corner: NDArray[np.float64],
    pixel: float,
    half: int,
) -> None:
    """Write regions into the pixels that their outlines run through, and into those beside.

    Parameters
    ----------
    tile : ndarray of int32, shape (rows, columns)
    xy : ndarray of float64, shape (corners, 2)
        Of all rings, one after another.
    first : ndarray of int64, shape (all rings + 1,)
        Where each begins.
    of : ndarray of int64, shape (all rings,)
        What is written for each.
    rings : ndarray of int64
        Those that are drawn, the last on top.
    corner : ndarray of float64, shape (2,)
        The (y, x) of the tile's outer corner.
    pixel : float
        The width of a pixel, in the unit of `xy`.
    half : int
        How many pixels beside a line are its own.
    """
    rows, columns = tile.shape
    for ring in rings:
        for n in range(first[ring], first[ring + 1] - 1):
            y = (xy[n, 1] - corner[0]) / pixel - 0.5
            x = (xy[n, 0] - corner[1]) / pixel - 0.5
            dy = (xy[n + 1, 1] - corner[0]) / pixel - 0.5 - y
            dx = (xy[n + 1, 0] - corner[1]) / pixel - 0.5 - x
            # Of a line that runs far beyond the tile, only what lies in it is walked along.
            begin, end = 0.0, 1.0
            for start, way, size in ((y, dy, rows), (x, dx, columns)):
                low, high = -half - 1.0 - start, size + half - start
                if way == 0.0:
                    if low > 0.0 or high < 0.0:
                        end = -1.0
                else:
                    one, other = low / way, high / way
                    begin = max(begin, min(one, other))
                    end = min(end, max(one, other))
            if begin > end:
                continue
            steps = ceil(max(abs(dy), abs(dx)) * (end - begin)) + 1
            for step in range(steps + 1):
                at = begin + (end - begin) * step / steps
                row, column = round(y + dy * at), round(x + dx * at)
                for r in range(max(row - half, 0), min(row + half + 1, rows)):
                    for c in range(max(column - half, 0), min(column + half + 1, columns)):
                        tile[r, c] = of[ring]
