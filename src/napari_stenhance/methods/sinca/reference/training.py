"""Training as published, and prediction in the order of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from napari_stenhance.methods.sinca.protocol import Fold, HiddenGenes
from napari_stenhance.methods.sinca.reference.network import (
    Output,
    SincaReferenceNet,
)
from napari_stenhance.methods.sinca.reference.recipe import SincaReferenceRecipe
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded

_PER = 1e4
_GROUPS_AT_ONCE = 4
"""Batches that are evaluated together; a fixed number, for others could round apart."""


@dataclass(frozen=True)
class SincaReferenceInput:
    """What a training sees, normalised.

    Attributes
    ----------
    known : Tensor of float32, shape (spots, known genes)
    xy : Tensor of float32, shape (spots, 2)
    cells : Tensor of float32, shape (cells, genes)
        Of all genes, in the order that spots and cells share.
    unknown : Tensor of float32, shape (spots, unknown genes), or None
        The published program learns the very values that it then predicts. None: nothing is known
        of them.
    """

    known: Tensor
    xy: Tensor
    cells: Tensor
    unknown: Tensor | None


def loss_of(output: Output, known: Tensor, unknown: Tensor | None, weight: float) -> Tensor:
    """Return the mean squared error of the unknown genes plus `weight` times that of the known.

    Without unknown genes the known alone count; each Tensor is (groups, spots, genes).
    """
    refined = weight * mse_loss(output.known, known)
    return refined if unknown is None else mse_loss(output.unknown, unknown) + refined


def train_reference(
    network: SincaReferenceNet, seen: SincaReferenceInput, recipe: SincaReferenceRecipe, job: Job
) -> float:
    """Train, and leave the network in the state of its best epoch, in evaluation mode.

    Draws from torch's random state. The best epoch has the least mean loss over the batches in the
    order of the file: over the very spots, and unless `seen` lacks them the very values, that it
    learns.

    Returns
    -------
    float
        The least loss.
    """
    # Fused: one pass over millions of parameters instead of a dozen.
    optimiser = torch.optim.AdamW(
        network.parameters(),
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    least, best = float("inf"), {}
    with job.stage("Training SINCA-Net", recipe.epochs) as stage:
        for _ in range(recipe.epochs):
            train_epoch(network, seen, recipe, optimiser, job)
            loss = validation_loss(network, seen, recipe, job)
            if loss < least:
                least = loss
                best = {name: v.detach().clone() for name, v in network.state_dict().items()}
            stage.advance()
    # Of losses that are all NaN none is the least.
    network.load_state_dict(best or network.state_dict())
    network.eval()
    return least


def train_epoch(
    network: SincaReferenceNet,
    seen: SincaReferenceInput,
    recipe: SincaReferenceRecipe,
    optimiser: torch.optim.Optimizer,
    job: Job,
) -> None:
    """Take a step for each batch of spots, in a new order."""
    network.train()
    for some in torch.randperm(len(seen.xy)).to(seen.xy.device).split(recipe.batch):
        known = seen.known.index_select(0, some)[None]
        unknown = None if seen.unknown is None else seen.unknown.index_select(0, some)[None]
        xy = seen.xy.index_select(0, some)[None]
        output = network(known, xy, network.remember(seen.cells))
        loss = loss_of(output, known, unknown, recipe.known_weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        job.check()


def validation_loss(
    network: SincaReferenceNet, seen: SincaReferenceInput, recipe: SincaReferenceRecipe, job: Job
) -> float:
    """Return the mean over batches, in the order of the file, of the loss of each."""
    total, batches = 0.0, 0
    for output, at in evaluated(network, seen, recipe.batch, job):
        groups = len(output.known)
        known = seen.known[at].view_as(output.known)
        unknown = None if seen.unknown is None else seen.unknown[at].view_as(output.unknown)
        # Its groups are equally large: their mean is the mean over all.
        total += groups * float(loss_of(output, known, unknown, recipe.known_weight))
        batches += groups
    return total / batches


@torch.no_grad()
def evaluated(
    network: SincaReferenceNet, seen: SincaReferenceInput, batch: int, job: Job
) -> Iterator[tuple[Output, slice]]:
    """Predict all spots in batches in their order; the cells are projected once.

    Yields
    ------
    Output
        Of a few batches.
    slice
        Their spots.
    """
    network.eval()
    spots = len(seen.xy)
    whole = spots // batch * batch
    starts = list(range(0, whole, batch * _GROUPS_AT_ONCE))
    stops = [*starts[1:], whole] if starts else []
    if whole < spots:
        starts, stops = [*starts, whole], [*stops, spots]
    memory = network.remember(seen.cells)
    for start, stop in zip(starts, stops, strict=True):
        at = slice(start, stop)
        size = min(batch, stop - start)
        known, xy = (part[at].unflatten(0, (-1, size)) for part in (seen.known, seen.xy))
        yield network(known, xy, memory), at
        job.check()


class HeldOut(NamedTuple):
    """What is predicted of genes that are held out, log1p of counts, each (spots, genes).

    Attributes
    ----------
    output : ndarray of float32
        Of the output columns; without the leak they were never trained.
    attended : ndarray of float32
        The cells' expression, weighted by the spots' attention, mean over heads.
    """

    output: NDArray[np.float32]
    attended: NDArray[np.float32]


def dense_log1p(counts: sp.csr_array[np.float32]) -> NDArray[np.float32]:
    """Return log(1 + count) without regard to the size of a library, (rows, genes)."""
    values: NDArray[np.float32] = counts.toarray().astype(np.float32)
    return np.log1p(values, out=values)


def predict_held_out(
    spots: sp.csr_array[np.float32],
    cells: sp.csr_array[np.float32],
    xy: NDArray[np.floating],
    unknown: NDArray[np.int64],
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
    InferenceError
        If the device fails.
    """
    known = np.setdiff1d(np.arange(spots.shape[1]), unknown)

    def sent(values: NDArray[np.floating]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    expression = dense_log1p(cells)
    seen = SincaReferenceInput(
        known=sent(dense_log1p(spots[:, known])),
        xy=sent(xy),
        cells=sent(expression),
        unknown=sent(dense_log1p(spots[:, unknown])) if leak else None,
    )
    with inference_errors("Training"), seeded(seed, device):
        network = SincaReferenceNet(len(known), len(unknown), recipe).to(device)
        train_reference(network, seen, recipe, job)
        wanted = sent(expression[:, unknown])
        parts = [
            (o.unknown.flatten(0, 1), o.attention().flatten(0, 1) @ wanted)
            for o, _ in evaluated(network, seen, recipe.batch, job)
        ]
        return HeldOut(*(torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True)))


def as_published(
    predict: Callable[..., HeldOut], device: torch.device, shown: tuple[bool, ...] = (True, False)
) -> HiddenGenes:
    """Predict as a published program, which is shown the genes that it predicts; or is not.

    Its output columns predict log1p of counts; they are brought to CP10k. What its attention to
    the cells says of a gene, which the program does not read, is taken as it is.

    Parameters
    ----------
    predict : callable
        `predict_held_out`, or that of the first version, with its recipe.
    device : torch.device
    shown : tuple of bool
    """

    def hidden_genes(fold: Fold, seed: int, job: Job) -> dict[str, NDArray[np.floating]]:
        spots = sp.csr_array(sp.hstack([fold.spots.counts, fold.hidden.counts]))
        columns = np.concatenate([fold.spots.columns, fold.hidden.columns])
        unknown = np.arange(len(fold.spots.columns), len(columns))
        cells = sp.csr_array(fold.cells.counts[:, columns])
        per = _PER / np.maximum(fold.spots.library, 1)
        found: dict[str, NDArray[np.floating]] = {}
        for leak in shown:
            how = "published, shown" if leak else "published, hidden"
            held_out = predict(
                spots, cells, fold.spots.xy, unknown, leak=leak, seed=seed, device=device, job=job
            )
            counts = np.expm1(held_out.output).clip(min=0)
            found[how] = np.log1p(counts * per[:, None])
            found[f"{how}, attention"] = held_out.attended
        return found

    return hidden_genes
