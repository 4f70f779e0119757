"""Scales in which predicted and measured expression are compared, by name.

Methods predict log1p CP10k. In another scale a prediction stands for the share of a spot's counts
that it gives a gene. As the exponential of a mean logarithm is less than the mean, each gene's
shares are brought to the mean that it has in the spots that were learned from. The spot's own
depth, which was measured, turns shares to counts where the scale needs them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.scoring.scales import Normalisation
from napari_stenhance.section.spots import log1p_cp10k

_PER, _MILLION = 1e4, 1e6
_THETA = 100.0

_Values = NDArray[np.float64]


def normalised(
    counts: sp.csr_array[np.float32], columns: NDArray[np.integer], how: Normalisation
) -> _Values:
    """Bring the counts of some genes to a scale.

    Parameters
    ----------
    counts : sparse array, shape (spots, all genes)
        Raw.
    columns : ndarray of int, shape (genes,)
        Of the genes that are compared.
    how : str
        "log1p-cp10k": the logarithm of 1 + counts per 10,000 of the spot. "log1p-cpm-panel": of
        1 + counts per million of what the compared genes have in the spot. "pearson-residuals":
        how far a count lies from what depth and the gene's share of all of these spots let expect,
        over its standard deviation under a negative binomial of θ = 100, cut at √spots.

    Returns
    -------
    ndarray of float64, shape (spots, genes)

    References
    ----------
    Lause, Berens and Kobak, Analytic Pearson residuals for normalization of single-cell RNA-seq
    UMI data, Genome Biology 22:258 (2021).
    """
    own = sp.csr_array(counts[:, columns])
    if how == "log1p-cp10k":
        return log1p_cp10k(own, _total(counts)).toarray().astype(np.float64)
    dense = own.toarray().astype(np.float64)
    if how == "log1p-cpm-panel":
        return _per_million(dense)
    return _residuals(dense, *_expected(counts, columns))


def as_normalised(
    predicted: NDArray[np.floating],
    counts: sp.csr_array[np.float32],
    columns: NDArray[np.integer],
    how: Normalisation,
    learned: NDArray[np.floating],
) -> _Values:
    """Bring predictions, in log1p CP10k, to the scale of what was measured of the same spots.

    Parameters
    ----------
    predicted : ndarray, shape (spots, genes)
    counts : sparse array, shape (spots, all genes)
        Raw, of the same spots.
    columns : ndarray of int, shape (genes,)
    how : str
        The panel's library is the sum of the shares that are predicted of it. Of Pearson residuals,
        the expected count is the predicted share of the spot's measured depth; what is expected
        else is as of the measured counts.
    learned : ndarray, shape (genes,)
        Their means in the spots that were learned from: of `mean_cp10k`.

    Returns
    -------
    ndarray of float64, shape (spots, genes)
    """
    values = np.asarray(predicted, np.float64)
    if how == "log1p-cp10k":
        return values
    per_10k = np.expm1(np.maximum(values, 0))
    mean = per_10k.mean(axis=0)
    share = per_10k * np.where(mean > 0, learned / np.where(mean > 0, mean, 1), 1) / _PER
    if how == "log1p-cpm-panel":
        return _per_million(share)
    return _residuals(share * _total(counts)[:, None], *_expected(counts, columns))


def mean_cp10k(
    counts: Sequence[sp.csr_array[np.float32]], columns: Sequence[NDArray[np.integer]]
) -> _Values:
    """Return the mean counts per 10,000 of some genes over the spots of several sections.

    Parameters
    ----------
    counts : sequence of sparse array, each of shape (spots, all genes)
    columns : sequence of ndarray of int, each of shape (genes,)
        Of the same genes, in each.
    """
    every = [
        sp.csr_array(one[:, at]).toarray() / np.maximum(_total(one), 1)[:, None]
        for one, at in zip(counts, columns, strict=True)
    ]
    mean: _Values = np.concatenate(every).mean(axis=0, dtype=np.float64) * _PER
    return mean


def _total(counts: sp.csr_array[np.float32]) -> _Values:
    return np.asarray(counts.sum(axis=1), np.float64).ravel()


def _per_million(values: _Values) -> _Values:
    library = values.sum(axis=1, keepdims=True)
    return np.log1p(values / np.where(library > 0, library, 1) * _MILLION)


def _expected(
    counts: sp.csr_array[np.float32], columns: NDArray[np.integer]
) -> tuple[_Values, int]:
    """Return what depth lets expect of each gene in each spot, and how many spots there are."""
    total = _total(counts)
    of_genes = np.asarray(counts.sum(axis=0), np.float64).ravel()[columns]
    return np.outer(total, of_genes / max(float(total.sum()), 1.0)), len(total)


def _residuals(values: _Values, expected: _Values, spots: int) -> _Values:
    sd = np.sqrt(expected + expected**2 / _THETA)
    found = (values - expected) / np.where(sd > 0, sd, 1)
    return np.clip(found, -np.sqrt(spots), np.sqrt(spots))
