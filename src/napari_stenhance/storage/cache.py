"""The cache: pyramids of flat slides and feature maps, which can always be computed again."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.storage.checked import folder_of
from napari_stenhance.storage.lock import Mark
from napari_stenhance.storage.writing import writing

_WHOLE = "zarr.json"
_POLL_S = 0.2
_ADVICE = (
    "free some space, or choose another folder (STENHANCE_CACHE is the cache's); what was finished "
    "is kept"
)


def default_root() -> Path:
    """Return `$STENHANCE_CACHE`, or the user's cache folder."""
    given = os.environ.get("STENHANCE_CACHE")
    return Path(given) if given else user_cache_path("napari-stenhance", appauthor=False)


@dataclass(frozen=True)
class Cache:
    """A folder of entries `<kind>/<key>`; deleting any of them loses only time."""

    root: Path

    @classmethod
    def default(cls) -> Cache:
        """Open the cache that `default_root` names."""
        return cls(default_root())

    def entry(self, kind: str, key: str) -> Path:
        """Return where an entry lies, whether or not it exists."""
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        """Tell whether an entry, a zarr group, is there; what is left of a deleted one is not."""
        return (self.entry(kind, key) / _WHOLE).is_file()

    @contextmanager
    def building(self, kind: str, key: str) -> Iterator[Path]:
        """Build an entry aside, in an empty folder; it is there only if the block ends well."""
        final = self.entry(kind, key)
        # What is left of an entry that was deleted is no entry.
        shutil.rmtree(final, ignore_errors=True)
        with atomic_path(final, folder=True) as aside:
            yield aside

    @contextmanager
    def lock(self, path: Path, job: Job) -> Iterator[None]:
        """Hold an entry for one writer; wait, and say for whom, while another process has it.

        The system lets go of the lock when its owner dies, on any host.

        Raises
        ------
        Cancelled
            If the job is, while it waits.
        InputError
            If something cannot be written meanwhile: the disk is full, say, or permission is
            missing.
        """
        name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]
        locks = self.root / "locks"
        said = locks / f"{name}.json"
        # A drive that is not there, above the cache, is no file that is gone.
        with writing(locks, _ADVICE, scratch=locks):
            locks.mkdir(parents=True, exist_ok=True)
        with writing(self.root, _ADVICE):
            lock = FileLock(locks / f"{name}.lock")
            _wait(lock, path, said, job)
            try:
                said.write_bytes(Mark.make(path.parent.name).content())
                yield
            finally:
                said.unlink(missing_ok=True)
                lock.release()


def _wait(lock: FileLock, path: Path, said: Path, job: Job) -> None:
    told = False
    while True:
        job.check()
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not told:
                holder = Mark.read(said)
                who = "another process, which writes"
                if holder is not None:
                    who = f"process {holder.pid} on {holder.host}, since {holder.since} writing"
                job.note(f"Waiting for {who} {path}.")
                told = True
            time.sleep(_POLL_S)
        else:
            return


def still_there(array: zarr.Array[Any]) -> None:
    """Refuse to read an array of the cache that was deleted meanwhile: zarr would read zeros.

    Raises
    ------
    InputError
        If it is gone.
    """
    folder = folder_of(array)
    if not (folder / _WHOLE).is_file():
        msg = f"{folder}: the cache was deleted while it was in use; run the same command again."
        raise InputError(msg)
