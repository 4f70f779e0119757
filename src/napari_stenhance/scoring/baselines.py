"""What every model must beat."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from napari_stenhance.running.job import Job
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.cells import Cells
from napari_stenhance.section.spots import log1p_cp10k

_NEIGHBOURS = 12


class Interpolation:
    """Inverse-distance weighting over the nearest spots: no image, no model.

    Parameters
    ----------
    xy_um : ndarray of float64, shape (spots, 2)
        Where was measured.
    values : ndarray, shape (spots, genes)
        What was measured.
    neighbours : int
        By default twelve; one takes what the nearest spot has.

    References
    ----------
    Shepard, Proc. 23rd ACM National Conference, 517-524 (1968).
    """

    def __init__(
        self,
        xy_um: NDArray[np.float64],
        values: NDArray[np.floating],
        neighbours: int = _NEIGHBOURS,
    ) -> None:
        most = min(neighbours, len(xy_um))
        self._model = KNeighborsRegressor(most, weights="distance").fit(xy_um, values)

    def __call__(self, xy_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate at other positions, (n, 2): (n, genes). Beyond the spots, extrapolate."""
        values: NDArray[np.float64] = self._model.predict(xy_um)
        return values


class Counted(Protocol):
    """Counts of spots of the genes that the cells have too, as an imputation sees them."""

    @property
    def counts(self) -> sp.csr_array[np.float32]: ...
    @property
    def library(self) -> NDArray[np.float64]: ...
    @property
    def columns(self) -> NDArray[np.int64]: ...


class Borrowed(NamedTuple):
    """Shares of genes in the cells that are most like a spot, and their spread, (spots, genes)."""

    share: NDArray[np.float32]
    spread: NDArray[np.float32]


@dataclass(frozen=True)
class CellNeighbours:
    """Genes of the cells that are most like each spot: no network.

    Spots and cells lie in one space, the principal components of the genes that both have, log1p
    CP10k, standardised over either. A spot has the mean share of its neighbours.

    Attributes
    ----------
    components : int
    neighbours : int
    folds : int
        Each shared gene is once left out, to see how well it is predicted.
    seed : int
    """

    components: int = 30
    neighbours: int = 50
    folds: int = 5
    seed: int = 0

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        return asdict(self)

    def fit(self, spots: Counted, cells: Cells, job: Job) -> FittedNeighbours:
        """Find the cells that are like each spot, by all shared genes and without some of them."""
        library = np.asarray(cells.counts.sum(axis=1), np.float64).ravel()
        measured = _log1p_cp10k(spots.counts, spots.library)
        known = _log1p_cp10k(cells.counts[:, spots.columns], library)
        number = measured.shape[1]
        folds = min(self.folds, number)
        fold = np.random.default_rng(self.seed).permutation(number) % folds
        hidden_r = np.empty(number, np.float32)
        with job.stage("Hiding genes", folds) as stage:
            for n in range(folds):
                hidden = fold == n
                like = self._likeness(measured[:, ~hidden], known[:, ~hidden])
                guess = FittedNeighbours(cells, library, like, hidden_r)
                share = guess.impute(spots.columns[hidden]).share
                hidden_r[hidden] = pearson(np.log1p(1e4 * share), measured[:, hidden])
                stage.advance()
        return FittedNeighbours(cells, library, self._likeness(measured, known), hidden_r)

    def _likeness(
        self, spots: NDArray[np.float32], cells: NDArray[np.float32]
    ) -> sp.csr_array[np.float32]:
        """Weigh the neighbours of each spot, (spots, cells)."""
        both = np.concatenate([StandardScaler().fit_transform(each) for each in (spots, cells)])
        pca = PCA(min(self.components, *both.shape), random_state=self.seed)
        placed = pca.fit_transform(both)
        number = min(self.neighbours, len(cells))
        search = NearestNeighbors(n_neighbors=number, metric="cosine").fit(placed[len(spots) :])
        near = search.kneighbors(placed[: len(spots)], return_distance=False)
        ends = np.arange(len(spots) + 1) * number
        shape = (len(spots), len(cells))
        return sp.csr_array((np.full(near.size, 1 / number, np.float32), near.ravel(), ends), shape)


@dataclass(frozen=True, eq=False)
class FittedNeighbours:
    """What `CellNeighbours` found.

    Attributes
    ----------
    cells : Cells
    library : ndarray of float64, shape (cells,)
        Total count of each cell.
    likeness : csr_array of float32, shape (spots, cells)
        How much each cell counts; rows sum to one.
    held_out_r : ndarray of float32, shape (shared genes,)
    """

    cells: Cells
    library: NDArray[np.float64]
    likeness: sp.csr_array[np.float32]
    held_out_r: NDArray[np.float32]

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the clusters of cells; empty where they are not known."""
        return self.cells.groups

    def composition(self) -> NDArray[np.float32]:
        """Return the share of each cluster among the neighbours of each spot, (spots, groups)."""
        member = np.eye(len(self.groups), dtype=np.float32)[self.cells.group]
        share: NDArray[np.float32] = self.likeness @ member
        return share

    def impute(self, columns: NDArray[np.int64]) -> Borrowed:
        """Average genes of the cells, by their columns."""
        counts = self.cells.counts[:, columns]
        share = self.likeness @ sp.csr_array(counts.multiply(1 / self.library[:, None]))
        expression = log1p_cp10k(counts, self.library)
        mean = (self.likeness @ expression).toarray()
        variance = (self.likeness @ expression.multiply(expression)).toarray() - mean**2
        spread = np.sqrt(np.maximum(variance, 0))
        return Borrowed(share.toarray().astype(np.float32), spread.astype(np.float32))


def _log1p_cp10k(
    counts: sp.csr_array[np.float32], library: NDArray[np.float64]
) -> NDArray[np.float32]:
    return log1p_cp10k(counts, library).toarray()
