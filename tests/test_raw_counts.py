"""Raw counts, or not: what whole numbers cannot hide, and where the counts are then."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

import napari_stenhance as st
from napari_stenhance.errors import InputError
from napari_stenhance.section.raw import no_counts
from napari_stenhance.section.section import open_section
from test_cells import make_cells, make_spots, opened

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(RNG.gamma(2, 2, (80, 1)) * RNG.gamma(1, 1, 50)).astype("f4")


def cp10k(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * 1e4


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_what_is_no_count_is_called_what_it_is(kind: Any) -> None:
    assert no_counts(kind(np.log1p(cp10k(COUNTS)).astype("f4"))) == "no whole numbers"
    assert no_counts(kind(np.rint(cp10k(COUNTS)))) == "about the same total, 10,000, in every row"
    assert no_counts(kind((COUNTS > 0).astype("f4"))) == "0 and 1 alone"
    assert no_counts(kind(COUNTS)) == ""
    # Of small bins nearly all counts are 1, as they must be; spots of phantoms are alike in depth.
    assert no_counts(kind(RNG.poisson(0.01, (500, 200)).astype("f4"))) == ""
    assert no_counts(kind(RNG.poisson(4, (80, 50)))) == ""
    assert no_counts(kind(np.ones((5, 3)))) == ""
    assert no_counts(kind(np.zeros((50, 3)))) == ""


@pytest.mark.parametrize("layer", ["counts", "raw_counts", "UMI", "something"])
@pytest.mark.parametrize("wrong", ["log", "rounded", "binary", "empty", "scaled"])
def test_the_layer_that_holds_counts_is_taken_and_said(layer: str, wrong: str) -> None:
    spots = make_spots(side=6)
    counts = spots.X.toarray()
    spots.layers[layer] = spots.X.copy()
    spots.layers["ABC"] = sp.csr_matrix(counts + 0.5)
    spots.X = {
        "log": sp.csr_matrix(np.log1p(counts)),
        "rounded": np.rint(cp10k(counts)),
        "binary": (counts > 0).astype("f4"),
        "scaled": (counts - counts.mean(axis=0)).astype("f4"),
        "empty": None,
    }[wrong]
    section = open_section(spots)
    np.testing.assert_array_equal(np.asarray(section.need_spots().X.todense()), counts)
    assert any(f'raw counts of layers["{layer}"] are used' in d for d in section.doubts)


def test_where_there_are_none_info_says_so_and_what_is_there() -> None:
    spots = make_spots(side=6)
    spots.X = spots.X.log1p()
    spots.layers["scaled"] = spots.X.copy()
    spots.raw = spots.copy()
    lines = st.info(spots)
    assert any(
        "X holds no whole numbers, so these are no raw counts" in line
        and 'neither are layers["scaled"], raw' in line
        for line in lines
    )
    with pytest.raises(InputError, match=r'X is empty; .* none in layers\["scaled"\] either'):
        open_section(ad.AnnData(obs=spots.obs, var=spots.var, layers={"scaled": spots.X},
                                obsm={"spatial": spots.obsm["spatial"]}))  # fmt: skip


def test_cells_are_asked_the_same() -> None:
    cells = make_cells()
    right = opened(cells).cells.counts
    for wrong in (np.rint(cp10k(cells.X.toarray())), (cells.X > 0).astype("f4")):
        other = cells.copy()
        other.X = wrong
        assert any("so these are no raw counts, which impute" in d for d in opened(other).doubts)
        other.layers["raw_counts"] = cells.X.copy()
        found = opened(other)
        np.testing.assert_array_equal(found.cells.counts.toarray(), right.toarray())
        assert any("raw counts of layers/raw_counts are used" in d for d in found.doubts)
