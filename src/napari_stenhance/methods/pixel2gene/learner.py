"""An ensemble as it learns from superpixels: weak supervision by what their spots measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from napari_stenhance.methods.ensemble import Ensemble
from napari_stenhance.methods.training import Schedule


@dataclass(frozen=True)
class SpotSchedule(Schedule):
    """How an ensemble is trained on spots.

    Attributes
    ----------
    superpixels_per_spot : int
        Drawn anew from a spot at each step.
    """

    superpixels_per_spot: int = 16

    def on_spots_of(self, superpixels: int) -> SpotSchedule:
        """Return how to train on spots of at most so many superpixels.

        Bins have one, or few: none is drawn twice, and a step goes through more of them, so that it
        sees as many superpixels.
        """
        if superpixels >= self.superpixels_per_spot:
            return self
        each = max(superpixels, 1)
        more = self.spots_per_step * self.superpixels_per_spot // each
        return replace(self, superpixels_per_spot=each, spots_per_step=more)


@dataclass(frozen=True)
class SpotLearner:
    """An ensemble whose mean output over a spot's superpixels must be the spot's: `Learner`.

    Attributes
    ----------
    network : Ensemble
    inputs : Tensor of float32, shape (pairs, channels)
        Of the superpixels under each spot, ordered by spot.
    first, count : Tensor of int64, shape (spots,)
        Where a spot's superpixels begin, and how many there are.
    target : Tensor of float32, shape (spots, outputs)
    superpixels_per_spot : int
        Drawn at each step.
    held_out_superpixels : int
        Spread evenly over a spot that is held out.
    """

    network: Ensemble
    inputs: Tensor
    first: Tensor
    count: Tensor
    target: Tensor
    superpixels_per_spot: int
    held_out_superpixels: int

    @property
    def decayed(self) -> list[Tensor]:
        """The weights."""
        return list(self.network.weights)

    @property
    def plain(self) -> list[Tensor]:
        """The biases."""
        return list(self.network.biases)

    def train(self, mode: bool) -> None:
        """Turn dropout on or off."""
        self.network.train(mode)

    def loss(self, spots: Tensor) -> Tensor:
        """Return each member's mean squared error, summed over outputs."""
        picks = torch.rand(*spots.shape, self.superpixels_per_spot, device=self.inputs.device)
        error = self._outputs(spots, picks) - self.target[spots]
        return error.square().sum(dim=2).mean(dim=1)

    def outputs(self, spots: Tensor) -> Tensor:
        """Predict spots from superpixels spread evenly over each."""
        even = torch.arange(self.held_out_superpixels, device=self.inputs.device) + 0.5
        return self._outputs(spots, (even / len(even)).expand(*spots.shape, -1))

    def _outputs(self, spots: Tensor, picks: Tensor) -> Tensor:
        """Average over superpixels, (members, spots, picks), given as fractions in [0, 1)."""
        offset = (picks * self.count[spots][..., None]).long()
        inputs = self.inputs[(self.first[spots][..., None] + offset).flatten(1)]
        hidden = self.network.hidden(inputs)
        return self.network.output(hidden.unflatten(1, picks.shape[1:]).mean(dim=2))
