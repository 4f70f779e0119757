"""HisToSGE and SpaMCAF, preset `reference`: trained as published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stenhance.methods.crops.reference.model import CropReferenceModel
from napari_stenhance.methods.crops.reference.recipe import (
    LEARNING_RATE,
    CropReferenceRecipe,
    array_codes,
    groups_of,
    sees_raw,
)
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.genes import require_few
from napari_stenhance.methods.saved import learned_through
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded
from napari_stenhance.section.spots import nearest_distance


@dataclass(frozen=True)
class CropReference:
    """HisToSGE or SpaMCAF as published: `Method`.

    One network on log1p CP10k, mean squared error, Adam, a group of about 50 spots a step, the last
    state kept.

    Attributes
    ----------
    recipe : CropReferenceRecipe
    crops_um : tuple of float
    encoder : str
    seed : int
    device : torch.device
    """

    recipe: CropReferenceRecipe
    crops_um: tuple[float, ...]
    encoder: str
    seed: int
    device: torch.device

    @property
    def halo_um(self) -> float:
        """It sees nothing around a spot."""
        return 0.0

    @property
    def most_spots(self) -> None:
        """It learns from all, as published."""

    @property
    def least_share(self) -> float:
        """Every spot is learned from."""
        return 0.0

    @property
    def genes(self) -> str:
        """Which genes it models where none are chosen."""
        return self.recipe.genes

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        return {"epochs": self.recipe.epochs}

    def fit(
        self, samples: Sequence[TrainingSection], genes: Sequence[str], job: Job
    ) -> CropReferenceModel:
        """Learn from the spots of one or more sections.

        Raises
        ------
        InputError
            If there are too many genes.
        InferenceError
            If the device fails.
        """
        recipe = self.recipe
        require_few(genes, "reference")
        groups = [group for sample in samples for group in self._groups(sample, genes)]
        dim = groups[0][0].shape[2]
        with inference_errors("Training"), seeded(self.seed, self.device):
            network = recipe.make(dim, len(self.crops_um), len(genes)).to(self.device)
            _train(network, groups, recipe, np.random.default_rng(self.seed), job)
        return CropReferenceModel(
            decoder=Decoder(
                genes=tuple(genes),
                weights=None,
                bias=np.zeros(len(genes), np.float32),
                unit="log1p CP10k",
                held_out_r=np.full(len(genes), np.nan, np.float32),
                held_out_r_given_depth=np.full(len(genes), np.nan, np.float32),
                spread_scale=np.ones(len(genes), np.float32),
            ),
            recipe=recipe,
            network=network.eval(),
            array_of_um=_array_of_um(samples[0]),
            crops_um=self.crops_um,
            dim=dim,
            **learned_through(self.encoder, samples[0].features.grid.pitch_um),
        )

    def _groups(
        self, sample: TrainingSection, genes: Sequence[str]
    ) -> list[tuple[torch.Tensor, ...]]:
        """Return crops, array numbers, presence and expression of each group, as batches of one."""
        crops = sample.features.at(sample.xy_um, raw=sees_raw(self.encoder))
        array_xy = sample.array_xy
        if array_xy is None:
            array_xy = sample.xy_um @ _array_of_um(sample)[:2] + _array_of_um(sample)[2]
        expression = sample.log1p_cp10k(genes)
        return [
            tuple(
                torch.tensor(part[None]).to(self.device)
                for part in (
                    crops[group],
                    array_codes(array_xy[group]),
                    np.ones(len(group), bool),
                    expression[group].toarray(),
                )
            )
            for group in groups_of(len(crops))
        ]


def _train(
    network: torch.nn.Module,
    groups: Sequence[tuple[torch.Tensor, ...]],
    recipe: CropReferenceRecipe,
    rng: np.random.Generator,
    job: Job,
) -> None:
    """Take a step for each group, in a new order in each epoch."""
    # Fused: one pass over millions of parameters instead of a dozen.
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
    network.train()
    step = 0
    with job.stage("Training", recipe.epochs) as stage:
        for _ in range(recipe.epochs):
            for number in rng.permutation(len(groups)):
                crops, array_xy, there, expression = groups[number]
                for parameters in optimiser.param_groups:
                    parameters["lr"] = recipe.rate(step, len(groups), recipe.epochs)
                predicted, _ = network(crops, array_xy, there)
                loss = torch.nn.functional.mse_loss(predicted, expression)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                step += 1
                job.check()
            stage.advance()


def _array_of_um(sample: TrainingSection) -> NDArray[np.float64]:
    """Fit (x, y, 1) to array numbers; spots that have none are counted in pitches from a corner."""
    if sample.array_xy is None:
        pitch = nearest_distance(sample.xy_um) or 1.0
        corner = sample.xy_um.min(axis=0)
        return np.vstack([np.eye(2) / pitch, -corner / pitch])
    design = np.column_stack([sample.xy_um, np.ones(len(sample.xy_um))])
    return np.asarray(np.linalg.lstsq(design, sample.array_xy, rcond=None)[0], np.float64)
