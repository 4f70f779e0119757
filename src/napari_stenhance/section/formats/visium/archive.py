"""What archives hold of a sample, such as GEO's `…_spatial.tar.gz`: unpacked in the cache."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from napari_stenhance.storage.reading import reading

_KIND = "unpacked"
_FILE_MOST = 2**29
_MEMBERS_MOST = 10_000
_TOTAL_MOST = 2**35
_ADVICE = "download it again, or unpack it beside the counts"


def unpacked(path: Path, wanted: Callable[[str], bool]) -> Path:
    """Unpack the files of an archive that are wanted, by their names, flat into a folder.

    Raises
    ------
    InputError
        If it is damaged, or claims to hold more than such archives do.
    """
    with _entry(path) as (folder, aside):
        if aside is not None:
            left = _TOTAL_MOST
            for name, file in _members(path):
                if wanted(name) and not (aside / name).exists():
                    left -= _copy(file, aside / name)
                    if left < 0:
                        msg = f"its files are larger than {_TOTAL_MOST} bytes"
                        raise ValueError(msg)
    return folder


def names_of(path: Path) -> list[str]:
    """List the files of an archive, without folders.

    Raises
    ------
    InputError
        If it is damaged.
    """
    with reading(path, "this archive", _ADVICE):
        return [name for name, _ in _members(path)]


def gunzipped(path: Path) -> Path:
    """Unpack a picture that lies there as `.png.gz`, and return it.

    Raises
    ------
    InputError
        If it is damaged.
    """
    name = path.name.removesuffix(".gz")
    with _entry(path) as (folder, aside):
        if aside is not None:
            with gzip.open(path) as file:
                _copy(file, aside / name)  # type: ignore[arg-type]
    return folder / name


@contextmanager
def _entry(path: Path) -> Iterator[tuple[Path, Path | None]]:
    """Give the folder of the cache for a file as it is now, and where to fill one that is new."""
    from napari_stenhance.storage.cache import Cache

    state = path.stat()
    told = f"{path.resolve()}\0{state.st_size}\0{state.st_mtime_ns}"
    key = hashlib.sha256(told.encode()).hexdigest()[:32]
    cache = Cache.default()
    folder = cache.entry(_KIND, key)
    # Sentences about what lies in it then name the archive.
    inner = folder / path.name
    if folder.is_dir():
        yield inner, None
        return
    with cache.building(_KIND, key) as aside, reading(path, "this archive", _ADVICE):
        (aside / path.name).mkdir()
        yield inner, aside / path.name


def _copy(file: BinaryIO, to: Path) -> int:
    """Write a file aside, and return its size."""
    with to.open("wb") as out:
        left = _FILE_MOST
        while block := file.read(2**20):
            left -= len(block)
            if left < 0:
                msg = f"{to.name} is larger than {_FILE_MOST} bytes"
                raise ValueError(msg)
            out.write(block)
    return _FILE_MOST - left


def _members(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Walk over the files of a tar or zip archive: names without folders, and what to read."""
    seen = 0
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            for info in packed.infolist()[:_MEMBERS_MOST]:
                if not info.is_dir():
                    with packed.open(info) as file:
                        yield PurePosixPath(info.filename).name, file  # type: ignore[misc]
        return
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            seen += 1
            if seen > _MEMBERS_MOST:
                msg = f"it holds more than {_MEMBERS_MOST} files"
                raise ValueError(msg)
            if member.isfile() and (opened := archive.extractfile(member)) is not None:
                yield PurePosixPath(member.name).name, opened  # type: ignore[misc]
