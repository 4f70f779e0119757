"""One writer at a time: a file that says who writes, made at once and removed on release."""

from __future__ import annotations

import datetime
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.storage.atomic import claim_file, scratch_in
from napari_stenhance.storage.owner import Owner

_BEAT_S = 10.0
_AGAIN_S = 0.02
_PID_MOST = 2**31 - 1
_TOKEN = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Mark:
    """What a lock says.

    Attributes
    ----------
    host, pid, started
        Of the `Owner`.
    run : str
        What it is about to write.
    since, alive : str
        When it took the lock, and its last sign of life: UTC, to the second.
    token : str
        Of this lock alone.
    """

    host: str
    pid: int
    started: str
    run: str
    since: str
    alive: str
    token: str

    @classmethod
    def make(cls, run: str) -> Mark:
        """Make one of this process."""
        return cls(**asdict(Owner.current()), run=run, since=_now(), alive=_now(), token=_token())

    @classmethod
    def read(cls, lock: Path) -> Mark | None:
        """Read a lock; None if there is none. One that cannot be read is of an unknown host."""
        try:
            mark = cls(**json.loads(lock.read_text("utf-8")))
        except FileNotFoundError:
            # A link that leads nowhere is something, and no name to take.
            return _UNREADABLE if lock.is_symlink() else None
        except (OSError, ValueError, TypeError, RecursionError):
            return _UNREADABLE
        return mark if mark._is_sound else _UNREADABLE

    @property
    def _is_sound(self) -> bool:
        """Whether it can be what `make` made: the token becomes part of a file's name."""
        texts = (self.host, self.started, self.run, self.since, self.alive, self.token)
        return (
            all(isinstance(text, str) for text in texts)
            and type(self.pid) is int
            and 0 < self.pid <= _PID_MOST
            and _TOKEN.fullmatch(self.token) is not None
        )

    @property
    def owner(self) -> Owner:
        """Whose lock it is."""
        return Owner(self.host, self.pid, self.started)

    def content(self) -> bytes:
        """Return it as it is stored: of the same length at every sign of life."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.run}, last seen {self.alive})"


_UNREADABLE = Mark("an unknown host", 0, "", "?", "?", "an unknown time", "unreadable")


@contextmanager
def held(lock: Path, run: str, *, clear_dead: bool = False) -> Iterator[None]:
    """Hold a lock, and keep saying that its owner lives.

    A lock whose owner has died on this host is broken. Of another host nobody here can know.

    Parameters
    ----------
    lock : Path
        `files/.lock` of a result.
    run : str
        What is about to be written, for those who meet the lock.
    clear_dead : bool
        The user's word that no process of another host writes here any more.

    Raises
    ------
    InputError
        If another process holds it, or another run of this one.
    """
    mine = Mark.make(run)
    holder = _take(lock, mine, clear_dead)
    if holder is not None:
        raise _held_by(lock, holder, clear_dead)
    # Of locks that were broken: their owners are dead, and this one is nobody's to break.
    for guard in lock.parent.glob(f"{lock.name}.*"):
        with suppress(OSError):
            guard.unlink(missing_ok=True)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(lock, mine, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        _release(lock, mine)


def _take(lock: Path, mine: Mark, clear_dead: bool) -> Mark | None:
    """Take a lock, or return who holds it.

    A dead owner's is removed by whoever holds a second lock, which is named after the first: so
    two that find it dead cannot each remove what the other has made.
    """
    while not _claimed(lock, mine):
        holder = Mark.read(lock)
        if holder is None:
            continue
        if not (holder.owner.is_dead or (clear_dead and not holder.owner.is_here)):
            return holder
        guard = lock.with_name(f"{lock.name}.{holder.token}")
        if _take(guard, mine, clear_dead) is None:
            try:
                now = Mark.read(lock)
                if now is not None and now.token == holder.token:
                    lock.unlink(missing_ok=True)
            finally:
                guard.unlink(missing_ok=True)
        else:
            time.sleep(_AGAIN_S)
    return None


def _claimed(lock: Path, mine: Mark) -> bool:
    lock.parent.mkdir(parents=True, exist_ok=True)
    aside = scratch_in(lock.parent)
    try:
        aside.write_bytes(mine.content())
        claim_file(aside, lock)
    except FileExistsError:
        return False
    finally:
        aside.unlink(missing_ok=True)
    return True


def _beat(lock: Path, mine: Mark, stop: threading.Event) -> None:
    """Write signs of life into the file that was made, whatever its name may come to mean."""
    with suppress(OSError), lock.open("r+b", buffering=0) as file:
        while not stop.wait(_BEAT_S):
            with suppress(OSError):
                file.seek(0)
                file.write(replace(mine, alive=_now()).content())


def _release(lock: Path, mine: Mark) -> None:
    holder = Mark.read(lock)
    # Another's, if somebody took this one for dead.
    if holder is not None and holder.token == mine.token:
        lock.unlink(missing_ok=True)


def _held_by(lock: Path, holder: Mark, clear_dead: bool) -> InputError:
    folder = lock.parent.parent
    if holder.owner == Owner.current():
        msg = f"{folder}: this process is writing here already ({holder.run}); wait for it to end."
        return InputError(msg)
    msg = f"{folder}: another process is writing here, {holder}; wait for it to end."
    if holder == _UNREADABLE:
        msg = f"{lock}: this lock cannot be read, so another process may be writing here; wait."
    if holder.owner.is_here or clear_dead:
        return InputError(msg)
    msg = (
        f"{msg[:-1]}, or if it has died, which cannot be known from this host, say that dead "
        "locks are to be cleared."
    )
    return InputError(msg, option="clear_dead_locks")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _token() -> str:
    return uuid.uuid4().hex[:12]
