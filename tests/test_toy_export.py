"""A format of exports that another package adds, in one file, by an entry point."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import napari_stenhance as st
from napari_stenhance.cli import app
from napari_stenhance.running.extensions import extensions
from tiny_result import IMPUTED, RUN

TOY = """
from napari_stenhance.results.export_format import ExportFormat

def save(table, path):
    table.to_df().to_csv(path)

EXPORT = ExportFormat("csv", "a table of text", save)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another distribution on the path."""
    folder = tmp_path / "site"
    info = folder / "toy_export-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "toy_export.py").write_text(TOY, "utf-8")
    (info / "METADATA").write_text("Name: toy-export\nVersion: 1.0\n", "utf-8")
    entry = "[napari_stenhance.results.exports]\ncsv = toy_export:EXPORT\n"
    (info / "entry_points.txt").write_text(entry, "utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    extensions.cache_clear()
    yield folder
    extensions.cache_clear()


def test_a_format_of_another_package_is_one_as_any_other(
    toy: Path, tmp_path: Path, tiny: Path
) -> None:
    path, out = tiny, tmp_path / "all.csv"
    command = ["export", str(path), "--genes", "B,A", "--run", RUN, "--out"]
    ran = CliRunner().invoke(app, [*command, str(out), "--to", "csv"])
    assert ran.exit_code == 0, ran.output
    written = pd.read_csv(out, index_col=0)
    field = st.Result.open(path).run(RUN)
    row, column = (written.index.str.extract(r"r(\d+)c(\d+)").astype(int).to_numpy()).T
    for gene in ("B", "A"):
        np.testing.assert_allclose(written[gene], field[gene].values[row, column], rtol=1e-6)
    assert len(written) == field["A"].size
    # The front door.
    imputed = st.Result.open(path).run(IMPUTED)
    made = st.export(imputed, tmp_path / "imputed.csv", to="csv", genes="A")
    table = imputed.to_anndata(genes="A").to_df()
    pd.testing.assert_frame_equal(pd.read_csv(made, index_col=0), table, check_dtype=False)
    # Whole or not at all, and nothing is overwritten.
    with pytest.raises(st.InputError, match="something lies here already"):
        st.export(imputed, made, to="csv")
    ran = CliRunner().invoke(app, [*command, str(tmp_path / "x"), "--to", "xlsx"])
    assert ran.exit_code == 2
    assert "xlsx" in ran.stderr
    assert "h5ad, ome-tiff, spatialdata, csv" in ran.stderr
    with pytest.raises(st.InputError, match="h5ad, ome-tiff, spatialdata, csv"):
        st.export(imputed, tmp_path / "x", to="xlsx")
    assert not (tmp_path / "x").exists()


def test_help_lists_what_there_is(toy: Path) -> None:
    command = [sys.executable, "-c", "from napari_stenhance.cli import main; main()"]
    done = subprocess.run(
        [*command, "export", "--help"], capture_output=True, text=True, check=True
    )
    said = " ".join(done.stdout.replace("│", " ").split())
    listed = "spatialdata (SpatialData of a section or a run), csv (a table of text)."
    assert f"ome-tiff (OME-TIFF of genes or a slide), {listed}" in said
