"""Highly variable genes as Seurat v3 ranks them, from raw counts."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

_SPAN = 0.3


def seurat_v3_variance(counts: sp.csr_array[np.float32]) -> NDArray[np.float64]:
    """Return the variance of each gene's standardised, clipped counts.

    The standard deviation that a gene's mean lets expect comes from a loess of log10 variance on
    log10 mean (degree 2, span 0.3); counts are standardised by it and clipped at √n.

    Parameters
    ----------
    counts : csr_array, shape (spots, genes)
        Raw.

    Returns
    -------
    ndarray of float64, shape (genes,)
        0 for a gene that does not vary.

    References
    ----------
    Stuart et al., Cell 177:1888-1902 (2019), "Identification of features for integration".
    """
    from skmisc.loess import loess

    n = counts.shape[0]
    columns = sp.csc_array(counts, dtype=np.float64)
    mean = np.asarray(columns.sum(axis=0)).ravel() / n
    square = np.asarray(columns.power(2).sum(axis=0)).ravel()
    variance = np.maximum(square - n * mean**2, 0) / max(n - 1, 1)
    varies = variance > 0
    if varies.sum() < 3:
        return variance
    x, y = np.log10(mean[varies]), np.log10(variance[varies])
    fit = loess(x, y, span=_SPAN, degree=2)
    fit.fit()
    expected = np.ones(len(mean))
    expected[varies] = np.sqrt(10.0**fit.outputs.fitted_values)
    gene = np.repeat(np.arange(len(mean)), np.diff(columns.indptr))
    clipped = np.minimum(columns.data, (expected * np.sqrt(n) + mean)[gene])
    total = np.bincount(gene, clipped, len(mean))
    squares = np.bincount(gene, clipped**2, len(mean))
    standard: NDArray[np.float64] = (n * mean**2 + squares - 2 * total * mean) / (
        (n - 1) * expected**2
    )
    return np.where(varies, standard, 0.0)


def seurat_v3_genes(counts: sp.csr_array[np.float32], number: int) -> NDArray[np.intp]:
    """Return the columns of the `number` genes that vary most, most variable first."""
    return np.argsort(-seurat_v3_variance(counts), kind="stable")[:number]
