"""Measures of agreement between predicted and measured expression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
