"""Pairs of spots and cells that the benchmarks of SINCA-Net work on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.model_selection import KFold

PAIRS = {
    "pdac": ("pdac/pdacA_st_428x19736.h5ad", "pdac/pdacA_scrna_500x19736.h5ad", 500),
    "merfish": (
        "merfish/merfish_hypothalamus_750x134.h5ad",
        "merfish/merfish_hypothalamus_scref_1308x134.h5ad",
        None,
    ),
    "mob": ("mob/rep11.h5ad", "mob/scrna_4558x2000.h5ad", None),
}
"""Spots, cells, and how many shared genes are kept: those whose log1p CP10k varies most."""


class Pair(NamedTuple):
    """Raw counts of the shared genes, sorted by name, and the total count of each spot."""

    spots: sp.csr_array
    cells: sp.csr_array
    xy: NDArray[np.float64]
    library: NDArray[np.float64]


def gene_folds(genes: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the known and the unknown genes of each of the ten published folds, ascending."""
    return list(KFold(10, shuffle=True, random_state=42).split(np.empty((genes, 1))))


def folder() -> Path:
    default = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("STENHANCE_TEST_DATA", default))


def load(name: str) -> Pair:
    of_spots, of_cells, most = PAIRS[name]
    spots, cells = ad.read_h5ad(folder() / of_spots), ad.read_h5ad(folder() / of_cells)
    library = np.asarray(spots.X.sum(axis=1), np.float64).ravel()
    genes = np.array(sorted(set(spots.var_names) & set(cells.var_names)))
    if most is not None:
        varying = cp10k(spots[:, genes].X.toarray(), library).var(axis=0)
        genes = np.sort(genes[np.argsort(-varying, kind="stable")[:most]])
    x, y = (sp.csr_array(a[:, genes].X).astype(np.float32) for a in (spots, cells))
    return Pair(x, y, np.asarray(spots.obsm["spatial"], np.float64), library)


def cp10k(counts: NDArray[np.floating], library: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log1p of counts per 10,000; of spots without counts zeros."""
    return np.log1p(counts * (1e4 / np.maximum(library, 1))[:, None])
