"""Imputed genes in a real viewer: made, looked at, pinned, reopened, saved."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Layer

from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.widgets import impute as impute_module
from napari_stenhance.plugin.writer import write_layers
from napari_stenhance.results.imputed import imputed_run
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.section.cells import cluster_columns
from person import Person
from test_cells import ONLY, SHARED, make_cells, make_spots

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")


def write_pair(folder: Path, **options: Any) -> tuple[Path, Path]:
    make_spots(**options).write_h5ad(folder / "spots.h5ad")
    make_cells().write_h5ad(folder / "cells.h5ad")
    return folder / "spots.h5ad", folder / "cells.h5ad"


def impute(person: Person, cells: Path, out: Path, **options: Any) -> Any:
    dock = person.impute
    fields = dock.form.fields
    fields["reference"].value, fields["out"].value = cells, out
    for name, value in {"device": "cpu", "epochs": 2, **options}.items():
        fields[name].value = value
    person.click(dock.run)
    person.wait(lambda: not dock.run_bar.busy)
    return dock


def values_at(layer: Layer, xy: np.ndarray) -> np.ndarray:
    """Look up what a layer shows at positions of the world."""
    at = np.array([layer.world_to_data((y, x)) for x, y in xy])
    row, column = np.rint(at).astype(int).T
    return np.asarray(layer.data[0])[row, column]


def test_any_gene_is_shown_where_its_spots_are(person: Person, tmp_path: Path) -> None:
    spots, cells = write_pair(tmp_path)
    person.drop(spots)
    out = tmp_path / "r.stenhance.zarr"
    dock, genes = person.impute, person.genes
    assert not genes.pin.isEnabled()
    dock.form.fields["reference"].value = cells
    person.wait(lambda: set(dock.form.fields["cluster_key"].choices) > {"cluster", "depth"})
    assert Path(dock.form.fields["out"].value).name == "spots.stenhance.zarr"
    impute(person, cells, out, cluster_key="cluster")
    assert dock.run_bar.label.text().startswith("Done.\n")
    assert "12 are only in the cells" in dock.run_bar.notes.toPlainText()
    layer = person.layer("browse")
    assert layer.visible
    assert not person.layer("spots").visible
    assert {str(u) for u in layer.units} == {"micrometer"}
    # Genes that were not measured come first.
    assert genes.source.currentText() == "SINCA-Net · spots"
    assert [genes.table.genes.gene_at(n) for n in (0, ONLY)] == ["X0", "G0"]
    person.type_gene("x7")
    imputed = imputed_run(ResultFolder.open(out))
    xy = imputed.table().obsm["spatial"] * 0.5
    np.testing.assert_array_equal(values_at(layer, xy), imputed.values("X7"))
    assert layer.name == "X7 (imputed) · SINCA-Net · spots"
    assert layer.contrast_limits[1] <= imputed.values("X7").max()
    assert "X7 was not measured. Its spread: " in genes.accuracy.text()
    genes.uncertainty.setChecked(True)
    assert layer.name == "uncertainty of X7 (imputed) · SINCA-Net · spots"
    np.testing.assert_array_equal(values_at(layer, xy), imputed.values("X7", "spread"))
    # What was measured has no spread.
    genes.show_gene("G5")
    assert np.isnan(values_at(layer, xy)).all()
    assert genes.accuracy.text() == "G5 was measured: it has no uncertainty to be shown."
    genes.uncertainty.setChecked(False)
    assert layer.name == "G5 (measured) · SINCA-Net · spots"
    r = imputed.var.loc["G5", "holdout_r"]
    assert (
        f"G5 was measured, and shown as it was; while hidden, r = {r:.2f}" in genes.accuracy.text()
    )
    # The same again is complete, and no second layer.
    person.click(dock.run)
    person.wait(lambda: not dock.run_bar.busy)
    assert "already complete" in dock.run_bar.notes.toPlainText()
    assert person.layer("browse") is layer
    assert layer.visible


@pytest.mark.slow
def test_pinned_genes_reopen_and_are_saved(person: Person, tmp_path: Path) -> None:
    spots, cells = write_pair(tmp_path, mpp=None)
    person.drop(spots)
    out = tmp_path / "r.stenhance.zarr"
    impute(person, cells, out)
    genes = person.genes
    genes.show_gene("X3")
    person.click(genes.pin)
    person.wait(lambda: not genes.run_bar.busy)
    pinned = person.layer("gene")
    assert pinned.name == "X3 (imputed) · SINCA-Net · spots · pinned"
    assert pinned.visible
    assert {str(u) for u in pinned.units} == {"pixel"}
    imputed = imputed_run(ResultFolder.open(out))
    xy = imputed.table().obsm["spatial"]
    np.testing.assert_array_equal(values_at(pinned, xy), imputed.values("X3"))
    # Browsed and pinned are one picture, at every level.
    for fine, stored in zip(person.layer("browse").data, pinned.data, strict=True):
        np.testing.assert_array_equal(np.asarray(fine), np.asarray(stored))
    assert not person.layer("browse").visible
    again = {a["metadata"]["stenhance"].role.name: (d, a) for d, a, _ in open_layers(out)[0]}
    assert set(again) == {"spots", "browse", "gene"}
    data, attributes = again["gene"]
    assert attributes["name"] == pinned.name
    assert attributes["visible"]
    np.testing.assert_array_equal(np.asarray(data[0]), np.asarray(pinned.data[0]))
    np.testing.assert_allclose(attributes["scale"], pinned.scale)
    np.testing.assert_allclose(attributes["translate"], pinned.translate)
    saved = tmp_path / "saved.zarr"
    write_layers(str(saved), [pinned.as_layer_data_tuple()])
    ((kept, _, _),) = open_layers(saved)[0]
    np.testing.assert_array_equal(np.asarray(kept[0]), np.asarray(pinned.data[0]))
    # Dropped on the Section dock, its genes are listed again.
    for layer in list(person.viewer.layers):
        person.viewer.layers.remove(layer)
    assert not genes.pin.isEnabled()
    person.drop(out)
    assert genes.source.currentText() == "SINCA-Net · spots"
    assert genes.table.genes.rowCount() == SHARED + ONLY


def test_what_is_missing_or_fails_is_one_sentence(
    person: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dock = person.impute
    person.click(dock.run)
    assert "Choose an open section" in dock.run_bar.error.text()
    spots, cells = write_pair(tmp_path)
    person.drop(spots)
    person.click(dock.run)
    assert "single cells" in dock.run_bar.error.text()
    impute(person, cells, tmp_path / "r", genes="nope")
    assert "nope: not among the genes of spots and cells" in dock.run_bar.error.text()

    def fail(_options: Any, _job: Any) -> None:
        msg = "CUDA out of memory"
        raise RuntimeError(msg)

    monkeypatch.setattr(impute_module, "impute", fail)
    impute(person, cells, tmp_path / "r")
    assert "CUDA out of memory" in dock.run_bar.error.text()
    assert dock.run.isEnabled()


def test_cancel_stops_it(person: Person, tmp_path: Path) -> None:
    spots, cells = write_pair(tmp_path)
    person.drop(spots)
    dock = person.impute
    dock.form.fields["reference"].value = cells
    dock.form.fields["out"].value = tmp_path / "r"
    person.click(dock.run)
    person.click(dock.run_bar.cancel)
    person.wait(lambda: not dock.run_bar.busy)
    assert "cancelled" in dock.run_bar.label.text()
    assert dock.run.isEnabled()
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_enhanced_genes_come_as_layers_too(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    person.drop(small_files[0])
    cells = make_cells()
    # Names with commas, of which the field takes several.
    cells.var_names = [gene.replace("X", "X,") for gene in cells.var_names]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    fields = {"then": "pixel2gene", "write": "X,2, X,4", "epochs": 2}
    impute(person, tmp_path / "cells.h5ad", tmp_path / "r", **fields)
    enhanced, lattice = _pinned(person, "fields"), _pinned(person, "imputed")
    assert set(enhanced) == {"X,2", "X,4"} >= set(lattice)
    assert enhanced["X,2"].visible
    assert person.viewer.layers.selection.active.visible
    assert not any(layer.visible for layer in lattice.values())
    assert not person.layer("spots").visible
    genes = person.genes
    assert genes.run is not None
    assert genes.run.kind == "fields"
    assert "with what was imputed" in genes.accuracy.text()
    assert "X,2" in genes.table.genes.rows.genes
    # One grid: what was imputed lies where it was enhanced.
    np.testing.assert_array_equal(lattice["X,2"].scale, enhanced["X,2"].scale)
    np.testing.assert_array_equal(lattice["X,2"].translate, enhanced["X,2"].translate)
    # The same dock shows, browses and pins the genes of either.
    for kind in ("fields", "imputed"):
        genes.source.setCurrentIndex([run and run.kind for run in genes._runs].index(kind))
        genes.show_gene("X,3")
        (browsed,) = (
            layer
            for layer, info in layers_of(person.viewer, "browse")
            if info.run is not None and info.run.kind == kind
        )
        assert browsed.visible
        assert person.viewer.layers.selection.active is browsed
        assert [layer.visible for layer, _ in layers_of(person.viewer, "gene")].count(True) == 0
        person.click(genes.pin)
        person.wait(lambda: not genes.run_bar.busy)
        assert _pinned(person, kind)["X,3"].visible
        assert len(list(layers_of(person.viewer, "browse"))) == 2


def _pinned(person: Person, kind: str) -> dict[str, Layer]:
    """Find the layers of written genes of runs of a kind."""
    layers = layers_of(person.viewer, "gene")
    return {a.gene: la for la, a in layers if a.run is not None and a.run.kind == kind}


def test_files_are_looked_into_once_and_never_by_the_interface(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[Path, threading.Thread]] = []

    def look(path: Path) -> tuple[str, ...]:
        looked.append((path, threading.current_thread()))
        return cluster_columns(path)

    monkeypatch.setattr(impute_module, "cluster_columns", look)
    spots, cells = write_pair(tmp_path)
    reference, column = (person.impute.form.fields[name] for name in ("reference", "cluster_key"))
    reference.value = tmp_path / "nothing.h5ad"
    reference.value = cells
    person.wait(lambda: "cluster" in column.choices)
    column.value = "cluster"
    person.drop(spots)
    person.viewer.layers[-1].name = "renamed"
    person.viewer.layers.clear()
    assert column.value == "cluster"
    # Each by a thread of its own: which is first does not matter.
    person.wait(lambda: len(looked) >= 2)
    assert sorted(path for path, _ in looked) == [cells, tmp_path / "nothing.h5ad"]
    assert all(thread is not threading.main_thread() for _, thread in looked)
    # What another file has is listed in its place.
    other = make_cells()
    other.obs = other.obs.rename(columns={"cluster": "Cell Type"})
    other.write_h5ad(tmp_path / "other.h5ad")
    reference.value = tmp_path / "other.h5ad"
    assert "cluster" not in column.choices
    person.wait(lambda: "Cell Type" in column.choices)
    # What names kinds of cells is taken, by whichever of the usual names.
    assert column.value == "Cell Type"
