"""What sets one method that sees crops apart from another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_FREQUENCIES = 3
CODE_LENGTH = 4 * _FREQUENCIES
"""Of a position code: a sine and a cosine along both axes for each frequency."""


class Outputs(NamedTuple):
    """What a network returns for n positions.

    Attributes
    ----------
    scores : Tensor, shape (n, outputs)
    attention : Tensor, shape (n, sizes)
        Over the sizes of crops; no sizes where there is none.
    branches : Tensor, shape (n, branches, outputs)
        Predictions of parts of the network, which are trained too.
    """

    scores: Tensor
    attention: Tensor
    branches: Tensor


def only(scores: Tensor) -> Outputs:
    """Return scores without attention over sizes, and without branches."""
    return Outputs(scores, scores[:, :0], scores[:, None][:, :0])


@dataclass(frozen=True)
class Design:
    """A network and what it looks at.

    Attributes
    ----------
    method : str
    crops_um : tuple of float
        Sides of the crops, by default.
    most_crops : int or None
        How many sizes it can see; None if any number.
    offsets_um : ndarray of float64, shape (k, 2)
        Where around a position it looks, (x, y).
    make : callable
        Makes the network of one member: `make(dim, sizes, outputs)`, where `dim` counts the
        features of all sizes.
    branch_share : float
        How much of a branch's loss is its distance from the whole network's prediction; the rest is
        its distance from the target.
    variant : str
        What saved models call the network; empty if the method has had no other.
    """

    method: str
    crops_um: tuple[float, ...]
    most_crops: int | None
    offsets_um: NDArray[np.float64]
    make: Callable[[int, int, int], nn.Module]
    branch_share: float = 0.0
    variant: str = ""


def square(step_um: float, steps: int) -> NDArray[np.float64]:
    """Return offsets (x, y) on a square lattice, without the centre, shape (k, 2)."""
    axis = np.arange(-steps, steps + 1) * step_um
    offsets = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return offsets[np.abs(offsets).max(axis=1) > 0]


def offset_code(offset_um: Tensor, reach_um: float) -> Tensor:
    """Return sines and cosines of offsets: continuous, and 0 for none.

    Parameters
    ----------
    offset_um : Tensor, shape (…, 2)
    reach_um : float
        A quarter of the longest wave; each next one is half as long.

    Returns
    -------
    Tensor, shape (…, CODE_LENGTH)
    """
    phase = torch.cat(
        [offset_um * (math.pi / 2 * 2**n / reach_um) for n in range(_FREQUENCIES)], dim=-1
    )
    return torch.cat([torch.sin(phase), torch.cos(phase) - 1], dim=-1)
