"""Pixel2Gene, presets `reference` and `istar`: trained as published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.genes import require_few
from napari_stenhance.methods.pixel2gene.reference.model import Pixel2GeneReferenceModel
from napari_stenhance.methods.pixel2gene.reference.network import (
    Pixel2GeneReferenceMember,
    Pixel2GeneReferenceNet,
    SpotData,
    train_reference_member,
)
from napari_stenhance.methods.pixel2gene.reference.recipe import (
    PIXEL2GENE,
    Pixel2GeneReferenceRecipe,
)
from napari_stenhance.methods.pixel2gene.reference.rows import Rows, training_rows
from napari_stenhance.methods.saved import learned_through
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded
from napari_stenhance.scoring.metrics import GeneAccuracy, gene_accuracy, over_sections

_SPOTS_AT_ONCE = 128
_SPREAD_STEPS = 16


@dataclass(frozen=True)
class Pixel2GeneReference:
    """Pixel2Gene or iStar as published: `Method`.

    Features are unscaled; counts are raw, each gene scaled to 0 … 1 over the spots that a member
    learns from. The prediction is in counts per superpixel.

    Attributes
    ----------
    encoder : str
    seed : int
    device : torch.device
    recipe : Pixel2GeneReferenceRecipe
    """

    encoder: str
    seed: int
    device: torch.device
    recipe: Pixel2GeneReferenceRecipe = field(default_factory=lambda: PIXEL2GENE)

    @property
    def crops_um(self) -> None:
        """It sees superpixels."""

    @property
    def halo_um(self) -> float:
        """Infinite: kinds of tissue are found on the whole slide."""
        return math.inf

    @property
    def most_spots(self) -> None:
        """It learns from all, as published."""

    @property
    def least_share(self) -> float:
        """Every spot: the published filter is the recipe's own."""
        return 0.0

    @property
    def genes(self) -> str:
        """Which genes it models where none are chosen."""
        return self.recipe.genes

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        return asdict(self.recipe)

    def fit(
        self, samples: Sequence[TrainingSection], genes: Sequence[str], job: Job
    ) -> Pixel2GeneReferenceModel:
        """Learn from the spots of one or more sections.

        Raises
        ------
        InputError
            If there are too many genes, or too few spots.
        InferenceError
            If the device fails.
        """
        recipe = self.recipe
        require_few(genes, recipe.preset)
        rows = training_rows(samples, genes, recipe, job)
        seeds = np.random.default_rng(self.seed).integers(2**63, size=recipe.members)
        everything = np.arange(len(rows.fold))
        members: list[Pixel2GeneReferenceMember] = []
        with inference_errors("Training"):
            data = SpotData(
                inputs=torch.from_numpy(rows.inputs).to(self.device),
                under=torch.from_numpy(rows.under).to(self.device),
                counts=torch.from_numpy(rows.counts).to(self.device),
            )
            with job.stage("Training", recipe.members * recipe.epochs) as stage:
                for number, seed in enumerate(seeds):
                    learned = everything
                    if recipe.folds:
                        learned = np.flatnonzero(rows.fold != number % recipe.folds)
                    chosen = torch.from_numpy(learned).to(self.device)
                    with seeded(int(seed), self.device):
                        network = Pixel2GeneReferenceNet(
                            rows.inputs.shape[1],
                            len(genes),
                            recipe.hidden,
                            recipe.slope,
                            recipe.floor,
                        ).to(self.device)
                        members.append(
                            train_reference_member(network, data, chosen, recipe, stage, job)
                        )
            accuracy = _held_out_accuracy(members, rows, data, recipe)
        covered = rows.under.shape[1]
        span = np.mean([m.span.cpu().numpy() for m in members], axis=0)
        decoder = Decoder(
            genes=tuple(genes),
            weights=None,
            bias=np.zeros(len(genes), np.float32),
            unit="counts per superpixel",
            held_out_r=accuracy.r.astype(np.float32),
            held_out_r_given_depth=accuracy.r_given_depth.astype(np.float32),
            # Half precision then holds deviations from 0.0005 to 16 times a gene's range.
            spread_scale=np.where(span > 0, span / covered / _SPREAD_STEPS, 1).astype(np.float32),
        )
        return Pixel2GeneReferenceModel(
            decoder=decoder,
            members=tuple(members),
            covered=covered,
            recipe=recipe,
            **learned_through(self.encoder, samples[0].features.grid.pitch_um),
        )


@torch.inference_mode()
def _held_out_accuracy(
    members: Sequence[Pixel2GeneReferenceMember],
    rows: Rows,
    data: SpotData,
    recipe: Pixel2GeneReferenceRecipe,
) -> GeneAccuracy:
    """Compare, over spots, counts with what the members that held a spot out predict for it.

    The published program never does this, though it writes the masks. NaN if nothing is held out.
    """
    genes = rows.counts.shape[1]
    if not recipe.folds:
        return GeneAccuracy(np.full(genes, np.nan), np.full(genes, np.nan))
    predicted = np.empty((len(rows.fold), genes), np.float32)
    for fold in range(recipe.folds):
        held = np.flatnonzero(rows.fold == fold)
        for some in np.array_split(held, max(len(held) // _SPOTS_AT_ONCE, 1)):
            chosen = torch.from_numpy(some).to(data.inputs.device)
            parts = [m.spots(data, chosen) for m in members[fold :: recipe.folds]]
            predicted[some] = torch.stack(parts).mean(dim=0).cpu().numpy()
    sections = (rows.section == section for section in np.unique(rows.section))
    return over_sections(
        [gene_accuracy(predicted[here], rows.counts[here], rows.depth[here]) for here in sections]
    )
