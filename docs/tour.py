"""Make the pictures of the window: one story on a synthetic section, with a biologist's clicks.

python docs/tour.py OUT [--size 1280x800] [--theme dark]

Whatever is pressed is found by the words on it: where the window has other words than the tour, this
fails. OUT keeps the section and its results too, so that a second call is faster.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pyvips
from qtpy.QtWidgets import QPushButton, QApplication, QWidget

from napari_stenhance.phantoms.write import write_phantom
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.workbench import workbench_of

SIZE_MM, SEED = 3.0, 41
MOST_BYTES = 190_000
QUALITIES = (90, 85, 80, 75, 70, 60, 50)
REGION = ((1050, 500), (1050, 1150), (1700, 1150), (1700, 500))
"""Corners (y, x) of the region that is drawn, in µm."""


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

    def look(self, centre: tuple[float, float], zoom: float) -> None:
        self.viewer.scene.camera.center = (0, *centre)
        self.viewer.scene.camera.zoom = zoom

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
    window.open(phantom)
    window.shoot("tour-section")
    enhance, genes = bench.open("enhance"), bench.widget("genes")
    window.type(
        "enhance", {"Out": window.out / "C1.stenhance.zarr", "Write": "ERBB2", "Device": "cpu"}
    )
    window.press("Run")
    window.finish(enhance)
    window.shoot("tour-enhance")
    bench.open("genes")
    session.with_spots = False
    genes.show_gene("COL1A1")
    window.shoot("tour-genes")
    genes.show_gene("ACTB")
    window.shoot("tour-doubt")
    genes.show_gene("HER2 = ERBB2 + GRB7")
    window.shoot("tour-sum")
    genes._show_together(["ERBB2", "CD3E", "COL1A1"])
    window.shoot("tour-channels")
    genes.show_gene("CD3E")
    bench.open("enhance")
    window.press("Draw a region")
    drawn = viewer.layers.selection.active
    drawn.mode = "pan_zoom"
    drawn.add_polygons(np.array(REGION) / session.section.mpp)
    bench.open("genes")
    window.shoot("tour-region", seconds=4)
    drawn.data = []
    domains = bench.open("domains")
    window.type("domains", {"Out": window.out / "C1.stenhance.zarr", "Device": "cpu"})
    window.press("Find domains")
    window.finish(domains)
    window.shoot("tour-domains")
    bench.open("section")
    window.press("Show tissue")
    window.finish(window.section)
    window.shoot("tour-tissue")
    saved = window.out / "saved.zarr"
    window.section.save_layers(saved)
    window.finish(window.section)
    viewer.layers.clear()
    wait()
    window.open(saved)
    window.shoot("tour-again")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="1280x800")
    parser.add_argument("--theme", default="dark")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    width, height = map(int, given.size.split("x"))
    phantom = write_phantom(given.out / "C1", SIZE_MM, SEED).folder
    window = Window(given.out, (width, height), given.theme)
    _tour(window, phantom)
    window.viewer.close()


if __name__ == "__main__":
    main()
