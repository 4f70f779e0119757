"""What is compared where measured genes are hidden: SINCA-Net, as published too, and baselines."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from napari_stenhance.methods.sinca.protocol import ImputationMethod
from napari_stenhance.methods.sinca.reference.held_out import predict_held_out
from napari_stenhance.methods.sinca.reference.recipe import SincaReferenceRecipe
from napari_stenhance.methods.sinca.reference.whole import predict_held_out_whole
from napari_stenhance.methods.sinca.reference.whole_network import SincaWholeRecipe
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.cell_baselines import BASELINES, Both
from napari_stenhance.section.spots import log1p_cp10k
from napari_stenhance.tasks.gene_folds import Fold, Predict

_PER = 1e4


def imputing(name: str, method: ImputationMethod) -> Predict:
    """Predict as `impute` does."""

    def predict(fold: Fold, _seed: int, job: Job) -> dict[str, NDArray[np.floating]]:
        fitted = method.fit(fold.spots, fold.cells, job)
        return {name: np.log1p(_PER * fitted.impute(fold.hidden.columns).share)}

    return predict


def as_published(
    recipe: SincaReferenceRecipe | SincaWholeRecipe, shown: tuple[bool, ...], device: torch.device
) -> Predict:
    """Predict as the published program, which is shown the genes that it predicts; or is not.

    Its output columns predict log1p of counts; they are brought to CP10k. What its attention to
    the cells says of a gene, which the program does not read, is taken as it is.
    """

    def predict(fold: Fold, seed: int, job: Job) -> dict[str, NDArray[np.floating]]:
        spots = sp.csr_array(sp.hstack([fold.spots.counts, fold.hidden.counts]))
        columns = np.concatenate([fold.spots.columns, fold.hidden.columns])
        unknown = np.arange(len(fold.spots.columns), len(columns))
        cells = sp.csr_array(fold.cells.counts[:, columns])
        per = _PER / np.maximum(fold.spots.library, 1)
        found: dict[str, NDArray[np.floating]] = {}
        for leak in shown:
            how = "shown" if leak else "hidden"
            run = (spots, cells, fold.spots.xy, unknown)
            held_out = (
                predict_held_out(*run, recipe, leak=leak, seed=seed, device=device, job=job)
                if isinstance(recipe, SincaReferenceRecipe)
                else predict_held_out_whole(
                    *run, recipe, leak=leak, seed=seed, device=device, job=job
                )
            )
            counts = np.expm1(held_out.unknown).clip(min=0)
            found[f"published, {how}"] = np.log1p(counts * per[:, None])
            found[f"published, {how}, attention"] = held_out.attended
        return found

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
