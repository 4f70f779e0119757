"""Domains that a person edits in a real viewer: counted, undone, saved, and brought back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QCloseEvent, QColor
from qtpy.QtWidgets import QApplication, QLabel

from bands import find_bands
from napari_stenhance.plugin.layer_info import layer_info, layers_of
from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.widgets.domain_editor import DomainEditor
from napari_stenhance.plugin.widgets.domain_table import (
    AREA,
    COLOUR,
    MARKERS,
    NAME,
    NUMBER,
    DomainTable,
)
from napari_stenhance.results.domains import domain_run, domain_runs
from napari_stenhance.results.palette import COLOURS, rgba
from napari_stenhance.results.result import ResultFolder
from person import LEFT, Person

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")


def rename(table: DomainTable, row: int, name: str) -> None:
    table.item(row, NAME).setText(name)


@pytest.fixture(scope="module")
def bands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result with four domains."""
    return find_bands(tmp_path_factory.mktemp("bands"))


@pytest.fixture
def listed(person: Person, bands: Path, tmp_path: Path) -> tuple[DomainEditor, Path]:
    """The domains of a result of one's own in the dock, which is seen."""
    out = tmp_path / bands.name
    shutil.copytree(bands, out)
    person.drop(out)
    person.bench.open("domains")
    person.wait(person.domains.isVisible)
    return person.domains.editor, out


def row_of(table: DomainTable, row: int) -> list[str]:
    return [table.item(row, column).text() for column in (NAME, NUMBER, AREA, MARKERS)]


def rows_of(table: DomainTable) -> list[list[str]]:
    return [row_of(table, row) for row in range(table.rowCount())]


def counted(person: Person) -> None:
    table = person.domains.editor.table
    person.wait(lambda: not any("…" in row for row in rows_of(table)))


def written(out: Path) -> list[list[str]]:
    """What the newest run says, as the table shows it."""
    run = domain_run(ResultFolder.open(out))
    return [
        [str(name), str(row["spots"]), f"{row['area_mm2']:.2f}", row["markers"]]
        for name, row in run.summary().iterrows()
    ]


def save(person: Person) -> None:
    person.click(person.domains.editor.save)
    person.wait(lambda: not person.domains.run_bar.busy)
    assert not person.domains.run_bar.error.text()


def test_a_merged_domain_has_the_numbers_of_the_whole_before_it_is_saved(
    person: Person, listed: tuple[DomainEditor, Path]
) -> None:
    dock, out = listed
    before = rows_of(dock.table)
    assert before == written(out)
    dock.table.choose((3, 4))
    person.click(dock.merge)
    # Sums are there at once; what needs the counts is waited for, and nothing old is shown.
    both = str(int(before[2][1]) + int(before[3][1]))
    assert rows_of(dock.table)[2][:2] == ["Domain 3", both]
    assert [row[3] for row in rows_of(dock.table)] == ["…"] * 3
    counted(person)
    after = rows_of(dock.table)
    assert after[2][3] not in {"", before[2][3], before[3][3]}
    dock.table.item(0, NAME).setCheckState(Qt.CheckState.Unchecked)
    assert rows_of(dock.table) == after
    save(person)
    assert written(out) == after
    assert dock.source.currentText().startswith("stamgc-robust-edited · ")
    assert rows_of(dock.table) == after


def asked(person: Person) -> list[str]:
    """Return what napari says where it asks whether to close its window."""
    said = person.viewer.window._task_status_manager.get_status()
    return [one for one in said if "will be lost" in one]


class FrameClose(QCloseEvent):
    """What the button of a window's frame sends."""

    def spontaneous(self) -> bool:
        return True


def refused(person: Person, way: str) -> list[str]:
    """Close the window, by a key's action or its frame, but no; return what was asked."""
    window, questions = person.viewer.window._qt_window, []

    def refuse() -> None:
        question = QApplication.activeModalWidget()
        questions.append("".join(label.text() for label in question.findChildren(QLabel)))
        question.cancel_btn.click()

    QTimer.singleShot(0, refuse)
    if way == "frame":
        QApplication.sendEvent(window, FrameClose())
    else:
        window.close(quit_app=way == "Ctrl+Q", confirm_need=True)
    assert window.isVisible()
    return questions


def test_what_is_repainted_is_counted_when_the_painting_ends(
    person: Person,
    listed: tuple[DomainEditor, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dock, out = listed
    before = rows_of(dock.table)
    spots = person.layer("domain spots")
    (moved,) = np.flatnonzero(spots.features["spot"] == "s0")
    was = int(spots.features["label"][moved])
    new = 1 if was != 1 else 2
    dock.table.choose((new,))
    person.click(dock.paint)
    assert dock.paint.text() == "End painting"
    # Nothing but the stroke itself may tell of it: of a brush, napari says what is under it.
    person.wait(lambda: not dock._settled.isActive())
    brush = person.layer("painting")
    place = np.rint(brush.world_to_data(spots.data_to_world(spots.data[moved]))).astype(int)
    brush.paint(tuple(place), new)
    person.wait(lambda: dock.save.text() == "Save 1 change")
    assert {text for row in rows_of(dock.table) for text in row[1:]} == {"…"}
    # A stroke is napari's own, and so is taking it back; also from the dock.
    person.click(dock.undo)
    person.wait(lambda: dock.save.text() == "Save")
    assert rows_of(dock.table) == before
    person.click(dock.redo)
    person.wait(lambda: dock.save.text() == "Save 1 change")
    # Closing asks about it until layers are saved, from napari's menu too, which keep it.
    (said,) = asked(person)
    monkeypatch.setattr(get_settings().application, "confirm_close_window", True)
    for way in ("Ctrl+W", "Ctrl+Q", "frame"):
        (question,) = refused(person, way)
        assert said in question, way
    person.viewer.layers.save(str(tmp_path / "layers.zarr"), plugin="napari-stenhance")
    assert asked(person) == []
    (question,) = refused(person, "Ctrl+W")
    assert "lost" not in question
    person.click(dock.paint)
    assert asked(person) == []
    assert not list(layers_of(person.viewer, "painting"))
    labels = person.layer("domains")
    assert labels.visible
    assert person.viewer.layers.selection.active is labels
    assert np.asarray(labels.data[0])[tuple(place)] == new
    np.testing.assert_array_equal(spots.face_color[moved], labels.colormap.map(new))
    assert spots.features["domain"][moved] == f"Domain {new}"
    assert np.isnan(spots.features["confidence"][moved])
    counted(person)
    after = rows_of(dock.table)
    assert int(after[new - 1][1]) == int(before[new - 1][1]) + 1
    person.click(dock.undo)
    assert rows_of(dock.table) == before
    assert np.asarray(labels.data[0])[tuple(place)] == was
    assert spots.features["label"][moved] == was
    person.click(dock.redo)
    save(person)
    assert written(out) == after
    run = domain_run(ResultFolder.open(out))
    ((shown, _),) = layers_of(person.viewer, "domains", of_run=run.key)
    rows, columns = run.grid.shape
    pixels = np.asarray(shown.data[0])[:rows, :columns]
    np.testing.assert_array_equal(np.asarray(run.levels[0][...]), pixels)
    assert pixels[tuple(place)] == new


@pytest.mark.slow
def test_what_is_not_saved_is_seen_and_a_deleted_layer_comes_back(
    person: Person, listed: tuple[DomainEditor, Path]
) -> None:
    dock, _ = listed
    layers = [person.layer("domains"), person.layer("domain spots")]
    names, source = [layer.name for layer in layers], dock.source.currentText()
    rename(dock.table, 0, "Cortex")
    dock.table.item(1, NAME).setCheckState(Qt.CheckState.Unchecked)
    assert dock.save.text() == "Save 2 changes"
    assert dock.source.currentText() == f"{source} (2 changes not saved)"
    assert [layer.name for layer in layers] == [f"* {name}" for name in names]
    rename(dock.table, 0, "Domain 1")
    dock.table.item(1, NAME).setCheckState(Qt.CheckState.Checked)
    # Back where it began: there is nothing to save.
    assert (dock.save.text(), dock.source.currentText()) == ("Save", source)
    assert [layer.name for layer in layers] == names
    rename(dock.table, 0, "Cortex")
    for layer in layers:
        person.viewer.layers.remove(layer)
    said = person.domains.run_bar.error.text()
    assert "5 changes not saved went with the layer" in said
    assert not dock.source.count()
    person.click(dock.undo)
    assert not person.domains.run_bar.error.text()
    assert dock.table.item(0, NAME).text() == "Cortex"
    assert person.layer("domains").name == f"* {names[0]}"
    # A painting that is deleted is taken over.
    person.click(dock.paint)
    brush = person.layer("painting")
    brush.data_setitem((np.array([0]), np.array([0])), 9)
    person.viewer.layers.remove(brush)
    assert dock.table.rowCount() == 5
    assert person.layer("domains").visible


@pytest.mark.slow
def test_changes_that_are_not_saved_come_back_alive_with_saved_layers(
    person: Person,
    listed: tuple[DomainEditor, Path],
    tmp_path: Path,
    notifications: list[Any],
) -> None:
    dock, out = listed

    def state() -> tuple[Any, ...]:
        labels, spots = person.layer("domains"), person.layer("domain spots")
        table = [
            (row[0], dock.table.item(n, NAME).checkState())
            for n, row in enumerate(rows_of(dock.table))
        ]
        looks = np.asarray(labels.data[0]), spots.face_color, spots.features
        return dock.source.currentText(), dock.save.text(), labels.name, table, *looks

    def reopen() -> None:
        person.section.save_layers(tmp_path / "layers.zarr")
        person.wait(lambda: not person.section.run_bar.busy)
        person.viewer.layers.clear()
        assert not dock.source.count()
        person.drop(tmp_path / "layers.zarr")
        shutil.rmtree(tmp_path / "layers.zarr")
        assert all(layer_info(layer) is not None for layer in person.viewer.layers)

    rename(dock.table, 0, "Cortex")
    person.click(dock.paint)
    person.layer("painting").brush_size = 1
    person.layer("painting").paint((2, 3), 9)
    person.click(dock.paint)
    dock.table.item(1, NAME).setCheckState(Qt.CheckState.Unchecked)
    rename(dock.table, 0, "Core")
    person.click(dock.undo)
    before = state()
    assert "(3 changes not saved)" in before[0]
    assert before[2].startswith("* ")

    assert "domains of bands: 3 changes will be lost" in asked(person)[0]
    # And where a menu or a key closes it, for which napari has no sentences; nothing is lost yet.
    (question,) = refused(person, "Ctrl+W")
    assert "domains of bands: 3 changes will be lost" in question
    assert state()[2] == before[2]
    reopen()
    for one, other in zip(before, state(), strict=True):
        np.testing.assert_array_equal(one, other)
    # What saved layers hold is not lost; what was done since, would be.
    assert asked(person) == []
    person.click(dock.redo)
    assert dock.table.item(0, NAME).text() == "Core"
    assert len(asked(person)) == 1
    person.click(dock.undo)
    assert asked(person) == []
    person.click(dock.undo)
    assert len(asked(person)) == 1
    person.click(dock.redo)
    # Opened over the run as it is in the result, the changes are done to it; others stay.
    person.section.save_layers(tmp_path / "saved.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    while dock.undo.isEnabled():
        person.click(dock.undo)
    person.drop(tmp_path / "saved.zarr")
    for one, other in zip(before, state(), strict=True):
        np.testing.assert_array_equal(one, other)
    rename(dock.table, 2, "Other")
    person.drop(tmp_path / "saved.zarr")
    assert "left out, for the domains that are open have others" in notifications[-1].message
    assert (dock.table.item(0, NAME).text(), dock.table.item(2, NAME).text()) == ("Cortex", "Other")
    person.click(dock.undo)
    rename(dock.table, 0, "Core")
    # A painting goes on where it was left.
    person.click(dock.paint)
    person.layer("painting").brush_size = 1
    person.layer("painting").paint((4, 4), 11)
    person.wait(lambda: len(asked(person)) == 1)
    reopen()
    assert asked(person) == []
    assert dock.paint.text() == "End painting"
    assert "(5 changes not saved)" in dock.source.currentText()
    save(person)
    edited = domain_runs(ResultFolder.open(out))[-1]
    pixels = np.asarray(edited.levels[0][...])
    assert (pixels[2, 3], pixels[4, 4]) == (9, 11)
    assert [(d.name, d.hidden) for d in edited.domains][:2] == [("Core", False), ("Domain 2", True)]


@pytest.mark.slow
def test_each_step_can_be_undone_and_done_again(
    person: Person, listed: tuple[DomainEditor, Path]
) -> None:
    dock, _ = listed
    labels, spots = person.layer("domains"), person.layer("domain spots")

    def state() -> tuple[Any, ...]:
        dock.table.choose(())
        names = [row[0] for row in rows_of(dock.table)]
        colours = labels.colormap.map(np.arange(10)).tolist()
        return names, colours, spots.face_color.tolist(), spots.features["domain"].tolist()

    def paint() -> None:
        person.click(dock.paint)
        brush = person.layer("painting")
        brush.data_setitem((np.array([0]), np.array([0])), 9)
        person.click(dock.paint)

    def merge() -> None:
        dock.table.choose((3, 4))
        person.click(dock.merge)

    steps = [
        lambda: rename(dock.table, 0, "Cortex"),
        lambda: dock.table.item(1, NAME).setCheckState(Qt.CheckState.Unchecked),
        lambda: dock.table.recoloured.emit(3, "#FF00FF"),
        merge,
        paint,
    ]
    states = [state()]
    assert not dock.undo.isEnabled()
    for step in steps:
        step()
        states.append(state())
        assert states[-1] != states[-2]
    person.viewer.window._qt_window.activateWindow()
    dock.table.setFocus()
    person.wait(dock.table.hasFocus, 10)
    for wanted in states[-2::-1]:
        person.bot.keyClick(dock.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert state() == wanted
    assert dock.save.text() == "Save"
    assert not dock.undo.isEnabled()
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    for wanted in states[1:]:
        person.bot.keyClick(dock.table, Qt.Key.Key_Z, both)
        assert state() == wanted
    assert not dock.redo.isEnabled()
    assert dock.save.text() == "Save 5 changes"
    # Another step takes the place of what was undone.
    person.click(dock.undo)
    rename(dock.table, 0, "Bulb")
    assert not dock.redo.isEnabled()


def click_cell(person: Person, table: DomainTable, row: int, column: int) -> None:
    place = table.visualItemRect(table.item(row, column)).center()
    person.bot.mouseClick(table.viewport(), LEFT, pos=place)


def test_a_swatch_is_clicked_and_its_colour_is_saved(
    person: Person, listed: tuple[DomainEditor, Path]
) -> None:
    dock, out = listed
    click_cell(person, dock.table, 1, COLOUR)
    dialog = dock.table.dialog
    assert dialog is not None
    assert dialog.windowTitle() == "Colour of Domain 2"
    assert dialog.currentColor() == QColor(COLOURS[1])
    dialog.setCurrentColor(QColor("#12ab34"))
    dialog.accept()
    assert dock.table.dialog is None
    dock.table.choose(())
    expected = np.array(rgba("#12AB34")) / 255
    labels, spots = person.layer("domains"), person.layer("domain spots")
    np.testing.assert_allclose(labels.colormap.map(2), expected, atol=1e-6)
    mine = (spots.features["label"] == 2).to_numpy()
    np.testing.assert_allclose(spots.face_color[mine], np.tile(expected, (mine.sum(), 1)))
    swatch = dock.table.item(1, COLOUR).icon().pixmap(8, 8).toImage()
    # As exact as a display of 16 bits.
    np.testing.assert_allclose(swatch.pixelColor(4, 4).getRgbF()[:3], expected[:3], atol=0.04)
    save(person)
    run = domain_run(ResultFolder.open(out))
    assert [d.colour for d in run.domains] == [COLOURS[0], "#12AB34", *COLOURS[2:4]]
    again = {attributes["name"]: attributes for _, attributes, _ in open_layers(out)[0]}
    shown = again[f"domains · {run.name} · {run.result.name}"]
    np.testing.assert_allclose(shown["colormap"].map(2), expected, atol=1e-6)


@pytest.mark.slow
def test_a_domain_that_is_clicked_is_the_row_that_is_selected(
    person: Person, listed: tuple[DomainEditor, Path]
) -> None:
    dock, _ = listed
    labels, spots = person.layer("domains"), person.layer("domain spots")
    whole = [labels.colormap.map(value)[3] for value in range(1, 5)]
    last = len(spots.data) - 1
    wanted = int(spots.features["label"][last])
    person.click_world(*spots.data_to_world(spots.data[last]))
    assert dock.table.chosen() == [wanted]
    # The others step back, in labels and spots.
    for value in range(1, 5):
        alpha = labels.colormap.map(value)[3]
        assert (alpha == whole[value - 1]) == (value == wanted)
        mine = (spots.features["label"] == value).to_numpy()
        np.testing.assert_allclose(spots.face_color[mine, 3], alpha, atol=1e-6)
    # What was merged is where it went.
    dock.table.choose((wanted % 4 + 1, wanted))
    dock.table.choose(dock.table.chosen())
    person.click(dock.merge)
    stays = dock.table.chosen()[0]
    dock.table.choose(())
    assert [labels.colormap.map(v)[3] for v in range(1, 5)] == whole
    person.click_world(*spots.data_to_world(spots.data[last]))
    assert dock.table.chosen() == [stays]
    # Beside all of them nothing is selected, and nothing is dimmed.
    person.click_world(*np.add(spots.data_to_world(spots.data[last]), (150, 0)))
    assert dock.table.chosen() == []
    assert [labels.colormap.map(v)[3] for v in range(1, 5)] == whole
    dock.table.choose((stays,))
    other = next(d.value for d in dock.current.domains if d.value != stays)
    assert labels.colormap.map(other)[3] < whole[other - 1]
    person.bot.keyClick(dock.table, Qt.Key.Key_Escape)
    assert [labels.colormap.map(v)[3] for v in range(1, 5)] == whole
    # Nothing stays dimmed once the table is not seen.
    dock.table.selectRow(0)
    person.click(person.bench.panels["domains"].heading)
    assert not dock.isVisible()
    assert [labels.colormap.map(v)[3] for v in range(1, 5)] == whole
