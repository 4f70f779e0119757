"""Spots are placed on their slide in napari: seen at once, undone, applied, kept, and run with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from napari.components import ViewerModel
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

import napari_stenhance as st
from made_sections import MPP
from napari_stenhance.plugin.layer_info import layers_of, open_sections
from napari_stenhance.plugin.layers import section_layers
from napari_stenhance.plugin.places import open_places
from napari_stenhance.plugin.registering import (
    LANDMARKS,
    PlacingHistory,
    middle_of,
    place_anew,
    show_placed,
    show_placing,
)
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.results.inputs import find_section
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import every_run
from person import LEFT, Person, check_truth

HEIGHT, WIDTH = 800 - 1, 670 - 1
HALF = st.Registration.turned(180, (WIDTH / 2, HEIGHT / 2))


@pytest.fixture
def turned(small: Path, tmp_path: Path) -> Path:
    """A section with its spots turned by 180° on their slide."""
    spots = ad.read_h5ad(small / "one.h5ad")
    spots.obsm["spatial"] = HALF(spots.obsm["spatial"])
    spots.write_h5ad(tmp_path / "turned.h5ad")
    (tmp_path / "turned_he.jpg").symlink_to(small / "one_he.jpg")
    return tmp_path / "turned.h5ad"


@pytest.fixture
def true_um(small: Path) -> NDArray[np.float64]:
    """Where they belong: (y, x) in µm."""
    return np.asarray(ad.read_h5ad(small / "one.h5ad").obsm["spatial"])[:, ::-1] * MPP


def seen_um(person: Person) -> NDArray[np.float64]:
    """Where spots are drawn: (y, x) in µm."""
    layer = person.layer("spots")
    return np.array([layer.data_to_world(at) for at in layer.data])


def drag(person: Person, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press, move and let go over the canvas: from (y, x) to (y, x) in µm."""
    native, camera = person.viewer.window._qt_viewer.canvas.native, person.viewer.scene.camera
    centre, middle = np.array(camera.center[-2:]), np.array((native.height(), native.width())) / 2
    path = [np.array(start) + (np.array(end) - start) * part for part in (0, 0.3, 0.7, 1)]
    at = [QPoint(*map(round, ((p - centre) * camera.zoom + middle)[::-1])) for p in path]
    none, mouse = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier

    def send(kind: QEvent.Type, point: QPoint, button: Any, buttons: Any) -> None:
        where = QPointF(point), QPointF(native.mapToGlobal(point))
        QApplication.sendEvent(native, QMouseEvent(kind, *where, button, buttons, mouse))
        person.bot.wait(30)

    send(QEvent.Type.MouseMove, at[0], none, none)
    send(QEvent.Type.MouseButtonPress, at[0], LEFT, LEFT)
    for point in at[1:]:
        send(QEvent.Type.MouseMove, point, none, LEFT)
    send(QEvent.Type.MouseButtonRelease, at[-1], LEFT, none)


def applied(person: Person) -> st.Section:
    person.click(person.section.placing.apply)
    person.wait(lambda: not person.section.run_bar.busy)
    assert not person.section.run_bar.error.text()
    section = session_of(person.viewer).section
    assert section is not None
    return section


def test_every_step_is_seen_at_once_and_undone(
    person: Person, turned: Path, true_um: NDArray[np.float64]
) -> None:
    placing, viewer = person.section.placing, person.viewer
    assert not placing.look.isEnabled()
    person.drop(turned)
    before, camera = seen_um(person), np.array(viewer.scene.camera.center)
    person.click(placing.look)
    assert placing.editor.isVisible()
    assert not placing.apply.isEnabled()
    middle = before.mean(axis=0)
    person.click(placing.across)
    np.testing.assert_allclose(seen_um(person)[:, 1], 2 * middle[1] - before[:, 1], atol=1e-6)
    np.testing.assert_allclose(seen_um(person)[:, 0], before[:, 0], atol=1e-6)
    assert placing.state.text() == "Spots of turned are mirrored left to right."
    person.click(placing.undo)
    np.testing.assert_allclose(seen_um(person), before, atol=1e-6)
    placing.angle.setValue(90)
    person.click(placing.turn)
    # Clockwise, as it is seen: what was on top is on the right.
    top = np.argmin(before[:, 0])
    away = before[top] - middle
    np.testing.assert_allclose(seen_um(person)[top] - middle, (away[1], -away[0]), atol=1e-6)
    person.click(placing.undo)
    placing.step.setValue(20)
    person.click(placing.arrows["→"])
    native = viewer.window._qt_viewer.canvas.native
    person.bot.keyClick(native, Qt.Key.Key_Down)
    person.bot.keyClick(native, Qt.Key.Key_Up, Qt.KeyboardModifier.ShiftModifier)
    np.testing.assert_allclose(seen_um(person) - before, [(-180, 20)] * len(before), atol=1e-6)
    # Over the slide, too, where the mouse has just been.
    control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    person.bot.keyClick(native, Qt.Key.Key_Z, control)
    np.testing.assert_allclose(seen_um(person) - before, [(20, 20)] * len(before), atol=1e-6)
    person.bot.keyClick(native, Qt.Key.Key_Z, control | shift)
    np.testing.assert_allclose(seen_um(person) - before, [(-180, 20)] * len(before), atol=1e-6)
    person.click(placing.undo)
    np.testing.assert_allclose(seen_um(person) - before, [(20, 20)] * len(before), atol=1e-6)
    person.click(placing.redo)
    # With the mouse, and the slide stays where it is.
    person.click(placing.undo)
    person.click(placing.drag)
    drag(person, (200, 200), (260, 290))
    off = seen_um(person) - before
    assert np.ptp(off, axis=0).max() < 1e-6
    np.testing.assert_allclose(off[0], (80, 110), atol=3)
    np.testing.assert_array_equal(viewer.scene.camera.center, camera)
    assert viewer.scene.camera.mouse_pan
    placing.opacity.setValue(30)
    assert person.layer("spots").opacity == pytest.approx(0.3)
    said = viewer.window._task_status_manager.get_status()
    assert any("3 steps not applied" in one for one in said)
    section = session_of(viewer).section
    person.click(placing.cancel)
    np.testing.assert_allclose(seen_um(person), before, atol=1e-6)
    assert session_of(viewer).section is section
    assert not any("not applied" in s for s in viewer.window._task_status_manager.get_status())
    person.bot.keyClick(native, Qt.Key.Key_Down)
    np.testing.assert_allclose(seen_um(person), before, atol=1e-6)
    # What the doctor found is a step like others.
    placing.offer(section, HALF)
    np.testing.assert_allclose(seen_um(person), true_um, atol=1e-6)
    person.click(placing.undo)
    np.testing.assert_allclose(seen_um(person), before, atol=1e-6)


@pytest.mark.slow
def test_landmarks_are_clicked_fitted_applied_run_with_and_kept(
    person: Person, turned: Path, true_um: NDArray[np.float64], tmp_path: Path
) -> None:
    placing, viewer = person.section.placing, person.viewer
    person.drop(turned)
    out = tmp_path / "turned.stenhance.zarr"
    person.set_enhance(out, epochs=1)
    person.run()
    person.click(placing.look)
    person.click(placing.set_pairs)
    stated = seen_um(person)
    for number, spot in enumerate((0, len(stated) // 2, -1, 5)):
        person.click_world(*stated[spot])
        assert "where on the slide" in placing.state.text()
        (marks,) = (layer for layer in viewer.layers if LANDMARKS in layer.metadata)
        assert len(marks.data) == 2 * number + 1
        person.click_world(*true_um[spot])
        assert placing.table.rowCount() == number + 1
    person.click(placing.undo)
    assert placing.table.rowCount() == 3
    person.click(placing.redo)
    (marks,) = (layer for layer in viewer.layers if LANDMARKS in layer.metadata)
    assert len(marks.data) == 8
    placing.kind.setCurrentText("rigid")
    person.click(placing.fit)
    assert np.abs(seen_um(person) - true_um).max() < 3
    assert "turned by 180°" in placing.state.text() or "turned by 179" in placing.state.text()
    placing.save_file(tmp_path / "placed.json")
    section = applied(person)

    def check(placed: st.Section) -> None:
        xy = placed.spots.obsm["spatial"]
        assert np.abs(xy[:, ::-1] * MPP - true_um).max() < 3
        assert len(placed.registration.pairs) == 4
        assert placed.counts_sha256 == section.counts_sha256

    check(section)
    check(st.read(turned, registration=tmp_path / "placed.json"))
    np.testing.assert_allclose(seen_um(person), section.spots_um()[:, ::-1], atol=1e-6)
    assert not any(LANDMARKS in layer.metadata for layer in viewer.layers)
    assert len(list(layers_of(viewer, "slide", "spots"))) == 2
    assert all(info.section is section for _, info in layers_of(viewer, "slide", "spots"))
    words = person.section.words.toPlainText()
    assert "placed by landmarks set by hand (rigid fit of 4 landmark pairs)" in words
    assert "Made of the spots where they lay before" in words
    assert "pixel2gene-stain-robust" in words
    check_truth(viewer)
    # The next run learns from them there, beside the first.
    assert person.enhance.form.chosen("sections")[0] is section
    person.run()
    assert not person.enhance.run_bar.error.text()
    result = ResultFolder.open(out)
    runs = every_run(result)
    hashes = [run.identity["learned_from"][0]["spots_sha256"] for run in runs]
    assert hashes[0] != hashes[1] == section.counts_sha256
    found = find_section(result)
    check(found.section)
    (said,) = found.said
    assert said.endswith(f"where they lay otherwise: {runs[0].name}.")
    table = ad.read_h5ad(st.export(out, tmp_path / "s.h5ad", at_spots=section, run=runs[1].name))
    np.testing.assert_allclose(table.obsm["spatial"], section.spots.obsm["spatial"], atol=1e-6)
    assert "placed by landmarks" in " ".join(st.info(out))
    # Saved, and opened again.
    person.section.save_layers(tmp_path / "kept.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    viewer.layers.clear()
    person.drop(tmp_path / "kept.zarr")
    check(session_of(viewer).section)
    np.testing.assert_allclose(seen_um(person), section.spots_um()[:, ::-1], atol=1e-6)
    # And edited again, from where it was.
    person.click(placing.look)
    assert placing.table.rowCount() == 4
    person.click(placing.across)
    person.click(placing.undo)
    assert not placing.apply.isEnabled()
    person.click(placing.cancel)
    # Opened anew at another scale, they stay placed.
    person.section.mpp.setValue(0.4)
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    assert session_of(viewer).section.registration == section.registration


def test_bins_that_are_an_image_are_placed_too_and_kept_apart() -> None:
    """Two sections side by side: only one is placed, and lies where it was seen."""
    viewer = ViewerModel()
    session = session_of(viewer)
    column, row = np.meshgrid(np.arange(110), np.arange(120))
    xy = np.column_stack([column.ravel(), row.ravel()]) * 16.0
    sections = []
    for seed, name in enumerate(("left", "right")):
        counts = sp.csr_matrix(np.random.default_rng(seed).poisson(1.0, (len(xy), 3)), dtype=float)
        array = pd.DataFrame({"array_col": column.ravel(), "array_row": row.ravel()})
        array.index = [f"b{n}" for n in range(len(xy))]
        bins = ad.AnnData(counts, obs=array, obsm={"spatial": xy})
        sections.append(st.Section(spots=bins, mpp=0.5, name=name))
        add_layers(viewer, section_layers(sections[-1]))
    session.look_at(open_places(viewer)[1])
    left, section = sections
    (other,) = (layer for layer, i in layers_of(viewer, "spots") if i.section is left)
    (layer,) = (layer for layer, i in layers_of(viewer, "spots") if i.section is section)
    assert type(layer).__name__ == "Image"
    there, before = np.array(other.extent.world), np.array(layer.extent.world)
    history = PlacingHistory.of_section(section)
    middle = middle_of(xy)
    state = history.now.then(st.Registration.turned(30, middle))
    history = history.do(state.then(st.Registration.mirrored("y", middle)))
    show_placing(session, section, history.now)
    seen, off = np.array(layer.extent.world), np.abs(layer.extent.world - before)
    assert off.min() > 50
    np.testing.assert_allclose(seen.mean(axis=0), before.mean(axis=0), atol=0.5)
    placed = place_anew(section, history.now.registration, st.Job())
    for _ in show_placed(session, section, placed):
        pass
    (layer,) = (layer for layer, i in layers_of(viewer, "spots") if i.section is placed.section)
    np.testing.assert_allclose(layer.extent.world, seen, atol=0.5)
    np.testing.assert_array_equal(other.extent.world, there)
    assert (session.section, len(viewer.layers)) == (placed.section, 2)
    assert len(open_places(viewer)) == 2
    np.testing.assert_allclose(placed.section.registered(None).spots.obsm["spatial"], xy)


def test_places_that_no_file_holds_are_said_on_closing(
    person: Person, turned: Path, tmp_path: Path
) -> None:
    placing = person.section.placing

    def said() -> list[str]:
        return person.viewer.window._task_status_manager.get_status()

    def move() -> None:
        person.click(placing.look)
        person.click(placing.arrows["→"])
        assert [s for s in said() if "1 step not applied" in s]

    placing_lost = "turned will be lost"
    person.drop(turned)
    move()
    applied(person)
    assert [s for s in said() if placing_lost in s and "not applied" not in s]
    # Applied, it is kept by a save of the layers …
    person.section.save_layers(tmp_path / "kept.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    assert not said()
    # … or by a file that is written.
    move()
    placing.save_file(tmp_path / "placed.json")
    applied(person)
    assert not said()
    move()
    applied(person)
    assert said()
    # What is not applied is not saved as if it were.
    there = seen_um(person)
    move()
    person.section.save_layers(tmp_path / "meanwhile.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    assert [s for s in said() if "1 step not applied" in s]
    person.viewer.layers.clear()
    assert not said()
    person.drop(tmp_path / "meanwhile.zarr")
    np.testing.assert_allclose(seen_um(person), there, atol=1e-6)


def test_bad_files_and_places_are_said(person: Person, turned: Path, tmp_path: Path) -> None:
    placing = person.section.placing
    person.drop(turned)
    person.click(placing.look)
    (tmp_path / "pairs.csv").write_text("x,y,x_slide,y_slide\n1,2,3,4\n5,six,7,8\n")
    placing.load_file(tmp_path / "pairs.csv")
    assert "row 3: y is 'six'" in person.section.run_bar.error.text()
    placing.step.setValue(5000)
    person.click(placing.arrows["→"])
    person.click(placing.apply)
    person.wait(lambda: not person.section.run_bar.busy)
    assert "outside the slide" in person.section.run_bar.error.text()
    # Nothing of what was done is lost.
    assert placing.editor.isVisible()
    assert placing.undo.isEnabled()
    person.viewer.layers.remove(person.layer("spots"))
    person.viewer.layers.clear()
    assert not placing.editor.isVisible()


def test_landmarks_that_were_not_fitted_are_not_lost(
    person: Person, turned: Path, tmp_path: Path
) -> None:
    placing, bar = person.section.placing, person.section.run_bar
    person.drop(turned)
    person.click(placing.look)
    for x, y in ((100, 100), (500, 120), (200, 600)):
        placing.set_landmark((x, y))
        placing.set_landmark((x + 30, y - 10))
    person.click(placing.apply)
    assert "Landmarks place no spots before Fit" in bar.error.text()
    assert placing.editor.isVisible()
    assert placing.table.rowCount() == 3
    placing.save_file(tmp_path / "marks.json")
    kept = st.Registration.read(tmp_path / "marks.json")
    assert len(kept.pairs) == 3
    np.testing.assert_array_equal(kept.matrix, st.Registration.identity().matrix)
    # Moved by hand, they stay with the section, and are those that are edited again.
    person.click(placing.arrows["→"])
    section = applied(person)
    assert len(section.registration.pairs) == 3
    person.click(placing.look)
    assert placing.table.rowCount() == 3
    person.click(placing.fit)
    np.testing.assert_allclose(placing.history.now.registration([[0, 0]]), [[30, -10]], atol=1e-6)


def test_what_is_offered_for_a_section_is_done_to_no_other(
    person: Person, turned: Path, small: Path, tmp_path: Path
) -> None:
    placing, bar, session = person.section.placing, person.section.run_bar, None
    person.drop(turned)
    session = session_of(person.viewer)
    first = session.section
    person.drop(small / "two.h5ad")
    second = session.section
    assert first is not second
    placing.offer(first, HALF)
    assert session.section is first
    assert placing.history.section is first
    assert placing.state.text().startswith("Spots of turned are turned by 180°")
    # Nor while those of another are being placed; what is said of spots where they lay is not seen.
    assert not person.section.placement.isVisible()
    placing.offer(second, HALF)
    assert "spots of turned are being placed" in bar.error.text()
    assert placing.history.section is first
    person.click(placing.apply)
    person.wait(lambda: not bar.busy)
    assert person.section.placement.isVisible()
    # Of two of one name, the number is said.
    copied = tmp_path / "again" / "two.h5ad"
    copied.parent.mkdir()
    copied.write_bytes((small / "one.h5ad").read_bytes())
    copied.with_name("two_he.jpg").write_bytes((small / "one_he.jpg").read_bytes())
    person.drop(copied)
    person.click(placing.look)
    assert placing.state.text().startswith("Spots of two (2) are left as")
    person.click(placing.cancel)
    placing.offer(first, HALF)
    assert "placed anew or closed" in bar.error.text()
    assert placing.history is None


def test_a_section_is_open_once_however_its_spots_are_placed(
    person: Person, turned: Path, tmp_path: Path, notifications: list[Any]
) -> None:
    """Two of it on one slide: runs would learn from one, and words would be of the other."""
    placing, viewer = person.section.placing, person.viewer
    person.drop(turned)
    person.click(placing.look)
    person.click(placing.across)
    for x, y in ((100, 100), (130, 90)):
        placing.set_landmark((x, y))
    person.section.save_layers(tmp_path / "meanwhile.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    placed, there = applied(person), seen_um(person)
    person.section.save_layers(tmp_path / "kept.zarr")
    person.wait(lambda: not person.section.run_bar.busy)

    def check(section: st.Section, number: int) -> None:
        assert session_of(viewer).section is section
        assert open_sections(viewer) == [section]
        assert len(list(layers_of(viewer, "spots"))) == 1
        assert len(notifications) == number
        words = person.section.words.toPlainText()
        assert ("Spots are placed by hand" in words) == (section.registration is not None)

    # Opened as its files state it, it stays as it was placed, which no file holds.
    person.drop(turned)
    check(placed, 1)
    said = "turned is open with its spots placed by hand, and stays so; to see them as its files"
    assert said in notifications[0].message
    np.testing.assert_allclose(seen_um(person), there, atol=1e-6)
    # And placed anew, there is one still.
    person.click(placing.look)
    person.click(placing.down)
    check(applied(person), 1)
    viewer.layers.clear()
    person.drop(turned)
    stated = session_of(viewer).section
    person.drop(tmp_path / "kept.zarr")
    check(stated, 2)
    viewer.layers.clear()
    # What was not applied is not in a save: neither places nor landmarks.
    person.drop(tmp_path / "meanwhile.zarr")
    assert session_of(viewer).section.registration is None
    assert not [layer for layer in viewer.layers if "landmarks" in layer.name]


@pytest.mark.slow
def test_a_run_that_ends_after_spots_were_placed_anew_is_named(
    person: Person, turned: Path, tmp_path: Path
) -> None:
    placing, enhance, words = person.section.placing, person.enhance, person.section.words
    person.drop(turned)
    person.set_enhance(tmp_path / "turned.stenhance.zarr", epochs=1)
    person.click(enhance.run)
    person.click(placing.look)
    person.click(placing.across)
    section = applied(person)
    assert enhance.run_bar.busy
    assert "Made of the spots where they lay before" not in words.toPlainText()
    person.wait(lambda: not enhance.run_bar.busy)
    assert session_of(person.viewer).section is section
    assert "where they lay before, and left as made: pixel2gene-stain" in words.toPlainText()
    # A run that learned where they lie now is not named.
    person.run()
    assert words.toPlainText().count("pixel2gene-stain-robust") == 1
    # Where they are put back, it is the other.
    person.click(placing.look)
    person.click(placing.across)
    applied(person)
    assert "left as made: pixel2gene-stain-robust-2." in words.toPlainText()
    # Of a result that is opened, it may be none of its runs; and these stay described.
    person.viewer.layers.clear()
    person.drop(tmp_path / "turned.stenhance.zarr")
    person.click(placing.look)
    person.click(placing.arrows["→"])
    # Opened anew, what was done would be lost.
    person.click(person.section.again)
    assert "Apply or Cancel, then Set" in person.section.run_bar.error.text()
    assert placing.history.changes == 1
    applied(person)
    said = words.toPlainText()
    assert "left as made: pixel2gene-stain-robust, pixel2gene-stain-robust-2." in said
    assert "Run pixel2gene-stain-robust-2 (complete)" in said
