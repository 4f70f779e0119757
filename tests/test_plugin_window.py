"""The one dock: its panels, what opens them, and the room that they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from napari._app_model import get_app_model
from npe2 import PluginManager
from qtpy.QtWidgets import QAbstractScrollArea, QDockWidget, QWidget

from napari_stenhance.plugin.widgets.workbench import DOCK, PANELS, workbench_of

PLUGIN = "napari-stenhance"


def _docks(viewer: Any) -> list[str]:
    """Which docks of ours are seen."""
    docks = viewer.window._qt_window.findChildren(QDockWidget)
    names = [dock.objectName() for dock in docks if dock.isVisible()]
    return [name for name in names if "stenhance" in name]


def _cut_off(inside: QWidget) -> list[QWidget]:
    """What is seen, and reaches beyond what it lies in; but what scrolls does so by itself."""
    seen = [child for child in inside.findChildren(QWidget) if child.isVisible()]
    return [
        child
        for child in seen
        if not isinstance(child.parentWidget().parentWidget(), QAbstractScrollArea)
        and child.geometry().right() > child.parentWidget().width()
    ]


def test_the_dock_leaves_700_px_to_the_canvas_whatever_is_unfolded(
    make_napari_viewer: Callable[..., Any], qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    window, canvas = viewer.window._qt_window, viewer.window._qt_viewer.canvas.native
    viewer.window.resize(1280, 800)
    bench = workbench_of(viewer)
    assert [panel.made for panel in bench.panels.values()] == [None] * len(PANELS)
    # The sizes of its levels make napari's own controls as wide as they become.
    levels = [da.zeros((60_000 >> n, 60_000 >> n, 3), np.uint8) for n in range(6)]
    viewer.add_image(levels, multiscale=True, contrast_limits=(0, 255))
    viewer.add_points(np.zeros((1, 2)))
    for name in PANELS:
        made = bench.open(name)
        qtbot.waitUntil(made.isVisible)
        qtbot.wait(50)
        assert (window.width(), window.height()) == (1280, 800)
        assert canvas.width() >= 700
        assert not _cut_off(bench)
        # There is room for one.
        assert [one for one, panel in bench.panels.items() if panel.is_open] == [name]
        for form in filter(None, [getattr(made, "form", None)]):
            form.more.expand(animate=False)
            qtbot.wait(50)
            assert canvas.width() >= 700
            assert not _cut_off(bench)
    viewer.window.resize(1900, 1060)
    qtbot.waitUntil(lambda: bench.height() > 900)
    bench.open("genes")
    bench.open("domains")
    qtbot.wait(50)
    assert [one for one, panel in bench.panels.items() if panel.is_open] == ["genes", "domains"]
    genes, domains = bench.widget("genes"), bench.widget("domains")
    assert abs(genes.height() - domains.height()) < 40
    bench.panels["genes"].heading.click()
    qtbot.waitUntil(lambda: domains.height() > 700)
    assert not genes.isVisible()


def test_each_entry_of_napari_opens_its_panel_in_the_one_dock(
    make_napari_viewer: Callable[..., Any], qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    entries = PluginManager.instance().get_manifest(PLUGIN).contributions.widgets
    shown = {entry.command: entry.display_name for entry in entries}
    assert shown == {f"{PLUGIN}.{name}": title for name, (title, _) in PANELS.items()}
    app, benches = get_app_model(), set()
    for name in [*PANELS, *PANELS]:
        app.commands.execute_command(f"{PLUGIN}.{name}").result()
        qtbot.waitUntil(lambda: DOCK in viewer.window.dock_widgets)
        bench = viewer.window.dock_widgets[DOCK]
        qtbot.waitUntil(bench.panels[name].heading.isChecked)
        qtbot.waitUntil(lambda: _docks(viewer) == [DOCK])
        benches.add(bench)
    assert len(benches) == 1
    bench.parent().hide()
    viewer.window.add_plugin_dock_widget(PLUGIN, "Genes", tabify=True)
    qtbot.waitUntil(bench.widget("genes").isVisible)
    qtbot.waitUntil(lambda: _docks(viewer) == [DOCK])
    # What was closed is made anew.
    bench.parent().destroyOnClose()
    app.commands.execute_command(f"{PLUGIN}.impute").result()
    qtbot.waitUntil(lambda: DOCK in viewer.window.dock_widgets)
    bench = viewer.window.dock_widgets[DOCK]
    assert [one for one, panel in bench.panels.items() if panel.is_open] == ["impute"]
