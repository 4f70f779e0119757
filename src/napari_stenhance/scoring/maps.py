"""Measures of agreement between a gene's predicted and true expression over space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from skimage.metrics import structural_similarity

from napari_stenhance.scoring.metrics import pearson

MEASURES = ("pearson", "spearman", "cosine", "rmse", "nrmse", "ssim")
_SSIM_WINDOW = 7
# Of a pitch: spots that lie farther from lattice points lie on no square lattice.
_OFF_LATTICE = 0.25
Lattice = tuple[NDArray[np.int64], NDArray[np.int64]]


def nearest_places(
    xy: NDArray[np.float64], pitch: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the nearest point of a square lattice to each position, and how far off it lies.

    Parameters
    ----------
    xy : ndarray of float64, shape (n, 2)
    pitch : float
        In the unit of `xy`.

    Returns
    -------
    at : ndarray of int64, shape (n, 2)
        Column and row, from 0.
    off : ndarray of float64, shape (n, 2)
        In pitches.
    """
    steps = (xy - np.median(xy, axis=0)) / pitch
    # The lattice's phase, whatever spot is taken as its origin.
    steps -= np.angle(np.exp(2j * np.pi * steps).mean(axis=0)) / (2 * np.pi)
    at = np.rint(steps)
    return (at - at.min(axis=0)).astype(np.int64), steps - at


def square_lattice(xy: NDArray[np.float64], pitch: float) -> Lattice | None:
    """Return row and column of each position on a square lattice; None if they lie on none.

    Parameters
    ----------
    xy : ndarray of float64, shape (n, 2)
    pitch : float
        In the unit of `xy`.
    """
    at, off = nearest_places(xy, pitch)
    if np.abs(off).mean() > _OFF_LATTICE / 2 or len(np.unique(at, axis=0)) < len(at):
        return None
    return at[:, 1], at[:, 0]


def map_agreement(
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    lattice: Lattice | None,
    *,
    all_spots: bool,
) -> dict[str, float]:
    """Compare one gene's maps as the published evaluation of Pixel2Gene does.

    The prediction is cut to the truth's range, and both are scaled to a sum of 1: Pearson's and
    Spearman's r, cosine, RMSE, and RMSE over the mean truth. SSIM sees all of the lattice, nothing
    where there are no spots, and each map over its largest value.

    Parameters
    ----------
    predicted, truth : ndarray, shape (spots,)
    lattice : tuple of ndarray of int64
        Row and column of the spots; None where they lie on no square lattice.
    all_spots : bool
        False leaves out spots whose truth is 0, as published, from all but SSIM.

    Returns
    -------
    dict
        Of `MEASURES`; NaN where one is not defined.
    """
    values = np.stack([predicted, truth]).astype(np.float64)
    values[0] = np.clip(values[0], 0, values[1].max())
    measured = dict.fromkeys(MEASURES, float("nan"))
    if lattice is not None:
        measured["ssim"] = ssim(values, lattice)
    valid = np.isfinite(values).all(axis=0)
    values = values[:, valid if all_spots else valid & (values[1] != 0)]
    if values.shape[1] < 2:
        return measured
    values /= np.maximum(values.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    a, b = values
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    rmse = float(np.sqrt(np.mean((a - b) ** 2)))
    ranks = rankdata(values, axis=1)
    return measured | {
        "pearson": float(pearson(a[:, None], b[:, None])[0]),
        "spearman": float(pearson(ranks[0][:, None], ranks[1][:, None])[0]),
        "cosine": float(a @ b / norm) if norm else float("nan"),
        "rmse": rmse,
        "nrmse": rmse / float(b.mean()),
    }


def ssim(values: NDArray[np.float64], lattice: Lattice) -> float:
    """Compare the structure of two maps, each over its largest value; 0 where there are no spots.

    Parameters
    ----------
    values : ndarray of float64, shape (2, spots)
    lattice : tuple of ndarray of int64
        Row and column of the spots.

    Returns
    -------
    float
        NaN on fewer than seven rows or columns.
    """
    row, column = lattice
    maps = np.zeros((2, row.max() + 1, column.max() + 1))
    if min(maps.shape[1:]) < _SSIM_WINDOW:
        return float("nan")
    maps[:, row, column] = np.nan_to_num(values)
    largest = maps.max(axis=(1, 2), keepdims=True)
    maps /= np.where(largest > 0, largest, 1)
    return float(structural_similarity(*maps, win_size=_SSIM_WINDOW, data_range=1.0))
