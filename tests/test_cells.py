"""Single cells as a reference: how they are read, and which of their genes are which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import napari_stenhance as st
from napari_stenhance.section.cells import OpenedCells, cluster_columns, open_cells
from napari_stenhance.section.section import open_section
from napari_stenhance.section.tables import counts as counts_module

TYPES = 4
SHARED, ONLY = 60, 12


def make_cells(seed: int = 0, number: int = 160) -> ad.AnnData:
    """Cells of four types, each with genes of its own: G0 … as the spots, X0 … theirs alone."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, TYPES, number)
    genes = [*(f"G{n}" for n in range(SHARED)), *(f"X{n}" for n in range(ONLY))]
    rate = np.where(np.arange(len(genes)) % TYPES == np.arange(TYPES)[:, None], 8.0, 0.4)
    counts = rng.poisson(rate[kind] * rng.gamma(10, 0.1, (number, 1)))
    return ad.AnnData(
        X=sp.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(
            {"cluster": [f"T{n}" for n in kind], "depth": counts.sum(axis=1)},
            index=[f"c{n}" for n in range(number)],
        ),
        var=pd.DataFrame(index=genes),
    )


def make_spots(seed: int = 0, side: int = 12, mpp: float | None = 0.5) -> ad.AnnData:
    """Spots that are mixtures of such cells: one type more in each quarter."""
    rng = np.random.default_rng(seed + 50)
    row, column = (each.ravel() for each in np.mgrid[:side, :side])
    share = np.full((side * side, TYPES), 0.1)
    share[np.arange(side * side), 2 * (row >= side // 2) + (column >= side // 2)] = 0.7
    rate = np.where(np.arange(SHARED) % TYPES == np.arange(TYPES)[:, None], 8.0, 0.4)
    counts = rng.poisson(3 * share @ rate)
    spots = ad.AnnData(
        X=sp.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(
            {"note": np.arange(side * side)}, index=[f"s{n}" for n in range(side * side)]
        ),
        var=pd.DataFrame(
            {"gene_symbol": [f"SYM{n}" for n in range(SHARED)], "control": np.arange(SHARED) < 2},
            index=[f"G{n}" for n in range(SHARED)],
        ),
        obsm={
            "spatial": np.column_stack([column, -row]) * 100 / (mpp or 1),
            "X_pca": rng.random((side * side, 3)),
        },
        uns={"about": {"donor": "a"}},
    )
    if mpp is not None:
        spots.uns["microns_per_pixel"] = mpp
    return spots


def opened(cells: ad.AnnData, spots: ad.AnnData | None = None, key: str = "") -> OpenedCells:
    return open_cells(cells, make_spots() if spots is None else spots, key)


@pytest.mark.parametrize(
    "stored", ["csr", "csc", "dense", "int64", "csr in memory", "csc in memory"]
)
def test_every_way_to_store_counts_reads_the_same(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that there are many blocks, some of one row alone.
    monkeypatch.setattr(counts_module, "_AT_ONCE", 300)
    cells = make_cells()
    whole = cells.X.toarray()
    whole[[3, 50]] = 0
    cells.X = sp.csr_matrix(whole)
    # An explicit zero is no count.
    cells.X.data[:5] = 0
    expected = np.delete(cells.X.toarray(), [3, 50], axis=0)
    kinds: dict[str, Any] = {
        "csc": sp.csc_matrix, "csc in memory": sp.csc_matrix, "dense": lambda x: x.toarray(),
        "int64": lambda x: x.astype(np.int64),
    }  # fmt: skip
    cells.X = kinds.get(stored, sp.csr_matrix)(cells.X)
    file = tmp_path / "cells.h5ad"
    cells.write_h5ad(file)
    found = opened(cells if "memory" in stored else file)
    counts = found.cells.counts
    np.testing.assert_array_equal(counts.toarray(), expected)
    assert counts.dtype == np.float32
    assert counts.indices.dtype == np.int32
    assert counts.has_sorted_indices
    assert found.cells.genes == tuple(cells.var_names)
    assert found.cells.groups == ("T0", "T1", "T2", "T3")
    kept = np.setdiff1d(np.arange(len(cells)), [3, 50])
    labels = np.array(found.cells.groups)[found.cells.group]
    np.testing.assert_array_equal(labels, cells.obs["cluster"].to_numpy()[kept])
    assert any("2 of 160 cells have no counts" in doubt for doubt in found.doubts)
    assert "60 of the 60 genes of the spots" in found.report
    assert "12 are only in the cells (X0, X1, X2 …)" in found.report


def test_ids_and_symbols_match_whatever_either_file_uses() -> None:
    spots, cells = make_spots(), make_cells()
    spots.var_names = [f"ENSG{n:011d}" for n in range(SHARED)]
    cells.var_names = [
        *(f"SYM{n}" for n in range(SHARED)), *(f"X{n}" for n in range(ONLY))
    ]  # fmt: skip
    found = opened(cells, spots)
    assert 'var["gene_symbol"] of the spots and ids of the cells' in found.report
    assert found.cells.genes[:2] == ("ENSG00000000000", "ENSG00000000001")
    assert found.cells.genes[-1] == "X11"
    # The other way round, with versions.
    cells.var["gene_ids"] = [f"ENSG{n:011d}.7" for n in range(SHARED + ONLY)]
    spots.var = spots.var[[]]
    found = opened(cells, spots)
    assert 'ids of the spots and var["gene_ids"] of the cells' in found.report
    assert found.cells.genes[-1] == f"ENSG{SHARED + ONLY - 1:011d}"
    assert not found.doubts


def test_other_letters_match_with_a_doubt() -> None:
    spots, cells = make_spots(), make_cells()
    spots.var_names = [f"gene{n}" for n in range(SHARED)]
    cells.var_names = [f"GENE{n}" for n in range(SHARED + ONLY)]
    found = opened(cells, spots)
    assert found.cells.genes[0] == "gene0"
    assert found.cells.genes[-1] == f"GENE{SHARED + ONLY - 1}"
    assert any("different species" in doubt for doubt in found.doubts)


def test_the_first_of_two_genes_with_one_name_is_taken(tmp_path: Path) -> None:
    cells = make_cells()
    names = list(cells.var_names)
    names[7], names[70] = "G3", "X1"
    cells.var_names = names
    cells.write_h5ad(tmp_path / "twice.h5ad")
    found = open_cells(tmp_path / "twice.h5ad", make_spots())
    assert len(found.cells.genes) == SHARED + ONLY - 2
    column = found.cells.genes.index("G3")
    kept = cells.X.toarray()[:, 3]
    np.testing.assert_array_equal(found.cells.counts[:, [column]].toarray().ravel(), kept)
    assert any("2 genes of the cells share their name with" in doubt for doubt in found.doubts)


def test_too_few_shared_genes_are_refused_with_examples() -> None:
    cells = make_cells()
    cells.var_names = [f"other{n}" for n in range(SHARED + ONLY)]
    with pytest.raises(st.InputError, match=r"only 0 of its 72 genes \(other0, .*\(G0, G1, G2 …\)"):
        opened(cells)
    assert "30 of the 30 genes" in opened(make_cells(), make_spots()[:, :30].copy()).report


@pytest.mark.parametrize("place", ["layers/counts", "raw"])
def test_raw_counts_are_found_where_they_are(place: str, tmp_path: Path) -> None:
    cells = make_cells()
    expected = cells.X.toarray()
    if place == "raw":
        cells.raw = cells.copy()
        cells = cells[:, 10:].copy()
    else:
        cells.layers["counts"] = cells.X.copy()
    cells.X = cells.X.log1p()
    cells.write_h5ad(tmp_path / "log.h5ad")
    for given in (cells, tmp_path / "log.h5ad"):
        found = open_cells(given, make_spots())
        np.testing.assert_array_equal(found.cells.counts.toarray(), expected)
        assert any(place in doubt for doubt in found.doubts)
    # Spots are read so too.
    spots = make_spots()
    if place == "raw":
        spots.raw = spots.copy()
    else:
        spots.layers["counts"] = spots.X.copy()
    spots.X = spots.X.log1p()
    spots.write_h5ad(tmp_path / "spots.h5ad")
    section = open_section(tmp_path / "spots.h5ad")
    np.testing.assert_array_equal(section.need_spots().X.toarray(), make_spots().X.toarray())
    assert any("raw counts" in doubt for doubt in section.doubts)


def test_clusters_are_any_column_that_says_them(tmp_path: Path) -> None:
    cells = make_cells()
    cells.obs["kind"] = pd.Categorical(cells.obs["cluster"].str.lower())
    cells.obs.iloc[:3, cells.obs.columns.get_loc("kind")] = np.nan
    found = opened(cells, key="kind")
    assert found.cells.groups == ("no label", "t0", "t1", "t2", "t3")
    assert found.cells.group is not None
    assert list(found.cells.group[:3]) == [0, 0, 0]
    assert any("3 cells have no kind" in doubt for doubt in found.doubts)
    with pytest.raises(
        st.InputError, match="no column of the cells; there are: cluster, depth, kind"
    ):
        opened(cells, key="nope")
    cells.obs["id"] = cells.obs_names
    with pytest.raises(st.InputError, match="no clusters; name another"):
        opened(cells, key="id")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    assert set(cluster_columns(tmp_path / "cells.h5ad")) == {"cluster", "depth", "kind", "id"}
    assert cluster_columns(tmp_path / "none.h5ad") == ()
    del cells.obs["cluster"]
    assert opened(cells).cells.group is None


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "cells.h5ad"

    def sentence() -> str:
        with pytest.raises(st.InputError) as error:
            open_cells(file, make_spots())
        return str(error.value)

    assert "no such file" in sentence()
    file.write_text("not HDF5")
    assert "no HDF5 file that can be read" in sentence()
    make_cells().write_h5ad(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "no HDF5 file that can be read" in sentence()
    for part, value, said in (
        ("X/indices", 10_000, "outside the matrix"),
        ("X/data", -1, "is -1; counts must be whole"),
        ("X/indptr", 0, "does not ascend"),
    ):
        file.write_bytes(whole)
        with h5py.File(file, "r+") as stored:
            # Far enough for the first look to be good, but for what the last says of all.
            stored[part][-1] = value
        assert said in sentence()
    logged = make_cells()
    logged.X = logged.X.log1p()
    logged.write_h5ad(file)
    assert "as they were counted" in sentence()
    empty = make_cells()
    empty.X = sp.csr_matrix(empty.shape, dtype=np.float32)
    empty.write_h5ad(file)
    assert "no counts in its 160 cells" in sentence()
    with pytest.raises(st.InputError, match="holds no scRNA_count_cluster"):
        open_cells(tmp_path, make_spots())


def test_reading_can_be_cancelled(tmp_path: Path) -> None:
    make_cells().write_h5ad(tmp_path / "cells.h5ad")
    job = st.Job()
    job.cancel()
    with pytest.raises(st.Cancelled):
        open_cells(tmp_path / "cells.h5ad", make_spots(), job=job)


def test_a_real_bulb(data: Path) -> None:
    spots = open_section(data / "mob" / "rep11.h5ad").need_spots()
    file = data / "mob" / "scrna_4558x2000.h5ad"
    found = open_cells(file, spots, "cell_type")
    assert found.cells.counts.sum() == ad.read_h5ad(file).X.sum()
    assert "1877 of the 16218 genes" in found.report
    assert found.cells.groups == ("EPL-IN", "GC", "M/TC", "OSNs", "PGC")
