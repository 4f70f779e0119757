"""The cache: pyramids of flat slides and feature maps, which can always be computed again."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from napari_stenhance.errors import InputError
from napari_stenhance.storage.checked import folder_of

_WHOLE = "zarr.json"


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
        """Build an entry aside; it appears under its name only when the block ends well."""
        final = self.entry(kind, key)
        final.parent.mkdir(parents=True, exist_ok=True)
        for left in final.parent.glob(f".{key}.*.building"):
            shutil.rmtree(left, ignore_errors=True)
        aside = final.parent / f".{key}.{uuid.uuid4().hex}.building"
        try:
            yield aside
            shutil.rmtree(final, ignore_errors=True)
            aside.rename(final)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def lock(self, path: Path, *, wait: bool) -> Iterator[None]:
        """Hold a folder for one writer; the lock lies in the cache, not in the folder.

        Raises
        ------
        InputError
            If another process holds it and `wait` is False, or something cannot be written
            meanwhile: the disk is full, say, or permission is missing.
        """
        name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]
        locks = self.root / "locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            with FileLock(locks / f"{name}.lock", timeout=-1 if wait else 0):
                yield
        except Timeout:
            msg = f"{path}: another napari-stenhance process is writing here; wait for it to end."
            raise InputError(msg) from None
        except OSError as error:
            reason = error.strerror or str(error)
            msg = (
                f"{error.filename or path}: this cannot be written ({reason}); free some space, or "
                "choose another folder (STENHANCE_CACHE is the cache's); what was finished is kept."
            )
            raise InputError(msg) from error


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
