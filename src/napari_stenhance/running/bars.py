"""Progress bars and notes of a job: on a terminal, in a notebook, or as plain lines."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from napari_stenhance.running.job import Event, Job, Note, Progress


def stderr_console() -> Console:
    """Return where progress and notes go, apart from what a command prints."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if console.is_jupyter and find_spec("ipywidgets") is None:
        # Bars of a notebook are widgets; without those, plain lines.
        console = Console(stderr=True, soft_wrap=True, highlight=False, force_jupyter=False)
    return console


@contextmanager
def progress_bars(console: Console) -> Iterator[Job]:
    """Give a job whose stages are bars on the console, or lines where it has none."""
    live = console.is_terminal or console.is_jupyter
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        disable=not live,
    )
    tasks: dict[str, Any] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            console.print(f"Note: {event.text}", style="yellow", markup=False)
        elif isinstance(event, Progress):
            if event.stage not in tasks:
                tasks[event.stage] = bar.add_task(event.stage, total=event.total, left="")
                if not live:
                    console.print(event.stage, markup=False)
            left = "" if event.remaining_s is None else f"{event.remaining_s:.0f} s left"
            bar.update(tasks[event.stage], completed=event.done, left=left)

    with bar:
        yield Job(listener=listen)


@contextmanager
def interruptible(job: Job) -> Iterator[None]:
    """Let Ctrl-C, or a notebook's Interrupt, cancel the job; a second one ends it at once.

    Only the main thread hears of either: in others, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def cancel(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        job.cancel()

    signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
