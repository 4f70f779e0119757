"""HisToSGE and SpaMCAF, preset `robust`: trained so that they predict tissue they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from napari_stenhance.features.crops import CropMap
from napari_stenhance.features.registry import encoder_identity, portable
from napari_stenhance.methods.crops.design import Design
from napari_stenhance.methods.crops.members import CropLearner, Members
from napari_stenhance.methods.crops.model import CropModel
from napari_stenhance.methods.crops.neighbourhood import Neighbourhood, Standard
from napari_stenhance.methods.genes import ALL
from napari_stenhance.methods.members import (
    Targets,
    draw_held_out,
    fold_of,
    require_spots,
    spread_scales,
)
from napari_stenhance.methods.training import Schedule, train_ensemble
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded


@dataclass(frozen=True)
class CropRecipe:
    """Hyperparameters of `robust`; those of the networks stand with these.

    Attributes
    ----------
    members : int
        Networks in the ensemble.
    folds : int
        Member m holds out the blocks of fold m mod `folds`.
    block_um : float
        Side of the spatial blocks that are held out.
    clip : float
        Standardised features beyond this many standard deviations are cut to it.
    schedule : Schedule
    """

    members: int = 10
    folds: int = 5
    block_um: float = 1000.0
    clip: float = 5.0
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True)
class CropEnsemble:
    """HisToSGE or SpaMCAF with preset `robust`: `Method`.

    The published architecture, smaller, on a gene basis instead of single genes, with dropout,
    weight decay, early stopping on spatial blocks, and an ensemble.

    Attributes
    ----------
    design : Design
    crops_um : tuple of float
    encoder : str
    seed : int
    device : torch.device
    recipe : CropRecipe
    """

    design: Design
    crops_um: tuple[float, ...]
    encoder: str
    seed: int
    device: torch.device
    recipe: CropRecipe = field(default_factory=CropRecipe)

    @property
    def halo_um(self) -> float:
        """How far around a spot features are needed, in micrometres."""
        return float(np.abs(self.design.offsets_um).max(initial=0.0))

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
        variant = {"variant": self.design.variant} if self.design.variant else {}
        return {**asdict(self.recipe), **variant}

    def fit(
        self, samples: Sequence[TrainingSection[CropMap]], genes: Sequence[str], job: Job
    ) -> CropModel:
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
        seen = Neighbourhood.together(
            [Neighbourhood.at(s.features, s.xy_um, self.design.offsets_um, job) for s in samples]
        )
        standard = Standard.from_features(seen.own, recipe.clip)
        held_out = draw_held_out(samples, recipe.members, recipe.folds, recipe.block_um, rng)
        fold = fold_of(held_out[: recipe.folds], spots)
        own = standard(torch.tensor(seen.own)).numpy()
        targets = Targets.of(expressions, own, fold, self.seed)
        dim, sizes, outputs = seen.own.shape[1], len(self.crops_um), targets.outputs.shape[1]
        with inference_errors("Training"), seeded(self.seed, self.device):
            members = Members.made(
                lambda: self.design.make(dim, sizes, outputs), recipe.members, self.device
            )
            learner = CropLearner(
                members=members,
                seen=seen.to(standard, self.device),
                target=torch.tensor(targets.outputs).to(self.device),
                branch_share=self.design.branch_share,
            )
            predicted = train_ensemble(learner, held_out, recipe.schedule, rng, job)
        depths = [s.library for s in samples]
        decoder = targets.decoder(genes, predicted, expressions, depths)
        fitted = CropModel(
            decoder=decoder,
            design=self.design,
            members=members,
            standard=standard,
            crops_um=self.crops_um,
            pitch_um=samples[0].features.grid.pitch_um,
            encoder=portable(self.encoder),
            encoder_identity=encoder_identity(self.encoder),
            score_scale=targets.scale,
        )
        spread_scale = spread_scales(fitted.scores(seen)[0], decoder)
        return replace(fitted, decoder=replace(decoder, spread_scale=spread_scale))
