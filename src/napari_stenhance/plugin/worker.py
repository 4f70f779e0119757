"""Run a task in its own thread; what it says arrives in the thread of the interface."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker
from napari.utils.notifications import Notification, NotificationSeverity, notification_manager
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QDialog, QPlainTextEdit, QVBoxLayout, QWidget
from superqt.utils import FunctionWorker

from napari_stenhance.errors import InferenceError, StenhanceError
from napari_stenhance.running.job import Event, Job, Progress
from napari_stenhance.storage.reading import reason_of

logger = logging.getLogger(__name__)

_SHORTEST_UPDATE_S = 0.1


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes
    ----------
    value : object
        What it returned; None if it failed.
    error : StenhanceError or None
        `Cancelled` if the user stopped it.
    details : str
        The traceback.
    """

    value: Any = None
    error: StenhanceError | None = None
    details: str = ""


class _Worker(FunctionWorker):
    """A worker that cancels its job when napari asks it to quit, as it does on closing."""

    def quit(self) -> None:
        super().quit()
        self._func.running.job.cancel()


@dataclass(frozen=True, eq=False)
class _Work:
    """What the thread calls. It never raises: superqt loses some errors, torch's among them."""

    title: str
    task: Callable[[Job], Any]
    running: Running
    kept: str

    def __repr__(self) -> str:
        """Return what napari shows where it asks whether to close its window in mid-run."""
        return f"{self.title}; {self.kept}" if self.kept else self.title

    def __call__(self) -> None:
        try:
            self.running.outcome = Outcome(self.task(self.running.job))
        except StenhanceError as error:
            self.running.outcome = Outcome(error=error, details=traceback.format_exc())
        except Exception as error:  # noqa: BLE001 - the last line before the user
            short = (str(error).strip().splitlines() or [""])[0]
            kind = type(error).__name__
            msg = f"{self.title} failed: {short} ({kind}). "
            msg += (
                "The device could not do it; choose device cpu, or close other programs."
                if isinstance(error, RuntimeError | MemoryError)
                else "This is a defect of napari-stenhance; please report it with the details."
            )
            outcome = Outcome(error=InferenceError(msg), details=traceback.format_exc())
            self.running.outcome = outcome


class Running(QObject):
    """A task at work.

    Its signals are delivered in the thread that made it, which must be that of the interface.
    The worker keeps it alive until the thread has ended.

    Parameters
    ----------
    title : str
    task : callable
        `task(job)`.
    kept : str
        What is kept if napari is closed in mid-run: napari asks, and says it.
    """

    event = Signal(object)
    ended = Signal(object)
    _arrived = Signal()

    def __init__(self, title: str, task: Callable[[Job], Any], kept: str = "") -> None:
        super().__init__()
        self.title = title
        self.job = Job(listener=self._tell)
        self.outcome = Outcome()
        self._waiting: deque[Event | Outcome] = deque()
        self._delivering = False
        self._stage, self._updated = "", 0.0
        self._arrived.connect(self._deliver)
        work = _Work(title, task, self, kept)
        self._worker = create_worker(work, _worker_class=_Worker, _start_thread=False)
        self._worker.finished.connect(self._finish)
        self._worker.warned.connect(_log_warning)

    def start(self) -> None:
        """Begin; connect to the signals first."""
        # Idle OpenMP threads that spin starve the interface; read when torch is first loaded.
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        self._worker.start()

    def cancel(self) -> None:
        """Ask the task to stop at its next step."""
        self.job.cancel()

    def _tell(self, event: Event) -> None:
        """Hand an event over; called in the thread that works."""
        if isinstance(event, Progress):
            now = time.monotonic()
            changed = event.stage != self._stage or event.done == event.total
            if not changed and now - self._updated < _SHORTEST_UPDATE_S:
                return
            self._stage, self._updated = event.stage, now
        self._waiting.append(event)
        self._arrived.emit()

    def _finish(self) -> None:
        self._waiting.append(self.outcome)
        self._deliver()

    def _deliver(self) -> None:
        """Pass on what has arrived, in order.

        A slot may let the event loop turn, as windows do that wait: without the guard a later event
        would overtake the one that is being passed on.
        """
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._waiting:
                arrived = self._waiting.popleft()
                signal = self.ended if isinstance(arrived, Outcome) else self.event
                signal.emit(arrived)
        finally:
            self._delivering = False
            if self._waiting:
                # Something was raised: what waits is delivered all the same.
                self._arrived.emit()


def _log_warning(content: tuple[Any, ...]) -> None:
    """Keep a library's warning for the log: the user can do nothing about it."""
    logger.info("%s", content[0])


def call_slot(
    title: str, slot: Callable[..., None], *values: Any
) -> tuple[StenhanceError, str] | None:
    """Call what shows something of a task; the caller must go on, whatever it raises.

    Parameters
    ----------
    title : str
        Of the task.
    slot : callable
    *values : object
        What it is called with.

    Returns
    -------
    StenhanceError or None
        What is to be said of it, with the traceback.
    """
    try:
        slot(*values)
    except Exception as raised:  # noqa: BLE001 - the last line before the user
        error = raised if isinstance(raised, StenhanceError) else _defect(title, raised)
        return error, traceback.format_exc()
    return None


def _defect(title: str, raised: Exception) -> StenhanceError:
    msg = f"{title}: it could not be shown ({reason_of(raised)}); this is a defect of "
    return StenhanceError(msg + "napari-stenhance, please report it with the details.")


def log_error(error: StenhanceError, details: str = "") -> None:
    """Keep an error that is shown for the log: as an error, a terminal would print it again."""
    logger.info("%s\n%s", error, details)


def notify_error(error: StenhanceError, details: str = "") -> None:
    """Show an error that no dock shows as one sentence, with the traceback behind a button."""
    actions = [("Details", lambda dialog: show_details(str(error), details, dialog.parent()))]
    log_error(error, details)
    notification_manager.dispatch(
        Notification(
            str(error), severity=NotificationSeverity.ERROR, actions=actions if details else ()
        )
    )


def show_details(sentence: str, details: str, parent: QWidget | None) -> QDialog:
    """Open a window with an error and its traceback, to read or to copy."""
    dialog = QDialog(parent)
    dialog.setObjectName("stenhance details")
    dialog.setWindowTitle("Details")
    dialog.resize(720, 360)
    text = QPlainTextEdit(f"{sentence}\n\n{details}", dialog)
    text.setObjectName("details")
    text.setReadOnly(True)
    QVBoxLayout(dialog).addWidget(text)
    dialog.show()
    return dialog
