"""HisToSGE and SpaMCAF, preset `robust`: trained so that they predict tissue they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from napari_stenhance.methods.crops.design import Design
from napari_stenhance.methods.crops.members import CropLearner, Members
from napari_stenhance.methods.crops.model import CropModel
from napari_stenhance.methods.crops.neighbourhood import Neighbourhood, Standard
from napari_stenhance.methods.robust import RobustEnsemble, SeenSpots
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Job


@dataclass(frozen=True, kw_only=True)
class CropEnsemble(RobustEnsemble[CropModel]):
    """HisToSGE or SpaMCAF with preset `robust`: `Method`.

    The published architecture, smaller, on a gene basis instead of single genes, with dropout,
    weight decay, early stopping on spatial blocks, and an ensemble.

    Attributes
    ----------
    design : Design
    crops_um : tuple of float
    """

    design: Design
    crops_um: tuple[float, ...]

    @property
    def halo_um(self) -> float:
        """How far around a spot features are needed, in micrometres."""
        return float(np.abs(self.design.offsets_um).max(initial=0.0))

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        variant = {"variant": self.design.variant} if self.design.variant else {}
        return {**super().describe(), **variant}

    def see(
        self, samples: Sequence[TrainingSection], rng: np.random.Generator, job: Job
    ) -> SeenSpots[CropLearner, CropModel]:
        """Gather crops of the spots, and of what lies around them."""
        del rng, job
        seen = Neighbourhood.together(
            [Neighbourhood.at(s.features, s.xy_um, self.design.offsets_um) for s in samples]
        )
        standard = Standard.from_features(seen.own, self.recipe.clip)
        dim, sizes = seen.own.shape[1], len(self.crops_um)

        def learner(target: torch.Tensor) -> CropLearner:
            members = Members.made(
                lambda: self.design.make(dim, sizes, target.shape[1]),
                self.recipe.members,
                self.device,
            )
            tensors = seen.to(standard, self.device)
            return CropLearner(members, tensors, target, self.design.branch_share)

        def model(learned: CropLearner, **shared: Any) -> CropModel:
            return CropModel(
                design=self.design,
                members=learned.members,
                standard=standard,
                crops_um=self.crops_um,
                **shared,
            )

        return SeenSpots(
            means=standard(torch.tensor(seen.own)).numpy(),
            learner=learner,
            model=model,
            scores=lambda fitted: fitted.scores(seen)[0],
            schedule=self.recipe.schedule,
        )
