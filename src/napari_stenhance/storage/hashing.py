"""Hashes of files and folders, which are read once while they stay as they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.listing import files_in, glance
from napari_stenhance.storage.reading import reading

_STEP = 4 * 2**20
_END = 2**16
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SETTLED_NS = 2 * 10**9
"""A change within the grain of a file system's clock would leave the time as it was."""


@dataclass(frozen=True)
class FileState:
    """What tells, without reading a file or a folder, whether it is still what was opened.

    Attributes
    ----------
    path : str
        Without links.
    size : int
        In bytes; of a folder, of those files that were looked at.
    mtime_ns : int
        Of its last change.
    ends : int
        Checksum of its first and its last 64 KB: a clock may be coarse. Of a folder, of what a
        glance shows.
    beside : tuple of str
        Other files and folders that are part of it.
    cache : Cache
        Where hashes are kept.
    """

    path: str
    size: int
    mtime_ns: int
    ends: int
    beside: tuple[str, ...]
    cache: Cache = field(compare=False, repr=False)

    @classmethod
    def of(cls, path: Path, cache: Cache, beside: Sequence[Path] = ()) -> FileState:
        """Look at a file or a folder, and at what belongs to it.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        with reading(path):
            looks = [_look(one) for one in (path, *beside)]
            places = [str(one.resolve()) for one in (path, *beside)]
        ends = looks[0][2]
        for look in looks[1:]:
            ends = zlib.crc32(repr(look).encode(), ends)
        size, newest = sum(look[0] for look in looks), max(look[1] for look in looks)
        return cls(places[0], size, newest, ends, tuple(places[1:]), cache)

    @property
    def key(self) -> str:
        """The state in a word."""
        what = [self.path, self.size, self.mtime_ns, self.ends, *self.beside]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]

    @property
    def known_sha256(self) -> str | None:
        """The SHA-256 of the content, if it was asked for before; the content is not read.

        Of a single file, also what the cache knows.
        """
        known: str | None = vars(self).get("_sha256")
        if known is None and not self.beside:
            with contextlib.suppress(OSError, InputError):
                state = _state_of(Path(self.path))
                if (state["size"], state["mtime_ns"]) == (self.size, self.mtime_ns):
                    known = _kept(_entry(self.cache, state), state)
        return known

    def sha256(self, job: Job | None = None) -> str:
        """Return the SHA-256 of the content; all of it is read, unless the cache knows it.

        Of a folder, or of several files, it is that of their names, sizes and contents in order.

        Raises
        ------
        InputError
            If it is gone, or changed since.
        Cancelled
            If the job was cancelled.
        """
        known = self.known_sha256
        if known is None:
            path, beside = Path(self.path), [Path(one) for one in self.beside]
            known = content_hash(path, self.cache, job, beside)
            if FileState.of(path, self.cache, beside) != self:
                what = "folder" if path.is_dir() else "file"
                msg = f"{self.path}: this {what} has changed since it was opened; open it again."
                raise InputError(msg)
            object.__setattr__(self, "_sha256", known)
        return known


def _look(path: Path) -> tuple[int, int, int]:
    """Return size, time and a checksum of what a glance shows."""
    if path.is_dir():
        return glance(path)
    stat = path.stat()
    with path.open("rb") as file:
        ends = zlib.crc32(file.read(_END))
        file.seek(max(stat.st_size - _END, 0))
        ends = zlib.crc32(file.read(_END), ends)
    return stat.st_size, stat.st_mtime_ns, ends


def content_hash(
    path: Path, cache: Cache, job: Job | None = None, beside: Sequence[Path] = ()
) -> str:
    """Return the SHA-256 of a file, as `file_hash` does, or of a folder or several files.

    Raises
    ------
    InputError
        If it cannot be read.
    Cancelled
        If the job was cancelled.
    """
    if not beside and not path.is_dir():
        return file_hash(path, cache, job)
    job = job or Job()

    def state() -> dict[str, str | int]:
        with reading(path):
            every = [entry for one in (path, *beside) for entry in files_in(one)]
            listed = json.dumps([(str(one), *about) for one, *about in every]).encode()
        newest = max((mtime for *_, mtime in every), default=0)
        size = sum(size for _, size, _ in every)
        names = hashlib.sha256(listed).hexdigest()
        return {"path": str(path.resolve()), "files": names, "size": size, "mtime_ns": newest}

    def read(size: int) -> str:
        digest = hashlib.sha256()
        # What it is called does not matter, as with a file.
        every = [
            (n, one.relative_to(top).as_posix(), one, length)
            for n, top in enumerate((path, *beside))
            for one, length, _ in files_in(top)
        ]
        with reading(path), job.stage(f"Reading {path.name}", max(size, 1)) as told:
            for n, name, one, length in sorted(every):
                digest.update(json.dumps([n, name, length]).encode())
                with one.open("rb") as file:
                    while data := file.read(_STEP):
                        digest.update(data)
                told.advance(length)
        return digest.hexdigest()

    return _remembered(cache, state, read)


def file_hash(path: Path, cache: Cache | None = None, job: Job | None = None) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    A file is read once: the cache keeps the hash with the file's path, size and time of its last
    change. It is not kept if the file changed while it was read, or within two seconds before.

    Parameters
    ----------
    path : Path
    cache : Cache, optional
        Where hashes are kept; by default the user's.
    job : Job, optional
        Receives progress while a large file is read.

    Raises
    ------
    InputError
        If the file cannot be read.
    Cancelled
        If the job was cancelled.
    """
    cache, job = cache or Cache.default(), job or Job()
    return _remembered(cache, lambda: _state_of(path), lambda size: _read(path, size, job))


def _remembered(
    cache: Cache, look: Callable[[], dict[str, str | int]], read: Callable[[int], str]
) -> str:
    """Return the hash that is kept of a state, or what `read` makes of it, of so many bytes."""
    state = look()
    entry = _entry(cache, state)
    sha256 = _kept(entry, state)
    if sha256 is None:
        began = time.time_ns()
        sha256 = read(int(state["size"]))
        if began - int(state["mtime_ns"]) > _SETTLED_NS and look() == state:
            # Where the cache cannot be written, or another process was faster, nothing is lost.
            with contextlib.suppress(InputError, OSError):
                entry.unlink(missing_ok=True)
                with atomic_path(entry) as aside:
                    aside.write_text(json.dumps({**state, "sha256": sha256}), "utf-8")
    return sha256


def _state_of(path: Path) -> dict[str, str | int]:
    with reading(path):
        stat = path.stat()
        return {"path": str(path.resolve()), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _entry(cache: Cache, state: dict[str, str | int]) -> Path:
    key = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]
    return cache.entry("hashes", f"{key}.json")


def _kept(entry: Path, state: dict[str, str | int]) -> str | None:
    try:
        kept = json.loads(entry.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    sha256 = str(kept.get("sha256")) if isinstance(kept, dict) else ""
    right = _SHA256.fullmatch(sha256) and kept == {**state, "sha256": sha256}
    return sha256 if right else None


def _read(path: Path, size: int, job: Job) -> str:
    digest = hashlib.sha256()
    steps = -(-size // _STEP)
    # A small file takes no time.
    stage = job.stage(f"Reading {path.name}", steps) if steps > 1 else contextlib.nullcontext()
    with reading(path), path.open("rb") as file, stage as told:
        while data := file.read(_STEP):
            digest.update(data)
            if told is not None:
                told.advance()
    return digest.hexdigest()
