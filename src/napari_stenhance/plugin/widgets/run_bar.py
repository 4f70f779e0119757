"""What tasks show in their dock: what runs, how far it is, time left, Cancel, and what waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import Cancelled, StenhanceError
from napari_stenhance.plugin.widgets.error_text import ErrorText
from napari_stenhance.plugin.worker import (
    Outcome,
    Running,
    call_slot,
    log_error,
    notify_error,
    show_details,
)
from napari_stenhance.running.job import Event, Job, Note, Progress

_DONE = "Done."
_NOTES_HEIGHT = 90
_TICK_MS = 1000
_MEANS_SOMETHING_S = 2.0
"""How long a stage must have been timed before what it says of the time left is shown."""
_FEW_S, _ROUND_S, _MINUTES_S = 5, 5, 90

_WHERE_OPENED = {
    "mpp": "field “Scale” of the panel Section",
    "image": "field “Image” of the panel Section",
}
"""Other docks take open sections: slide and scale are given where they are opened."""


class RunBar(QWidget):
    """Runs one task at a time, and shows it; the next ones wait, in their order.

    Parameters
    ----------
    parent : QWidget
    labels : mapping, optional
        What the dock calls the fields that errors name.

    Attributes
    ----------
    done : str
        What is said of the task that runs once it has ended well.
    changed : Signal
        Emitted when something else runs or waits, or when it is said how far it is.
    answered : Signal
        Emitted when something is said that must be read: an error, or what a mark promises.
    """

    changed = Signal()
    answered = Signal()

    def __init__(self, parent: QWidget, labels: Mapping[str, str] | None = None) -> None:
        super().__init__(parent)
        quoted = {name: f"field “{label}”" for name, label in (labels or {}).items()}
        self._fields = {**_WHERE_OPENED, **quoted}
        self._running: Running | None = None
        self._title, self._failed, self.done = "", False, _DONE
        self._on_event: Callable[[Event], None] = lambda _event: None
        self._on_done: Callable[[Any], Any] = lambda _value: None
        self._on_error: Callable[[StenhanceError], None] = lambda _error: None
        self._on_end: Callable[[], None] = lambda: None
        self._steps: Iterator[None] = iter(())
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(self._step)
        self.label = QLabel("", self)
        self.label.setWordWrap(True)
        self.bar = QProgressBar(self)
        self.error = ErrorText(self)
        self.details = QPushButton("Details", self)
        self.details.setToolTip("What the program said, to be copied into a report")
        self.details.clicked.connect(self._show_details)
        self.details.hide()
        self._said: dict[str, str] = {}
        self._waiting: list[tuple[QWidget, Callable[[], None], Callable[[], None]]] = []
        self._ending = False
        self._progress: Progress | None = None
        self._stage_began = self._told = 0.0
        self._clock = QTimer(self)
        self._clock.setInterval(_TICK_MS)
        self._clock.timeout.connect(self._tick)
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
        for widget in (self.notes, self.error, self.details, self.label):
            layout.addWidget(widget)
        layout.addLayout(row)
        self._queue = QVBoxLayout()
        layout.addLayout(self._queue)
        self._show_idle("")

    @property
    def busy(self) -> bool:
        """Whether a task is running."""
        return self._running is not None

    @property
    def waiting(self) -> list[str]:
        """What waits, the next one first."""
        return [row.findChild(QLabel).text() for row, *_ in self._waiting]

    @property
    def jobs(self) -> list[tuple[str, Callable[[], None] | None]]:
        """What runs and what waits, with what stops it, if that is possible."""
        running = self.cancel.click if self.cancel.isEnabled() else None
        return [
            *([(self.label.text(), running)] * self.busy),
            *((row.findChild(QLabel).text(), stop) for row, _, stop in self._waiting),
        ]

    def start(
        self,
        title: str,
        task: Callable[[Job], Any],
        *,
        named: str = "",
        kept: str = "",
        on_begin: Callable[[], None] = lambda: None,
        on_done: Callable[[Any], Any] = lambda _value: None,
        on_event: Callable[[Event], None] = lambda _event: None,
        on_error: Callable[[StenhanceError], None] = lambda _error: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a task in its own thread, after what runs already.

        Everything handed over is called in the interface's thread.

        Whatever that raises is said in a sentence, in red and once for all events, and the dock
        comes free.

        Parameters
        ----------
        title : str
        task : callable
            `task(job)`.
        named : str
            What it is called where it waits; by default the title.
        kept : str
            What is kept of it if napari is closed.
        on_begin : callable
            Called when it begins.
        on_done : callable
            Receives what the task returned. If it is a generator, other events of the interface
            have their turn wherever it yields, and the bar stays busy until it has ended.
        on_event : callable
            Receives every event.
        on_error : callable
            Receives what stopped the task, which has been said.
        on_end : callable
            Called after that, and however else the task ended.
        """
        if self.busy:
            again = partial(
                self.start, title, task, kept=kept, on_begin=on_begin,
                on_done=on_done, on_event=on_event, on_error=on_error, on_end=on_end,
            )  # fmt: skip
            self._wait(named or title, again)
            return
        self._on_event, self._on_done, self._on_end = on_event, on_done, on_end
        self._on_error = on_error
        self._title, self._failed, self.done = title, False, _DONE
        self._progress = None
        if not self._ending:
            # What follows by itself takes nothing back.
            self.dismiss()
            self.notes.clear()
            self.notes.hide()
        self._call(on_begin)
        self.label.setText(f"{title} …")
        self.label.show()
        self.bar.setRange(0, 0)
        self.bar.show()
        self.cancel.setEnabled(True)
        self.cancel.show()
        running = self._running = Running(title, task, kept)
        running.event.connect(self._receive)
        running.ended.connect(self._end)
        # A dock that is closed while it works stops its work.
        self.destroyed.connect(running.job.cancel)
        running.start()
        self._clock.start()
        self.changed.emit()

    def _wait(self, name: str, start: Callable[[], None]) -> None:
        """List what waits, with a button that takes it from the list."""
        row = QWidget(self)
        line, cancel = QHBoxLayout(row), QPushButton("Cancel", row)
        line.setContentsMargins(0, 0, 0, 0)
        label = QLabel(f"Next: {name}", row)
        label.setWordWrap(True)
        line.addWidget(label, 1)
        line.addWidget(cancel)
        cancel.setToolTip("Do not begin this.")
        cancel.clicked.connect(lambda _on=False: self._forget(row))
        self._waiting.append((row, start, lambda: self._forget(row)))
        self._queue.addWidget(row)
        self.changed.emit()

    def _forget(self, row: QWidget) -> None:
        left = [entry for entry in self._waiting if entry[0] is not row]
        if len(left) < len(self._waiting):
            self._waiting = left
            row.hide()
            row.deleteLater()
            self.changed.emit()

    def say(self, error: StenhanceError, details: str = "") -> None:
        """Show an error, whole, until the next action.

        Where nobody sees the dock, napari's notification says it too.

        Parameters
        ----------
        error : StenhanceError
        details : str
            The traceback, behind a button.
        """
        named = error.naming(self._fields.get(error.option, ""))
        self._said[str(named)] = details
        self.error.say("\n".join(self._said))
        self.details.setVisible(any(self._said.values()))
        if self.isVisible():
            log_error(named, details)
        else:
            notify_error(named, details)
        self.answered.emit()

    def dismiss(self) -> None:
        """Take back what was said: something else is being done."""
        self._said.clear()
        self.error.say("")
        self.details.hide()

    def _show_details(self) -> None:
        show_details("\n".join(self._said), "\n".join(filter(None, self._said.values())), self)

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()
            self.cancel.setEnabled(False)
            self.bar.setRange(0, 0)
            self.label.setText("Stopping after this step …")
            self.changed.emit()

    def _receive(self, event: Event) -> None:
        if isinstance(event, Progress) and self.cancel.isEnabled():
            now = time.monotonic()
            if self._progress is None or self._progress.stage != event.stage:
                self._stage_began = now
            self._progress, self._told = event, now
            self._tick()
            self.bar.setRange(0, max(event.total, 1))
            self.bar.setValue(event.done)
        elif isinstance(event, Note):
            self.notes.appendPlainText(f"• {event.text}")
            self.notes.show()
        if not self._failed:
            self._failed = self._call(self._on_event, event)

    def _tick(self) -> None:
        """Say how far it is, and how much time is left by now."""
        event, now = self._progress, time.monotonic()
        if event is None or not self.cancel.isEnabled():
            return
        left = ""
        if event.remaining_s is not None and now - self._stage_began >= _MEANS_SOMETHING_S:
            left = time_left(event.remaining_s - (now - self._told))
        self.label.setText(f"{event.stage}: {event.done} of {event.total}{left}")
        self.changed.emit()

    def _call(self, slot: Callable[..., None], *values: Any) -> bool:
        """Call what shows something of the task; tell whether it raised, which is said."""
        raised = call_slot(self._title, slot, *values)
        if raised is not None:
            self.say(*raised)
        return raised is not None

    def _end(self, outcome: Outcome) -> None:
        self._clock.stop()
        if outcome.error is None:
            self._steps = self._shown(outcome.value)
            self._step()
            return
        self._free()
        if isinstance(outcome.error, Cancelled):
            self._show_idle(str(outcome.error))
        else:
            self.say(outcome.error, outcome.details)
            self._call(self._on_error, outcome.error)
        self._go_on()

    def _shown(self, value: Any) -> Iterator[None]:
        """Show what the task returned, in as many turns as that takes."""
        steps = self._on_done(value)
        if isinstance(steps, Iterator):
            self.cancel.setEnabled(False)
            self.bar.setRange(0, 0)
            self.label.setText(f"{self._title}: showing it …")
            self.changed.emit()
            yield from steps

    def _step(self) -> None:
        """Show the next part of what the task returned."""
        ended: list[bool] = []
        failed = self._call(lambda: ended.append(next(self._steps, True) is True))
        if ended == [False]:
            self._turn.start(0)
            return
        self._steps = iter(())
        self._free("" if failed else self.done)
        self._go_on()

    def _free(self, text: str = "") -> None:
        if self._running is not None:
            self.destroyed.disconnect(self._running.job.cancel)
        self._running = None
        self._show_idle(text)
        self.changed.emit()

    def _go_on(self) -> None:
        """Begin what waits."""
        self._ending = True
        self._call(self._on_end)
        if self._waiting and not self.busy:
            row, start, _ = self._waiting[0]
            self._forget(row)
            start()
        self._ending = False

    def _show_idle(self, text: str) -> None:
        self.label.setText(text)
        self.label.setVisible(bool(text))
        self.bar.hide()
        self.cancel.hide()


def time_left(seconds: float) -> str:
    """Say how much time is left, as exactly as anybody knows; nothing where it has run out."""
    if seconds <= 0:
        return ""
    if seconds < _FEW_S:
        return ", a few seconds left"
    if seconds < _MINUTES_S:
        return f", about {max(round(seconds / _ROUND_S), 1) * _ROUND_S} s left"
    return f", about {seconds / 60:.0f} min left"
