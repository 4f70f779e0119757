"""What is compared where measured genes are hidden: an imputation, and baselines."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.methods.sinca.protocol import Fold, HiddenGenes, ImputationMethod
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.cell_baselines import BASELINES, Both
from napari_stenhance.section.spots import log1p_cp10k

_PER = 1e4


def imputing(name: str, method: ImputationMethod) -> HiddenGenes:
    """Predict as `impute` does."""

    def predict(fold: Fold, _seed: int, job: Job) -> dict[str, NDArray[np.floating]]:
        fitted = method.fit(fold.spots, fold.cells, job)
        return {name: np.log1p(_PER * fitted.impute(fold.hidden.columns).share)}

    return predict


def baselines(fold: Fold, seed: int, job: Job) -> dict[str, NDArray[np.floating]]:
    """Predict by what needs no network, from the genes that spots and cells both have."""
    spots, cells = fold.spots, fold.cells
    both = Both(_own(spots.counts), _own(cells.counts[:, spots.columns]), spots.library)
    whole = np.asarray(cells.counts.sum(axis=1), np.float64).ravel()
    wanted = log1p_cp10k(sp.csr_array(cells.counts[:, fold.hidden.columns]), whole).toarray()
    return {name: guess(both, wanted, seed, job) for name, guess in BASELINES.items()}


def _own(counts: sp.csr_array[np.float32]) -> NDArray[np.float32]:
    """Return log1p CP10k of the genes that are there alone, dense."""
    library = np.asarray(counts.sum(axis=1), np.float64).ravel()
    return log1p_cp10k(sp.csr_array(counts), library).toarray()
