"""What the dock needs is imported in a thread: that takes seconds, and napari goes on meanwhile."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from importlib import import_module
from threading import Thread

from qtpy.QtCore import QObject, QTimer

_DOCK = "napari_stenhance.plugin.widgets.workbench"
_LOOK_MS = 50


def is_prepared() -> bool:
    """Tell whether all of the dock's own module is there."""
    return hasattr(sys.modules.get(_DOCK), "workbench_of")


def prepare(parent: QObject, then: Callable[[], None]) -> None:
    """Call something once the dock can be made: at once, or when a thread has imported it.

    Parameters
    ----------
    parent : QObject
        Where it is gone by then, nothing is called.
    then : callable
        Called in this thread, which is that of the interface. What cannot be imported is imported
        there once more, and raises.
    """
    if is_prepared():
        then()
        return
    thread = Thread(target=_load, name="stenhance imports")
    timer = QTimer(parent)

    def look() -> None:
        if not thread.is_alive():
            timer.stop()
            timer.deleteLater()
            then()

    timer.timeout.connect(look)
    thread.start()
    timer.start(_LOOK_MS)


def _load() -> None:
    with contextlib.suppress(Exception):
        for where, _ in import_module(_DOCK).modules():
            import_module(where)
    # The dock need not wait for the rest; a run does, and says so.
    Thread(target=_warm, name="stenhance warming").start()


def _warm() -> None:
    from napari_stenhance.plugin.warming import warm_features, warm_layers

    for warm in (warm_layers, warm_features):
        with contextlib.suppress(Exception):
            warm()
