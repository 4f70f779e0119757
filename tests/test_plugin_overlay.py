"""Two sections over one another in a real viewer: where they lie, what is seen, what is carried."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from qtpy.QtWidgets import QPushButton

import napari_stenhance as st
from made_sections import MPP, make_slide_pixels, make_spots, write_image
from napari_stenhance.plugin.comparison import COMPARED
from napari_stenhance.plugin.drawn import add_regions, drawn_regions
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.places import open_places
from napari_stenhance.plugin.regions import open_region
from napari_stenhance.plugin.session import session_of
from napari_stenhance.section.named_regions import NamedRegions
from napari_stenhance.section.section import Section
from person import Person
from test_align import SHAPE, serial, turned_by

BLUE = (20, 20, 250)
MARK = (900.0, 640.0)
"""A landmark of the tissue, (x, y) in pixels of the first section."""
ELSEWHERE = (500.0, 700.0)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sections of a block with one landmark, which lies elsewhere on the second."""
    folder = tmp_path_factory.mktemp("marked")
    pixels, amounts = make_slide_pixels(SHAPE, 1)
    x, y = map(round, MARK)
    pixels[y - 30 : y + 31, x - 30 : x + 31] = BLUE
    write_image(folder / "one_he.jpg[Q=95]", pixels)
    make_spots(amounts, 1).write_h5ad(folder / "one.h5ad")
    serial(folder, "turned", 70, (90, -60), pixels=pixels)
    return folder


def seen_at(person: Person, y_um: float, x_um: float) -> Any:
    """The colour of the canvas at a point of the world."""
    person.bot.wait(300)
    shot = person.viewer.screenshot(flash=False)[..., :3].astype(int)
    camera = person.viewer.scene.camera
    at = (np.array([y_um, x_um]) - camera.center[-2:]) * camera.zoom + np.array(shot.shape[:2]) / 2
    row, column = np.rint(at).astype(int)
    return shot[row - 1 : row + 2, column - 1 : column + 2].mean(axis=(0, 1))


def _draw(person: Person, section: Section, name: str, middle_um: Any) -> Any:
    """Draw a square of 96 µm on a section."""
    areas = np.empty(1, dtype=object)
    areas[0] = shapely.box(*(middle_um - 48), *(middle_um + 48))
    layer = open_region(person.viewer, section)
    add_regions(layer, NamedRegions((name,), areas), MPP)
    return areas[0]


def _lay_over(person: Person) -> None:
    """Lay what was measured on the turned section over the other, in the panel that is open."""
    panel = person.bench.widget("compare")
    panel.left.setCurrentText("measured · one")
    panel.right.setCurrentText("measured · turned")
    panel.over.setChecked(True)
    person.click(panel.run)
    person.wait(lambda: not panel.run_bar.busy)
    assert not panel.run_bar.error.text()


def _is_blue(colour: Any) -> bool:
    return bool(colour[2] > 150 and colour[0] < 110)


@pytest.mark.slow
def test_a_landmark_lies_where_it_belongs_and_regions_are_carried(
    person: Person, marked: Path
) -> None:
    for name in ("turned", "one"):
        person.drop(marked / f"{name}.h5ad")
    session = session_of(person.viewer)
    person.viewer.window.resize(1280, 800)
    other = next(one for one in open_places(person.viewer) if one.name == "turned")
    session.look_at(other)
    session.look_at_measured("G20")
    sections = {info.section.name: info.section for _, info in layers_of(person.viewer, "spots")}
    matrix = turned_by(70, (90, -60))
    there, elsewhere = ((matrix[:, :2] @ point + matrix[:, 2]) * MPP for point in (MARK, ELSEWHERE))
    _draw(person, sections["turned"], "Elsewhere", elsewhere)
    panel = person.bench.open("compare")
    _lay_over(person)
    assert re.search(r"turned by (69|70)\.\d° counter-clockwise", panel.words.text())
    assert "pairs of nearest spots" in panel.words.text()
    assert not person.viewer.canvas.grid.enabled

    # What is drawn now is drawn on the section that lies where it is.
    assert (panel.left.currentText(), panel.right.currentText()) == (
        "measured · one",
        "measured · turned",
    )
    # The landmark of either section is seen at the one place, alone and through the other.
    place = session.place
    assert place is not None
    assert place.name == "one"
    y, x = (MARK[1] * MPP + place.origin[0], MARK[0] * MPP + place.origin[1])
    for layer in panel._view.layers:
        if type(layer).__name__ == "Points":
            layer.visible = False
    for share in (0, 50, 100):
        panel.blend.slider.setValue(share)
        assert _is_blue(seen_at(person, y, x)), share
        # 60 µm beside it there is none: the mark is 48 µm wide.
        for dy, dx in ((-60, 0), (60, 0), (0, -60), (0, 60)):
            assert not _is_blue(seen_at(person, y + dy, x + dx)), (share, dy, dx)
    slides = [one for one in panel._view.layers if getattr(one, "rgb", False)]
    assert [one.opacity for one in slides] == [1, 1]
    panel.blend.slider.setValue(0)
    assert [one.opacity for one in slides] == [1, 0]
    # So is a region that was drawn on the section that is laid over.
    (shapes,) = (one for one in panel._view.layers if type(one).__name__ == "Shapes")
    middle = np.mean([shapes.data_to_world(corner) for corner in shapes.data[0]], axis=0)
    off = middle - place.origin - np.multiply(ELSEWHERE[::-1], MPP)
    assert np.hypot(*off) < 15
    assert shapes.visible
    # Micrometres stay micrometres: no layer has another unit, nothing is stretched.
    for layer in panel._view.layers:
        assert {str(unit) for unit in layer.units} == {"micrometer"}
        turn = np.asarray(layer.affine)[:2, :2]
        np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-9)

    # Another gene is shown in the same layers, on one scale.
    before = panel._view.layers
    session.look_at_measured("G1")
    person.wait(lambda: not panel.run_bar.busy and panel._shown.gene == "G1")
    assert panel._view.layers == before
    assert sum("G1 measured" in layer.name for layer in before) == 2

    # A region of the one is drawn on the other, where it lies over it.
    box = _draw(person, sections["one"], "Mark", np.multiply(MARK, MPP))
    person.click(panel.blend.carry)
    (carried,) = (
        drawn_regions(one, info.place)[0]
        for one, info in layers_of(person.viewer, "region")
        if info.section is sections["turned"]
    )
    assert carried.names == ("Elsewhere", "Mark")
    middle = np.array(carried.areas[1].centroid.coords[0])
    assert np.hypot(*(middle - there)) < 15
    assert carried.areas[1].area == pytest.approx(box.area, rel=1e-6)

    person.click(panel.end)
    person.wait(lambda: not panel._view.layers)
    assert not any(COMPARED in layer.metadata for layer in person.viewer.layers)
    assert not panel.blend.isVisible()


@pytest.mark.slow
def test_regions_of_a_file_are_laid_over_too(person: Person, marked: Path, tmp_path: Path) -> None:
    for name in ("turned", "one"):
        person.drop(marked / f"{name}.h5ad")
    session = session_of(person.viewer)
    session.look_at(next(one for one in open_places(person.viewer) if one.name == "turned"))
    corners = [(100 + 12 * (n % 30), 100 + 12 * (n // 30)) for n in range(600)]
    boxes = np.array([shapely.box(x, y, x + 8, y + 8) for x, y in corners], dtype=object)
    NamedRegions(tuple(map(str, range(600))), boxes).write(tmp_path / "many.geojson")
    regions = person.bench.open("regions")
    regions.files.open_regions(tmp_path / "many.geojson")
    person.wait(lambda: not regions.run_bar.busy)
    (outlined,) = (layer for layer, _ in layers_of(person.viewer, "outlined regions"))
    session.look_at_measured("G20")
    panel = person.bench.open("compare")
    _lay_over(person)
    (laid,) = (one for one in panel._view.layers if type(one).__name__ == "Labels")
    # The middle of a region: where the transform takes it.
    matrix = turned_by(70, (90, -60))
    box = boxes[17].centroid
    there = (box.x / MPP, box.y / MPP)
    linear, by = matrix[:, :2], matrix[:, 2]
    here = np.linalg.solve(linear, np.subtract(there, by)) * MPP
    one = next(place for place in open_places(person.viewer) if place.name == "one")
    place = next(place for place in open_places(person.viewer) if place.name == "turned")
    at = np.subtract(outlined.world_to_data((box.y + place.origin[0], box.x + place.origin[1])), 0)
    seen = np.asarray(laid.data_to_world(at)) - one.origin
    assert np.hypot(*(seen[::-1] - here)) < 15
    # They are too many to be drawn on the other.
    panel.right.setCurrentText("measured · one")
    panel.left.setCurrentText("measured · turned")
    person.click(panel.run)
    person.wait(lambda: not panel.run_bar.busy)
    person.click(panel.blend.carry)
    assert "of a file, too many to be drawn" in panel.run_bar.error.text()


@pytest.mark.slow
def test_what_is_said_of_an_overlay_is_of_spots_where_they_are_placed(
    person: Person, marked: Path
) -> None:
    for name in ("turned", "one"):
        person.drop(marked / f"{name}.h5ad")
    session, placing = session_of(person.viewer), person.section.placing
    session.look_at_measured("G20")
    panel = person.bench.open("compare")

    def lay() -> float:
        _lay_over(person)
        found = re.search(r"expression of nearest spots (-?\d\.\d+)", panel.words.text())
        assert found is not None, panel.words.text()
        return float(found[1])

    before = lay()
    person.bench.open("section")
    person.click(placing.look)
    # Nobody would see them go.
    assert "press End in the panel Compare" in person.section.run_bar.error.text()
    assert placing.history is None
    person.bench.open("compare")
    person.click(panel.end)
    person.wait(lambda: not panel._view.layers)
    person.bench.open("section")
    person.click(placing.look)
    placing.across.click()
    assert placing.history.changes == 1
    person.bench.open("compare")
    assert lay() == before
    person.bench.open("section")
    placing.apply.click()
    person.wait(lambda: not person.section.run_bar.busy)
    # What was shown is no more: spots lay elsewhere.
    person.wait(lambda: not panel.comparing)
    person.wait(lambda: not panel._view.layers)
    person.bench.open("compare")
    assert lay() < before - 0.05


@pytest.mark.slow
def test_the_dock_says_whether_spots_fit(person: Person, marked: Path, tmp_path: Path) -> None:
    person.drop(marked / "one.h5ad")
    line = person.section.placement
    person.wait(lambda: bool(line.label.text()))
    assert line.label.text().startswith("Spots fit their slide (")
    assert not line.look.isVisible()
    import anndata as ad

    spots = ad.read_h5ad(marked / "one.h5ad")
    last = np.array(SHAPE[::-1]) - 1
    spots.obsm["spatial"] = last - np.asarray(spots.obsm["spatial"])
    spots.write_h5ad(tmp_path / "wrong.h5ad")
    (tmp_path / "wrong_he.jpg").write_bytes((marked / "one_he.jpg").read_bytes())
    person.drop(tmp_path / "wrong.h5ad")
    person.wait(lambda: "turned by 180°" in line.label.text())
    person.click(line.look)
    dialog = line.findChild(object, "stenhance placement")
    assert dialog is not None
    assert dialog.isVisible()
    assert f"new x = −x + {last[0]}" in dialog.findChildren(type(line.label))[2].text()
    # It is offered, and done only when it is asked for.
    wrong, placing = session_of(person.viewer).section, person.section.placing
    (button,) = dialog.findChildren(QPushButton)
    person.click(button)
    assert not dialog.isVisible()
    assert placing.history is not None
    assert session_of(person.viewer).section is wrong
    person.click(placing.apply)
    person.wait(lambda: not person.section.run_bar.busy)
    right = session_of(person.viewer).section
    assert right is not None
    np.testing.assert_allclose(right.spots_um(), st.read(marked / "one.h5ad").spots_um(), atol=1e-6)
    person.wait(lambda: line.label.text().startswith("Spots fit their slide ("))
    # Of the other, what was found is still known.
    person.section.shown.setCurrentIndex(0)
    person.section.shown.activated.emit(0)
    assert line.label.text().startswith("Spots fit their slide (")
