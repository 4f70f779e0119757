"""Open napari with sections and results as they should look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from napari_stenhance.plugin.widgets.section import SectionWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer

PLUGIN = "napari-stenhance"
_DOCKS = ("Section", "Enhance genes", "Impute genes", "Genes", "Find domains")


def add_docks(viewer: Viewer) -> SectionWidget:
    """Add the docks, one behind the other, and return that which opens things."""
    docks = [
        viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=n > 0)
        for n, name in enumerate(_DOCKS)
    ]
    dock, section = docks[0]
    # A tab that has just been made comes to the front when the window is next drawn.
    QTimer.singleShot(0, dock.raise_)
    assert isinstance(section, SectionWidget)
    return section


def run_napari(paths: Sequence[Path], mpp: float | None = None, image: Path | None = None) -> None:
    """Open sections, slides and results in a viewer, and run it until it is closed."""
    import napari

    viewer = napari.Viewer()
    section = add_docks(viewer)
    for path in paths:
        section.open(path, mpp, image)
    napari.run()
