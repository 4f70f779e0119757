"""Pixel2Gene, preset `robust`: trained so that it predicts tissue it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from napari_stenhance.methods.drawing import LEARNED_MOST
from napari_stenhance.methods.ensemble import Ensemble
from napari_stenhance.methods.familiar import drawn_rows
from napari_stenhance.methods.members import standardise
from napari_stenhance.methods.pixel2gene.inputs import VIEWS, WIDE_UM, training_inputs
from napari_stenhance.methods.pixel2gene.learner import SpotLearner, SpotSchedule
from napari_stenhance.methods.pixel2gene.model import Pixel2GeneModel
from napari_stenhance.methods.robust import RobustEnsemble, RobustRecipe, SeenSpots
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Job

_CALIBRATED_ON = 2048
_HELD_OUT_PIXELS = 32


@dataclass(frozen=True)
class Pixel2GeneRecipe(RobustRecipe):
    """Hyperparameters of `robust`.

    Attributes
    ----------
    hidden : tuple of int
        Widths; the published network has four layers of 256.
    dropout : float
    most_pairs : int
        Superpixels kept for training, over all spots.
    schedule : SpotSchedule
    """

    hidden: tuple[int, ...] = (128, 128, 128, 128)
    dropout: float = 0.4
    most_pairs: int = 400_000
    schedule: SpotSchedule = field(default_factory=SpotSchedule)


@dataclass(frozen=True)
class Pixel2GeneEnsemble(RobustEnsemble[Pixel2GeneModel]):
    """Pixel2Gene with preset `robust`: `Method`.

    Weak supervision as published (the mean over a spot's superpixels must match the spot), with
    log1p CP10k instead of min–max counts, a gene basis instead of single genes, standardised
    features with their context, dropout, weight decay, and early stopping on spatial blocks.
    """

    recipe: Pixel2GeneRecipe = field(default_factory=Pixel2GeneRecipe)

    @property
    def crops_um(self) -> None:
        """It sees superpixels."""

    @property
    def halo_um(self) -> float:
        """How far around a spot's superpixels features are needed, in micrometres."""
        return WIDE_UM / 2

    @property
    def most_spots(self) -> int:
        """A superpixel is learned from once: of very many bins, some say as much as all."""
        return LEARNED_MOST

    def see(
        self, samples: Sequence[TrainingSection], rng: np.random.Generator, job: Job
    ) -> SeenSpots[SpotLearner, Pixel2GeneModel]:
        """Gather features, with their context, of superpixels under the spots."""
        recipe, spots = self.recipe, sum(len(s.xy_um) for s in samples)
        most_each = max(recipe.most_pairs // spots, recipe.schedule.superpixels_per_spot)
        inputs, spot = training_inputs(samples, most_each, rng, job)
        shift, scale = _moments(inputs, samples[0].features.dim)
        standard = standardise(inputs, shift, scale, recipe.clip, out=inputs)
        drawn = drawn_rows(len(standard))
        superpixels = standard[drawn], spot[drawn]
        share = np.tile(_equal_shares(samples[0].features.groups), VIEWS)
        standard *= share
        count = np.bincount(spot, minlength=spots)
        schedule = recipe.schedule.on_spots_of(int(count.max()))
        held_out = _HELD_OUT_PIXELS if schedule is recipe.schedule else int(count.max())

        def learner(target: torch.Tensor) -> SpotLearner:
            network = Ensemble(
                recipe.members, standard.shape[1], target.shape[1], recipe.hidden, recipe.dropout
            )
            return SpotLearner(
                network=network.to(self.device),
                inputs=torch.from_numpy(standard).to(self.device),
                first=torch.from_numpy(np.searchsorted(spot, np.arange(spots))).to(self.device),
                count=torch.from_numpy(count).to(self.device),
                target=target,
                superpixels_per_spot=schedule.superpixels_per_spot,
                held_out_superpixels=held_out,
            )

        def model(learned: SpotLearner, **shared: Any) -> Pixel2GeneModel:
            with torch.no_grad():
                # From here on the network is given inputs as they are when standardised.
                learned.network.weights[0] *= torch.from_numpy(share).to(self.device)[:, None]
            return Pixel2GeneModel(
                network=learned.network, shift=shift, scale=scale, clip=recipe.clip, **shared
            )

        def scores(fitted: Pixel2GeneModel) -> NDArray[np.float32]:
            some = rng.choice(len(standard), min(_CALIBRATED_ON, len(standard)), replace=False)
            return fitted.scores_of(standard[np.sort(some)] / share)

        # Bins of one superpixel are their own means.
        means = standard if (count == 1).all() else _spot_means(standard, spot)
        return SeenSpots(means, learner, model, scores, schedule, superpixels)


def _equal_shares(groups: tuple[int, ...]) -> NDArray[np.float32]:
    """Weigh channels so that each kind counts alike, however many it has; 1 in the mean square."""
    sizes = np.array(groups)
    weights = np.sqrt(sizes.sum() / (len(sizes) * sizes))
    return np.repeat(weights, sizes).astype(np.float32)


def _spot_means(inputs: NDArray[np.float32], spot: NDArray[np.int64]) -> NDArray[np.float32]:
    average = sp.csr_array((np.ones(len(spot), np.float32), (spot, np.arange(len(spot)))))
    means: NDArray[np.float32] = (average @ inputs) / np.bincount(spot)[:, None].astype(np.float32)
    return means


def _moments(
    inputs: NDArray[np.float32], dim: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Standardise the context; the features themselves are standardised for each slide."""
    columns = [inputs[:, low : low + dim] for low in range(0, inputs.shape[1], dim)]
    shift = np.concatenate([part.mean(axis=0, dtype=np.float64) for part in columns])
    scale = np.concatenate([part.std(axis=0, dtype=np.float64) for part in columns])
    shift[:dim], scale[:dim] = 0, 1
    return shift.astype(np.float32), np.where(scale > 0, scale, 1).astype(np.float32)
