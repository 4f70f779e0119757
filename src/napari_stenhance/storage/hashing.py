"""Hashes of files, which are read once while they stay as they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.reading import reading

_STEP = 4 * 2**20
_END = 2**16
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SETTLED_NS = 2 * 10**9
"""A change within the grain of a file system's clock would leave the time as it was."""


@dataclass(frozen=True)
class FileState:
    """What tells, without reading a file, whether it is still the one that was opened.

    Attributes
    ----------
    path : str
        Without links.
    size : int
        In bytes.
    mtime_ns : int
        Of its last change.
    ends : int
        Checksum of its first and its last 64 KB: a clock may be coarse.
    cache : Cache
        Where hashes are kept.
    """

    path: str
    size: int
    mtime_ns: int
    ends: int
    cache: Cache = field(compare=False, repr=False)

    @classmethod
    def of(cls, path: Path, cache: Cache) -> FileState:
        """Look at a file.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        state = _state_of(path)
        size = int(state["size"])
        with reading(path), path.open("rb") as file:
            ends = zlib.crc32(file.read(_END))
            file.seek(max(size - _END, 0))
            ends = zlib.crc32(file.read(_END), ends)
        return cls(str(state["path"]), size, int(state["mtime_ns"]), ends, cache)

    @property
    def key(self) -> str:
        """The state in a word."""
        return hashlib.sha256(
            json.dumps([self.path, self.size, self.mtime_ns, self.ends]).encode()
        ).hexdigest()[:32]

    def sha256(self, job: Job | None = None) -> str:
        """Return the SHA-256 of the file's content; all of it is read, unless the cache knows it.

        Raises
        ------
        InputError
            If it is gone, or changed since.
        Cancelled
            If the job was cancelled.
        """
        known: str | None = vars(self).get("_sha256")
        if known is None:
            known = file_hash(Path(self.path), self.cache, job)
            if FileState.of(Path(self.path), self.cache) != self:
                msg = f"{self.path}: this file has changed since it was opened; open it again."
                raise InputError(msg)
            object.__setattr__(self, "_sha256", known)
        return known


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
    state = _state_of(path)
    key = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]
    entry = cache.entry("hashes", f"{key}.json")
    sha256 = _kept(entry, state)
    if sha256 is None:
        began = time.time_ns()
        sha256 = _read(path, int(state["size"]), job)
        if began - int(state["mtime_ns"]) > _SETTLED_NS and _state_of(path) == state:
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
