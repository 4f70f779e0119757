"""One training epoch of SINCA-Net as published: vectorised, against loops over spots and copies.

The same network, weights and batches, on one thread. As published, the raster of each batch is
written and read spot by spot, in place under autograd; each spot that is loaded copies the whole
matrix of cells; and after each epoch all spots are predicted, with cells projected again for every
batch, to measure every gene. Vectorised, cells are held once, projected once for the evaluation,
and genes are measured when training has ended. Before it is timed, both are run without dropout:
outputs, gradients, and losses and predictions after an epoch must agree. Projecting the cells for
each batch, and the gradient of it, is in both, and bounds the ratio of an epoch.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from sinca_data import PAIRS, folder, gene_folds, load
from timing import median_seconds, seconds
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from napari_stenhance.methods.sinca.reference.network import (
    SincaReferenceNet,
    SpatialConvolution,
    SquareRasters,
    gathered,
    places_of,
    scattered,
)
from napari_stenhance.methods.sinca.reference.recipe import SincaReferenceRecipe
from napari_stenhance.methods.sinca.reference.training import (
    SincaReferenceInput,
    dense_log1p,
    evaluated,
    loss_of,
    train_epoch,
    validation_loss,
)
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.imputation import published

SIZES = {
    "small panel": (750, 1300, 130),
    "a panel, few cells": (1000, 1000, 1000),
    "seqFISH+ cortex": (524, 14249, 1000),
    "spots of all genes": (256, 5000, 5000),
}
"""Synthetic: spots, cells, genes."""
RASTERS = (32, 1000, 4000)
RUNS = 3
Step = Callable[[Tensor, SquareRasters], Tensor]


def looped_scatter(spots: Tensor, places: SquareRasters) -> Tensor:
    """Write spots, (spots, width), to a raster one by one."""
    at, _, side = places
    raster = spots.new_zeros(1, spots.shape[1], side, side)
    count = spots.new_zeros(1, 1, side, side)
    for spot in range(len(spots)):
        row, column = divmod(int(at[spot]), side)
        raster[0, :, row, column] += spots[spot]
        count[0, 0, row, column] += 1
    return raster / count.clamp(min=1)


def looped_gather(raster: Tensor, places: SquareRasters) -> Tensor:
    """Read a raster spot by spot."""
    at, _, side = places
    read = raster.new_zeros(len(at), raster.shape[1])
    for spot in range(len(at)):
        row, column = divmod(int(at[spot]), side)
        read[spot] = raster[0, :, row, column]
    return read


class LoopedConvolution(SpatialConvolution):
    """The published loops: one write and one read for each spot."""

    def on_raster(self, spots: Tensor, xy: Tensor) -> Tensor:
        places = places_of(xy)
        raster = self.convolved(looped_scatter(spots[0], places))
        return looped_gather(raster, places)[None]


class CopyingItems(Dataset[tuple[Tensor, ...]]):
    """Spots, each with a copy of the matrix of cells."""

    def __init__(self, seen: SincaReferenceInput) -> None:
        self._seen = seen

    def __len__(self) -> int:
        return len(self._seen.xy)

    def __getitem__(self, spot: int) -> tuple[Tensor, ...]:
        seen = self._seen
        return seen.known[spot], seen.xy[spot], seen.unknown[spot], seen.cells.clone()


def collated(items: list[tuple[Tensor, ...]]) -> list[Tensor]:
    known, xy, unknown, cells = zip(*items, strict=True)
    return [*(torch.stack(part)[None] for part in (known, xy, unknown)), cells[0]]


def looped_batches(seen: SincaReferenceInput, order: Tensor, batch: int) -> Iterator[list[Tensor]]:
    batches = [some.tolist() for some in order.split(batch)]
    yield from DataLoader(CopyingItems(seen), batch_sampler=batches, collate_fn=collated)


def looped_epoch(
    network: SincaReferenceNet,
    seen: SincaReferenceInput,
    recipe: SincaReferenceRecipe,
    optimiser: torch.optim.Optimizer,
) -> float:
    """Train and evaluate as published; return the validation loss."""
    network.train()
    for known, xy, unknown, cells in looped_batches(
        seen, torch.randperm(len(seen.xy)), recipe.batch
    ):
        output = network(known, xy, network.remember(cells))
        loss = loss_of(output, known, unknown, recipe.known_weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
    network.eval()
    losses, parts = [], []
    with torch.no_grad():
        for known, xy, unknown, cells in looped_batches(
            seen, torch.arange(len(seen.xy)), recipe.batch
        ):
            output = network(known, xy, network.remember(cells))
            losses.append(float(loss_of(output, known, unknown, recipe.known_weight)))
            parts.append(output.unknown[0])
    published(torch.cat(parts).numpy(), seen.unknown.numpy())
    return statistics.fmean(losses)


def vectorised_epoch(
    network: SincaReferenceNet,
    seen: SincaReferenceInput,
    recipe: SincaReferenceRecipe,
    optimiser: torch.optim.Optimizer,
) -> float:
    train_epoch(network, seen, recipe, optimiser, Job())
    return validation_loss(network, seen, recipe, Job())


def looped_twin(network: SincaReferenceNet) -> SincaReferenceNet:
    twin = copy.deepcopy(network)
    twin.convolution.__class__ = LoopedConvolution
    return twin


def adam(network: nn.Module, recipe: SincaReferenceRecipe) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )


def synthetic(spots: int, cells: int, genes: int) -> SincaReferenceInput:
    """One transcript in ten entries of the cells, three in ten of the spots."""
    rng = np.random.default_rng(0)
    of_spots = sp.csr_array(rng.poisson(0.36, (spots, genes)).astype(np.float32))
    of_cells = sp.csr_array(rng.poisson(0.105, (cells, genes)).astype(np.float32))
    return seen_of(of_spots, of_cells, rng.random((spots, 2)) * 1000)


def seen_of(spots: sp.csr_array, cells: sp.csr_array, xy: np.ndarray) -> SincaReferenceInput:
    known, unknown = gene_folds(spots.shape[1])[0]
    x, y = (torch.tensor(dense_log1p(counts)) for counts in (spots, cells))
    return SincaReferenceInput(x[:, known], torch.tensor(xy, dtype=torch.float32), y, x[:, unknown])


def agree(seen: SincaReferenceInput, recipe: SincaReferenceRecipe) -> None:
    """Assert that loops and vectors compute the same, without dropout, whose draws differ."""
    recipe = replace(recipe, dropout=0.0)
    few = SincaReferenceInput(
        *(part[:80] for part in (seen.known, seen.xy)), seen.cells[:500], seen.unknown[:80]
    )
    torch.manual_seed(1)
    network = SincaReferenceNet(seen.known.shape[1], seen.unknown.shape[1], recipe)
    twin = looped_twin(network)
    known, xy, unknown = (part[None, :32] for part in (few.known, few.xy, few.unknown))
    outputs = [n(known, xy, n.remember(few.cells)) for n in (network, twin)]
    for ours, theirs in zip(*outputs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for output in outputs:
        loss_of(output, known, unknown, recipe.known_weight).backward()
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)
    losses = []
    for n, epoch in ((network, vectorised_epoch), (twin, looped_epoch)):
        torch.manual_seed(2)
        losses.append(epoch(n, few, recipe, adam(n, recipe)))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    predicted = [
        torch.cat([o.unknown.flatten(0, 1) for o, _ in evaluated(n, few, recipe.batch, Job())])
        for n in (network, looped_free(twin))
    ]
    # Where a gradient is next to nothing, Adam takes its sign: rounding becomes a step.
    torch.testing.assert_close(*predicted, rtol=1e-2, atol=1e-3)


def looped_free(twin: SincaReferenceNet) -> SincaReferenceNet:
    twin.convolution.__class__ = SpatialConvolution
    return twin


def row(name: str, seen: SincaReferenceInput) -> None:
    recipe = SincaReferenceRecipe()
    agree(seen, recipe)
    torch.manual_seed(0)
    network = SincaReferenceNet(seen.known.shape[1], seen.unknown.shape[1], recipe)
    twin = looped_twin(network)
    optimisers = adam(network, recipe), adam(twin, recipe)
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(seconds(lambda: vectorised_epoch(network, seen, recipe, optimisers[0])))
        theirs.append(seconds(lambda: looped_epoch(twin, seen, recipe, optimisers[1])))
    fast, slow = statistics.median(ours), statistics.median(theirs)
    size = f"{len(seen.xy)} × {len(seen.cells)} × {seen.cells.shape[1]}"
    print(f"| {name} | {size} | {slow:.2f} | {fast:.2f} | {slow / fast:.1f} |", flush=True)


def raster_row(number: int) -> None:
    """Time the raster alone: write, read, and the gradient of both."""
    torch.manual_seed(0)
    places = places_of(torch.rand(1, number, 2))
    spots = torch.randn(number, SincaReferenceRecipe().width, requires_grad=True)

    def gradient(scatter: Step, gather: Step) -> Tensor:
        read = gather(scatter(spots, places), places)
        return torch.autograd.grad((read * read).sum(), spots)[0]

    torch.testing.assert_close(
        gradient(scattered, gathered), gradient(looped_scatter, looped_gather)
    )
    slow = seconds(lambda: gradient(looped_scatter, looped_gather))
    fast = median_seconds(lambda: gradient(scattered, gathered))
    print(f"| {number} | {1e3 * slow:.1f} | {1e3 * fast:.2f} | {slow / fast:.0f} |", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print("The raster alone, forwards and backwards:\n")
    print("| spots on it | loops, ms | vectorised, ms | ratio |")
    print("|---|---|---|---|", flush=True)
    for number in RASTERS:
        raster_row(number)
    print("\nAn epoch:\n")
    print("| data | spots × cells × genes | loops, copies, s | vectorised, s | ratio |")
    print("|---|---|---|---|---|", flush=True)
    for name, size in SIZES.items():
        row(name, synthetic(*size))
    if folder().is_dir():
        for name in PAIRS:
            pair = load(name)
            row(name, seen_of(pair.spots, pair.cells, pair.xy))


if __name__ == "__main__":
    main()
