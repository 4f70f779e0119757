"""Hashes of files, which are read once while they stay as they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.reading import reading

_STEP = 4 * 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SETTLED_NS = 2 * 10**9
"""A change within the grain of a file system's clock would leave the time as it was."""


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
