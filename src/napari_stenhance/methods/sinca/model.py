"""What `robust` learned: how spots attend to cells, in each member."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stenhance.methods.drawing import JUDGED_MOST, some_of
from napari_stenhance.methods.sinca.metacells import Metacells
from napari_stenhance.methods.sinca.network import SincaNet
from napari_stenhance.methods.sinca.protocol import (
    GENES_AT_ONCE,
    Imputed,
    SpotCounts,
    genes_at_once,
)
from napari_stenhance.methods.sinca.training import predict_shares
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.metrics import gene_accuracy
from napari_stenhance.section.spots import log1p_cp10k

_SPOTS_AT_ONCE = 1024
_PER = np.float32(1e4)


@dataclass(frozen=True)
class SincaMember:
    """A trained network, and spots and cells as it sees them, (…, width)."""

    network: SincaNet
    spots: Tensor
    keys: Tensor

    @torch.inference_mode()
    def predict(
        self, source: NDArray[np.float32], at: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Predict genes of spots, by default of all, (spots, genes), from their values in cells."""
        values = torch.tensor(source, device=self.keys.device)
        spots = self.spots if at is None else self.spots[torch.tensor(at, device=values.device)]
        parts = [
            predict_shares(self.network, some, self.keys, values).cpu()
            for some in spots.split(_SPOTS_AT_ONCE)
        ]
        return np.asarray(torch.cat(parts).numpy())

    @torch.inference_mode()
    def mean_attention(self) -> NDArray[np.float32]:
        """Return how much all spots together attend to each cell, (cells,), of sum 1."""
        total = torch.zeros(len(self.keys), device=self.keys.device)
        for some in self.spots.split(_SPOTS_AT_ONCE):
            total += self.network.attention(some, self.keys).sum(dim=0)
        return np.asarray((total / len(self.spots)).cpu().numpy())


@dataclass(frozen=True)
class SincaModel:
    """What `robust` learned of one section: `FittedImputation`.

    Attributes
    ----------
    members : tuple of SincaMember
    units : Metacells
        What spots attend to.
    per_library : float
        How much more of a spot's library a gene is than of the library of the cells, which may
        count other genes.
    held_out_r, held_out_r_given_depth : ndarray of float32, shape (shared genes,)
        NaN where a gene does not vary, or the cells have none of it.
    """

    members: tuple[SincaMember, ...]
    units: Metacells
    per_library: float
    held_out_r: NDArray[np.float32]
    held_out_r_given_depth: NDArray[np.float32]
    _attention: NDArray[np.float32] = field(repr=False)

    @classmethod
    def from_members(
        cls,
        members: tuple[SincaMember, ...],
        units: Metacells,
        spots: SpotCounts,
        hidden_from: NDArray[np.int64],
        counted: NDArray[np.bool_],
        job: Job,
        seed: int,
    ) -> SincaModel:
        """Score members on what was hidden from them, and compare the libraries of both.

        Parameters
        ----------
        members : tuple of SincaMember
        units : Metacells
        spots : SpotCounts
        hidden_from : ndarray of int64, shape (shared genes,)
            A member that never saw a gene.
        counted : ndarray of bool, shape (spots,)
            Spots with enough counts to be compared with.
        job : Job
        seed : int
            Draws the spots that judge, of very many.
        """
        drawn = some_of(len(counted), JUDGED_MOST, np.random.default_rng(seed))
        judged = spots.only(drawn)
        enough = counted[drawn]
        attention = np.mean([member.mean_attention() for member in members], axis=0)
        r, given_depth = np.full((2, len(spots.columns)), np.nan, np.float32)
        of_cells = 0.0
        parts = [
            (member, genes[at : at + GENES_AT_ONCE])
            for number, member in enumerate(members)
            for genes in [np.flatnonzero(hidden_from == number)]
            for at in range(0, len(genes), GENES_AT_ONCE)
        ]
        with job.stage("Scoring hidden genes", len(parts)) as stage:
            for member, genes in parts:
                columns = spots.columns[genes]
                predicted = member.predict(units.log1p_cp10k(columns), drawn)[enough]
                measured = log1p_cp10k(sp.csr_array(judged.counts[:, genes]), judged.library)
                found = gene_accuracy(predicted, measured.toarray()[enough], judged.library[enough])
                varies = np.ptp(predicted, axis=0) > 0
                r[genes] = np.where(varies, found.r, np.nan)
                given_depth[genes] = np.where(varies, found.r_given_depth, np.nan)
                of_cells += float((attention @ units.share(columns)).sum())
                stage.advance()
        of_spots = float(spots.counts.sum(dtype=np.float64) / spots.library.sum())
        return cls(members, units, of_spots / of_cells, r, given_depth, attention)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the clusters of cells."""
        return self.units.groups

    def composition(self) -> NDArray[np.float32]:
        """Return how much each spot attends to each cluster, (spots, groups): the members' mean."""
        return np.mean([m.predict(self.units.composition) for m in self.members], axis=0)

    def impute(self, columns: NDArray[np.int64]) -> Imputed:
        """Predict genes of the cells, by their columns, whether or not the spots have them.

        Where a gene is expressed follows the mean log1p CP10k of the cells that a spot attends
        to; how much of it there is, over all spots, their mean share.
        """
        spots = len(self.members[0].spots)
        share = np.empty((spots, len(columns)), np.float32)
        spread = np.empty_like(share)
        at_once = genes_at_once(spots)
        for at in range(0, len(columns), at_once):
            some = columns[at : at + at_once]
            here = slice(at, at + len(some))
            source = self.units.log1p_cp10k(some)
            predicted = np.empty((len(self.members), spots, len(some)), np.float32)
            for number, member in enumerate(self.members):
                predicted[number] = member.predict(source)
            level = self._attention @ self.units.share(some) * np.float32(self.per_library)
            mean = np.expm1(predicted.mean(axis=0))
            scale = level / np.maximum(mean.mean(axis=0), np.float32(1e-12))
            share[:, here] = mean * scale
            for first in range(0, spots, _SPOTS_AT_ONCE):
                rows = slice(first, first + _SPOTS_AT_ONCE)
                pattern = np.expm1(predicted[:, rows]) * scale * _PER
                spread[rows, here] = np.log1p(pattern).std(axis=0)
        return Imputed(share, spread)
