"""Work that napari wants to be done at once, behind a window that shows how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import QEventLoop, Qt
from qtpy.QtWidgets import QProgressDialog

from napari_stenhance.plugin.worker import Outcome, Running
from napari_stenhance.running.job import Event, Job, Progress

_SHOWN_AFTER_MS = 300


@contextmanager
def waited_for(
    viewer: Viewer, title: str, task: Callable[[Job], Any], first: str = ""
) -> Iterator[Any]:
    """Do a task in a thread of its own, and give what it returned; napari goes on drawing.

    A window says how far it is, and can cancel, until what is done with that has ended, too.

    Parameters
    ----------
    viewer : Viewer
    title : str
    task : callable
        `task(job)`.
    first : str
        What is done until the task says something itself.

    Raises
    ------
    Cancelled
        If the user did not want to wait.
    StenhanceError
        What the task raised.
    """
    running = Running(title, task)
    text = f"{title}: {first}" if first else title
    dialog = QProgressDialog(text, "Cancel", 0, 0, viewer.window._qt_window)
    dialog.setObjectName("stenhance waiting")
    dialog.setWindowModality(Qt.WindowModality.WindowModal)
    dialog.setMinimumDuration(_SHOWN_AFTER_MS)
    dialog.setAutoReset(False)
    loop = QEventLoop()
    outcomes: list[Outcome] = []

    def tell(event: Event) -> None:
        if isinstance(event, Progress):
            dialog.setLabelText(f"{title}: {event.stage.lower()}")
            dialog.setMaximum(event.total)
            dialog.setValue(event.done)

    def end(outcome: Outcome) -> None:
        outcomes.append(outcome)
        loop.quit()

    running.event.connect(tell)
    running.ended.connect(end)
    dialog.canceled.connect(running.cancel)
    running.start()
    if not outcomes:
        loop.exec()
    dialog.canceled.disconnect(running.cancel)
    try:
        (outcome,) = outcomes
        if outcome.error is not None:
            raise outcome.error
        yield outcome.value
    finally:
        dialog.close()
        dialog.deleteLater()
