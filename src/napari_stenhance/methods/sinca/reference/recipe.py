"""The numbers of the published recipe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SincaReferenceRecipe:
    """The published network and how it is trained.

    Attributes
    ----------
    width, heads, layers, feed_forward : int
        Of the network; `width` is even, and a multiple of `heads`.
    dropout : float
    epochs : int
    batch : int
        Spots that are seen together, on one raster, in training and in prediction.
    learning_rate, weight_decay : float
        Of AdamW.
    clip : float
        Largest norm of a gradient.
    known_weight : float
        Weight of the known genes' error in the loss.
    """

    width: int = 256
    heads: int = 8
    layers: int = 2
    feed_forward: int = 2048
    dropout: float = 0.1
    epochs: int = 100
    batch: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    clip: float = 1.0
    known_weight: float = 0.1
