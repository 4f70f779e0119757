"""Pixel2Gene, preset `robust`: trained so that it predicts tissue it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from napari_stenhance.features.registry import find_encoder
from napari_stenhance.methods.ensemble import Ensemble
from napari_stenhance.methods.genes import ALL
from napari_stenhance.methods.members import (
    Targets,
    draw_held_out,
    fold_of,
    require_spots,
    spread_scales,
    standardise,
)
from napari_stenhance.methods.pixel2gene.inputs import FAR_UM, training_inputs
from napari_stenhance.methods.pixel2gene.learner import SpotLearner, SpotSchedule
from napari_stenhance.methods.pixel2gene.model import Pixel2GeneModel
from napari_stenhance.methods.training import train_ensemble
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded

_CALIBRATED_ON = 2048


@dataclass(frozen=True)
class Pixel2GeneRecipe:
    """Hyperparameters of `robust`.

    Attributes
    ----------
    members : int
        MLPs in the ensemble.
    folds : int
        Member m holds out the blocks of fold m mod `folds`.
    block_um : float
        Side of the spatial blocks that are held out.
    hidden : tuple of int
        Widths; the published network has four layers of 256.
    dropout : float
    clip : float
        Standardised inputs beyond this many standard deviations are cut to it.
    most_pairs : int
        Superpixels kept for training, over all spots.
    schedule : SpotSchedule
    """

    members: int = 10
    folds: int = 5
    block_um: float = 1000.0
    hidden: tuple[int, ...] = (128, 128, 128, 128)
    dropout: float = 0.4
    clip: float = 5.0
    most_pairs: int = 400_000
    schedule: SpotSchedule = field(default_factory=SpotSchedule)


@dataclass(frozen=True)
class Pixel2GeneEnsemble:
    """Pixel2Gene with preset `robust`: `Method`.

    Weak supervision as published (the mean over a spot's superpixels must match the spot), with
    log1p CP10k instead of min–max counts, a gene basis instead of single genes, standardised
    features with their context, dropout, weight decay, and early stopping on spatial blocks.

    Attributes
    ----------
    encoder : str
    seed : int
    device : torch.device
    recipe : Pixel2GeneRecipe
    """

    encoder: str
    seed: int
    device: torch.device
    recipe: Pixel2GeneRecipe = field(default_factory=Pixel2GeneRecipe)

    @property
    def crops_um(self) -> None:
        """It sees superpixels."""

    @property
    def halo_um(self) -> float:
        """How far around a spot's superpixels features are needed, in micrometres."""
        return FAR_UM / 2

    @property
    def least_share(self) -> float:
        """A spot with less than a twentieth of the median count: its proportions are noise."""
        return 0.05

    @property
    def genes(self) -> str:
        """Which genes it models where none are chosen: all."""
        return ALL

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        return asdict(self.recipe)

    def fit(
        self, samples: Sequence[TrainingSection], genes: Sequence[str], job: Job
    ) -> Pixel2GeneModel:
        """Learn from the spots of one or more sections.

        Raises
        ------
        InputError
            If there are fewer than ten spots.
        InferenceError
            If the device fails.
        """
        recipe = self.recipe
        spots = require_spots(samples, recipe.folds)
        rng = np.random.default_rng(self.seed)
        expressions = [s.log1p_cp10k(genes) for s in samples]
        most_each = max(recipe.most_pairs // spots, recipe.schedule.superpixels_per_spot)
        inputs, spot = training_inputs(samples, most_each, rng, job)
        shift, scale = _moments(inputs, samples[0].features.dim)
        standard = standardise(inputs, shift, scale, recipe.clip)
        held_out = draw_held_out(samples, recipe.members, recipe.folds, recipe.block_um, rng)
        fold = fold_of(held_out[: recipe.folds], spots)
        targets = Targets.of(expressions, _spot_means(standard, spot), fold, self.seed)
        with inference_errors("Training"), seeded(self.seed, self.device):
            network = Ensemble(
                recipe.members,
                inputs.shape[1],
                targets.outputs.shape[1],
                recipe.hidden,
                recipe.dropout,
            ).to(self.device)
            learner = SpotLearner(
                network=network,
                inputs=torch.from_numpy(standard).to(self.device),
                first=torch.from_numpy(np.searchsorted(spot, np.arange(spots))).to(self.device),
                count=torch.from_numpy(np.bincount(spot, minlength=spots)).to(self.device),
                target=torch.from_numpy(targets.outputs).to(self.device),
                superpixels_per_spot=recipe.schedule.superpixels_per_spot,
            )
            predicted = train_ensemble(learner, held_out, recipe.schedule, rng, job)
        depths = [s.library for s in samples]
        decoder = targets.decoder(genes, predicted, expressions, depths)
        fitted = Pixel2GeneModel(
            decoder=decoder,
            network=network,
            shift=shift,
            scale=scale,
            clip=recipe.clip,
            pitch_um=samples[0].features.grid.pitch_um,
            encoder=find_encoder(self.encoder).name,
            encoder_identity=find_encoder(self.encoder).identity(),
            score_scale=targets.scale,
        )
        some = rng.choice(len(inputs), min(_CALIBRATED_ON, len(inputs)), replace=False)
        spread_scale = spread_scales(fitted.scores(inputs[np.sort(some)]), decoder)
        return replace(fitted, decoder=replace(decoder, spread_scale=spread_scale))


def _spot_means(inputs: NDArray[np.float32], spot: NDArray[np.int64]) -> NDArray[np.float32]:
    average = sp.csr_array((np.ones(len(spot), np.float32), (spot, np.arange(len(spot)))))
    means: NDArray[np.float32] = (average @ inputs) / np.bincount(spot)[:, None].astype(np.float32)
    return means


def _moments(
    inputs: NDArray[np.float32], dim: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Standardise the context; the features themselves are standardised for each slide."""
    shift = inputs.mean(axis=0, dtype=np.float64)
    scale = inputs.std(axis=0, dtype=np.float64)
    shift[:dim], scale[:dim] = 0, 1
    return shift.astype(np.float32), np.where(scale > 0, scale, 1).astype(np.float32)
