"""An ensemble of small MLPs, kept and trained together as one batched network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, leaky_relu, pad

SLOPE = 0.1
_WIDTHS = 8


class Ensemble(nn.Module):
    """Members of equal shape: hidden layers of Linear → LeakyReLU(0.1) → dropout, then Linear.

    Parameters
    ----------
    members, inputs, outputs : int
    hidden : sequence of int
        Widths of the hidden layers.
    drop : float
        Probability that a hidden unit is dropped in training.
    """

    def __init__(
        self, members: int, inputs: int, outputs: int, hidden: Sequence[int], drop: float
    ) -> None:
        super().__init__()
        self.drop = drop
        sizes = (inputs, *hidden, outputs)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        gain = nn.init.calculate_gain("leaky_relu", SLOPE)
        for n, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            bound = gain * math.sqrt(3 / fan_in) if n < len(hidden) else 0.3 / math.sqrt(fan_in)
            weight = torch.empty(members, fan_in, fan_out).uniform_(-bound, bound)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, fan_out)))

    def hidden(self, inputs: Tensor) -> Tensor:
        """Return the last hidden layer, (members, n, width), of inputs (members, n, channels)."""
        values = inputs
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = leaky_relu(torch.baddbmm(bias, values, weight), SLOPE)
            values = dropout(values, self.drop, self.training)
        return values

    def output(self, hidden: Tensor) -> Tensor:
        """Apply the last, linear layer; the mean of outputs is the output of the mean."""
        weight, bias = self.weights[-1], self.biases[-1]
        # Products of other widths differ in the last bit from row to row.
        beyond = 0, -weight.shape[2] % _WIDTHS
        return torch.baddbmm(pad(bias, beyond), hidden, pad(weight, beyond))[..., : weight.shape[2]]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (members, n, outputs)."""
        return self.output(self.hidden(inputs))
