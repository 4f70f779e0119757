"""What imputation must beat: genes borrowed from cells without a network that is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import cosine_similarity

from napari_stenhance.running.job import Job

_COMPONENTS, _NEIGHBOURS = 30, 50
_STEPS, _RATE = 50, 0.1


@dataclass(frozen=True)
class Both:
    """Spots and cells, in log1p CP10k.

    Attributes
    ----------
    spots : ndarray of float32, shape (spots, known genes)
    cells : ndarray of float32, shape (cells, known genes)
    library : ndarray of float64, shape (spots,)
        Total count of each spot, without the genes that are asked for.
    """

    spots: NDArray[np.float32]
    cells: NDArray[np.float32]
    library: NDArray[np.float64]


Baseline = Callable[[Both, NDArray[np.float32], int, Job], NDArray[np.float32]]
"""Takes both, the genes asked for in the cells (cells, genes), and a seed: (spots, genes)."""


def library_size(
    both: Both, wanted: NDArray[np.float32], _seed: int, _job: Job
) -> NDArray[np.float32]:
    """Say of every gene what the library size is: no biology, but not nothing (see the docs)."""
    column = both.library[:, None].astype(np.float32)
    return np.repeat(column, wanted.shape[1], axis=1)


def reference_mean(
    both: Both, wanted: NDArray[np.float32], _seed: int, _job: Job
) -> NDArray[np.float32]:
    """Give every spot the mean of all cells."""
    return np.repeat(wanted.mean(axis=0, keepdims=True), len(both.spots), axis=0)


def nearest_cells(
    both: Both, wanted: NDArray[np.float32], seed: int, _job: Job
) -> NDArray[np.float32]:
    """Give each spot the mean of the 50 cells of least cosine distance in a common PCA.

    30 components of the known genes, standardised over spots and over cells.
    """
    rows = [StandardScaler().fit_transform(part) for part in (both.spots, both.cells)]
    together = np.concatenate(rows)
    components = min(_COMPONENTS, *together.shape)
    placed = PCA(components, random_state=seed).fit_transform(together)
    number = min(_NEIGHBOURS, len(both.cells))
    search = NearestNeighbors(n_neighbors=number, metric="cosine").fit(placed[len(both.spots) :])
    near = search.kneighbors(placed[: len(both.spots)], return_distance=False)
    mean: NDArray[np.float32] = wanted[near].mean(axis=1)
    return mean


def mapped_cells(
    both: Both, wanted: NDArray[np.float32], seed: int, job: Job
) -> NDArray[np.float32]:
    """Map cells to spots such that the known genes agree, gene by gene and spot by spot.

    The objective of Tangram (Biancalani et al., Nature Methods 18:1352-1362, 2021): a free matrix
    of spots × cells, of which a softmax is taken, raises the cosine similarity of predicted and
    measured expression over spots for each gene, and over genes for each spot. Here the softmax
    is over the cells, as spots of any size have shares of cells, and 50 steps are taken: after 200,
    genes that were hidden are predicted worse.
    """
    spots, cells, other = (torch.tensor(part) for part in (both.spots, both.cells, wanted))
    generator = torch.Generator().manual_seed(seed)
    mapping = torch.randn(len(spots), len(cells), generator=generator, requires_grad=True)
    optimiser = torch.optim.Adam([mapping], lr=_RATE)
    for _ in range(_STEPS):
        predicted = mapping.softmax(dim=1) @ cells
        over_spots = cosine_similarity(predicted, spots, dim=0).mean()
        over_genes = cosine_similarity(predicted, spots, dim=1).mean()
        optimiser.zero_grad(set_to_none=True)
        (-over_spots - over_genes).backward()
        optimiser.step()
        job.check()
    with torch.inference_mode():
        return np.asarray((mapping.softmax(dim=1) @ other).numpy())


BASELINES: dict[str, Baseline] = {
    "library size": library_size,
    "reference mean": reference_mean,
    "nearest cells": nearest_cells,
    "mapping": mapped_cells,
}
