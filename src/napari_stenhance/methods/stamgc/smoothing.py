"""Expression of spots, reduced, and smoothed as widely as the data themselves ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from napari_stenhance.methods.drawing import WHOLE_MOST, of_each, some_of, windows_of
from napari_stenhance.methods.stamgc.expression import has_counts, principal_scores
from napari_stenhance.methods.stamgc.graph import (
    best_width,
    blocks,
    gaussian_smoother,
    neighbours,
    prune,
    union_graph,
)
from napari_stenhance.methods.stamgc.protocol import Slice
from napari_stenhance.methods.stamgc.recipe import StamgcRecipe

_WIDTHS = (0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
_WIDTH_AXES = 5
_WIDTH_SPOTS = 5_000
_REACH = 3.0


@dataclass(frozen=True)
class Smoothed:
    """Spots of all slices, ready for the network.

    Attributes
    ----------
    scores : ndarray of float32, shape (n, axes)
        Of each spot alone.
    smooth : ndarray of float32, shape (n, axes)
        Spread twice with `spread`.
    spread : csr_array
        Row-normalised Gaussian weights, within slices.
    graph : csr_array
        The pruned graph.
    averaged : float
        How many spots `smooth` averages.
    windows : tuple of ndarray of int64
        All spots, each in a window of near ones of its slice; a single window where there are few.
    """

    scores: NDArray[np.float32]
    smooth: NDArray[np.float32]
    spread: sp.csr_array[np.float32]
    graph: sp.csr_array[np.float32]
    averaged: float
    windows: tuple[NDArray[np.int64], ...]


def smooth_slices(slices: Sequence[Slice], recipe: StamgcRecipe, seed: int) -> Smoothed:
    """Reduce, smooth and join the slices.

    The width of smoothing is the same for all of them, in pitches.
    """
    scores = principal_scores(slices, recipe.genes, recipe.expression_axes, seed)
    cuts = np.cumsum([len(s.xy) for s in slices])[:-1]
    parts = np.split(scores, cuts)
    rng = np.random.default_rng(seed)
    missed = sum(
        best_width(s.xy, s.pitch, part[:, :_WIDTH_AXES], _WIDTHS, _WIDTH_SPOTS, rng)
        for s, part in zip(slices, parts, strict=True)
    )
    width = recipe.width * _WIDTHS[int(np.argmin(missed))]
    # Two convolutions with σ / √2 smooth as one with σ.
    spreads = [
        gaussian_smoother(s.xy, width * s.pitch / np.sqrt(2), _REACH, has_counts(s)) for s in slices
    ]
    smooth = np.concatenate([w @ (w @ part) for w, part in zip(spreads, parts, strict=True)])
    graphs = []
    for s, part in zip(slices, np.split(smooth, cuts), strict=True):
        graphs.append(union_graph(prune(neighbours(s.xy, recipe.neighbours), part, 1)))
    axes = PCA(min(recipe.axes, *smooth.shape), svd_solver="covariance_eigh").fit(smooth)
    # Between raw and whitened: the first axis leads, and does not decide alone.
    turned = (axes.components_ / axes.explained_variance_[:, None] ** 0.25).astype(np.float32)
    kept_scores, kept_smooth = ((a - axes.mean_) @ turned.T for a in (scores, smooth))
    scale = kept_smooth.std()
    return Smoothed(
        scores=(kept_scores / scale).astype(np.float32),
        smooth=(kept_smooth / scale).astype(np.float32),
        spread=blocks(spreads),
        graph=blocks(graphs),
        averaged=_averaged(spreads, rng),
        windows=windows_of([s.xy for s in slices]),
    )


def _averaged(spreads: Sequence[sp.csr_array[np.float32]], rng: np.random.Generator) -> float:
    """Return how many spots spreading twice averages: 1 / Σ w², mean over the spots."""
    sizes = [spread.shape[0] for spread in spreads]
    counts = []
    for spread, some in zip(
        spreads, of_each(some_of(sum(sizes), WHOLE_MOST, rng), sizes), strict=True
    ):
        rows = spread if len(some) == spread.shape[0] else sp.csr_array(spread[some])
        weights = sp.csr_array(rows @ spread)
        counts.append(1 / np.asarray(weights.power(2).sum(axis=1)).ravel())
    return float(np.concatenate(counts).mean())
