"""Raw counts, or not: what whole numbers cannot hide, and where the counts are then."""

from __future__ import annotations

from pathlib import Path
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
    assert no_counts(kind(COUNTS > 0)) == "True and False alone"
    assert no_counts(kind(np.rint(COUNTS - COUNTS.mean(axis=0)))) == "negative numbers"
    assert no_counts(kind(COUNTS)) == ""
    # Of small bins nearly all counts are 1, as they must be; spots of phantoms are alike in depth.
    assert no_counts(kind(RNG.poisson(0.01, (500, 200)).astype("f4"))) == ""
    assert no_counts(kind(RNG.poisson(4, (80, 50)))) == ""
    assert no_counts(kind(np.ones((5, 3)))) == ""
    assert no_counts(kind(np.zeros((50, 3)))) == ""


@pytest.mark.parametrize("log", [np.log1p, lambda x: np.log2(1 + x)], ids=["ln", "log2"])
@pytest.mark.parametrize("depth", [150, 2000, 30000])
def test_rounded_logarithms_are_told_from_shallow_counts(depth: int, log: Any) -> None:
    """Of the same molecules: seen deep, or by a few each, they are counts."""
    rate = RNG.gamma(2, 1, (300, 1)) * RNG.gamma(0.3, 1, 400) * RNG.gamma(3, 1, (300, 400))
    counts = RNG.poisson(rate / rate.sum(axis=1).mean() * depth)
    said = "whole numbers more alike than counts are, such as rounded logarithms"
    assert no_counts(sp.csr_matrix(np.rint(log(cp10k(counts))))) == said
    for part in (1, 0.1, 0.01, 0.002):
        assert no_counts(sp.csr_matrix(RNG.binomial(counts, part))) == ""


@pytest.mark.parametrize("layer", ["counts", "raw_counts", "UMI", "something"])
@pytest.mark.parametrize(
    "wrong", ["log", "rounded", "binary", "empty", "scaled", "truth", "residuals"]
)
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
        "truth": sp.csr_matrix(counts > 0),
        "residuals": np.rint((counts - counts.mean(axis=0)) / 3).astype("i4"),
    }[wrong]
    section = open_section(spots)
    np.testing.assert_array_equal(np.asarray(section.need_spots().X.todense()), counts)
    assert any(f'raw counts of layers["{layer}"] are used' in d for d in section.doubts)


def test_truths_alone_are_no_counts_and_those_of_raw_are_taken(tmp_path: Path) -> None:
    spots = make_spots(side=6)
    truths = spots.copy()
    truths.X = spots.X.astype(bool)
    with pytest.raises(InputError, match=r"X holds True and False alone, .* raw counts into X"):
        open_section(truths)
    truths.raw = spots
    for dense in (False, True):
        truths.X = truths.X.toarray() if dense else truths.X
        truths.write_h5ad(tmp_path / "s.h5ad")
        section = open_section(tmp_path / "s.h5ad")
        np.testing.assert_array_equal(section.need_spots().X.toarray(), spots.X.toarray())
        assert "X holds True and False alone: the raw counts of raw are used." in section.doubts


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
    for wrong in (np.rint(cp10k(cells.X.toarray())), (cells.X > 0).astype("f4"), cells.X > 0):
        other = cells.copy()
        other.X = wrong
        if wrong.dtype == bool:
            with pytest.raises(InputError, match="neither X nor layers"):
                opened(other)
        else:
            assert any("these are no raw counts, which impute" in d for d in opened(other).doubts)
        other.layers["raw_counts"] = cells.X.copy()
        found = opened(other)
        np.testing.assert_array_equal(found.cells.counts.toarray(), right.toarray())
        assert any("raw counts of layers/raw_counts are used" in d for d in found.doubts)
