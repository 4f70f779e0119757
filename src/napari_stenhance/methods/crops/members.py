"""Networks of equal shape, kept and trained together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from napari_stenhance.methods.crops.design import Outputs
from napari_stenhance.methods.crops.neighbourhood import (
    Inputs,
    Neighbourhood,
    NeighbourhoodTensors,
    Standard,
)

_SLICE_BYTES = 16 * 1024**2
_SLICE_MOST = 512


@dataclass(frozen=True)
class Members:
    """An ensemble.

    Attributes
    ----------
    network : Module
        Any member: only its layers are used, not its parameters.
    parameters : dict of Tensor
        Of all members, each (members, …).
    """

    network: nn.Module
    parameters: dict[str, Tensor]

    @classmethod
    def made(cls, make: Callable[[], nn.Module], count: int, device: torch.device) -> Members:
        """Make members with random parameters."""
        networks = [make() for _ in range(count)]
        stacked, _ = stack_module_state(networks)
        parameters = {name: p.detach().to(device).requires_grad_() for name, p in stacked.items()}
        return cls(networks[0], parameters)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(next(iter(self.parameters.values())))

    def each(self, inputs: Inputs) -> Outputs:
        """Give every member inputs of its own, (members, n, …); dropout differs too."""
        return self._run(inputs, 0)

    def _run(self, inputs: Inputs, axis: int | None) -> Outputs:
        def one(parameters: dict[str, Tensor], own: Inputs) -> Outputs:
            return functional_call(self.network, (parameters, {}), tuple(own))

        run = vmap(one, in_dims=(0, axis), randomness="different")
        return run(self.parameters, inputs)

    def predict(
        self, seen: Neighbourhood, standard: Standard
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict positions with every member, in fixed slices.

        Returns
        -------
        scores : ndarray of float32, shape (members, n, outputs)
        attention : ndarray of float32, shape (n, sizes)
            Mean over the members.
        """
        device = next(iter(self.parameters.values())).device
        tensors = seen.to(standard, device)
        others, dim = seen.index.shape[1], seen.own.shape[1]
        widest = max(dim, self.count * max(p.shape[-1] for p in self.parameters.values()))
        at_once = min(max(_SLICE_BYTES // (4 * (others + 1) * widest), 1), _SLICE_MOST)
        self.network.eval()
        scores, attention = [], []
        with torch.inference_mode():
            for low in range(0, len(seen.own), at_once):
                out = self._run(_padded(tensors, low, at_once), None)
                here = min(at_once, len(seen.own) - low)
                scores.append(out.scores[:, :here].cpu().numpy())
                attention.append(out.attention[:, :here].mean(dim=0).cpu().numpy())
        return np.concatenate(scores, axis=1), np.concatenate(attention)


def _padded(tensors: NeighbourhoodTensors, low: int, count: int) -> Inputs:
    """Gather a slice, filled up to its full size: matrix products of another may round apart."""
    chosen = torch.arange(low, low + count, device=tensors.own.device)
    return tensors.inputs(chosen.clamp(max=len(tensors.own) - 1))


@dataclass(frozen=True)
class CropLearner:
    """Members that learn what spots measured from crops: `Learner`.

    Attributes
    ----------
    members : Members
    seen : NeighbourhoodTensors
        Of the spots.
    target : Tensor of float32, shape (spots, outputs)
    branch_share : float
        See `Design`.
    """

    members: Members
    seen: NeighbourhoodTensors
    target: Tensor
    branch_share: float

    @property
    def decayed(self) -> list[Tensor]:
        """The weights of linear layers."""
        return [p for p in self.members.parameters.values() if p.ndim > 2]

    @property
    def plain(self) -> list[Tensor]:
        """Biases and the like."""
        return [p for p in self.members.parameters.values() if p.ndim <= 2]

    def train(self, mode: bool) -> None:
        """Turn dropout on or off."""
        self.members.network.train(mode)

    def loss(self, spots: Tensor) -> Tensor:
        """Return each member's squared error, of the whole network and of its branches."""
        out, target = self.members.each(self.seen.inputs(spots)), self.target[spots]
        error = _squared(out.scores - target)
        for branch in out.branches.unbind(dim=2):
            error = error + (1 - self.branch_share) * _squared(branch - target)
            error = error + self.branch_share * _squared(branch - out.scores)
        return error.mean(dim=1)

    def outputs(self, spots: Tensor) -> Tensor:
        """Predict spots."""
        return self.members.each(self.seen.inputs(spots)).scores


def _squared(error: Tensor) -> Tensor:
    return error.square().sum(dim=2)
