"""A job: what a long function reports to, and asks whether it may go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from napari_stenhance.errors import Cancelled
from napari_stenhance.running.memory import give_back

_MEMORY_SHARE = 0.25
_MEMORY_MOST = 2 * 1024**3
_GIVEN_BACK_S = 5.0
"""How often memory that was freed is given back while a stage lasts."""


@dataclass(frozen=True)
class Progress:
    """How far a stage has come.

    Attributes
    ----------
    stage : str
        What is being done, in words.
    done, total : int
        Steps finished and steps in all.
    remaining_s : float or None
        Estimated time left in the stage in seconds; None until a step has been timed.
    """

    stage: str
    done: int
    total: int
    remaining_s: float | None


@dataclass(frozen=True)
class Note:
    """Something that the user should know: a doubt, a guess, a thing left out."""

    text: str


@dataclass(frozen=True)
class Partial:
    """More of a run can be looked at: another tile, or all of it.

    Attributes
    ----------
    result : Path
        The result folder.
    run : str
        Which run of it.
    """

    result: Path
    run: str


Event = Progress | Note | Partial


class Stage:
    """One named part of a job; `Job.stage` makes it."""

    def __init__(self, job: Job, name: str, total: int) -> None:
        self._job, self._name, self._total = job, name, total
        self._done = 0
        self._timed = 0
        self._started = self._gave_back = time.monotonic()
        self._report()

    def advance(self, steps: int = 1) -> None:
        """Count finished steps, tell the listener, and stop here if the job was cancelled."""
        self._done += steps
        self._timed += steps
        self._report()
        if time.monotonic() - self._gave_back > _GIVEN_BACK_S:
            give_back()
            self._gave_back = time.monotonic()
        self._job.check()

    def skip(self, steps: int = 1) -> None:
        """Count steps that need no work, which an earlier run did, say; they take no time."""
        self._done += steps
        self._report()

    def _report(self) -> None:
        remaining = None
        if self._timed:
            per_step = (time.monotonic() - self._started) / self._timed
            remaining = per_step * (self._total - self._done)
        self._job.emit(Progress(self._name, self._done, self._total, remaining))


@dataclass
class Job:
    """Where a long function reports progress, notes and partial results, and learns of a cancel.

    Attributes
    ----------
    listener : callable
        Receives every `Progress`, `Note` and `Partial`, in the thread that does the work.
    memory_bytes : int
        What batches and slices are sized for; by default a quarter of the free memory, at most
        2 GB.
    """

    listener: Callable[[Event], None] = lambda _event: None
    memory_bytes: int = field(
        default_factory=lambda: int(
            min(_MEMORY_SHARE * psutil.virtual_memory().available, _MEMORY_MOST)
        )
    )
    _cancelled: threading.Event = field(default_factory=threading.Event, repr=False)
    _noted: set[str] = field(default_factory=set, repr=False)

    def cancel(self) -> None:
        """Ask the job to stop; may be called from any thread."""
        self._cancelled.set()

    def check(self) -> None:
        """Go on, or stop.

        Raises
        ------
        Cancelled
            If `cancel` was called.
        """
        if self._cancelled.is_set():
            msg = "The job was cancelled; the tiles that were finished are kept."
            raise Cancelled(msg)

    def emit(self, event: Event) -> None:
        """Tell the listener."""
        self.listener(event)

    def note(self, text: str) -> None:
        """Tell the user something that they should know, once."""
        if text not in self._noted:
            self._noted.add(text)
            self.emit(Note(text))

    def overheard(self) -> tuple[Job, list[str]]:
        """Return a job that passes all on to this one, and what is noted in it, as it comes."""
        notes: list[str] = []

        def hear(event: Event) -> None:
            if isinstance(event, Note):
                notes.append(event.text)
                self.note(event.text)
            else:
                self.emit(event)

        # Of its own is only what was noted: a cancel is that of this job.
        return replace(self, listener=hear, _noted=set()), notes

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Stage]:
        """Enter a named stage of `total` steps."""
        self.check()
        yield Stage(self, name, total)
        give_back()
