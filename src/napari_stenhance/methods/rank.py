"""How many axes of the gene basis the features can predict, judged on held-out blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from napari_stenhance.methods.basis import GeneBasis
from napari_stenhance.methods.genes import variance
from napari_stenhance.scoring.metrics import pearson

CHOICES = (4, 8, 16, 32, 64, 128, 256)
TOLERANCE = 0.02
_RIDGES = (300.0, 3000.0)
_JUDGED_GENES = 1000


def choose_rank(
    inputs: NDArray[np.float32],
    scores: NDArray[np.float32],
    basis: GeneBasis,
    expressions: Sequence[sp.csr_array],
    folds: NDArray[np.int64],
) -> int:
    """Choose the rank with ridge regression from spot averages to scores.

    The largest rank whose mean correlation over the 1,000 most variable genes, on held-out blocks,
    is within 2 % of the best: where more axes cost nothing, genes differ more from each other.

    Parameters
    ----------
    inputs : ndarray of float32, shape (spots, channels)
        Standardised means over each spot.
    scores : ndarray of float32, shape (spots, r)
    basis : GeneBasis
    expressions : sequence of csr_array, each (spots, genes)
        log1p CP10k of each section.
    folds : ndarray of int64, shape (spots,)
        Which block fold each spot belongs to.

    Returns
    -------
    int
    """
    ranks = [rank for rank in CHOICES if rank < scores.shape[1]] + [scores.shape[1]]
    judged = np.argsort(-variance(expressions), kind="stable")[:_JUDGED_GENES]
    measured = [sp.csc_array(e)[:, judged].toarray() for e in expressions]
    best = np.zeros(len(ranks))
    for ridge in _RIDGES:
        predicted = np.empty_like(scores)
        for fold in np.unique(folds):
            held = folds == fold
            model = Ridge(alpha=ridge).fit(inputs[~held], scores[~held])
            predicted[held] = model.predict(inputs[held]).reshape(-1, scores.shape[1])
        for n, rank in enumerate(ranks):
            genes = predicted[:, :rank] @ basis.axes[:rank, judged]
            best[n] = max(best[n], _mean_correlation(genes, measured))
    good = np.flatnonzero(best >= (1 - TOLERANCE) * best.max())
    return ranks[good[-1]]


def _mean_correlation(predicted: NDArray[np.float32], measured: list[NDArray[np.float32]]) -> float:
    """Average Pearson's r over sections and genes; a gene that does not vary counts as 0."""
    total, offset = 0.0, 0
    for section in measured:
        r = pearson(predicted[offset : offset + len(section)], section)
        total += float(np.nan_to_num(r).mean())
        offset += len(section)
    return total / len(measured)
