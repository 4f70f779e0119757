"""Train members on spots: spatial blocks held out from each, which stop it early."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stenhance.methods.drawing import EPOCH_MOST, HELD_OUT_MOST, some_of
from napari_stenhance.running.job import Job

WARM_UP_STEPS = 20
_SPOTS_AT_ONCE = 256


@dataclass(frozen=True)
class Schedule:
    """How members are trained.

    Attributes
    ----------
    epochs : int
        At most.
    steps_per_epoch : int
        At least; small sections go through their spots several times.
    patience : int
        Epochs without a better member after which training ends.
    spots_per_step : int
        Size of a batch.
    learning_rate, weight_decay : float
        Of AdamW.
    """

    epochs: int = 100
    steps_per_epoch: int = 4
    patience: int = 10
    spots_per_step: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2


class Learner(Protocol):
    """Members of equal shape that learn from the same spots, each from its own choice of them."""

    @property
    def target(self) -> Tensor:
        """What is learned, (spots, outputs)."""
        ...

    @property
    def decayed(self) -> list[Tensor]:
        """Parameters that weight decay applies to, each (members, …)."""
        ...

    @property
    def plain(self) -> list[Tensor]:
        """The other parameters, each (members, …)."""
        ...

    def train(self, mode: bool) -> None:
        """Turn dropout on or off."""
        ...

    def loss(self, spots: Tensor) -> Tensor:
        """Return each member's mean loss, (members,), over its spots, (members, n)."""
        ...

    def outputs(self, spots: Tensor) -> Tensor:
        """Predict spots, (members, n), without chance: (members, n, outputs)."""
        ...


def train_ensemble(
    learner: Learner,
    held_out: list[NDArray[np.int64]],
    schedule: Schedule,
    rng: np.random.Generator,
    job: Job,
    precision: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Train every member on the spots it does not hold out; keep each at its best epoch.

    Of very many spots, those of an epoch, and those that judge it, are drawn (`drawing`).

    Parameters
    ----------
    learner : Learner
        Trained in place; ends without dropout.
    held_out : list of int arrays
        For each member, the spots that it never learns from, and is stopped by.
    schedule : Schedule
    rng : numpy Generator
    job : Job
    precision : ndarray of float64, shape (spots,), optional
        What each spot counts for, in learning and in stopping. Where it is given, all spots that
        are held out are predicted in the end, and not only those that are drawn.

    Returns
    -------
    ndarray of float32, shape (spots, outputs)
        Held-out predictions: for each spot the mean of the members that held it out; NaN if none,
        or if it was not drawn.
    """
    device = learner.target.device
    spots = len(learner.target)
    learned = [np.setdiff1d(np.arange(spots), held) for held in held_out]
    drawn = [held[some_of(len(held), HELD_OUT_MOST, rng)] for held in held_out]
    shortest = min(len(spots_of) for spots_of in learned)
    batch = min(schedule.spots_per_step, shortest)
    steps = max(min(shortest, EPOCH_MOST) // batch, schedule.steps_per_epoch)
    optimiser = torch.optim.AdamW(
        [
            {"params": learner.decayed, "weight_decay": schedule.weight_decay},
            {"params": learner.plain, "weight_decay": 0.0},
        ],
        lr=schedule.learning_rate,
    )
    parameters = [*learner.decayed, *learner.plain]
    judging = _HeldOut.on(device, drawn, precision)
    best = [p.detach().clone() for p in parameters]
    best_loss = torch.full((len(drawn),), torch.inf, device=device)
    since_better = 0
    taken = 0
    with job.stage("Training", schedule.epochs) as stage:
        for epoch in range(schedule.epochs):
            learner.train(True)
            orders = [_ordered(spots_of, steps * batch, rng, precision) for spots_of in learned]
            order = torch.from_numpy(np.stack(orders)).to(device)
            for step in range(steps):
                taken += 1
                for group in optimiser.param_groups:
                    group["lr"] = schedule.learning_rate * min(1.0, taken / WARM_UP_STEPS)
                # Members are independent: the sum of their losses trains each on its own.
                loss = learner.loss(order[:, step * batch : (step + 1) * batch]).sum()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                job.check()
            loss_now = _held_out_loss(learner, judging)
            better = loss_now < best_loss
            best_loss = torch.where(better, loss_now, best_loss)
            # Not `kept[better]`: for the length of that a device is waited for.
            best = [
                torch.where(better.view(-1, *[1] * (p.ndim - 1)), p.detach(), kept)
                for kept, p in zip(best, parameters, strict=True)
            ]
            since_better = 0 if bool(better.any()) else since_better + 1
            if since_better >= schedule.patience:
                stage.skip(schedule.epochs - epoch)
                break
            stage.advance()
    with torch.no_grad():
        for kept, parameter in zip(best, parameters, strict=True):
            parameter.copy_(kept)
    learner.train(False)
    all_held_out = judging if precision is None else _HeldOut.on(device, held_out, precision)
    return _held_out_predictions(learner, all_held_out)


def _ordered(
    spots: NDArray[np.int64],
    length: int,
    rng: np.random.Generator,
    precision: NDArray[np.float64] | None,
) -> NDArray[np.int64]:
    """Go through spots in random order, again and again, for `length` draws.

    Where some count for more than others, they are drawn as much more often.
    """
    if precision is not None:
        share = precision[spots] / precision[spots].sum()
        return rng.choice(spots, length, p=share)
    rounds = -(-length // len(spots))
    return np.concatenate([rng.permutation(spots) for _ in range(rounds)])[:length]


@dataclass(frozen=True)
class _HeldOut:
    """Spots that members hold out, on the device that trains them: copied once.

    Attributes
    ----------
    spots : Tensor of int64, shape (members, n)
        Filled up with spots of the same member, where others hold out more.
    real : Tensor of bool, shape (members, n)
        Which are not filled up.
    weight : Tensor, shape (members, n)
        What each counts for.
    """

    spots: Tensor
    real: Tensor
    weight: Tensor

    @classmethod
    def on(
        cls,
        device: torch.device,
        held_out: list[NDArray[np.int64]],
        precision: NDArray[np.float64] | None,
    ) -> _HeldOut:
        longest = max(len(held) for held in held_out)
        spots = torch.from_numpy(np.stack([np.resize(held, longest) for held in held_out]))
        real = torch.stack([torch.arange(longest) < len(held) for held in held_out])
        weight = real
        if precision is not None:
            weight = torch.from_numpy(precision.astype(np.float32))[spots] * real
        return cls(spots.to(device), real.to(device), weight.to(device))


@torch.inference_mode()
def _predict_held_out(learner: Learner, held_out: _HeldOut) -> Tensor:
    """Predict each member's held-out spots, (members, n, outputs)."""
    learner.train(False)
    parts = [learner.outputs(some) for some in held_out.spots.split(_SPOTS_AT_ONCE, dim=1)]
    return torch.cat(parts, dim=1)


def _held_out_loss(learner: Learner, held_out: _HeldOut) -> Tensor:
    outputs, weight = _predict_held_out(learner, held_out), held_out.weight
    error = (outputs - learner.target[held_out.spots]).square().sum(dim=2)
    return (error * weight).sum(dim=1) / weight.sum(dim=1)


def _held_out_predictions(learner: Learner, held_out: _HeldOut) -> NDArray[np.float32]:
    outputs = _predict_held_out(learner, held_out).cpu().numpy()
    total = np.zeros(tuple(learner.target.shape), np.float64)
    times = np.zeros(len(total))
    keep = held_out.real.cpu().numpy()
    where = held_out.spots.cpu().numpy()[keep]
    np.add.at(total, where, outputs[keep])
    np.add.at(times, where, 1)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float32] = (total / times[:, None]).astype(np.float32)
    return mean
