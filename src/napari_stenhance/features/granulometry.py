"""Granulometry: how much of a stain lies in grains, and in gaps, of each width."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.storage.tiles import tiles_of

Pick = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]

WIDTHS_UM = (3, 5, 7, 9, 13, 17, 25, 35, 49)
REACH_PX = WIDTHS_UM[-1] - 1
_SIDE_PX = 8
# Superpixels along a side of what stays in the processor's cache.
_BLOCK = 64


def pattern_spectrum(amount: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Sum over superpixels what openings take from a map, and closings add, width by width.

    An opening takes away grains that are narrower than its octagon, as nuclei and their clusters;
    a closing fills gaps that are. Whole numbers, so that sums are the same in any tile.

    Parameters
    ----------
    amount : ndarray of uint8, shape (y, x)
        1 µm each; whole superpixels with 48 µm around them.

    Returns
    -------
    ndarray of int32, shape (rows, columns, 9, 2)
        For each width, from 3 to 49 µm: what its opening takes beyond that of the width before, and
        what its closing adds beyond that.

    References
    ----------
    Maragos, IEEE Trans. Pattern Anal. Mach. Intell. 11:701-716 (1989).
    """
    rows, columns = ((n - 2 * REACH_PX) // _SIDE_PX for n in amount.shape)
    spectrum = np.empty((rows, columns, len(WIDTHS_UM), 2), np.int32)
    for tile in tiles_of((rows, columns), _BLOCK):
        seen = amount[
            tile.rows.start * _SIDE_PX : tile.rows.stop * _SIDE_PX + 2 * REACH_PX,
            tile.columns.start * _SIDE_PX : tile.columns.stop * _SIDE_PX + 2 * REACH_PX,
        ]
        spectrum[tile.rows, tile.columns, :, 0] = -_changes(seen, np.minimum, np.maximum)
        spectrum[tile.rows, tile.columns, :, 1] = _changes(seen, np.maximum, np.minimum)
    return spectrum


def _changes(amount: NDArray[np.uint8], first: Pick, then: Pick) -> NDArray[np.int32]:
    """Sum over superpixels what each width changes beyond the one before, (rows, columns, widths).

    The lesser neighbour first and then the greater opens, the other way round closes. Erosions of
    one width are made from those of the width before: octagons are sums of squares and diamonds.
    """
    maps = [_superpixel_sums(amount[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX])]
    shrunk, square, diamond = amount, 0, 0
    for width in WIDTHS_UM:
        half = width // 2
        # A regular octagon: its sides along the axes are as long as those between them.
        wide_square = round(half * (np.sqrt(2) - 1))
        shrunk = _over_octagon(shrunk, wide_square - square, half - wide_square - diamond, first)
        square, diamond = wide_square, half - wide_square
        cut = REACH_PX - 2 * half
        near = shrunk[cut : len(shrunk) - cut, cut : shrunk.shape[1] - cut]
        maps.append(_superpixel_sums(_over_octagon(near, square, diamond, then)))
    stacked = np.stack(maps, axis=2)
    changes: NDArray[np.int32] = stacked[..., 1:] - stacked[..., :-1]
    return changes


def _over_octagon(
    values: NDArray[np.uint8], square: int, diamond: int, pick: Pick
) -> NDArray[np.uint8]:
    """Pick the least or greatest value in a square, then in a diamond, of these half widths."""
    values = _along(_along(values, 2 * square + 1, pick).T, 2 * square + 1, pick).T
    for _ in range(diamond):
        across = pick(values[1:-1, :-2], values[1:-1, 2:])
        down = pick(values[:-2, 1:-1], values[2:, 1:-1])
        values = pick(pick(across, down), values[1:-1, 1:-1])
    return values


def _along(values: NDArray[np.uint8], width: int, pick: Pick) -> NDArray[np.uint8]:
    """Pick among so many rows in turn, by twice as many in each step."""
    seen = 1
    while seen < width:
        step = min(seen, width - seen)
        values = pick(values[:-step], values[step:])
        seen += step
    return values


def _superpixel_sums(values: NDArray[np.uint8]) -> NDArray[np.int32]:
    rows, columns = (n // _SIDE_PX for n in values.shape)
    blocks = values.reshape(rows, _SIDE_PX, columns, _SIDE_PX)
    return blocks.sum(axis=1, dtype=np.uint16).sum(axis=2, dtype=np.int32)
