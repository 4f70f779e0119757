"""Make the pictures of the docs: open, enhance and look, as a user would.

python docs/screenshots.py HER2ST OUT      HER2ST holds the sections C2, C3 and C4
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import napari
from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.workbench import workbench_of
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance


def wait(until: Callable[[], bool] = lambda: False, seconds: float = 1) -> None:
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def _choice(viewer: napari.Viewer, path: Path, out: Path) -> None:
    """Take a picture of what napari asks when a folder is dropped on its canvas."""

    def picture() -> None:
        (dialog,) = (w for w in QApplication.topLevelWidgets() if isinstance(w, QtReaderDialog))
        dialog.grab().save(str(out / "0-choose-reader.png"))
        dialog.reject()

    QTimer.singleShot(1000, picture)
    viewer.window._qt_viewer._qt_open([str(path)], stack=False)


def main(data: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    result = out / "C4.stenhance.zarr"
    enhance(
        EnhanceOptions(
            sections=(data / "C2", data / "C3"),
            predict=(data / "C4",),
            out=result,
            write="ERBB2,COL1A1",
            device="cpu",
        )
    )
    viewer = napari.Viewer()
    viewer.window.resize(1500, 950)
    bench = workbench_of(viewer)
    section, genes = bench.open("section"), bench.widget("genes")

    def shot(name: str, panel: str) -> None:
        bench.open(panel)
        wait()
        viewer.screenshot(str(out / f"{name}.png"), canvas_only=False, flash=False)

    _choice(viewer, result, out)
    for path in (data / "C4", result):
        section.open(path)
        wait(lambda: not section.run_bar.busy, 60)
        wait(seconds=0.3)
    session = session_of(viewer)
    session.look_at_measured("")
    shot("1-section", "section")
    session.look_at_measured("ERBB2")
    shot("2-spots-ERBB2", "genes")
    for number, gene in enumerate(("ERBB2", "COL1A1"), start=3):
        session.look_at(run=session.runs()[0], gene=gene)
        shot(f"{number}-{gene}", "enhance")
    genes.show_gene("CD74")
    viewer.scene.camera.zoom *= 4
    shot("5-browse-CD74-close", "genes")
    genes.uncertainty.setChecked(True)
    shot("6-uncertainty", "genes")
    viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
