"""Measures of agreement between predicted and measured expression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RELIABLE_R = 0.1
"""The least r given depth, on held-out spots, of a gene that is taken to be reliable."""
_TINY = 1e-6


def pearson(predicted: NDArray[np.floating], measured: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson's r of each column over the rows.

    Parameters
    ----------
    predicted, measured : ndarray, shape (spots, genes)

    Returns
    -------
    ndarray of float64, shape (genes,)
        NaN where either column does not vary.
    """
    a = predicted - predicted.mean(axis=0, dtype=np.float64)
    b = measured - measured.mean(axis=0, dtype=np.float64)
    norm = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        r: NDArray[np.float64] = np.where(norm > 0, (a * b).sum(axis=0) / norm, np.nan)
    return r


def partial(
    r: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the correlation that is left between two things when a third is held constant.

    Parameters
    ----------
    r : ndarray of float64
        Correlations of the two.
    a, b : ndarray of float64
        Correlations of each with the third; NaN is as 0, for what does not vary is held already.

    Returns
    -------
    ndarray of float64
        As if both were regressed on the third, and the residuals correlated. NaN where nothing is
        left of either.

    References
    ----------
    Yule, On the theory of correlation for any number of variables, treated by a new system of
    notation, Proceedings of the Royal Society A 79:182-193 (1907).
    """
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    left = np.sqrt(np.clip((1 - a**2) * (1 - b**2), 0, None))
    found: NDArray[np.float64] = np.where(left > _TINY, r - a * b, np.nan)
    return found / np.where(left > _TINY, left, 1)


class GeneAccuracy(NamedTuple):
    """How well genes were predicted, each (genes,) of float64.

    Attributes
    ----------
    r : ndarray
        Pearson's r over the spots.
    r_given_depth : ndarray
        What is left of it with the logarithm of depth, the total count of a spot, held constant:
        an image shows how densely cells lie, and so much of many genes is counted where they do.
    """

    r: NDArray[np.float64]
    r_given_depth: NDArray[np.float64]


def gene_accuracy(
    predicted: NDArray[np.floating], measured: NDArray[np.floating], depth: NDArray[np.floating]
) -> GeneAccuracy:
    """Compare predictions of one section with what was measured.

    Parameters
    ----------
    predicted, measured : ndarray, shape (spots, genes)
    depth : ndarray, shape (spots,)
        Total count of each spot, over all genes that were measured.

    Returns
    -------
    GeneAccuracy
        NaN where a gene does not vary, or only as depth does; 0 where it does, and its prediction
        does not: that says nothing of it.
    """
    if len(measured) < 2:
        nothing = np.full(measured.shape[1], np.nan)
        return GeneAccuracy(nothing, nothing)
    log_depth = np.log(np.maximum(depth, 1.0))[:, None]
    if np.ptp(log_depth) == 0:
        # Rounding would make something of its deviations from the mean.
        log_depth = np.zeros_like(log_depth)
    varies = np.ptp(measured, axis=0) > 0
    r = np.where(varies, np.nan_to_num(pearson(predicted, measured)), np.nan)
    of_measured = np.nan_to_num(pearson(log_depth, measured))
    left = partial(r, pearson(predicted, log_depth), of_measured)
    has_own_share = varies & (1 - of_measured**2 > _TINY)
    return GeneAccuracy(r, np.where(has_own_share, np.nan_to_num(left), np.nan))


def over_sections(parts: Sequence[GeneAccuracy]) -> GeneAccuracy:
    """Average each gene over the sections that say something of it; NaN where none does."""
    return GeneAccuracy(*(_mean_known(np.stack(one)) for one in zip(*parts, strict=True)))


def _mean_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


class PearsonSums:
    """Pearson's r of each column over rows that come in parts, and are not kept.

    Parameters
    ----------
    columns : int
    """

    def __init__(self, columns: int) -> None:
        self._rows = 0
        self._mean = np.zeros((2, columns))
        # Sums of squares of both, and of products, about the means.
        self._about = np.zeros((3, columns))

    def add(self, predicted: NDArray[np.floating], measured: NDArray[np.floating]) -> None:
        """Add rows, each (n, columns); pairwise update after Chan, Golub and LeVeque (1983)."""
        more = len(predicted)
        if not more:
            return
        both = np.stack([predicted, measured]).astype(np.float64)
        mean = both.mean(axis=1)
        a, b = both - mean[:, None]
        rows = self._rows + more
        shift = mean - self._mean
        weight = self._rows * more / rows
        self._about += np.stack([(a * a).sum(axis=0), (b * b).sum(axis=0), (a * b).sum(axis=0)])
        self._about += weight * np.stack([shift[0] ** 2, shift[1] ** 2, shift[0] * shift[1]])
        self._mean += shift * (more / rows)
        self._rows = rows

    def r(self) -> NDArray[np.float64]:
        """Return r of each column; NaN where either does not vary."""
        norm = np.sqrt(self._about[0] * self._about[1])
        with np.errstate(invalid="ignore", divide="ignore"):
            r: NDArray[np.float64] = np.where(norm > 0, self._about[2] / norm, np.nan)
        return r
