"""SINCA-Net, preset `robust`: learns from genes that are hidden, predicts any that cells have."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA

from napari_stenhance.methods.drawing import WHOLE_MOST, said_of, some_of, some_windows, windows_of
from napari_stenhance.methods.sinca.layout import SpotLayout
from napari_stenhance.methods.sinca.metacells import Attended, Metacells
from napari_stenhance.methods.sinca.model import SincaMember, SincaModel
from napari_stenhance.methods.sinca.network import Parts, SincaNet
from napari_stenhance.methods.sinca.protocol import SpotCounts
from napari_stenhance.methods.sinca.standard import StandardGenes, counted_well
from napari_stenhance.methods.sinca.training import (
    SincaSchedule,
    Values,
    see_all,
    see_many,
    train_sinca_member,
)
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded
from napari_stenhance.section.cells import CellReference


@dataclass(frozen=True)
class SincaRecipe:
    """Hyperparameters of `robust`.

    Attributes
    ----------
    members : int
        Networks in the ensemble; each holds out another fold of the genes.
    units : int
        Cells that spots attend to; of more, alike ones are put together.
    genes : int
        Shared genes that are learned from, those that vary most in spots and cells; the others
        are predicted like genes that were not measured.
    window : int
        The transformer looks from a spot at so many around it, at most.
    clip : float
        Standardised values beyond this many standard deviations are cut to it.
    parts : Parts
    schedule : SincaSchedule
    """

    members: int = 5
    units: int = 2000
    genes: int = 2000
    window: int = 512
    clip: float = 10.0
    parts: Parts = field(default_factory=Parts)
    schedule: SincaSchedule = field(default_factory=SincaSchedule)


@dataclass(frozen=True)
class SincaEnsemble:
    """SINCA-Net with preset `robust`: `ImputationMethod`.

    What the published network does to spots and cells, over the whole section at once, with a
    last attention to the cells instead of one output for each gene; trained on measured genes
    that are hidden from it, and stopped by others that it never sees.

    Attributes
    ----------
    seed : int
    device : torch.device
    attended : {"cells", "centroids"}
        What spots attend to.
    recipe : SincaRecipe
    """

    seed: int
    device: torch.device
    attended: Attended = "cells"
    recipe: SincaRecipe = field(default_factory=SincaRecipe)

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        return {"attended": self.attended, **asdict(self.recipe)}

    def fit(self, spots: SpotCounts, cells: CellReference, job: Job) -> SincaModel:
        """Learn from the genes that spots and cells share.

        Raises
        ------
        InputError
            If too few genes are shared or vary, or centroids are asked for without clusters.
        """
        recipe = self.recipe
        units = Metacells.from_cells(
            cells, spots.columns, self.attended, recipe.units, self.seed, job
        )
        with_counts = counted_well(spots)
        every = windows_of([spots.xy])
        if len(every) > 1:
            job.note(said_of(spots.name, len(with_counts)))
        looked_at = some_of(len(with_counts), WHOLE_MOST, np.random.default_rng(self.seed))
        standard = StandardGenes.among(
            spots.only(looked_at),
            with_counts[looked_at],
            units,
            recipe.genes,
            recipe.clip,
            self.device,
        )
        chosen = standard.chosen
        whole = SpotLayout.of(spots.xy, recipe.window, self.device)
        fold = np.random.default_rng(self.seed).permutation(len(chosen)) % recipe.members
        # Genes that are not learned from are hidden from all: any member may be asked.
        hidden_from = np.arange(len(spots.columns)) % recipe.members
        hidden_from[chosen] = fold
        members = []
        total = recipe.members * recipe.schedule.epochs
        with job.stage("Training", total) as stage, inference_errors("Training"):
            for number in range(recipe.members):
                rng = np.random.default_rng([self.seed, number])
                some = some_windows(every, rng)
                at = np.concatenate(some)
                values = standard.values(spots.only(at), with_counts[at])
                place = whole if len(every) == 1 else whole.only(spots.xy, some, recipe.window)
                learned = values.only(np.flatnonzero(fold != number))
                enough = torch.tensor(np.flatnonzero(with_counts[at]), device=self.device)
                with seeded(1000 * self.seed + number, self.device):
                    network = SincaNet(self._axes(learned, enough), recipe.parts).to(self.device)
                    train_sinca_member(
                        network,
                        learned,
                        values.only(np.flatnonzero(fold == number)),
                        enough,
                        place,
                        recipe.schedule,
                        rng,
                        stage,
                    )
                if len(every) == 1:
                    members.append(SincaMember(network, *see_all(network, learned, place)))
                else:
                    genes = np.flatnonzero(fold != number)
                    blocks = (
                        standard.seen(spots.only(rows), with_counts[rows])[:, genes]
                        for rows in np.array_split(
                            np.arange(len(with_counts)), -(-len(with_counts) // WHOLE_MOST)
                        )
                    )
                    members.append(
                        SincaMember(network, *see_many(network, blocks, learned.cells, whole))
                    )
        return SincaModel.from_members(
            tuple(members), units, spots, hidden_from, with_counts, job, self.seed
        )

    def _axes(self, learned: Values, enough: torch.Tensor) -> torch.Tensor:
        """Return principal axes of spots and cells together, filled up with zeros."""
        rows = torch.cat([learned.spots.index_select(0, enough), learned.cells]).cpu().numpy()
        width = self.recipe.parts.width
        found = min(width, rows.shape[1] - 1, rows.shape[0] - 1)
        axes = torch.zeros(rows.shape[1], width)
        fitted = PCA(found, random_state=self.seed).fit(rows)
        axes[:, :found] = torch.tensor(fitted.components_.T, dtype=torch.float32)
        return axes
