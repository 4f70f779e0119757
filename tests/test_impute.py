"""Imputed genes without napari: the task, its result, the command line, what follows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import ome_zarr_models.v05 as ome
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr

import napari_stenhance as st
from napari_stenhance.results.genes import gene_group, written_genes
from napari_stenhance.results.imputed import (
    imputed_run,
    imputed_runs,
)
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from napari_stenhance.tasks.export import ExportOptions, export
from napari_stenhance.tasks.impute import ImputeOptions, impute
from test_cells import ONLY, SHARED, make_cells, make_spots
from test_cli import files_of, run

# Enough for four types of cells.
QUICK = ("--epochs", 2, "--device", "cpu")


def write_pair(folder: Path, **options: Any) -> tuple[Path, Path]:
    """Write spots and cells as the published layout has them."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = folder / "Spatial_count.h5ad", folder / "scRNA_count_cluster.h5ad"
    make_spots(**options).write_h5ad(pair[0])
    make_cells().write_h5ad(pair[1])
    return pair


def quick(spots: object, reference: object, out: Path, **options: Any) -> ImputeOptions:
    options = {"epochs": 2, "device": "cpu", **options}
    return ImputeOptions(spots, reference, out, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of the published layout, and the result of imputing from the command line."""
    folder = tmp_path_factory.mktemp("impute") / "Dataset7"
    write_pair(folder)
    out = folder.parent / "out.stenhance.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STENHANCE_CACHE", str(folder.parent / "cache"))
        ran = run("impute", folder, folder, "--out", out, "--write", "X1", *QUICK)
    assert "60 of the 60 genes of the spots are among the 72 of the cells" in ran.stderr
    assert "12 genes imputed, 60 as measured, for 144 spots" in ran.stdout
    assert "median r" in ran.stdout
    return folder, out


def test_the_table_keeps_the_spots_and_adds_genes(made: tuple[Path, Path]) -> None:
    folder, out = made
    given, imputed = make_spots(), imputed_run(ResultFolder.open(out))
    table = imputed.table()
    assert imputed.name == "sinca-robust"
    assert list(table.obs_names) == list(given.obs_names)
    assert list(table.var_names) == [*given.var_names, *(f"X{n}" for n in range(ONLY))]
    np.testing.assert_array_equal(table.var["imputed"], np.arange(SHARED + ONLY) >= SHARED)
    np.testing.assert_array_equal(table[:, :SHARED].X.toarray(), given.X.toarray())
    np.testing.assert_array_equal(table.obs["note"], given.obs["note"])
    np.testing.assert_array_equal(table.obsm["X_pca"], given.obsm["X_pca"])
    assert table.uns["about"]["donor"] == "a"
    assert table.uns["stenhance_imputation"]["reference"] == "Dataset7"
    library = given.X.toarray().sum(axis=1, keepdims=True)
    log = table.layers["log1p_cp10k"].toarray()
    np.testing.assert_allclose(log, np.log1p(table.X.toarray() / library * 1e4), rtol=1e-4)
    new = table[:, SHARED:]
    assert (new.X.toarray() >= 0).all()
    assert new.X.toarray().sum() > 0
    np.testing.assert_allclose(
        new.var["spread"], new.layers["spread"].toarray().mean(axis=0), rtol=1e-4
    )
    assert table[:, :SHARED].layers["spread"].nnz == 0
    assert table.var["spread"][:SHARED].isna().all()
    assert table.var["holdout_r"][:SHARED].notna().all()
    assert table.var["holdout_r"][SHARED:].isna().all()
    assert table.var["holdout_r_given_depth"][:SHARED].notna().all()
    assert table.var["holdout_r_given_depth"][SHARED:].isna().all()
    # What the input said of genes; of imputed ones it said nothing.
    assert list(table.var["gene_symbol"].astype(object)[:2]) == ["SYM0", "SYM1"]
    assert table.var["gene_symbol"][SHARED:].isna().all()
    assert list(table.var["control"][:3]) == [True, True, False]
    # T0 … are each the most in one quarter.
    share = table.obsm["cell_composition"]
    assert list(table.uns["cell_composition"]) == ["T0", "T1", "T2", "T3"]
    np.testing.assert_allclose(share.sum(axis=1), 1, rtol=1e-4)
    row, column = (each.ravel() >= 6 for each in np.mgrid[:12, :12])
    assert (share.argmax(axis=1) == 2 * row + column).mean() > 0.6
    assert str(folder).encode() not in b"".join(files_of(out).values())


def test_what_the_cells_know_is_found_again(made: tuple[Path, Path]) -> None:
    _, out = made
    imputed = imputed_run(ResultFolder.open(out))
    spots = make_spots()
    # X0 … belong to the types in turn, as G0 … do; a type is where its measured genes are.
    share = spots.X.toarray() / spots.X.toarray().sum(axis=1, keepdims=True)
    of_type = np.stack([share[:, n % 4 == np.arange(SHARED) % 4].sum(axis=1) for n in range(4)])
    r = [np.corrcoef(imputed.values(f"X{n}"), of_type[n % 4])[0, 1] for n in range(ONLY)]
    assert np.median(r) > 0.5
    assert imputed.var["holdout_r"].median() > 0.3


def test_images_show_the_nearest_spot(made: tuple[Path, Path]) -> None:
    _, out = made
    imputed = imputed_run(ResultFolder.open(out))
    assert written_genes(imputed) == ("X1",)
    group = gene_group(imputed, "X1")
    assert group is not None
    image = ome.Image.from_zarr(group)
    assert image.ome_attributes.multiscales[0].axes[0].unit == "micrometer"
    assert group.attrs["stenhance"]["unit"] == "log1p CP10k"  # type: ignore[index,call-overload]
    pixels, grid = np.asarray(group["s0"]), imputed.grid  # type: ignore[arg-type]
    assert pixels.dtype == np.float32
    assert grid.pitch_um == 100 / 8
    table = imputed.table()
    at = np.rint(grid.position(table.obsm["spatial"] * 0.5)).astype(int)
    np.testing.assert_array_equal(pixels[tuple(at.T)], imputed.values("X1"))
    np.testing.assert_array_equal(
        imputed.values("X1"), table[:, "X1"].layers["log1p_cp10k"].toarray().ravel()
    )
    inside = pixels[at[:, 0].min() : at[:, 0].max(), at[:, 1].min() : at[:, 1].max()]
    assert np.isfinite(inside).all()
    assert np.isnan(pixels[0, 0])
    index = np.asarray(imputed.index[0][...])
    np.testing.assert_array_equal(index[tuple(at.T)], np.arange(len(at)))
    assert len(imputed.index) > 1


def test_the_same_command_is_complete_and_other_options_are_another_run(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, out = made
    copy = tmp_path / "copy.stenhance.zarr"
    shutil.copytree(out, copy)
    before = files_of(copy)
    command = ("impute", folder, folder, "--out", copy, *QUICK)
    assert "already complete" in run(*command, "--write", "X1").stderr
    assert files_of(copy) == before
    run(*command, "--genes", "X3,G2", "--write", "G2")
    names = [r.name for r in imputed_runs(ResultFolder.open(copy))]
    assert names == ["sinca-robust", "sinca-robust-2"]
    after = files_of(copy)
    assert [name for name in before if after[name] != before[name]] == []
    newest = imputed_run(ResultFolder.open(copy))
    assert newest.genes == ("X3", "G2")
    assert list(newest.var["imputed"]) == [True, False]
    measured = newest.table()[:, "G2"].X.toarray().ravel()
    np.testing.assert_array_equal(measured, make_spots()[:, "G2"].X.toarray().ravel())
    text = run("info", copy).output
    assert "Imputed sinca-robust-2: 1 gene from Dataset7, 1 as measured, of 144 spots" in text
    run("write", copy, "--genes", "X3", "--run", "sinca-robust")
    assert written_genes(imputed_run(ResultFolder.open(copy), "sinca-robust")) == (
        "X1",
        "X3",
    )
    assert (
        "not among the genes of the run sinca" in run("write", copy, "--genes", "X1", code=2).stderr
    )


def test_again_gives_the_same_bytes_and_a_killed_run_is_replaced(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, out = made
    again = tmp_path / "again.stenhance.zarr"
    options = quick(folder, folder, again, write="X1")
    impute(options)
    assert files_of(again) == files_of(out)
    # As a process leaves it that dies before the last write.
    metadata = again / "imputed" / "sinca-robust" / "zarr.json"
    content = json.loads(metadata.read_text())
    del content["attributes"]["stenhance"]
    metadata.write_text(json.dumps(content))
    shutil.rmtree(again / "tables" / "sinca-robust" / "layers")
    assert imputed_runs(ResultFolder.open(again)) == ()
    impute(options)
    assert files_of(again) == files_of(out)


def test_export_is_the_table(made: tuple[Path, Path], tmp_path: Path) -> None:
    _, out = made
    run("export", out, "--to", "h5ad", "--out", tmp_path / "all.h5ad")
    table, exported = (
        imputed_run(ResultFolder.open(out)).table(),
        ad.read_h5ad(tmp_path / "all.h5ad"),
    )
    pd.testing.assert_frame_equal(exported.var, table.var, check_dtype=False)
    pd.testing.assert_frame_equal(exported.obs, table.obs, check_dtype=False)
    for layer in (None, "log1p_cp10k", "spread"):
        pair = (t.X if layer is None else t.layers[layer] for t in (exported, table))
        np.testing.assert_array_equal(*(each.toarray() for each in pair))
    np.testing.assert_array_equal(exported.obsm["X_pca"], table.obsm["X_pca"])
    assert exported.uns["about"]["donor"] == "a"
    run("export", out, "--out", tmp_path / "some.h5ad", "--genes", "X2,G1", "--run", "sinca-robust")
    assert list(ad.read_h5ad(tmp_path / "some.h5ad").var_names) == ["X2", "G1"]
    ran = run("export", out, "--out", tmp_path / "no.h5ad", "--at-spots", out, code=2)
    assert "leave their section out (--at-spots)." in ran.stderr
    ran = run("export", out, "--out", tmp_path / "no.h5ad", "--genes", "x2", code=2)
    assert "did you mean X2" in ran.stderr


def test_bad_input_is_one_sentence(made: tuple[Path, Path], tmp_path: Path) -> None:
    folder, out = made
    new = tmp_path / "new.stenhance.zarr"
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")
    pair = folder / "Spatial_count.h5ad", folder / "scRNA_count_cluster.h5ad"
    logged = make_spots()
    logged.X = logged.X.log1p()
    logged.write_h5ad(tmp_path / "log.h5ad")

    def sentence(spots: Path, cells: Path, *more: object, to: Path = new) -> str:
        ran = run("impute", spots, cells, "--out", to, *more, code=2)
        (line,) = (line for line in ran.stderr.splitlines() if line.startswith("Error:"))
        return line

    assert "nothing was touched" in sentence(*pair, to=theirs)
    assert [f.name for f in theirs.iterdir()] == ["thesis.txt"]
    assert "nope (1 of 2): not among the genes of spots and cells" in sentence(
        *pair, "--genes", "X1,nope"
    )
    assert "did you mean X1?" in sentence(*pair, "--genes", "x1")
    assert "X2: not among the genes of the table; leave it out (--write)." in sentence(
        *pair, "--genes", "X1", "--write", "X2"
    )
    assert "no column of the cells" in sentence(*pair, "--cluster-key", "nope")
    unlabelled = make_cells()
    del unlabelled.obs["cluster"]
    unlabelled.write_h5ad(tmp_path / "bare.h5ad")
    attended = ("--attended", "centroids")
    assert "no centroids" in sentence(pair[0], tmp_path / "bare.h5ad", *attended)
    assert "has no slide" in sentence(*pair, "--then", "pixel2gene")
    assert "raw counts" in sentence(tmp_path / "log.h5ad", pair[1])
    assert "as they were counted" in sentence(pair[0], tmp_path / "log.h5ad")
    assert "there is none to impute" in sentence(pair[0], pair[0])
    assert "obsm" in sentence(pair[1], pair[1])
    other = make_spots(seed=1)
    other.write_h5ad(tmp_path / "other.h5ad")
    assert "choose another folder" in sentence(tmp_path / "other.h5ad", pair[1], to=out)
    assert not new.exists()


def test_a_table_too_large_is_refused(tmp_path: Path) -> None:
    job = st.Job(memory_bytes=10_000)
    section = Section(spots=make_spots(), name="s")
    with pytest.raises(st.InputError, match=r"144 spots × 12 genes .* fewer genes"):
        impute(quick(section, make_cells(), tmp_path / "r"), job)
    assert not (tmp_path / "r").exists()


def test_without_a_scale_and_with_columns_for_positions(tmp_path: Path) -> None:
    spots, cells = write_pair(tmp_path / "set", mpp=None)
    table = ad.read_h5ad(spots)
    xy = table.obsm.pop("spatial")
    table.obs["x"], table.obs["y"] = xy.T
    table.write_h5ad(spots)
    ran = run("impute", spots.parent, cells, "--out", tmp_path / "r", "--genes", "X1", *QUICK)
    assert ran.stderr.count("in pixels") == 1
    assert 'Positions are obs["x"]' in ran.stderr
    imputed = imputed_run(ResultFolder.open(tmp_path / "r"))
    assert imputed.grid.unit == "pixel"
    assert imputed.grid.origin_um[1] < -1000
    at = np.rint(imputed.grid.position(xy)).astype(int)
    index = np.asarray(imputed.index[0][...])
    np.testing.assert_array_equal(index[tuple(at.T)], np.arange(len(xy)))


def test_a_panel_of_thirty_genes(tmp_path: Path) -> None:
    section = Section(spots=make_spots()[:, :30].copy(), name="panel")
    imputed = impute(quick(section, make_cells(), tmp_path / "r"))
    assert int(imputed.var["imputed"].sum()) == SHARED + ONLY - 30


def test_a_cancelled_job_leaves_no_run(tmp_path: Path) -> None:
    job = st.Job()

    def stop(event: object) -> None:
        if getattr(event, "stage", "") == "Imputing genes":
            job.cancel()

    job.listener = stop
    section = Section(spots=make_spots(), name="s")
    with pytest.raises(st.Cancelled):
        impute(quick(section, make_cells(), tmp_path / "r"), job)
    assert imputed_runs(ResultFolder.open(tmp_path / "r")) == ()


@pytest.mark.slow
def test_then_imputed_genes_are_enhanced(small_files: list[Path], tmp_path: Path) -> None:
    cells = make_cells()
    out = tmp_path / "one.stenhance.zarr"
    reference = tmp_path / "cells.h5ad"
    cells.write_h5ad(reference)
    command = ("impute", small_files[0], reference, "--out", out, "--then", "pixel2gene")
    run(*command, "--write", "X1", *QUICK)
    result = ResultFolder.open(out)
    (name,) = result.runs
    field, imputed = result.field(name), imputed_run(result)
    # What only the cells have: the spots measured G0 … G39.
    assert field.genes == tuple(gene for gene, new in imputed.var["imputed"].items() if new)
    assert imputed.grid == Grid.over(open_section(small_files[0]).need_slide(), 8.0)
    assert "learned from imputed genes of one" in run("info", out).output
    doubts = result.run_attributes(name)["doubts"]
    assert any("what it imputed was not measured" in doubt for doubt in doubts)
    # Shares of the library that was measured, not of the genes that were imputed.
    spots = open_section(small_files[0])
    averaged = export(ExportOptions(out, tmp_path / "f.h5ad", at_spots=small_files[0], run=name))
    mean = np.asarray(ad.read_h5ad(averaged).X).mean(axis=0)
    expected = np.array([imputed.values(gene).mean() for gene in field.genes])
    np.testing.assert_allclose(mean, expected, rtol=0.25, atol=0.1)
    assert written_genes(imputed) == ("X1",)
    assert "already complete" in run(*command, *QUICK).stderr
    again = impute(quick(small_files[0], reference, out, then="pixel2gene"))
    assert again.result.runs == (name,)
    # What is not raw is refused as before, if it does not come from here.
    section = Section(slide=spots.slide, spots=imputed.table())
    with pytest.raises(st.InputError, match="raw counts are whole numbers"):
        enhance(EnhanceOptions((section,), tmp_path / "no"))  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["merfish", "pdac", "mob"])
def test_real_pairs(case: str, data: Path, tmp_path: Path) -> None:
    spots, cells = {
        "merfish": ("merfish_hypothalamus_750x134", "merfish_hypothalamus_scref_1308x134"),
        "pdac": ("pdacA_st_428x19736", "pdacA_scrna_500x19736"),
        "mob": ("rep11", "scrna_4558x2000"),
    }[case]
    section = open_section(data / case / f"{spots}.h5ad")
    table = section.need_spots()
    hidden = ["Gad1"] if case == "merfish" else ["KRT19"] if case == "pdac" else ["Ackr1"]
    # A panel: few genes are trained on, and one of the others is imputed.
    panel = [gene for gene in table.var_names[:600] if gene not in hidden]
    small = Section(spots=table[:, panel].copy(), name=case, mpp=section.mpp)
    reference = data / case / f"{cells}.h5ad"
    genes = ",".join([*hidden, panel[0]])
    options = quick(
        small, reference, tmp_path / "r", genes=genes, cluster_key="cell_type", epochs=1
    )
    imputed = impute(options)
    assert list(imputed.var["imputed"]) == [True, False]
    assert imputed.table().n_obs == table.n_obs
    assert imputed.grid.unit == ("micrometer" if case == "mob" else "pixel")
    assert imputed.values(hidden[0]).max() > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_a_hundred_thousand_cells_fit_into_six_gigabytes(kind: str, tmp_path: Path) -> None:
    number, genes, each = 100_000, 20_000, 2_000
    spots = make_spots()
    spots.write_h5ad(tmp_path / "spots.h5ad")
    names = [*spots.var_names, *(f"X{n}" for n in range(genes - SHARED))]
    obs = pd.DataFrame({"cluster": np.arange(number) % 20}, index=[f"c{n}" for n in range(number)])
    ad.AnnData(obs=obs, var=pd.DataFrame(index=names)).write_h5ad(tmp_path / "cells.h5ad")
    lines, length = (number, each) if kind == "csr" else (genes, number * each // genes)
    width = genes if kind == "csr" else number
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "cells.h5ad", "r+") as file:
        if "X" in file:
            del file["X"]
        group = file.create_group("X")
        group.attrs.update({
            "encoding-type": f"{kind}_matrix", "encoding-version": "0.1.0", "shape": (number, genes)
        })  # fmt: skip
        group["indptr"] = np.arange(lines + 1, dtype=np.int64) * length
        data = group.create_dataset("data", (lines * length,), "f4", chunks=(2**20,))
        indices = group.create_dataset("indices", (lines * length,), "i4", chunks=(2**20,))
        step = max(1, 2**22 // length)
        for first in range(0, lines, step):
            some = min(step, lines - first)
            gap = width // length
            across = np.arange(length) * gap + rng.integers(0, gap, (some, length))
            part = slice(first * length, (first + some) * length)
            indices[part] = across.ravel()
            data[part] = rng.integers(1, 9, some * length)
    code = (
        "import sys; from napari_stenhance.cli import app; "
        "from napari_stenhance.running.memory import peak_gb; "
        "app(sys.argv[1:], standalone_mode=False); "
        "print('PEAK', peak_gb())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, "impute", str(tmp_path / "spots.h5ad"),
         str(tmp_path / "cells.h5ad"), "--out", str(tmp_path / "r"), "--genes", "X1,X2",
         *map(str, QUICK)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    print(ran.stdout, ran.stderr)
    assert float(ran.stdout.split("PEAK")[1]) < 6
    assert imputed_run(ResultFolder.open(tmp_path / "r")).genes == ("X1", "X2")


def test_by_gene_on_disk(made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """One gene is read without the others: the table is stored by column."""
    _, out = made
    raw = zarr.open_group(out, mode="r")["tables/sinca-robust"]
    for part in ("X", "layers/log1p_cp10k", "layers/spread"):
        assert raw[part].attrs["encoding-type"] == "csc_matrix"  # type: ignore[index,union-attr]
    run = imputed_run(ResultFolder.open(out))
    table = run.table()
    assert isinstance(table.X, sp.csc_matrix | sp.csc_array)
    # Nor are statistics made of all genes at once.
    monkeypatch.setattr("napari_stenhance.methods.sinca.protocol.GENES_AT_ONCE", 5)
    log = table.layers["log1p_cp10k"].toarray()
    np.testing.assert_allclose(run.compute_statistics().mean, log.mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(run.values(run.genes[-1]), log[:, -1])


def test_a_table_is_written_as_its_genes_come(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order they are asked for, some at a time: no value depends on it."""
    folder, out = made
    monkeypatch.setattr("napari_stenhance.methods.sinca.protocol.GENES_AT_ONCE", 3)
    monkeypatch.setattr("napari_stenhance.results.imputed_table._MEASURED_AT_ONCE", 4)
    monkeypatch.setattr("napari_stenhance.results.columns._LEAST_CHUNK", 200)
    new, old = [f"X{n}" for n in range(ONLY)], list(make_spots().var_names[:20])
    genes = (*new[:5], *old[:9], new[7], old[12], *new[10:], *old[13:])
    pair = folder / "Spatial_count.h5ad", folder / "scRNA_count_cluster.h5ad"
    run = impute(quick(*pair, tmp_path / "r", genes=genes))
    whole, found = imputed_run(ResultFolder.open(out)).table(), run.table()
    assert tuple(found.var_names) == run.genes == genes
    at = whole.var_names.get_indexer(genes)
    for name in (None, "log1p_cp10k", "spread"):
        ours, theirs = (t.X if name is None else t.layers[name] for t in (found, whole))
        np.testing.assert_allclose(ours.toarray(), theirs[:, at].toarray(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.var["spread"], whole.var["spread"].iloc[at], rtol=1e-4)
    assert run.shown_first in genes
    assert run.shown_first in run.imputed
    for gene in (genes[4], genes[5], genes[-1]):
        column = found.layers["log1p_cp10k"][:, [genes.index(gene)]].toarray()[:, 0]
        np.testing.assert_array_equal(run.values(gene), column)
