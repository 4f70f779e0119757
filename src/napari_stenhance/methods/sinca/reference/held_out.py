"""Held-out genes by the published program: with its leak, or without."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.sinca.reference.network import SincaReferenceNet
from napari_stenhance.methods.sinca.reference.recipe import (
    Genes,
    SincaReferenceRecipe,
    normalised_counts,
)
from napari_stenhance.methods.sinca.reference.training import (
    SincaReferenceInput,
    predict_reference,
    train_reference,
)
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded


class HeldOut(NamedTuple):
    """Predictions in the space of the recipe's normalisation.

    Attributes
    ----------
    unknown : ndarray of float32, shape (spots, unknown genes)
        Of the output columns; without the leak they were never trained.
    known : ndarray of float32, shape (spots, known genes)
        What the network makes of the measured genes, which are all others, ascending.
    attended : ndarray of float32, shape (spots, unknown genes)
        The cells' normalised expression, weighted by the spots' attention, mean over heads.
    """

    unknown: NDArray[np.float32]
    known: NDArray[np.float32]
    attended: NDArray[np.float32]


def predict_held_out(
    spots: sp.csr_array[np.float32],
    cells: sp.csr_array[np.float32],
    xy: NDArray[np.floating],
    unknown: Genes,
    recipe: SincaReferenceRecipe,
    *,
    leak: bool,
    seed: int,
    device: torch.device,
    job: Job,
) -> HeldOut:
    """Train on one section, and predict it.

    Parameters
    ----------
    spots : csr_array of float32, shape (spots, genes)
        Raw counts.
    cells : csr_array of float32, shape (cells, genes)
        Raw counts of the same genes.
    xy : ndarray, shape (spots, 2)
        Positions in any unit.
    unknown : ndarray of int64
        The genes that are held out, ascending.
    recipe : SincaReferenceRecipe
    leak : bool
        True, as published: the measured values of the held-out genes are what is learned, and by
        them the best epoch is chosen. False: they are not read.
    seed : int
        42 in the publication.
    device : torch.device
    job : Job

    Raises
    ------
    InputError
        If spots and cells differ in their genes, or no gene is held out, or none is left.
    InferenceError
        If the device fails.
    """
    known = known_genes(spots.shape[1], cells.shape[1], unknown)

    def sent(values: NDArray[np.floating]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    expression = normalised_counts(cells, recipe.normalise)
    seen = SincaReferenceInput(
        known=sent(normalised_counts(spots[:, known], recipe.normalise)),
        xy=sent(xy),
        cells=sent(expression),
        unknown=sent(normalised_counts(spots[:, unknown], recipe.normalise)) if leak else None,
    )
    with inference_errors("Training"), seeded(seed, device):
        network = SincaReferenceNet(len(known), len(unknown), recipe).to(device)
        train_reference(network, seen, recipe, job)
        predicted = predict_reference(network, seen, sent(expression[:, unknown]), recipe, job)
    return HeldOut(*(part.cpu().numpy() for part in predicted))


def known_genes(of_spots: int, of_cells: int, unknown: Genes) -> Genes:
    """Return the genes that are not held out, ascending."""
    if of_spots != of_cells:
        msg = f"The spots have {of_spots} genes and the cells {of_cells}; give those they share."
        raise InputError(msg)
    known = np.setdiff1d(np.arange(of_spots), unknown)
    if not len(unknown) or not len(known):
        msg = f"Of {of_spots} genes {len(unknown)} are held out; hold out some, not all."
        raise InputError(msg)
    return known
