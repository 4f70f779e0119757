"""Held-out genes by the first published version, which hides entries of the whole slice."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from napari_stenhance.methods.sinca.reference.held_out import HeldOut, known_genes
from napari_stenhance.methods.sinca.reference.recipe import FOLD_SEED, Genes, normalised_counts
from napari_stenhance.methods.sinca.reference.whole_network import SincaWholeNet, SincaWholeRecipe
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded

_SLOWER = 0.5


def last_tenth(genes: int) -> Genes:
    """Return the genes that this version holds out: the last tenth of a permutation, ascending."""
    order = np.random.RandomState(FOLD_SEED).permutation(genes)
    return np.sort(order[int(0.9 * genes) :]).astype(np.int64)


def drawn_mask(shape: tuple[int, int], among: Genes, ratio: float, epoch: int) -> NDArray[np.bool_]:
    """Draw entries to hide, each with the same probability, among some of the genes.

    Returns
    -------
    ndarray of bool, shape (spots, genes)
        Seeded by 42 + `epoch`.
    """
    mask = np.random.RandomState(FOLD_SEED + epoch).random_sample(shape) < ratio
    allowed = np.zeros(shape[1], dtype=bool)
    allowed[among] = True
    return mask & allowed


def masked_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the squared error of the hidden entries, summed, over the number of all entries."""
    return mse_loss(predicted * mask, target * mask)


def predict_held_out_whole(
    spots: sp.csr_array[np.float32],
    cells: sp.csr_array[np.float32],
    xy: NDArray[np.floating],
    unknown: Genes,
    recipe: SincaWholeRecipe,
    *,
    leak: bool,
    seed: int,
    device: torch.device,
    job: Job,
) -> HeldOut:
    """Train on one section, and predict it with the weights of the last epoch.

    Parameters
    ----------
    spots, cells, xy, unknown, seed, device, job
        As in `predict_held_out`.
    recipe : SincaWholeRecipe
    leak : bool
        True, as published: the held-out genes are seen, but for the entries hidden in validation,
        and the loss of those sets the learning rate. False: they are 0 in all that the network
        sees, and other genes' entries set the learning rate. Their output columns are trained in
        neither case.

    Raises
    ------
    InputError
        If spots and cells differ in their genes, or no gene is held out, or none is left.
    InferenceError
        If the device fails.
    """
    known = known_genes(spots.shape[1], cells.shape[1], unknown)
    seen = np.zeros(spots.shape, np.float32)
    visible = np.arange(spots.shape[1]) if leak else known
    seen[:, visible] = normalised_counts(spots[:, visible], recipe.normalise)
    expression, reference, positions = (
        torch.tensor(values, dtype=torch.float32, device=device)
        for values in (seen, normalised_counts(cells, recipe.normalise), xy)
    )

    def mask(among: Genes, epoch: int) -> Tensor:
        drawn = drawn_mask(seen.shape, among, recipe.mask_ratio, epoch)
        return torch.tensor(drawn, device=device)

    with inference_errors("Training"), seeded(seed, device):
        network = SincaWholeNet(len(expression.T), recipe).to(device)
        optimiser = torch.optim.Adam(
            network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        slower = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, factor=_SLOWER, patience=recipe.patience
        )
        validated = mask(unknown if leak else known, 0)
        with job.stage("Training SINCA-Net", recipe.epochs) as stage:
            for epoch in range(recipe.epochs):
                network.train()
                hidden = mask(known, epoch)
                predicted, _, _ = network(expression * ~hidden, positions, reference)
                loss = masked_loss(predicted, expression, hidden)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
                optimiser.step()
                network.eval()
                with torch.no_grad():
                    predicted, _, _ = network(expression * ~validated, positions, reference)
                    slower.step(float(masked_loss(predicted, expression, validated)))
                stage.advance()
        network.eval()
        with torch.no_grad():
            predicted, weights, drawn = network(expression, positions, reference)
            attended = weights @ reference.index_select(0, drawn)[:, unknown]
    genes = predicted.cpu().numpy()
    return HeldOut(genes[:, unknown], genes[:, known], attended.cpu().numpy())
