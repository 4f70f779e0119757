"""Train an ensemble on spots: weak supervision, spatial blocks held out, early stopping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stenhance.methods.ensemble import Ensemble
from napari_stenhance.running.job import Job

WARM_UP_STEPS = 20
_HELD_OUT_PIXELS = 32


@dataclass(frozen=True)
class Schedule:
    """How an ensemble is trained.

    Attributes
    ----------
    epochs : int
        At most.
    steps_per_epoch : int
        At least; small sections go through their spots several times.
    patience : int
        Epochs without a better member after which training ends.
    spots_per_step, superpixels_per_spot : int
        Size of a batch; superpixels are drawn anew from a spot at each step.
    learning_rate, weight_decay : float
        Of AdamW.
    """

    epochs: int = 100
    steps_per_epoch: int = 4
    patience: int = 10
    spots_per_step: int = 64
    superpixels_per_spot: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2


@dataclass(frozen=True)
class SpotData:
    """Inputs of the superpixels under each spot, and what their mean output must be.

    Attributes
    ----------
    inputs : Tensor of float32, shape (pairs, channels)
        Ordered by spot.
    first, count : Tensor of int64, shape (spots,)
        Where a spot's superpixels begin, and how many there are.
    target : Tensor of float32, shape (spots, outputs)
    """

    inputs: Tensor
    first: Tensor
    count: Tensor
    target: Tensor

    def mean_inputs_at(self, spots: Tensor, picks: Tensor) -> Tensor:
        """Gather superpixels, (members, spots · picks, channels), for fractions in [0, 1)."""
        offset = (picks * self.count[spots][..., None]).long()
        return self.inputs[(self.first[spots][..., None] + offset).flatten(1)]


def _spot_outputs(network: Ensemble, data: SpotData, spots: Tensor, picks: Tensor) -> Tensor:
    """Predict spots, (members, spots, outputs): the mean over the superpixels picked of each."""
    hidden = network.hidden(data.mean_inputs_at(spots, picks))
    per_spot = hidden.unflatten(1, picks.shape[1:]).mean(dim=2)
    return network.output(per_spot)


def train(
    network: Ensemble,
    data: SpotData,
    held_out: list[NDArray[np.int64]],
    schedule: Schedule,
    rng: np.random.Generator,
    job: Job,
) -> NDArray[np.float32]:
    """Train every member on the spots it does not hold out; keep each at its best epoch.

    Loss: mean squared error between the mean output over a spot's superpixels and its target.

    Parameters
    ----------
    network : Ensemble
        Trained in place; ends in evaluation mode.
    data : SpotData
    held_out : list of int arrays
        For each member, the spots that it never learns from, and is stopped by.
    schedule : Schedule
    rng : numpy Generator
    job : Job

    Returns
    -------
    ndarray of float32, shape (spots, outputs)
        Held-out predictions: for each spot the mean of the members that held it out; NaN if none.
    """
    device = data.inputs.device
    spots = len(data.target)
    learned = [np.setdiff1d(np.arange(spots), held) for held in held_out]
    shortest = min(len(spots_of) for spots_of in learned)
    batch = min(schedule.spots_per_step, shortest)
    steps = max(shortest // batch, schedule.steps_per_epoch)
    decayed, plain = list(network.weights), list(network.biases)
    optimiser = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": schedule.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=schedule.learning_rate,
    )
    parameters = [*decayed, *plain]
    best = [p.detach().clone() for p in parameters]
    best_loss = torch.full((len(held_out),), torch.inf, device=device)
    since_better = 0
    taken = 0
    with job.stage("Training", schedule.epochs) as stage:
        for epoch in range(schedule.epochs):
            network.train()
            orders = [_shuffled(spots_of, steps * batch, rng) for spots_of in learned]
            order = torch.from_numpy(np.stack(orders)).to(device)
            for step in range(steps):
                taken += 1
                for group in optimiser.param_groups:
                    group["lr"] = schedule.learning_rate * min(1.0, taken / WARM_UP_STEPS)
                chosen = order[:, step * batch : (step + 1) * batch]
                picks = torch.rand(*chosen.shape, schedule.superpixels_per_spot, device=device)
                error = _spot_outputs(network, data, chosen, picks) - data.target[chosen]
                # Members are independent: the sum of their losses trains each on its own.
                loss = error.square().sum(dim=2).mean(dim=1).sum()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                job.check()
            loss_now = _held_out_loss(network, data, held_out)
            better = loss_now < best_loss
            best_loss = torch.where(better, loss_now, best_loss)
            for kept, parameter in zip(best, parameters, strict=True):
                kept[better] = parameter.detach()[better]
            since_better = 0 if bool(better.any()) else since_better + 1
            if since_better >= schedule.patience:
                stage.skip(schedule.epochs - epoch)
                break
            stage.advance()
    with torch.no_grad():
        for kept, parameter in zip(best, parameters, strict=True):
            parameter.copy_(kept)
    network.eval()
    return _held_out_predictions(network, data, held_out)


def _shuffled(spots: NDArray[np.int64], length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Go through spots in random order, again and again, for `length` draws."""
    rounds = -(-length // len(spots))
    return np.concatenate([rng.permutation(spots) for _ in range(rounds)])[:length]


def _evenly(count: int, members: int, spots: int, device: torch.device) -> Tensor:
    even = (torch.arange(count, device=device) + 0.5) / count
    return even.expand(members, spots, count)


@torch.inference_mode()
def _predict_held_out(
    network: Ensemble, data: SpotData, held_out: list[NDArray[np.int64]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Predict each member's held-out spots: outputs, spots, and which of them are padding."""
    network.eval()
    device = data.inputs.device
    longest = max(len(held) for held in held_out)
    padded = torch.from_numpy(np.stack([np.resize(held, longest) for held in held_out]))
    real = torch.stack([torch.arange(longest) < len(held) for held in held_out])
    padded = padded.to(device)
    parts = []
    for some in padded.split(256, dim=1):
        picks = _evenly(_HELD_OUT_PIXELS, len(held_out), some.shape[1], device)
        parts.append(_spot_outputs(network, data, some, picks))
    return torch.cat(parts, dim=1), padded, real.to(device)


def _held_out_loss(network: Ensemble, data: SpotData, held_out: list[NDArray[np.int64]]) -> Tensor:
    outputs, spots, real = _predict_held_out(network, data, held_out)
    error = (outputs - data.target[spots]).square().sum(dim=2)
    return (error * real).sum(dim=1) / real.sum(dim=1)


def _held_out_predictions(
    network: Ensemble, data: SpotData, held_out: list[NDArray[np.int64]]
) -> NDArray[np.float32]:
    outputs, spots, real = _predict_held_out(network, data, held_out)
    total = np.zeros(tuple(data.target.shape), np.float64)
    times = np.zeros(len(total))
    keep = real.cpu().numpy()
    where = spots.cpu().numpy()[keep]
    np.add.at(total, where, outputs.cpu().numpy()[keep])
    np.add.at(times, where, 1)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float32] = (total / times[:, None]).astype(np.float32)
    return mean
