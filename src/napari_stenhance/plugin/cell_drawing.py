"""Draw cells into a tile, as discs or by their outlines: compiled, for a view holds thousands."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.running.compiled import compiled


@compiled
def draw_discs(
    tile: NDArray[np.int32],
    yx: NDArray[np.float64],
    radius: float,
    square: bool,
    cells: NDArray[np.int64],
) -> None:
    """Write each cell into the pixels whose centres its disc covers, and into its middle.

    Parameters
    ----------
    tile : ndarray of int32, shape (rows, columns)
    yx : ndarray of float64, shape (cells, 2)
        Centres; that of the first pixel is (0, 0).
    radius : float
    square : bool
        Whether it is a square of that half side.
    cells : ndarray of int64, shape (cells,)
        What is written.
    """
    rows, columns = tile.shape
    for n in range(len(cells)):
        y, x = yx[n]
        middle_row, middle_column = round(y), round(x)
        if 0 <= middle_row < rows and 0 <= middle_column < columns:
            tile[middle_row, middle_column] = cells[n]
        for row in range(max(ceil(y - radius), 0), min(int(np.floor(y + radius)) + 1, rows)):
            half = radius if square else np.sqrt(radius**2 - (row - y) ** 2)
            first, last = max(ceil(x - half), 0), min(int(np.floor(x + half)) + 1, columns)
            for column in range(first, last):
                tile[row, column] = cells[n]


@compiled
def draw_outlines(
    tile: NDArray[np.int32],
    xy: NDArray[np.float32],
    first: NDArray[np.int64],
    cells: NDArray[np.int64],
    corner: NDArray[np.float64],
    pixel: float,
) -> None:
    """Write some cells into the pixels whose centres lie in their polygons.

    Parameters
    ----------
    tile : ndarray of int32, shape (rows, columns)
    xy : ndarray of float32, shape (corners, 2)
        Of the polygons of all cells, one after another.
    first : ndarray of int64, shape (all cells + 1,)
        Where each begins; one without corners is none.
    cells : ndarray of int64
        Numbers of those that are drawn, which are written.
    corner : ndarray of float64, shape (2,)
        The (y, x) of the tile's outer corner.
    pixel : float
        The width of a pixel, in the unit of `xy`.
    """
    rows, columns = tile.shape
    most = 1
    for cell in cells:
        most = max(most, first[cell + 1] - first[cell])
    y, x, crossings = np.empty(most), np.empty(most), np.empty(most)
    for cell in cells:
        begin, corners = first[cell], first[cell + 1] - first[cell]
        if corners == 0:
            continue
        for n in range(corners):
            y[n] = (xy[begin + n, 1] - corner[0]) / pixel - 0.5
            x[n] = (xy[begin + n, 0] - corner[1]) / pixel - 0.5
        low, high = y[:corners].min(), y[:corners].max()
        for row in range(max(ceil(low), 0), min(ceil(high), rows)):
            # A row is crossed by edges that begin on one side of it, and end on the other.
            number = 0
            for n in range(corners):
                after = n + 1 if n + 1 < corners else 0
                if (y[n] <= row) != (y[after] <= row):
                    at = x[n] + (row - y[n]) * (x[after] - x[n]) / (y[after] - y[n])
                    # Mostly there are two: each goes to its place among those before it.
                    place = number
                    while place > 0 and crossings[place - 1] > at:
                        crossings[place] = crossings[place - 1]
                        place -= 1
                    crossings[place] = at
                    number += 1
            for pair in range(0, number, 2):
                left, right = ceil(crossings[pair]), ceil(crossings[pair + 1])
                for column in range(max(left, 0), min(right, columns)):
                    tile[row, column] = cell


@compiled
def set_apart(tile: NDArray[np.int32]) -> None:
    """Clear the pixels of a cell at which another one, below or right of it, begins."""
    rows, columns = tile.shape
    for row in range(rows):
        for column in range(columns):
            here = tile[row, column]
            below = tile[row + 1, column] if row + 1 < rows else -1
            right = tile[row, column + 1] if column + 1 < columns else -1
            if (below >= 0 and below != here) or (right >= 0 and right != here):
                tile[row, column] = -1
