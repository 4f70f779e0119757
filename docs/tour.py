"""Make the pictures of the window: one story on a synthetic section, with a biologist's clicks.

python docs/tour.py FOLDER PICTURES [--size 1280x800] [--theme dark]

FOLDER keeps the section and its results, so that a second call is faster. Whatever is pressed or
filled in is found by the words on it: where the window has other words, this fails.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pyvips
from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QCheckBox, QPushButton

from napari_stenhance.phantoms.write import write_phantom
from napari_stenhance.plugin.comparison import COMPARED
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.workbench import workbench_of

SIZE_MM, SEED = 3.0, 41
ONLY_IN_CELLS = "TACSTD2"
MOST_BYTES = 190_000
QUALITIES = (90, 85, 80, 75, 70, 60, 50)
REGION = ((1050, 500), (1050, 1150), (1700, 1150), (1700, 500))
"""Corners (y, x) of the region that is drawn, in µm."""
TURNED, LANDMARKS, OFF_PX = 12.0, (3, 130, 250, 330), 8.0
"""By how many degrees spots are turned, and which of them are landmarks, clicked so far off."""


def wait(until: Callable[[], bool] = lambda: False, seconds: float = 1) -> None:
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


class Window:
    """A viewer of some size, and pictures of it.

    Parameters
    ----------
    out : Path
    size : tuple of int
        Width and height, in px.
    theme : str
    """

    def __init__(self, out: Path, size: tuple[int, int], theme: str) -> None:
        self.out = out
        self.viewer = napari.Viewer(show=True)
        self.viewer.theme = theme
        self.viewer.window.resize(*size)
        wait(seconds=0.3)
        self.bench = workbench_of(self.viewer)
        self.session = session_of(self.viewer)
        self.section = self.bench.open("section")

    def open(self, path: Path) -> None:
        self.bench.open("section").open(path)
        self.finish(self.section)

    def finish(self, panel: Any, seconds: float = 1200) -> None:
        """Wait until a panel is done with what it does."""
        wait(lambda: not panel.run_bar.busy, seconds)
        assert not panel.run_bar.busy
        wait(seconds=1)

    def press(self, words: str) -> None:
        """Press the one button that is seen and has these words."""
        (button,) = (
            one for one in self.bench.findChildren(QPushButton)
            if one.isVisible() and one.text() == words
        )  # fmt: skip
        assert button.isEnabled()
        button.click()
        wait(seconds=0.2)

    def type(self, panel: str, values: dict[str, Any]) -> None:
        """Fill in fields of a panel's form, by their words."""
        form = self.bench.open(panel).form
        named = {label: name for name, label in form.labels.items()}
        for label, value in values.items():
            form.fields[named[label]].value = value

    def tick(self, words: str, *, on: bool) -> None:
        """Tick the one box that is seen and has these words, or take its tick away."""
        (box,) = (
            one for one in self.bench.findChildren(QCheckBox)
            if one.isVisible() and one.text() == words
        )  # fmt: skip
        box.setChecked(on)

    def show(self, gene: str) -> None:
        """Look at a gene, or a sum; it is read in a thread."""
        genes = self.bench.open("genes")
        genes.show_gene(gene)
        wait(lambda: not genes.reader.busy, 60)

    def readme_picture(self) -> None:
        """Look closer, on dark ground: so the slide is seen where the gene is absent."""
        active, camera = self.viewer.layers.selection.active, self.viewer.scene.camera
        before = active.opacity, camera.zoom, camera.center
        active.opacity = 0.6
        camera.zoom *= 2
        self.shoot("napari")
        active.opacity, camera.zoom, camera.center = before

    def choice(self, path: Path) -> None:
        """Take a picture of what napari asks when a folder is dropped on its canvas."""

        def picture() -> None:
            (dialog,) = (w for w in QApplication.topLevelWidgets() if isinstance(w, QtReaderDialog))
            dialog.grab().save(str(self.out / "choose-reader.png"))
            dialog.reject()

        QTimer.singleShot(1000, picture)
        self.viewer.window._qt_viewer._qt_open([str(path)], stack=False)

    def shoot(self, name: str, seconds: float = 2) -> None:
        """Take a picture, with as little of its quality lost as its size allows."""
        focused = QApplication.focusWidget()
        if focused is not None:
            focused.clearFocus()
        wait(seconds=seconds)
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)[..., :3]
        picture = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
        for quality in QUALITIES:
            encoded = picture.jpegsave_buffer(Q=quality, optimize_coding=True, strip=True)
            if len(encoded) < MOST_BYTES:
                break
        (self.out / f"{name}.jpg").write_bytes(encoded)
        print(name, pixels.shape, quality, len(encoded), flush=True)


def _tour(window: Window, phantom: Path) -> None:
    """Follow docs/tour.md."""
    viewer, bench, session = window.viewer, window.bench, window.session
    genes, out = bench.widget("genes"), phantom.parent / f"{phantom.name}.stenhance.zarr"
    window.open(phantom)
    window.shoot("tour-section")
    for layer, _ in layers_of(viewer, "spots"):
        layer.visible = False
    window.press("Show tissue")
    window.finish(window.section)
    window.shoot("tour-tissue")
    window.type("enhance", {"Out": out, "Write": "ERBB2", "Device": "cpu"})
    window.press("Run")
    window.finish(bench.widget("enhance"))
    window.shoot("tour-enhance")
    window.show("COL1A1")
    window.tick("Show measured spots", on=False)
    window.shoot("tour-genes")
    window.readme_picture()
    genes.least.setValue(0.2)
    window.show("ACTB")
    window.shoot("tour-doubt")
    window.show("HER2 = ERBB2 + GRB7")
    window.shoot("tour-sum")
    genes.table.together.emit(["ERBB2", "CD3E", "COL1A1"])
    window.shoot("tour-channels")
    window.show("CD3E")
    bench.open("enhance")
    window.press("Draw a region")
    drawn = viewer.layers.selection.active
    drawn.mode = "pan_zoom"
    drawn.add_polygons(np.array(REGION) / session.section.mpp)
    bench.open("genes")
    window.shoot("tour-region", seconds=4)
    regions = bench.open("regions")
    wait(seconds=3)
    regions.table.selectRow(0)
    window.press("Top genes")
    window.finish(regions)
    window.shoot("tour-regions")
    drawn.selected_data = {0}
    drawn.remove_selected()
    window.type("domains", {"Out": out, "Device": "cpu"})
    window.press("Find domains")
    window.finish(bench.widget("domains"))
    window.shoot("tour-domains")
    window.show("COL1A1")
    bench.open("compare")
    window.tick("Left less right", on=True)
    window.press("Compare")
    window.finish(bench.widget("compare"))
    window.shoot("tour-compare")
    window.press("End")
    # Its layers go one a turn.
    wait(lambda: not any(COMPARED in layer.metadata for layer in viewer.layers), 60)
    with tempfile.TemporaryDirectory() as folder:
        window.section.save_layers(Path(folder) / "C1.zarr")
        window.finish(window.section)
        viewer.layers.clear()
        window.open(Path(folder) / "C1.zarr")
        window.shoot("tour-again")
        viewer.layers.clear()


def _placed(window: Window, phantom: Path) -> None:
    """Set landmarks of spots that were turned."""
    window.open(phantom)
    placing = window.section.placing
    window.press("Place spots …")
    placing.angle.setValue(TURNED)
    window.press("Turn")
    window.press("Set landmarks")
    stated = window.session.section.spots.obsm["spatial"]
    for number in LANDMARKS:
        placed = placing.history.now.registration([stated[number]])
        placing.set_landmark(tuple(placed[0]))
        placing.set_landmark(tuple(stated[number] + OFF_PX))
    window.shoot("place-spots")
    window.press("Cancel")
    window.viewer.layers.clear()


def _imputed(window: Window, phantom: Path) -> None:
    """Impute what only single cells measured."""
    viewer, out = window.viewer, phantom.parent / "imputed.stenhance.zarr"
    window.open(phantom)
    cells = window.bench.widget("impute").form.fields["cluster_key"]
    window.type("impute", {"Reference": phantom / "reference.h5ad", "Out": out, "Device": "cpu"})
    # Which columns the file has is read in a thread.
    wait(lambda: cells.value == "cell_type", 20)
    assert cells.value == "cell_type"
    window.press("Impute genes")
    window.finish(window.bench.widget("impute"))
    window.show(ONLY_IN_CELLS)
    window.tick("Show measured spots", on=False)
    window.shoot("impute")
    viewer.layers.clear()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--size", default="1280x800")
    parser.add_argument("--theme", default="dark")
    given = parser.parse_args()
    given.pictures.mkdir(parents=True, exist_ok=True)
    width, height = map(int, given.size.split("x"))
    phantom = write_phantom(given.folder / "C1", SIZE_MM, SEED).folder
    window = Window(given.pictures, (width, height), given.theme)
    _tour(window, phantom)
    _placed(window, phantom)
    _imputed(window, phantom)
    window.choice(phantom.parent / "C1.stenhance.zarr")
    window.viewer.close()


if __name__ == "__main__":
    main()
