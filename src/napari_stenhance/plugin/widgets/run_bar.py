"""What a running task shows in its dock: what it does, how far it is, time left, Cancel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import Cancelled
from napari_stenhance.plugin.worker import Outcome, Running, call_slot, notify_error
from napari_stenhance.running.job import Event, Job, Note, Progress

_NOTES_HEIGHT = 90


_WHERE_OPENED = {
    "mpp": "field “Scale” of the dock Section",
    "image": "field “Image” of the dock Section",
}
"""Other docks take open sections: slide and scale are given where they are opened."""


class RunBar(QWidget):
    """Runs one task at a time, and shows it.

    Parameters
    ----------
    parent : QWidget
    labels : mapping, optional
        What the dock calls the fields that errors name.
    """

    def __init__(self, parent: QWidget, labels: Mapping[str, str] | None = None) -> None:
        super().__init__(parent)
        quoted = {name: f"field “{label}”" for name, label in (labels or {}).items()}
        self._fields = {**_WHERE_OPENED, **quoted}
        self._running: Running | None = None
        self._title, self._failed = "", False
        self._on_event: Callable[[Event], None] = lambda _event: None
        self._on_done: Callable[[Any], None] = lambda _value: None
        self._on_end: Callable[[], None] = lambda: None
        self.label = QLabel("", self)
        self.label.setWordWrap(True)
        self.bar = QProgressBar(self)
        self.cancel = QPushButton("Cancel", self)
        self.cancel.setToolTip("Stop at the next step; what was finished is kept.")
        self.cancel.clicked.connect(self._cancel)
        self.notes = QPlainTextEdit(self)
        self.notes.setReadOnly(True)
        self.notes.setMaximumHeight(_NOTES_HEIGHT)
        self.notes.setToolTip("What was guessed or left out")
        self.notes.hide()
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.notes)
        layout.addWidget(self.label)
        layout.addLayout(row)
        self._show_idle("")

    @property
    def busy(self) -> bool:
        """Whether a task is running."""
        return self._running is not None

    def start(
        self,
        title: str,
        task: Callable[[Job], Any],
        *,
        on_done: Callable[[Any], None] = lambda _value: None,
        on_event: Callable[[Event], None] = lambda _event: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a task in its own thread; everything handed over is called in this one.

        Whatever that raises is said in a sentence, once for all events, and the dock comes free.

        Parameters
        ----------
        title : str
        task : callable
            `task(job)`.
        on_done : callable
            Receives what the task returned.
        on_event : callable
            Receives every event.
        on_end : callable
            Called after that, and however else the task ended.
        """
        if self.busy:
            return
        self._on_event, self._on_done, self._on_end = on_event, on_done, on_end
        self._title, self._failed = title, False
        self.notes.clear()
        self.notes.hide()
        self.label.setText(f"{title} …")
        self.label.show()
        self.bar.setRange(0, 0)
        self.bar.show()
        self.cancel.setEnabled(True)
        self.cancel.show()
        running = self._running = Running(title, task)
        running.event.connect(self._receive)
        running.ended.connect(self._end)
        # A dock that is closed while it works stops its work.
        self.destroyed.connect(running.job.cancel)
        running.start()

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()
            self.cancel.setEnabled(False)
            self.bar.setRange(0, 0)
            self.label.setText("Stopping after this step …")

    def _receive(self, event: Event) -> None:
        if isinstance(event, Progress) and self.cancel.isEnabled():
            left = "" if event.remaining_s is None else f", {_time(event.remaining_s)} left"
            self.label.setText(f"{event.stage}: {event.done} of {event.total}{left}")
            self.bar.setRange(0, max(event.total, 1))
            self.bar.setValue(event.done)
        elif isinstance(event, Note):
            self.notes.appendPlainText(f"• {event.text}")
            self.notes.show()
        if not self._failed:
            self._failed = call_slot(self._title, self._on_event, event) is not None

    def _end(self, outcome: Outcome) -> None:
        if self._running is not None:
            self.destroyed.disconnect(self._running.job.cancel)
        self._running = None
        if outcome.error is None:
            self._show_idle("Done.")
            raised = call_slot(self._title, self._on_done, outcome.value)
            if raised is not None:
                self._show_idle(str(raised))
        else:
            error = outcome.error.naming(self._fields.get(outcome.error.option, ""))
            self._show_idle(str(error))
            if not isinstance(error, Cancelled):
                notify_error(error, outcome.details)
        call_slot(self._title, self._on_end)

    def _show_idle(self, text: str) -> None:
        self.label.setText(text)
        self.label.setVisible(bool(text))
        self.bar.hide()
        self.cancel.hide()


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
