"""STAMGC, preset `robust`: its encoder and both losses between better smoothing and clustering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from napari_stenhance.errors import InputError
from napari_stenhance.methods.stamgc.clustering import (
    Clustering,
    cluster,
    consensus,
    information,
    majority,
)
from napari_stenhance.methods.stamgc.expression import has_counts, principal_scores
from napari_stenhance.methods.stamgc.graph import (
    best_width,
    blocks,
    gaussian_smoother,
    neighbours,
    prune,
    to_torch,
    union_graph,
)
from napari_stenhance.methods.stamgc.losses import Pairs, regional_loss, topological_loss
from napari_stenhance.methods.stamgc.network import StamgcResidualEncoder
from napari_stenhance.methods.stamgc.protocol import Domains, Slice
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job, Stage
from napari_stenhance.running.random import seeded

_WIDTHS = (0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
_WIDTH_AXES = 5
_WIDTH_SPOTS = 5_000
_REACH = 3.0
_LEAST_DOMAINS, _MOST_DOMAINS = 2, 15
_AS_GOOD = 0.05


@dataclass(frozen=True)
class StamgcRecipe:
    """Hyperparameters of `robust`.

    Attributes
    ----------
    genes : int
        Genes with the largest variance of log1p CP10k.
    expression_axes : int
        Principal axes of their expression.
    axes : int
        Principal axes of the smoothed scores: those that vary over the tissue.
    width : float
        σ of smoothing over both convolutions, as a share of the width with which neighbours
        predict a spot best: a spot also knows itself.
    neighbours : int
        Of the graph of both losses, before each spot drops the one least like it.
    reconstruction, regional, topological : float
        Weights of the losses: α, β, γ.
    epochs : int
    learning_rate : float
    runs : int
        Networks; each starts from other weights.
    clustering : {"mixture", "kmeans", "leiden"}
    refine : bool
        Give a spot the label that most of it and its neighbours have.
    exact_most : int
        Up to so many spots the losses compute all pairs; beyond, `drawn` spots stand for all.
    drawn : int
    """

    genes: int = 3000
    expression_axes: int = 50
    axes: int = 8
    width: float = 0.8
    neighbours: int = 6
    reconstruction: float = 1.0
    regional: float = 0.3
    topological: float = 0.7
    epochs: int = 50
    learning_rate: float = 1e-3
    runs: int = 5
    clustering: Clustering = "mixture"
    refine: bool = False
    exact_most: int = 2_000
    drawn: int = 512


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
    """

    scores: NDArray[np.float32]
    smooth: NDArray[np.float32]
    spread: sp.csr_array[np.float32]
    graph: sp.csr_array[np.float32]
    averaged: float


@dataclass(frozen=True)
class StamgcEnsemble:
    """STAMGC: graph encoder, regional and topological contrast, and a vote of several runs.

    Expression is reduced to principal axes and smoothed as widely as the data themselves ask for;
    of the smoothed scores the axes that vary most over the tissue are kept. A graph encoder starts
    as that smoothing and learns by reconstruction and both contrastive losses. Mixtures of
    Gaussians cluster what it makes of the spots; the clusterings of all runs vote.
    """

    seed: int
    device: torch.device
    recipe: StamgcRecipe = field(default_factory=StamgcRecipe)

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        return asdict(self.recipe)

    def find(self, slices: Sequence[Slice], n_domains: int | None, job: Job) -> Domains:
        """Find domains of all slices together; None estimates how many."""
        recipe = self.recipe
        with job.stage("Smoothing expression", 1) as stage:
            smoothed = smooth_slices(slices, recipe, self.seed)
            stage.advance()
        spots = len(smoothed.smooth)
        if n_domains is not None and not 1 < n_domains <= spots // 2:
            msg = f"Of {spots} spots there can be 2 to {spots // 2} domains, not {n_domains}."
            raise InputError(msg, option="n_domains")
        tried = self._try_numbers(smoothed, job) if n_domains is None else ()
        number = n_domains or _fewest(tried)
        # Pseudo-labels, which the regional loss keeps apart, are the same in every run.
        rng = np.random.default_rng([self.seed, number])
        pseudo = cluster(smoothed.smooth.astype(np.float64), number, "mixture", rng).argmax(axis=1)
        pairs = Pairs.from_graph(smoothed.graph, pseudo, self.device)
        job.check()
        parts, embeddings = [], []
        with job.stage("Training STAMGC", recipe.runs * recipe.epochs) as stage:
            for run in range(recipe.runs):
                rng = np.random.default_rng([self.seed, run])
                drawn = seeded(int(rng.integers(2**31)), self.device)
                with inference_errors("Training STAMGC"), drawn:
                    embeddings.append(self._embed(smoothed, pairs, stage))
                wide = embeddings[-1].astype(np.float64)
                parts.append(cluster(wide, number, recipe.clustering, rng))
                job.check()
        label, confidence = consensus(parts)
        cuts = np.cumsum([len(s.xy) for s in slices])[:-1]
        labels = np.split(label + 1, cuts)
        if recipe.refine:
            labels = [
                majority(found, neighbours(s.xy, recipe.neighbours))
                for found, s in zip(labels, slices, strict=True)
            ]
        mean = np.mean(embeddings, axis=0, dtype=np.float32)
        return Domains(
            labels=tuple(labels),
            confidence=tuple(np.split(confidence, cuts)),
            embedding=tuple(np.split(mean, cuts)),
            n_domains=number,
            criterion="BIC per spot" if tried else "",
            scores=tried,
        )

    def _try_numbers(self, smoothed: Smoothed, job: Job) -> tuple[tuple[int, float], ...]:
        """Judge mixtures with 2 to 15 components on the smoothed scores."""
        most = min(_MOST_DOMAINS, len(smoothed.smooth) // 4)
        numbers = range(_LEAST_DOMAINS, max(most, _LEAST_DOMAINS) + 1)
        wide = smoothed.smooth.astype(np.float64)
        tried = []
        with job.stage("Choosing the number of domains", len(numbers)) as stage:
            for number in numbers:
                rng = np.random.default_rng([self.seed, number])
                tried.append((number, information(wide, number, smoothed.averaged, rng)))
                stage.advance()
        return tuple(tried)

    def _embed(self, smoothed: Smoothed, pairs: Pairs, stage: Stage) -> NDArray[np.float32]:
        """Train one network, and embed the spots."""
        recipe = self.recipe
        spread = to_torch(smoothed.spread, self.device)
        seen, smooth = (
            torch.tensor(a, device=self.device) for a in (smoothed.scores, smoothed.smooth)
        )
        network = StamgcResidualEncoder(seen.shape[1]).to(self.device)
        optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
        drawn = None if len(seen) <= recipe.exact_most else recipe.drawn
        scale = smooth.var()
        for _ in range(recipe.epochs):
            embedding, branched, rebuilt = network(seen, smooth, spread)
            loss = recipe.reconstruction * ((rebuilt - smooth) ** 2).mean() / scale
            if recipe.regional and len(pairs.runs) > 1:
                loss = loss + recipe.regional * regional_loss(embedding, pairs, drawn)
            if recipe.topological:
                loss = loss + recipe.topological * topological_loss(branched, pairs, drawn)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            stage.advance()
        network.eval()
        with torch.inference_mode():
            return network(seen, smooth, spread)[0].cpu().numpy()


def smooth_slices(slices: Sequence[Slice], recipe: StamgcRecipe, seed: int) -> Smoothed:
    """Reduce, smooth and join the slices.

    The width of smoothing is the same for all of them, in pitches.
    """
    scores = principal_scores(slices, recipe.genes, recipe.expression_axes)
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
        averaged=_averaged(spreads),
    )


def _averaged(spreads: Sequence[sp.csr_array[np.float32]]) -> float:
    """Return how many spots spreading twice averages: 1 / Σ w², mean over the spots."""
    counts = []
    for spread in spreads:
        weights = sp.csr_array(spread @ spread)
        counts.append(1 / np.asarray(weights.power(2).sum(axis=1)).ravel())
    return float(np.concatenate(counts).mean())


def _fewest(tried: Sequence[tuple[int, float]]) -> int:
    """Return the smallest number as good as the best, to 5 % of what the number matters at all."""
    scores = [score for _, score in tried]
    enough = max(scores) - _AS_GOOD * (max(scores) - min(scores))
    return next(number for number, score in tried if score >= enough)
