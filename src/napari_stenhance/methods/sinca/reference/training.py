"""Training as published, and prediction in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from napari_stenhance.methods.sinca.reference.network import Output, SincaReferenceNet
from napari_stenhance.methods.sinca.reference.recipe import SincaReferenceRecipe
from napari_stenhance.running.job import Job

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


class Predicted(NamedTuple):
    """What is predicted of all spots.

    Attributes
    ----------
    unknown, known : Tensor
        (spots, genes) of each head.
    attended : Tensor, shape (spots, unknown genes)
        The unknown genes of the cells, averaged by attention.
    """

    unknown: Tensor
    known: Tensor
    attended: Tensor


def predict_reference(
    network: SincaReferenceNet,
    seen: SincaReferenceInput,
    unknown_of_cells: Tensor,
    recipe: SincaReferenceRecipe,
    job: Job,
) -> Predicted:
    """Predict all spots in batches in their order.

    Parameters
    ----------
    unknown_of_cells : Tensor, shape (cells, unknown genes)
        Normalised.
    """
    parts = [
        (
            o.unknown.flatten(0, 1),
            o.known.flatten(0, 1),
            o.attention().flatten(0, 1) @ unknown_of_cells,
        )
        for o, _ in evaluated(network, seen, recipe.batch, job)
    ]
    return Predicted(*(torch.cat(part) for part in zip(*parts, strict=True)))
