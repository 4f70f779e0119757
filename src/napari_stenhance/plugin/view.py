"""Open napari with sections and results as they should look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from npe2 import PluginManager
from qtpy.QtCore import QTimer

from napari_stenhance.plugin.widgets.section import SectionWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.tasks.options import SlideOptions

PLUGIN = "napari-stenhance"


def add_docks(viewer: Viewer) -> SectionWidget:
    """Add the docks, one behind the other, and return that which opens things."""
    widgets = PluginManager.instance().get_manifest(PLUGIN).contributions.widgets or ()
    docks = [
        viewer.window.add_plugin_dock_widget(PLUGIN, widget.display_name, tabify=n > 0)
        for n, widget in enumerate(widgets)
    ]
    dock, section = docks[0]
    # A tab that has just been made comes to the front when the window is next drawn.
    QTimer.singleShot(0, dock.raise_)
    assert isinstance(section, SectionWidget)
    return section


def run_napari(
    paths: Sequence[Path], options: SlideOptions | None = None, image: Path | None = None
) -> None:
    """Open sections, slides and results in a viewer, and run it until it is closed."""
    import napari

    viewer = napari.Viewer()
    section = add_docks(viewer)
    for path in paths:
        section.open(path, options, image)
    napari.run()
