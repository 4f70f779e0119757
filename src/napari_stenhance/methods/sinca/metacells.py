"""What spots attend to: cells, groups of alike cells where there are many, or cluster centroids."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.section.cells import CellReference
from napari_stenhance.section.spots import log1p_cp10k

Attended = Literal["cells", "centroids"]
_AXES = 30
_GENES = 2000
_ROUNDS, _AT_ONCE = 8, 2
_CELLS_AT_ONCE = 4096


@dataclass(frozen=True)
class Metacells:
    """Rows of counts that spots attend to.

    Attributes
    ----------
    counts : csc_array of float32, shape (units, genes of the cells)
        Sums over the cells of a unit.
    library : ndarray of float64, shape (units,)
    groups : tuple of str
        Names of the clusters of cells; empty where they are not known.
    composition : ndarray of float32, shape (units, groups)
        Share of the cells of a unit that belong to each cluster.
    """

    counts: sp.csc_array[np.float32]
    library: NDArray[np.float64]
    groups: tuple[str, ...]
    composition: NDArray[np.float32]

    @classmethod
    def from_cells(
        cls,
        cells: CellReference,
        columns: NDArray[np.int64],
        attended: Attended,
        most: int,
        seed: int,
        job: Job,
    ) -> Metacells:
        """Take each cell for itself, as long as there are at most `most`; else put alike together.

        Alike is told by K-means on 30 principal axes of log1p CP10k of the shared genes that vary
        most (Baran et al. 2019 call such groups metacells).

        Parameters
        ----------
        cells : CellReference
        columns : ndarray of int64
            The genes that tell cells apart: those that spots have too.
        attended : {"cells", "centroids"}
            "centroids" makes one unit of each cluster.
        most : int
        seed : int
        job : Job

        Raises
        ------
        InputError
            If centroids are asked for, and no clusters are known.
        """
        number = cells.counts.shape[0]
        if attended == "centroids":
            if cells.group is None:
                msg = (
                    f"{cells.name}: the cells have no clusters to take centroids of; name a "
                    "column of obs that says them, or attend to cells."
                )
                raise InputError(msg, option="cluster_key")
            unit = cells.group
        elif number <= most:
            unit = np.arange(number)
        else:
            unit = _alike(cells.counts, columns, most, seed, job)
        # Cells without a cluster, -1, belong to no centroid; clusters without cells have none.
        placed = np.flatnonzero(unit >= 0)
        there, row = np.unique(unit[placed], return_inverse=True)
        member = sp.csr_array(
            (np.ones(len(placed), np.float32), (row, placed)), (len(there), number)
        )
        counts = sp.csc_array(member @ cells.counts)
        composition = np.zeros((len(there), len(cells.groups)), np.float32)
        if cells.group is not None:
            group = cells.group[placed]
            known = group >= 0
            np.add.at(composition, (row[known], group[known]), 1)
            composition /= np.maximum(composition.sum(axis=1, keepdims=True), 1)
        library = np.asarray(counts.sum(axis=1), np.float64).ravel()
        return cls(counts, library, cells.groups, composition)

    def log1p_cp10k(self, columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return log1p of counts per 10,000 of some genes, (units, genes), dense."""
        return log1p_cp10k(sp.csr_array(self.counts[:, columns]), self.library).toarray()

    def share(self, columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the share of some genes of all counts of a unit, (units, genes), dense."""
        counts = self.counts[:, columns].toarray()
        share: NDArray[np.float32] = counts / np.maximum(self.library, 1)[:, None].astype(
            np.float32
        )
        return share


def _alike(
    counts: sp.csr_array[np.float32],
    columns: NDArray[np.int64],
    number: int,
    seed: int,
    job: Job,
) -> NDArray[np.int64]:
    """Put cells into groups of alike ones; a number may have none."""
    library = np.asarray(counts.sum(axis=1), np.float64).ravel()
    spread = _variance(counts, columns, library, job)
    chosen = columns[np.sort(np.argsort(-spread, kind="stable")[:_GENES])]
    axes = min(_AXES, len(chosen) - 1)
    with job.stage("Putting alike cells together", _ROUNDS) as stage:
        logs = log1p_cp10k(sp.csr_array(counts[:, chosen]), library)
        scores = TruncatedSVD(axes, random_state=seed).fit_transform(logs)
        # From cells at random: as many groups as are made here hardly gain by a better beginning.
        drawn = np.random.default_rng(seed).permutation(len(scores))[:number]
        centres, found = scores[np.sort(drawn)], np.zeros(len(scores), np.int32)
        for _ in range(_ROUNDS):
            with warnings.catch_warnings():
                # Cells may be equal, and groups then fewer.
                warnings.simplefilter("ignore", ConvergenceWarning)
                kmeans = KMeans(number, init=centres, n_init=1, max_iter=_AT_ONCE).fit(scores)
            centres, found = kmeans.cluster_centers_, kmeans.labels_
            stage.advance()
    return np.asarray(found, np.int64)


def _variance(
    counts: sp.csr_array[np.float32],
    columns: NDArray[np.int64],
    library: NDArray[np.float64],
    job: Job,
) -> NDArray[np.float64]:
    """Return the variance of log1p CP10k of some genes; a large reference is never copied."""
    total, square = np.zeros(len(columns)), np.zeros(len(columns))
    with job.stage("Looking for genes that tell cells apart", len(library)) as stage:
        for at in range(0, len(library), _CELLS_AT_ONCE):
            some = slice(at, at + _CELLS_AT_ONCE)
            logs = log1p_cp10k(sp.csr_array(counts[some][:, columns]), library[some])
            total += np.asarray(logs.sum(axis=0), np.float64).ravel()
            square += np.asarray(logs.multiply(logs).sum(axis=0), np.float64).ravel()
            stage.advance(logs.shape[0])
    mean: NDArray[np.float64] = total / len(library)
    return square / len(library) - mean**2
