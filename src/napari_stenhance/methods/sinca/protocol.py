"""What an imputation sees of spots and cells, and what it says of genes that were not measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.running.job import Job
from napari_stenhance.section.cells import CellReference

# Fixed, and not by memory: how much is predicted at once may change the last bit of a value.
GENES_AT_ONCE = 512
_VALUES_AT_ONCE = 2**25


def genes_at_once(spots: int) -> int:
    """Return of how many genes all of so many spots are predicted at once."""
    return min(GENES_AT_ONCE, max(_VALUES_AT_ONCE // spots, 1))


@dataclass(frozen=True)
class SpotCounts:
    """Spots with the counts of the genes that the cells have too.

    Attributes
    ----------
    name : str
    xy : ndarray of float64, shape (spots, 2)
        Positions in any unit.
    pitch : float
        Median distance of neighbours, in the unit of `xy`.
    counts : csr_array of float32, shape (spots, shared genes)
        Raw.
    library : ndarray of float64, shape (spots,)
        Total count of each spot, also of genes that the cells lack.
    columns : ndarray of int64, shape (shared genes,)
        Where the genes of `counts` stand among the genes of the cells.
    """

    name: str
    xy: NDArray[np.float64]
    pitch: float
    counts: sp.csr_array[np.float32]
    library: NDArray[np.float64]
    columns: NDArray[np.int64]

    def only(self, spots: NDArray[np.int64]) -> SpotCounts:
        """Keep some spots."""
        return replace(
            self,
            xy=self.xy[spots],
            counts=sp.csr_array(self.counts[spots]),
            library=self.library[spots],
        )


@dataclass(frozen=True)
class Fold:
    """What is seen while some genes are hidden, and which they are.

    Attributes
    ----------
    spots : SpotCounts
        Without the hidden genes, in counts and library.
    cells : CellReference
    hidden : SpotCounts
        The hidden genes; what is predicted.
    """

    spots: SpotCounts
    cells: CellReference
    hidden: SpotCounts


HiddenGenes = Callable[[Fold, int, Job], Mapping[str, NDArray[np.floating]]]
"""Predicts log1p CP10k of the hidden genes, (spots, genes), by a name for each way; of a seed."""


class Imputed(NamedTuple):
    """What is predicted of some genes, each (spots, genes).

    `share` is the share that a gene has of all transcripts of a spot: times the spot's library the
    expected count. `spread` is the members' standard deviation of log1p CP10k; it ranks, and is no
    interval.
    """

    share: NDArray[np.float32]
    spread: NDArray[np.float32]


class FittedImputation(Protocol):
    """A method that has learned how the spots of one section are made of cells."""

    @property
    def held_out_r(self) -> NDArray[np.float32]:
        """Pearson's r of log1p CP10k of each shared gene while it was hidden; NaN if constant."""
        ...

    @property
    def held_out_r_given_depth(self) -> NDArray[np.float32]:
        """The same with the logarithm of the spots' library held constant."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the clusters of cells; empty where they are not known."""
        ...

    def composition(self) -> NDArray[np.float32]:
        """Return how much each spot attends to each cluster, (spots, groups)."""
        ...

    def impute(self, columns: NDArray[np.int64]) -> Imputed:
        """Predict genes of the cells, by their columns, whether or not the spots have them."""
        ...


class ImputationMethod(Protocol):
    """SINCA-Net with its options."""

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        ...

    def fit(self, spots: SpotCounts, cells: CellReference, job: Job) -> FittedImputation:
        """Learn from the genes that spots and cells share."""
        ...
