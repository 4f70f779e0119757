"""Who left something on disk: a process, known by host, number and start; and whether it lives."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import psutil

_FIRST_SPACE = "4026531836"


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes
    ----------
    host : str
        Where its number means something: the machine; of a container with numbers of its own,
        that too.
    pid : int
    started : str
        A short token of when it started, which tells it from a later process of that number.
    """

    host: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Owner:
        """Return this process."""
        return cls(_host(), os.getpid(), _started(os.getpid()) or "")

    @property
    def is_here(self) -> bool:
        """Whether it ran where this process runs, so that this one can tell whether it lives."""
        return self.host == _host()

    @property
    def is_dead(self) -> bool:
        """Whether it surely lives no more; of another host nobody can be sure."""
        if not self.is_here:
            return False
        now = _started(self.pid)
        return now is None or (bool(now) and now != self.started)


@functools.cache
def _host() -> str:
    """Name the machine, and the space of process numbers if it is not the machine's first.

    Containers may share a host's name, but not its numbers: a number that is not there is no
    proof that its process has died.
    """
    try:
        space = str(Path("/proc/self/ns/pid").readlink()).partition("[")[2].rstrip("]")
    except OSError:
        space = ""
    return platform.node() + ("" if space in {"", _FIRST_SPACE} else f"+{space}")


def _started(pid: int) -> str | None:
    """Return a token of a process's start; None if there is none, "" if that cannot be known.

    On Linux in ticks since this boot: the time of day that psutil makes of them moves with the
    clock.
    """
    if Path("/proc/self/stat").exists():
        return _started_on_linux(pid)
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return _token(repr(process.create_time()))
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return ""


def _started_on_linux(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        # Other users' processes may be hidden, which a signal still finds.
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            return ""
        return ""
    # The name of the program, in brackets, may hold anything.
    state, *fields = stat.rpartition(")")[2].split()
    if state in {"Z", "X"}:
        return None
    return _token(f"{_boot()} {fields[18]}")


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()


def _token(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
