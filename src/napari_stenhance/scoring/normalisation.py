"""Scales in which predicted and measured expression are compared, by name.

Methods predict log1p CP10k. In another scale a prediction stands for the share of a spot's counts
that it gives a gene, as nearly as the exponential of a mean logarithm does, and shares are brought
to the scale as counts are. Where it needs counts, the spot's own depth, which was measured, makes
them.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.scoring.scales import Normalisation
from napari_stenhance.section.spots import log1p_cp10k

_PER, _MILLION = 1e4, 1e6
_THETA = 100.0
_ROUNDING = 1e-9

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
    return _residuals(dense, _total(counts))


def as_normalised(
    predicted: NDArray[np.floating],
    counts: sp.csr_array[np.float32],
    columns: NDArray[np.integer],
    how: Normalisation,
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
        the count is the predicted share of the spot's measured depth, and what is expected comes
        from such counts of all these spots: a share that is the same everywhere is 0 everywhere.

    Returns
    -------
    ndarray of float64, shape (spots, genes)
    """
    values = np.asarray(predicted, np.float64)
    if how == "log1p-cp10k":
        return values
    share = np.expm1(np.maximum(values, 0)) / _PER
    if how == "log1p-cpm-panel":
        return _per_million(share)
    total = _total(counts)
    return _residuals(share * total[:, None], total)


def _total(counts: sp.csr_array[np.float32]) -> _Values:
    return np.asarray(counts.sum(axis=1), np.float64).ravel()


def _per_million(values: _Values) -> _Values:
    library = values.sum(axis=1, keepdims=True)
    return np.log1p(values / np.where(library > 0, library, 1) * _MILLION)


def _residuals(values: _Values, total: _Values) -> _Values:
    """Return Pearson residuals of counts (spots, genes), given the total count of each spot."""
    expected = np.outer(total, values.sum(axis=0) / max(float(total.sum()), 1.0))
    sd = np.sqrt(expected + expected**2 / _THETA)
    found = (values - expected) / np.where(sd > 0, sd, 1)
    most = np.sqrt(len(total))
    # What rounding leaves of a gene that is predicted alike everywhere would have correlations.
    return np.where(np.abs(found) < _ROUNDING, 0, np.clip(found, -most, most))
