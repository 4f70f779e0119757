"""Agreement of predicted with measured expression, of hidden spots and of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.scoring.metrics import pearson


def recovered(
    predicted: NDArray[np.floating], measured: NDArray[np.floating], learned: NDArray[np.bool_]
) -> dict[str, float]:
    """Compare genes on the spots that were hidden and, as published, on all.

    Parameters
    ----------
    predicted, measured : ndarray, shape (spots, genes)
    learned : ndarray of bool, shape (spots,)
        Spots that were learned from.

    Returns
    -------
    dict
        Means over genes: "MSE" and "MAE" of the hidden spots; "constant" is how many genes do not
        vary there, measured or predicted. The published programs' figures are of all spots, also
        those learned from, and leave such genes out of the correlation: "PCC all (published)", and
        so "MSE all (published)" and "MAE all (published)".
    """
    hidden = _correlations(predicted[~learned], measured[~learned])
    every = _correlations(predicted, measured)
    error = np.asarray(predicted, np.float64) - measured
    return {
        "MSE": float((error[~learned] ** 2).mean()),
        "MAE": float(np.abs(error[~learned]).mean()),
        "constant": int(np.isnan(hidden).sum()),
        "PCC all (published)": (
            float(np.nanmean(every)) if np.isfinite(every).any() else float("nan")
        ),
        "MSE all (published)": float((error**2).mean()),
        "MAE all (published)": float(np.abs(error).mean()),
    }


def _correlations(
    predicted: NDArray[np.floating], measured: NDArray[np.floating]
) -> NDArray[np.float64]:
    # A mean of equal values may differ from them in the last bit.
    same = (np.ptp(predicted, axis=0) == 0) | (np.ptp(measured, axis=0) == 0)
    return np.where(same, np.nan, pearson(predicted, measured))
