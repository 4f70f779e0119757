"""Rasters in bands of rows: what lies between a raster and what is made of it stays small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_ROWS = 256
_TRUNCATED = 4.0
"""Of a Gaussian, in standard deviations: what ndimage takes by default."""


@dataclass(frozen=True)
class Band:
    """Some rows of a raster.

    Attributes
    ----------
    rows : slice
        Which rows.
    around : slice
        The same with a halo, as far as the raster goes.
    inner : slice
        Where the rows lie within those with the halo.
    """

    rows: slice
    around: slice
    inner: slice


def bands(rows: int, halo: int = 0) -> Iterator[Band]:
    """Cut the rows of a raster into bands.

    Parameters
    ----------
    rows : int
        How many the raster has.
    halo : int
        How many rows before and after a band are seen with it.

    Examples
    --------
    >>> [band.around for band in bands(600, halo=2)]
    [slice(0, 258, None), slice(254, 514, None), slice(510, 600, None)]
    """
    for top in range(0, rows, _ROWS):
        stop = min(top + _ROWS, rows)
        first = max(top - halo, 0)
        around = slice(first, min(stop + halo, rows))
        yield Band(slice(top, stop), around, slice(top - first, stop - first))


def gaussian_reach(sigma: float) -> int:
    """Return how many pixels away a Gaussian of ndimage looks."""
    return int(_TRUNCATED * sigma + 0.5)


def farther_than(um: float, mask: NDArray[np.bool_], pitch_um: float) -> NDArray[np.bool_]:
    """Tell which superpixels lie farther from a mask than a distance.

    Parameters
    ----------
    um : float
    mask : ndarray of bool, shape (rows, columns)
    pitch_um : float
        Side of a superpixel.
    """
    far = np.ones(mask.shape, bool)
    for band in bands(len(mask), int(um / pitch_um) + 1):
        near = mask[band.around]
        if near.any():
            distance = ndimage.distance_transform_edt(~near)[band.inner]
            far[band.rows] = distance * pitch_um > um
    return far


def without_specks(mask: NDArray[np.bool_], largest: int) -> NDArray[np.bool_]:
    """Leave out what hangs together, along rows and columns, in no more superpixels than that.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
    largest : int
    """
    label = np.empty(mask.shape, np.int32)
    number = ndimage.label(mask, output=label)
    size = np.zeros(number + 1, np.int64)
    for band in bands(len(mask)):
        np.add.at(size, *np.unique(label[band.rows], return_counts=True))
    kept = size > largest
    kept[0] = False
    return by_label(kept, label)


def by_label(kept: NDArray[np.bool_], label: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell of each place of a raster whether its label is kept.

    Parameters
    ----------
    kept : ndarray of bool, shape (labels,)
    label : ndarray of int32, shape (rows, columns)
    """
    found = np.empty(label.shape, bool)
    for band in bands(len(label)):
        found[band.rows] = kept[label[band.rows]]
    return found
