"""The published recipes: groups of spots in the order of the file, and learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from napari_stenhance.features.registry import find_encoder

LEARNING_RATE = 1e-3
GROUP = 50
ARRAY_MOST = 512
"""Rows and columns of an array that are told apart."""
_WARM_UP_EPOCHS = 5
_FLAT_EPOCHS = 51
_WARM_UP_START, _LOWEST_RATE = 1e-5, 1e-8

Rate = Callable[[int, int, int], float]
"""Learning rate of a step: `rate(step, steps of an epoch, epochs)`."""


@dataclass(frozen=True)
class CropReferenceRecipe:
    """A published network and how it is trained.

    Attributes
    ----------
    method : str
    crops_um : tuple of float
    most_crops : int or None
        How many sizes it can see; None if any number.
    make : callable
        Makes the network: `make(dim, sizes, genes)`, where `dim` counts the features of all sizes.
    rate : callable
    epochs : int
    genes : str
        Modelled where none are chosen.
    """

    method: str
    crops_um: tuple[float, ...]
    most_crops: int | None
    make: Callable[[int, int, int], nn.Module]
    rate: Rate
    epochs: int = 1000
    genes: str = "seurat_v3:1000"


def groups_of(spots: int) -> list[NDArray[np.int64]]:
    """Split spots, in their order, into groups of about 50 whose sizes differ by at most 1."""
    return np.array_split(np.arange(spots), math.ceil(spots / GROUP))


def array_codes(array_xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the numbers that stand for positions on the array: cut to integers, 0 to 511.

    Points between spots so share the number of a spot, as in the published program.
    """
    return np.trunc(array_xy).clip(0, ARRAY_MOST - 1).astype(np.int64)


def sees_raw(encoder: str) -> bool:
    """Tell whether the networks see features unscaled, as those of the published program did.

    Vectors of crops vary by about 1, and so do the codes of positions; averages of superpixels, as
    those of `stain`, vary far less, and are standardised for each slide.
    """
    return find_encoder(encoder).crops is not None


def constant_rate(step: int, steps: int, epochs: int) -> float:
    """Return the rate of HisToSGE: its scheduler multiplies by 1."""
    del step, steps, epochs
    return LEARNING_RATE


def warm_up_and_cosine(step: int, steps: int, epochs: int) -> float:
    """Return the rate of SpaMCAF: five epochs up, flat to the 51st, then along a cosine.

    The cosine spans as many epochs as there are but for the first five; beginning at the 51st, it
    does not reach its end.
    """
    flat = _FLAT_EPOCHS * steps
    if step < flat:
        done = min(step / (_WARM_UP_EPOCHS * steps), 1.0)
        return LEARNING_RATE * (_WARM_UP_START + (1 - _WARM_UP_START) * done)
    turn = math.pi * (step - flat) / ((epochs - _WARM_UP_EPOCHS) * steps)
    return _LOWEST_RATE + (LEARNING_RATE - _LOWEST_RATE) * (1 + math.cos(turn)) / 2
