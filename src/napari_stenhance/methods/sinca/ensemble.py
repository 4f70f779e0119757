"""SINCA-Net, preset `robust`: learns from genes that are hidden, predicts any that cells have."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from napari_stenhance.errors import InputError
from napari_stenhance.methods.genes import variance
from napari_stenhance.methods.sinca.metacells import Attended, Metacells
from napari_stenhance.methods.sinca.model import SincaMember, SincaModel
from napari_stenhance.methods.sinca.network import Parts, SincaNet, waves
from napari_stenhance.methods.sinca.protocol import SpotCounts
from napari_stenhance.methods.sinca.raster import SpotRaster, windows
from napari_stenhance.methods.sinca.training import (
    SincaSchedule,
    SpotLayout,
    Values,
    see_all,
    train_sinca_member,
)
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.running.random import seeded
from napari_stenhance.section.cells import CellReference
from napari_stenhance.section.spots import log1p_cp10k

LEAST_SHARED = 10
_LEAST_SHARE = 0.05
_SMALL = np.float32(1e-6)


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
        values, chosen, with_counts = self._values(spots, units)
        place = SpotLayout(
            torch.tensor(waves(spots.xy), device=self.device),
            SpotRaster.from_positions(spots.xy, self.device),
            torch.tensor(windows(spots.xy, recipe.window), device=self.device),
        )
        fold = np.random.default_rng(self.seed).permutation(len(chosen)) % recipe.members
        # Genes that are not learned from are hidden from all: any member may be asked.
        hidden_from = np.arange(len(spots.columns)) % recipe.members
        hidden_from[chosen] = fold
        enough = torch.tensor(np.flatnonzero(with_counts), device=self.device)
        members = []
        total = recipe.members * recipe.schedule.epochs
        with job.stage("Training", total) as stage, inference_errors("Training"):
            for number in range(recipe.members):
                learned = values.only(np.flatnonzero(fold != number))
                with seeded(1000 * self.seed + number, self.device):
                    network = SincaNet(self._axes(learned, enough), recipe.parts).to(self.device)
                    train_sinca_member(
                        network,
                        learned,
                        values.only(np.flatnonzero(fold == number)),
                        enough,
                        place,
                        recipe.schedule,
                        np.random.default_rng([self.seed, number]),
                        stage,
                    )
                members.append(SincaMember(network, *see_all(network, learned, place)))
        return SincaModel.from_members(tuple(members), units, spots, hidden_from, with_counts, job)

    def _values(
        self, spots: SpotCounts, units: Metacells
    ) -> tuple[Values, NDArray[np.int64], NDArray[np.bool_]]:
        """Choose genes, and standardise them in spots and in units.

        CP10k of what is seen counts the shared genes alone, so that spots and cells are alike;
        targets count all that a spot has, as the result does.
        """
        shared = np.asarray(spots.counts.sum(axis=1), np.float64).ravel()
        with_counts = shared > _LEAST_SHARE * np.median(shared)
        metacells = sp.csr_array(units.counts[:, spots.columns])
        seen = [
            log1p_cp10k(counts, np.asarray(counts.sum(axis=1), np.float64).ravel())
            for counts in (spots.counts, metacells)
        ]
        spread = [
            variance([sp.csr_array(seen[0][np.flatnonzero(with_counts)])]),
            variance([seen[1]]),
        ]
        varies = np.flatnonzero((spread[0] > 0) & (spread[1] > 0))
        if len(varies) < LEAST_SHARED:
            msg = (
                f"{spots.name}: only {counted(len(varies), 'gene')} that the cells have too "
                f"{agree(len(varies), 'differs', 'differ')} between "
                f"spots and between cells; at least {LEAST_SHARED} are needed to learn from."
            )
            raise InputError(msg)
        rank = sum(np.argsort(np.argsort(-s[varies], kind="stable")) for s in spread)
        chosen = np.sort(varies[np.argsort(rank, kind="stable")[: self.recipe.genes]])
        clip = self.recipe.clip
        dense = [one[:, chosen].toarray() for one in seen]
        of = [dense[0][with_counts], dense[1]]
        # Rounding may give a constant gene a variance, but no standard deviation.
        standard = [
            np.clip((d - o.mean(axis=0)) / np.maximum(o.std(axis=0), _SMALL), -clip, clip)
            for d, o in zip(dense, of, strict=True)
        ]
        # A spot nearly without counts says nothing of its own; those around it do.
        standard[0][~with_counts] = 0
        target = log1p_cp10k(sp.csr_array(spots.counts[:, chosen]), spots.library).toarray()
        source = units.log1p_cp10k(spots.columns[chosen])
        tensors = (
            torch.tensor(part, dtype=torch.float32, device=self.device)
            for part in (*standard, target, source)
        )
        return Values(*tensors), chosen, with_counts

    def _axes(self, learned: Values, enough: torch.Tensor) -> torch.Tensor:
        """Return principal axes of spots and cells together, filled up with zeros."""
        rows = torch.cat([learned.spots.index_select(0, enough), learned.cells]).cpu().numpy()
        width = self.recipe.parts.width
        found = min(width, rows.shape[1] - 1, rows.shape[0] - 1)
        axes = torch.zeros(rows.shape[1], width)
        fitted = PCA(found, random_state=self.seed).fit(rows)
        axes[:, :found] = torch.tensor(fitted.components_.T, dtype=torch.float32)
        return axes
