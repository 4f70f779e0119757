"""Train one member: some measured genes are hidden, and predicted from the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from napari_stenhance.methods.sinca.layout import SpotLayout
from napari_stenhance.methods.sinca.network import SincaNet
from napari_stenhance.running.job import Stage

_SMALL = 1e-6
_AT_ONCE = 1024


@dataclass(frozen=True)
class SincaSchedule:
    """How a member is trained.

    Attributes
    ----------
    epochs : int
        At most.
    steps : int
        In an epoch.
    patience : int
        Epochs without a better member after which training ends.
    learning_rate, weight_decay : float
        Of AdamW; the projection decays not.
    seen : tuple of float
        In each step, the share of genes that are seen is drawn from this range.
    spots, genes : int
        A step compares at most so many spots and hidden genes.
    """

    epochs: int = 40
    steps: int = 5
    patience: int = 6
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    seen: tuple[float, float] = (0.5, 0.9)
    spots: int = 1024
    genes: int = 256


@dataclass(frozen=True)
class Values:
    """Some genes of spots and cells.

    Attributes
    ----------
    spots, cells : Tensor, (…, genes)
        Standardised log1p CP10k: what is seen.
    target : Tensor, shape (spots, genes)
        Measured log1p CP10k.
    source : Tensor, shape (cells, genes)
        log1p CP10k of the cells: what predictions are made of.
    """

    spots: Tensor
    cells: Tensor
    target: Tensor
    source: Tensor

    def only(self, genes: NDArray[np.int64]) -> Values:
        """Keep some genes."""
        chosen = torch.tensor(genes, device=self.spots.device)
        return Values(
            *(t.index_select(1, chosen) for t in (self.spots, self.cells, self.target, self.source))
        )


def correlation_of_genes(predicted: Tensor, measured: Tensor) -> Tensor:
    """Return Pearson's r over spots of each gene; 0 where either does not vary."""
    a, b = (t - t.mean(dim=0) for t in (predicted, measured))
    return (a * b).sum(dim=0) / (a.norm(dim=0) * b.norm(dim=0) + _SMALL)


def predict_shares(
    network: SincaNet, spots: Tensor, keys: Tensor, source: Tensor, rows: Tensor | None = None
) -> Tensor:
    """Predict genes of spots, by default of all: of what they attend to; without cells, one map."""
    chosen = spots if rows is None else spots.index_select(0, rows)
    if not network.parts.reference:
        score = softplus(network.score(chosen))
        return score.expand(-1, source.shape[1])
    return network.attention(chosen, keys) @ source


def train_sinca_member(
    network: SincaNet,
    learned: Values,
    held_out: Values,
    counted: Tensor,
    place: SpotLayout,
    schedule: SincaSchedule,
    rng: np.random.Generator,
    stage: Stage,
) -> None:
    """Train a network on some genes; keep it as it predicts the held-out ones best.

    The loss is 1 − Pearson's r over spots, mean over the genes that a step hides: how well an
    assay captures a gene does not matter to it.

    Parameters
    ----------
    network : SincaNet
        Trained in place.
    learned, held_out : Values
        Genes that are seen and hidden in turn, and genes that training sees in no way.
    counted : Tensor of int64
        Spots with enough counts to be compared with.
    place : SpotLayout
    schedule : SincaSchedule
    rng : numpy Generator
    stage : Stage
        Advanced by `schedule.epochs`.
    """
    device = learned.spots.device
    decayed = [p for name, p in network.named_parameters() if name != "axes"]
    optimiser = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": schedule.weight_decay},
            {"params": [network.axes], "weight_decay": 0.0},
        ],
        lr=schedule.learning_rate,
    )
    genes = learned.spots.shape[1]
    best, since_better = -np.inf, 0
    kept = [p.detach().clone() for p in network.parameters()]
    for epoch in range(schedule.epochs + 1):
        now = _agreement(network, learned, held_out, counted, place)
        if now > best:
            best, since_better = now, 0
            kept = [p.detach().clone() for p in network.parameters()]
        else:
            since_better += 1
        if epoch == schedule.epochs or since_better >= schedule.patience:
            stage.skip(schedule.epochs - epoch)
            break
        network.train()
        for _ in range(schedule.steps):
            hidden = _hidden(genes, schedule, rng)
            seen = np.ones(genes, np.float32)
            seen[hidden] = 0
            spots, keys = network(
                learned.spots,
                learned.cells,
                torch.tensor(seen, device=device),
                place.waves,
                place.raster,
                place.windows,
            )
            chosen = torch.tensor(hidden[: schedule.genes], device=device)
            drawn = rng.permutation(len(counted))[: schedule.spots]
            rows = counted.index_select(0, torch.tensor(drawn, device=device))
            predicted = predict_shares(
                network, spots, keys, learned.source.index_select(1, chosen), rows
            )
            measured = learned.target.index_select(0, rows).index_select(1, chosen)
            loss = 1 - correlation_of_genes(predicted, measured).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            stage.advance(0)
        stage.advance()
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), kept, strict=True):
            parameter.copy_(value)
    network.eval()


def _hidden(genes: int, schedule: SincaSchedule, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw genes that a step hides, in random order: at least one, and never all."""
    share = 1 - rng.uniform(*schedule.seen)
    return rng.permutation(genes)[: int(np.clip(round(share * genes), 1, genes - 1))]


@torch.inference_mode()
def see_all(network: SincaNet, learned: Values, place: SpotLayout) -> tuple[Tensor, Tensor]:
    """Return spots and cells as the network sees them when no gene is hidden."""
    network.eval()
    seen = torch.ones(learned.spots.shape[1], device=learned.spots.device)
    spots, keys = network(
        learned.spots, learned.cells, seen, place.waves, place.raster, place.windows
    )
    return spots, keys


@torch.inference_mode()
def see_many(
    network: SincaNet, blocks: Iterable[NDArray[np.float32]], cells: Tensor, place: SpotLayout
) -> tuple[Tensor, Tensor]:
    """Return the same of very many spots, whose genes, as they are seen, come block by block."""
    network.eval()
    seen = torch.ones(cells.shape[1], device=cells.device)
    keys = network.projected(cells, seen)
    values = torch.cat(
        [network.projected(torch.tensor(block, device=cells.device), seen) for block in blocks]
    )
    return network.placed(values, keys, place.waves, place.raster, place.windows), keys


@torch.inference_mode()
def _agreement(
    network: SincaNet, learned: Values, held_out: Values, counted: Tensor, place: SpotLayout
) -> float:
    spots, keys = see_all(network, learned, place)
    parts = [
        predict_shares(network, spots, keys, held_out.source, rows)
        for rows in counted.split(_AT_ONCE)
    ]
    measured = held_out.target.index_select(0, counted)
    return float(correlation_of_genes(torch.cat(parts), measured).mean())
