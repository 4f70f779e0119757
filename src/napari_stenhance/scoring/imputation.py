"""How well genes that were not measured are predicted, gene by gene over spots."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import jensenshannon
from scipy.stats import rankdata
from skimage.metrics import structural_similarity

from napari_stenhance.scoring.maps import nearest_places
from napari_stenhance.scoring.metrics import partial, pearson

MEASURES = ("PCC", "Spearman", "RMSE", "JS", "SSIM")
_SIGMA, _REACH = 1.5, 3.5
"""Of the Gaussian window of SSIM in places of the raster, and where it ends in sigmas: 11 × 11."""
_SMALL = (0.01**2, 0.03**2)
_WINDOW = 7

Values = NDArray[np.floating]


class ScoreRaster(NamedTuple):
    """Where spots lie on a raster; several may share a place, and a place may have none.

    Attributes
    ----------
    row, column : ndarray of int64, shape (spots,)
    shape : tuple of int
        Rows and columns.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    shape: tuple[int, int]


def raster_of(xy: NDArray[np.float64], pitch: float) -> ScoreRaster:
    """Round positions to a square lattice of the given pitch, y counting rows.

    Parameters
    ----------
    xy : ndarray of float64, shape (spots, 2)
    pitch : float
        In the unit of `xy`.
    """
    column, row = nearest_places(xy, pitch)[0].T
    return ScoreRaster(row, column, (int(row.max()) + 1, int(column.max()) + 1))


def imputation_scores(
    predicted: Values, measured: Values, raster: ScoreRaster
) -> dict[str, NDArray[np.float64]]:
    """Measure each gene.

    Parameters
    ----------
    predicted, measured : ndarray, shape (spots, genes)
        In the same unit; where a prediction is negative, "JS" takes it for 0.
    raster : ScoreRaster

    Returns
    -------
    dict
        Of `MEASURES`, each (genes,): Pearson's and Spearman's correlation, where a gene that does
        not vary, measured or predicted, counts as 0; the root mean square error of z-scores; the
        Jensen-Shannon divergence; the structural similarity of the maps. And "constant", 1 for
        each gene that does not vary, else 0.
    """
    constant = _constant(predicted) | _constant(measured)
    return {
        "PCC": correlation(predicted, measured),
        "Spearman": rank_correlation(predicted, measured),
        "RMSE": z_score_error(predicted, measured),
        "JS": divergence(predicted, measured),
        "SSIM": similarity(predicted, measured, raster),
        "constant": constant.astype(np.float64),
    }


def correlation(predicted: Values, measured: Values) -> NDArray[np.float64]:
    """Return Pearson's r of each gene; 0 where it does not vary, measured or predicted."""
    constant = _constant(predicted) | _constant(measured)
    return np.where(constant, 0, np.nan_to_num(pearson(predicted, measured)))


def rank_correlation(predicted: Values, measured: Values) -> NDArray[np.float64]:
    """Return Spearman's r of each gene, equal values sharing the mean of their ranks; or 0."""
    return correlation(rankdata(predicted, axis=0), rankdata(measured, axis=0))


def rank_correlation_beyond(
    predicted: Values, measured: Values, other: Values
) -> NDArray[np.float64]:
    """Return what is left of Spearman's r when something that both may follow is held constant.

    The partial correlation of the ranks; 0 where a gene does not vary, or is `other` itself.

    Parameters
    ----------
    predicted, measured : ndarray, shape (spots, genes)
    other : ndarray, shape (spots,)
        Such as the library size: rare genes follow it in log1p CP10k, as they are found at all
        where more was counted.
    """
    both = np.broadcast_to(np.asarray(other)[:, None], measured.shape)
    r, a, b = (
        rank_correlation(*pair)
        for pair in ((predicted, measured), (predicted, both), (measured, both))
    )
    return np.nan_to_num(partial(r, a, b))


def z_score_error(predicted: Values, measured: Values) -> NDArray[np.float64]:
    """Return the root mean square error of each gene's z-scores; those of a constant are 0."""
    return np.sqrt(((_z_scores(predicted) - _z_scores(measured)) ** 2).mean(axis=0))


def divergence(predicted: Values, measured: Values) -> NDArray[np.float64]:
    """Return the Jensen-Shannon divergence (the square of the distance) to base 2, from 0 to 1.

    It compares how each gene's total is spread over the spots. A gene that is nowhere is spread in
    no way: 1, or 0 if it is nowhere in both.
    """
    a, b = (np.asarray(v, np.float64).clip(min=0) for v in (predicted, measured))
    of_two = (a.sum(axis=0) > 0).astype(int) + (b.sum(axis=0) > 0)
    found = (of_two == 1).astype(np.float64)
    both = of_two == 2
    found[both] = jensenshannon(a[:, both], b[:, both], base=2, axis=0) ** 2
    return found


def similarity(predicted: Values, measured: Values, raster: ScoreRaster) -> NDArray[np.float64]:
    """Return the structural similarity of each gene's two maps, over the places that have spots.

    Each map is divided by its largest value. Means, variances and covariance are those of the
    occupied places under a Gaussian window of σ = 1.5 places, so that what lies outside the tissue
    weighs nothing.
    """
    there, (p, m) = _maps(raster, [predicted, measured])

    def mean(maps: NDArray[np.float64]) -> NDArray[np.float64]:
        return gaussian_filter(
            maps, _SIGMA, truncate=_REACH, mode="constant", axes=(-2, -1)
        ) / np.where(there, weight, 1)

    weight = gaussian_filter(there.astype(np.float64), _SIGMA, truncate=_REACH, mode="constant")
    mean_p, mean_m = mean(p), mean(m)
    variance = mean(p * p) - mean_p**2 + mean(m * m) - mean_m**2
    covariance = mean(p * m) - mean_p * mean_m
    first, second = _SMALL
    ssim = (2 * mean_p * mean_m + first) * (2 * covariance + second)
    ssim /= (mean_p**2 + mean_m**2 + first) * (variance + second)
    return ssim[:, there].mean(axis=1)


def published(predicted: Values, measured: Values) -> dict[str, float]:
    """Return the five figures that the published SINCA-Net reports, by what they are.

    Parameters
    ----------
    predicted, measured : ndarray, shape (spots, genes)
        Normalised.

    Returns
    -------
    dict
        "PCC", the mean of Pearson's correlations (0 if constant). "SSIM of file order", its "SSIM":
        the spots in the order of the file fill a square row by row, zeros fill the rest, and the
        range is the larger of both arrays'; 0 below 37 spots. "RMAE": the root of the mean absolute
        error. "Jaccard", its "JS": of the entries above the median of all that was measured.
        "Spearman", its "ACC": the mean of rank correlations (0 if constant).
    """
    p, m = np.asarray(predicted, np.float64), np.asarray(measured, np.float64)
    threshold = np.median(m)
    over_p, over_m = p > threshold, m > threshold
    union = np.count_nonzero(over_p | over_m)
    return {
        "PCC": float(correlation(p, m).mean()),
        "SSIM of file order": _file_order_similarity(p, m),
        "RMAE": float(np.sqrt(np.abs(p - m).mean())),
        "Jaccard": float(np.count_nonzero(over_p & over_m) / union) if union else 0.0,
        "Spearman": float(rank_correlation(p, m).mean()),
    }


def _file_order_similarity(p: NDArray[np.float64], m: NDArray[np.float64]) -> float:
    side = math.ceil(math.sqrt(len(p)))
    if side < _WINDOW:
        return 0.0
    squares = np.zeros((2, side**2, p.shape[1]))
    squares[:, : len(p)] = m, p
    spread = max(np.ptp(p), np.ptp(m)) or 1.0
    return float(
        structural_similarity(
            *squares.reshape(2, side, side, -1), channel_axis=2, data_range=spread
        )
    )


def _maps(
    raster: ScoreRaster, values: list[Values]
) -> tuple[NDArray[np.bool_], list[NDArray[np.float64]]]:
    """Return which places have spots, and for each table the maps, (genes, rows, columns).

    Spots that share a place are averaged, and each gene is then divided by its largest value.
    """
    place = np.ravel_multi_index((raster.row, raster.column), raster.shape)
    there, slot, count = np.unique(place, return_inverse=True, return_counts=True)
    laid = []
    for table in values:
        mean = np.zeros((len(there), table.shape[1]))
        np.add.at(mean, slot, table)
        mean /= count[:, None]
        largest = mean.max(axis=0)
        maps = np.zeros((table.shape[1], raster.shape[0] * raster.shape[1]))
        maps[:, there] = (mean / np.where(largest > 0, largest, 1)).T
        laid.append(maps.reshape(-1, *raster.shape))
    mask = np.zeros(raster.shape, dtype=bool)
    mask.flat[there] = True
    return mask, laid


def _constant(values: Values) -> NDArray[np.bool_]:
    # A mean of equal values may differ from them in the last bit, so a variance will not do.
    return np.ptp(values, axis=0) == 0


def _z_scores(values: Values) -> NDArray[np.float64]:
    spread = values.std(axis=0, dtype=np.float64)
    usable = np.where(_constant(values), np.inf, np.where(spread > 0, spread, np.inf))
    return (values - values.mean(axis=0, dtype=np.float64)) / usable
