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
    yx: NDArray[np.float64],
    first: NDArray[np.int64],
    cells: NDArray[np.int64],
) -> None:
    """Write each cell into the pixels whose centres lie in its polygon.

    Parameters
    ----------
    tile : ndarray of int32, shape (rows, columns)
    yx : ndarray of float64, shape (corners, 2)
        Of all polygons, one after another; the centre of the first pixel is (0, 0).
    first : ndarray of int64, shape (cells + 1,)
        Where each begins; one without corners is none.
    cells : ndarray of int64, shape (cells,)
        What is written.
    """
    rows, columns = tile.shape
    crossings = np.empty(max(np.max(np.diff(first)), 1) if len(cells) else 1, np.float64)
    for n in range(len(cells)):
        begin, end = first[n], first[n + 1]
        if end == begin:
            continue
        low, high = yx[begin:end, 0].min(), yx[begin:end, 0].max()
        for row in range(max(ceil(low), 0), min(ceil(high), rows)):
            # A row is crossed by edges that begin on one side of it, and end on the other.
            number = 0
            for at in range(begin, end):
                after = at + 1 if at + 1 < end else begin
                y0, y1 = yx[at, 0], yx[after, 0]
                if (y0 <= row) != (y1 <= row):
                    x0, x1 = yx[at, 1], yx[after, 1]
                    crossings[number] = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
                    number += 1
            crossed = np.sort(crossings[:number])
            for pair in range(0, number, 2):
                left, right = ceil(crossed[pair]), ceil(crossed[pair + 1])
                for column in range(max(left, 0), min(right, columns)):
                    tile[row, column] = cells[n]


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
