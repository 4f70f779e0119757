"""Domains in a real viewer: found, listed, renamed, merged, hidden, repainted, saved, reopened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from bands import banded, write_spots
from napari_stenhance.plugin.domains import painting
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets import domains as domains_module
from napari_stenhance.plugin.widgets.domain_table import (
    NAME,
    DomainTable,
)
from napari_stenhance.results.domains import DomainRun, domain_run, domain_runs
from napari_stenhance.results.palette import COLOURS, rgba
from napari_stenhance.results.result import ResultFolder
from person import Person, check_truth

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")


def find(person: Person, out: Path, number: int) -> Any:
    dock = person.domains
    dock.form.fields["out"].value = out
    dock.form.fields["n_domains"].value = number
    for name, value in (("device", "cpu"), ("runs", 2), ("epochs", 5)):
        dock.form.fields[name].value = value
    person.click(dock.run)
    person.wait(lambda: not dock.run_bar.busy)
    return dock


def rename(table: DomainTable, row: int, name: str) -> None:
    table.item(row, NAME).setText(name)


def test_domains_are_found_in_one_set_of_colours(person: Person, tmp_path: Path) -> None:
    person.drop(write_spots(tmp_path, banded()))
    dock = find(person, tmp_path / "bands.stenhance.zarr", 3)
    assert dock.run_bar.label.text().startswith("Done.\n")
    labels, spots = person.layer("domains"), person.layer("domain spots")
    assert not person.layer("spots").visible
    assert dock.editor.table.rowCount() == 3
    table = ResultFolder.open(tmp_path / "bands.stenhance.zarr")
    run = domain_run(table)
    for domain in run.domains:
        expected = np.array(rgba(domain.colour)) / 255
        assert domain.colour == COLOURS[domain.value - 1]
        np.testing.assert_allclose(labels.colormap.map(domain.value), expected, atol=1e-6)
        mine = spots.features["label"].to_numpy() == domain.value
        np.testing.assert_allclose(spots.face_color[mine], np.tile(expected, (mine.sum(), 1)))
    # The same place in the world: the pixel under a spot has the spot's label.
    at = [labels.world_to_data(spots.data_to_world(p)) for p in spots.data]
    row, column = np.rint(at).astype(int).T
    under = np.asarray(labels.data[0])[row, column]
    np.testing.assert_array_equal(under, spots.features["label"])
    assert {str(u) for u in labels.units} == {"micrometer"}
    assert {str(u) for u in spots.units} == {"micrometer"}


@pytest.mark.slow
def test_an_estimated_number_comes_with_a_chart(person: Person, tmp_path: Path) -> None:
    person.drop(write_spots(tmp_path, banded(side=5)))
    dock = find(person, tmp_path / "bands.stenhance.zarr", 0)
    person.bench.open("domains")
    run = domain_run(ResultFolder.open(tmp_path / "bands.stenhance.zarr"))
    assert run.scores
    assert dock.editor.chart.scores == run.scores
    assert dock.editor.chart.chosen == len(run.domains)
    assert dock.editor.chart.isVisibleTo(dock)
    picture = dock.editor.chart.grab().toImage()
    assert picture.width() > 100


@pytest.mark.painted
def test_edits_are_saved_beside_and_reopen_as_they_were(person: Person, tmp_path: Path) -> None:
    person.drop(write_spots(tmp_path, banded()))
    out = tmp_path / "bands.stenhance.zarr"
    dock = find(person, out, 4)
    before = {d.value: d for d in domain_run(ResultFolder.open(out)).domains}
    person.click(dock.editor.save)
    assert "Nothing was changed" in dock.run_bar.error.text()
    rename(dock.editor.table, 0, "Cortex")
    rename(dock.editor.table, 1, "Cortex")
    assert "merge them instead" in dock.run_bar.error.text()
    assert dock.editor.table.item(1, NAME).text() == "Domain 2"
    for row in (2, 3):
        dock.editor.table.selectionModel().select(
            dock.editor.table.model().index(row, 0),
            dock.editor.table.selectionModel().SelectionFlag.Select
            | dock.editor.table.selectionModel().SelectionFlag.Rows,
        )
    person.click(dock.editor.merge)
    assert dock.editor.table.rowCount() == 3
    dock.editor.table.item(1, NAME).setCheckState(Qt.CheckState.Unchecked)
    labels, spots = person.layer("domains"), person.layer("domain spots")
    np.testing.assert_array_equal(labels.colormap.map(4), labels.colormap.map(3))
    assert labels.colormap.map(2)[3] == 0
    np.testing.assert_array_equal(spots.shown, spots.features["label"] != 2)
    assert not labels.editable
    dock.editor.table.selectRow(0)
    person.click(dock.editor.paint)
    assert dock.editor.current is not None
    brush = painting(person.viewer, dock.editor.current.run)
    assert brush is not None
    assert brush.mode == "paint"
    assert brush.selected_label == 1
    assert not labels.visible
    assert set(np.unique(brush.data)) <= {0, 1, 2, 3}
    place = np.rint(brush.world_to_data(spots.data_to_world(spots.data[5]))).astype(int)
    brush.paint(tuple(place), 9)
    person.click(dock.editor.save)
    person.wait(lambda: not dock.run_bar.busy)
    result = ResultFolder.open(out)
    assert [r.name for r in domain_runs(result)] == ["stamgc-robust", "stamgc-robust-edited"]
    first, edited = domain_runs(result)
    assert {d.value: d for d in first.domains} == before
    assert [(d.name, d.hidden) for d in edited.domains] == [
        ("Cortex", False), ("Domain 2", True), ("Domain 3", False), ("Domain 9", False)
    ]  # fmt: skip
    pixels = np.asarray(edited.levels[0][...])
    assert pixels[tuple(place)] == 9
    assert not (pixels == 4).any()
    # What is shown is what was saved, and so is what a fresh viewer would show.
    shown = [
        (layer, about)
        for layer, about in layers_of(person.viewer, "domains", "domain spots")
        if about.of_run == edited.key
    ]
    assert all(layer.visible for layer, _ in shown)
    assert dock.editor.source.currentText().startswith("stamgc-robust-edited · ")
    again = {attributes["name"]: (data, attributes) for data, attributes, _ in open_layers(out)[0]}
    for layer, _ in shown:
        data, attributes = again[layer.name]
        if isinstance(data, list):
            np.testing.assert_array_equal(np.asarray(data[0]), np.asarray(layer.data[0]))
            for value in range(12):
                np.testing.assert_array_equal(
                    attributes["colormap"].map(value), layer.colormap.map(value)
                )
        else:
            np.testing.assert_array_equal(attributes["face_color"], layer.face_color)
            np.testing.assert_array_equal(attributes["shown"], layer.shown)


def test_a_failure_is_one_sentence(
    person: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dock = person.domains
    person.click(dock.run)
    assert "Choose at least one" in dock.run_bar.error.text()

    def fail(_options: Any, _job: Any) -> None:
        msg = "CUDA out of memory"
        raise RuntimeError(msg)

    person.drop(write_spots(tmp_path, banded()))
    monkeypatch.setattr(domains_module, "domains", fail)
    find(person, tmp_path / "r.stenhance.zarr", 3)
    assert "CUDA out of memory" in dock.run_bar.error.text()
    assert dock.run.isEnabled()


def test_labels_are_words(person: Person) -> None:
    assert person.domains.form.labels["n_domains"] == "Number of domains"
    for dock in (person.domains, person.enhance, person.impute):
        labels = list(dock.form.labels.values())
        assert len(set(labels)) == len(labels)
        assert not [label for label in labels if "_" in label or " um" in label]


def test_a_gene_that_is_typed_while_domains_are_looked_at_is_seen(
    person: Person, here: Path
) -> None:
    person.drop(here / "one.h5ad")
    find(person, here / "new.stenhance.zarr", 3)
    session = session_of(person.viewer)
    assert isinstance(session.run, DomainRun)
    person.bench.open("genes")
    assert person.genes.source.currentText() == "measured spots"
    person.type_gene("G3")
    spots = person.layer("spots")
    assert (session.gene, spots.visible, spots.name.split()[0]) == ("G3", True, "G3")
    check_truth(person.viewer)
