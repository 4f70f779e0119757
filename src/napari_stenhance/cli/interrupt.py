"""Ctrl-C where no job listens: leave at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CANCELLED = 130
"""The exit code."""

_SHOW_CURSOR = b"\x1b[?25h\n"
_ERRORS = 2


def leave(_signal: int, _frame: FrameType | None) -> None:
    """End the process with one line, as a handler of SIGINT.

    Nothing is raised, for that could come anywhere, in a library that is being loaded or at the
    end in a thread's last step, and would be seen as a traceback. Files are written aside and then
    renamed, so what is unfinished claims nothing.
    """
    if os.isatty(_ERRORS):
        # Progress bars hide it.
        os.write(_ERRORS, _SHOW_CURSOR)
    os.write(_ERRORS, b"Cancelled.\n")
    os._exit(CANCELLED)


@contextmanager
def last_words() -> Iterator[None]:
    """Let what is said now be all: Ctrl-C waits for it, and ends the process without a word."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, lambda _signal, _frame: os._exit(CANCELLED))
