"""STAMGC, preset `robust`: its encoder and both losses between better smoothing and clustering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from napari_stenhance.errors import InputError
from napari_stenhance.methods.drawing import said_of
from napari_stenhance.methods.stamgc.clustering import cluster, consensus, information, majority
from napari_stenhance.methods.stamgc.graph import neighbours
from napari_stenhance.methods.stamgc.learning import learn
from napari_stenhance.methods.stamgc.protocol import Domains, Slice
from napari_stenhance.methods.stamgc.recipe import StamgcRecipe
from napari_stenhance.methods.stamgc.smoothing import Smoothed, smooth_slices
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded

_LEAST_DOMAINS, _MOST_DOMAINS = 2, 15
_AS_GOOD = 0.05


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
        if len(smoothed.windows) > 1:
            job.note(said_of(", ".join(s.name for s in slices), spots))
        if n_domains is not None and not 1 < n_domains <= spots // 2:
            msg = f"Of {spots} spots there can be 2 to {spots // 2} domains, not {n_domains}."
            raise InputError(msg, option="n_domains")
        tried = self._try_numbers(smoothed, job) if n_domains is None else ()
        number = n_domains or _fewest(tried)
        # Pseudo-labels, which the regional loss keeps apart, are the same in every run.
        rng = np.random.default_rng([self.seed, number])
        pseudo = cluster(smoothed.smooth.astype(np.float64), number, "mixture", rng).argmax(axis=1)
        job.check()
        parts, embeddings = [], []
        with job.stage("Training STAMGC", recipe.runs * recipe.epochs) as stage:
            for run in range(recipe.runs):
                rng = np.random.default_rng([self.seed, run])
                drawn = seeded(int(rng.integers(2**31)), self.device)
                with inference_errors("Training STAMGC"), drawn:
                    embeddings.append(learn(smoothed, pseudo, recipe, rng, self.device, stage))
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


def _fewest(tried: Sequence[tuple[int, float]]) -> int:
    """Return the smallest number as good as the best, to 5 % of what the number matters at all."""
    scores = [score for _, score in tried]
    enough = max(scores) - _AS_GOOD * (max(scores) - min(scores))
    return next(number for number, score in tried if score >= enough)
