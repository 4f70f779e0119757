"""Train networks of `robust`, and embed spots: all at once, or window by window where many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stenhance.methods.drawing import WHOLE_MOST, some_windows
from napari_stenhance.methods.stamgc.graph import to_torch
from napari_stenhance.methods.stamgc.losses import Pairs, regional_loss, topological_loss
from napari_stenhance.methods.stamgc.network import StamgcResidualEncoder
from napari_stenhance.methods.stamgc.recipe import StamgcRecipe
from napari_stenhance.methods.stamgc.smoothing import Smoothed
from napari_stenhance.running.job import Stage


@dataclass(frozen=True)
class SomeSpots:
    """Some spots, or all, and what a network must know around them to see them as they are.

    Attributes
    ----------
    scores : Tensor, shape (far, axes)
        Of these and of the spots around, as far as two convolutions reach.
    smooth : Tensor, shape (n, axes)
    spreads : tuple of Tensor, sparse, shapes (near, far) and (n, near)
        How both convolutions spread.
    """

    scores: Tensor
    smooth: Tensor
    spreads: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, smoothed: Smoothed, at: NDArray[np.int64], device: torch.device) -> SomeSpots:
        """Take spots, and what is around them."""
        second, near = _rows(smoothed.spread, at)
        first, far = _rows(smoothed.spread, near)
        return cls(
            torch.tensor(smoothed.scores[far], device=device),
            torch.tensor(smoothed.smooth[at], device=device),
            (to_torch(first, device), to_torch(second, device)),
        )

    def seen_by(self, network: StamgcResidualEncoder) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embedding, that of the branches, and what is rebuilt of `smooth`."""
        seen: tuple[Tensor, Tensor, Tensor] = network(self.scores, self.smooth, *self.spreads)
        return seen


def _rows(
    spread: sp.csr_array[np.float32], at: NDArray[np.int64]
) -> tuple[sp.csr_array[np.float32], NDArray[np.int64]]:
    """Return some rows with the columns that they use, and which those are."""
    rows = sp.csr_array(spread[at])
    used = np.unique(rows.indices)
    number = np.zeros(spread.shape[1], rows.indices.dtype)
    number[used] = np.arange(len(used))
    shape = (len(at), len(used))
    return sp.csr_array((rows.data, number[rows.indices], rows.indptr), shape), used


def learn(
    smoothed: Smoothed,
    pseudo: NDArray[np.int64],
    recipe: StamgcRecipe,
    rng: np.random.Generator,
    device: torch.device,
    stage: Stage,
) -> NDArray[np.float32]:
    """Train one network, and embed all spots.

    Of more than 20,000 spots it learns from so many, whole windows of them, drawn from `rng`.

    Parameters
    ----------
    smoothed : Smoothed
    pseudo : ndarray of int64, shape (n,)
        Labels that the regional loss keeps apart.
    recipe : StamgcRecipe
    rng : numpy Generator
    device : torch.device
    stage : Stage
        Advanced by `recipe.epochs`.

    Returns
    -------
    ndarray of float32, shape (n, axes)
    """
    at = np.sort(np.concatenate(some_windows(smoothed.windows, rng)))
    pairs = Pairs.from_graph(sp.csr_array(smoothed.graph[at][:, at]), pseudo[at], device)
    spots = SomeSpots.of(smoothed, at, device)
    network = StamgcResidualEncoder(smoothed.smooth.shape[1]).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    drawn = None if len(at) <= recipe.exact_most else recipe.drawn
    scale = spots.smooth.var()
    for _ in range(recipe.epochs):
        embedding, branched, rebuilt = spots.seen_by(network)
        loss = recipe.reconstruction * ((rebuilt - spots.smooth) ** 2).mean() / scale
        if recipe.regional and len(pairs.runs) > 1:
            loss = loss + recipe.regional * regional_loss(embedding, pairs, drawn)
        if recipe.topological:
            loss = loss + recipe.topological * topological_loss(branched, pairs, drawn)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        stage.advance()
    network.eval()
    return _embedded(network, smoothed, device)


@torch.inference_mode()
def _embedded(
    network: StamgcResidualEncoder, smoothed: Smoothed, device: torch.device
) -> NDArray[np.float32]:
    """Embed all spots, as many windows at once as learning sees."""
    found = np.empty_like(smoothed.smooth)
    every = smoothed.windows
    at_once = max(WHOLE_MOST // len(every[0]), 1)
    for first in range(0, len(every), at_once):
        at = np.concatenate(every[first : first + at_once])
        found[at] = SomeSpots.of(smoothed, at, device).seen_by(network)[0].cpu().numpy()
    return found
