"""Make the picture of the README: what the demo made, as a user would look at it.

python docs/readme_picture.py DEMO OUT.png      DEMO is the folder that `napari-stenhance demo` made
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.workbench import workbench_of


def wait(until: Callable[[], bool] = lambda: False, seconds: float = 1) -> None:
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def main(demo: Path, out: Path) -> None:
    viewer = napari.Viewer()
    viewer.window.resize(1500, 900)
    bench = workbench_of(viewer)
    section = bench.open("section")
    for path in (demo / "phantom", demo / "phantom.stenhance.zarr"):
        section.open(path)
        wait(lambda: not section.run_bar.busy, 60)
        wait(seconds=0.3)
    genes = bench.open("genes")
    session_of(viewer).with_spots = False
    genes.show_gene("KRT8")
    wait(lambda: not genes.reader.busy, 60)
    # Dark ground shows the slide where the gene is absent.
    viewer.layers.selection.active.opacity = 0.6
    viewer.scene.camera.zoom *= 2.2
    wait(seconds=3)
    viewer.screenshot(str(out), canvas_only=False, flash=False)
    viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
