"""Saved layers bring back all of what was looked at, compared pixel by pixel."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from qtpy.QtWidgets import QApplication

from napari_stenhance.plugin.drawn import add_regions, write_names
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.regions import open_region
from napari_stenhance.plugin.session import session_of
from napari_stenhance.section.named_regions import NamedRegions
from person import Person, check_truth


def canvas_pixels(person: Person) -> np.ndarray:
    """The pixels of the canvas, once they stay as they are."""
    for _ in range(5):
        QApplication.processEvents()
        person.bot.wait(50)
    before = person.viewer.screenshot(canvas_only=True, flash=False)
    while True:
        person.bot.wait(100)
        now = person.viewer.screenshot(canvas_only=True, flash=False)
        if np.array_equal(before, now):
            return now
        before = now


def state_of(person: Person) -> dict[str, Any]:
    session, viewer = session_of(person.viewer), person.viewer
    camera = viewer.scene.camera
    assert session.place is not None
    return {
        "looked at": (session.place.name, session.run.name, session.gene, session.what),
        "spots": session.with_spots,
        "limits": session.limits,
        "least r": session.least_r,
        "colours": session.colormap.name,
        # Sections lie beside each other, and find their places anew.
        "camera": np.round(
            [*np.subtract(camera.center[-2:], session.place.origin), camera.zoom], 6
        ).tolist(),
        "panels": [name for name, panel in person.bench.panels.items() if panel.is_open],
        "layers": [(layer.name, layer.visible) for layer in viewer.layers],
        "names": [
            list(map(str, np.ravel(layer.text.values))) for layer, _ in layers_of(viewer, "region")
        ],
        "drawn": [
            [np.round(shape, 6).tolist() for shape in layer.data]
            for layer, _ in layers_of(viewer, "region")
        ],
    }


def save_and_reopen(person: Person, path: Path) -> None:
    person.section.save_layers(path)
    person.wait(lambda: not person.section.run_bar.busy)
    assert path.is_dir()
    person.viewer.layers.clear()
    for name in person.bench.panels:
        person.bench.panels[name].fold()
    session_of(person.viewer).least_r = 0.5
    person.viewer.scene.camera.zoom = 1.0
    person.section.open(path)
    person.wait(lambda: not person.section.run_bar.busy)


@pytest.mark.slow
@pytest.mark.painted
def test_a_project_comes_back_as_it_was(person: Person, here: Path) -> None:
    viewer, session = person.viewer, session_of(person.viewer)
    person.drop(here / "one.stenhance.zarr")
    session.look_at(gene="G20")
    session.least_r = -1.0
    session.show()
    session.keep_limits((1.0, 3.0))
    assert session.section is not None
    region = open_region(viewer, session.section)
    area = np.array([shapely.Polygon([(160, 160), (400, 160), (280, 360)])], dtype=object)
    add_regions(region, NamedRegions(("Nest",), area), session.section.mpp)
    write_names(region, ["Nest"], [0])
    viewer.layers.selection.active = person.layer("browse")
    camera = viewer.scene.camera
    camera.zoom *= 1.7
    camera.center = (0.0, 210.0, 260.0)
    person.bench.open("genes")
    before, seen = state_of(person), canvas_pixels(person)
    compare = person.bench.widget("compare")
    compare.compare()
    person.wait(lambda: not compare.run_bar.busy)
    assert not np.array_equal(canvas_pixels(person), seen)
    compare.leave()
    person.wait(lambda: len(viewer.layers) == len(before["layers"]))
    assert state_of(person) == before
    np.testing.assert_array_equal(canvas_pixels(person), seen)
    save_and_reopen(person, here / "mine.zarr")
    check_truth(viewer)
    assert state_of(person) == before
    np.testing.assert_array_equal(canvas_pixels(person), seen)
    camera.zoom *= 1.01
    assert not np.array_equal(canvas_pixels(person), seen)
    # Links, not copies: what is seen is in the files that were there.
    saved = sum(f.stat().st_size for f in (here / "mine.zarr").rglob("*") if f.is_file())
    linked = sum(f.stat().st_size for f in (here / "one.stenhance.zarr").rglob("*") if f.is_file())
    assert saved < linked


def test_a_save_without_camera_and_panels_opens_too(person: Person, here: Path) -> None:
    import json

    person.drop(here / "one.stenhance.zarr")
    path = here / "older.zarr"
    person.section.save_layers(path)
    person.wait(lambda: not person.section.run_bar.busy)
    file = path / "zarr.json"
    said = json.loads(file.read_text("utf-8"))
    for key in ("camera", "panels", "least_r"):
        del said["attributes"]["stenhance_layers"]["look"][key]
    file.write_text(json.dumps(said), "utf-8")
    before = state_of(person)["looked at"]
    person.viewer.layers.clear()
    person.section.open(path)
    person.wait(lambda: not person.section.run_bar.busy)
    assert person.section.run_bar.error.text() == ""
    assert state_of(person)["looked at"] == before


def test_the_caption_says_what_is_but_a_picture(person: Person, here: Path) -> None:
    viewer = person.viewer
    person.drop(here / "one.h5ad")
    gone = shutil.copytree(here / "one.stenhance.zarr", here / "gone.stenhance.zarr")
    person.drop(gone)
    person.type_gene("G20")
    person.section.save_layers(here / "mine.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    viewer.layers.clear()
    shutil.rmtree(gone)
    person.section.open(here / "mine.zarr")
    person.wait(lambda: not person.section.run_bar.busy)

    def caption() -> str:
        text: str = viewer.canvas.overlays["stenhance_caption"].text
        return " ".join(text.split())

    # Of the gene that was looked at, what was measured is still there: it is said of which.
    assert session_of(viewer).gene == "G20"
    (picture,) = (one for one in viewer.layers if "only a picture" in one.name)
    low, high = picture.contrast_limits
    assert caption().startswith("spots: G20 measured, log1p CP10k: ")
    assert caption().endswith(f"over it: {picture.name}: {low:.2f} – {high:.2f}")
    picture.visible = False
    assert caption().startswith("G20 measured, log1p CP10k: ")
    assert "picture" not in caption()
    viewer.layers.remove(picture)
    assert "picture" not in caption()
