"""What archives hold of a sample, such as GEO's `…_spatial.tar.gz`: unpacked in the cache."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from napari_stenhance.errors import InputError
from napari_stenhance.storage.reading import reading

_KIND = "unpacked"
_FILE_MOST = 2**29
_MEMBERS_MOST = 10_000
_TOTAL_MOST = 2**35
_NAME_MOST = 255
_ADVICE = "download it again, or unpack it beside the counts"


def unpacked(path: Path, wanted: Callable[[str], bool]) -> Path:
    """Unpack the files of an archive that are wanted, by their names, flat into a folder.

    Raises
    ------
    InputError
        If it is damaged, claims to hold more than such archives do, or holds two files of one name
        in different folders.
    """
    with _entry(path) as (folder, aside):
        if aside is not None:
            left, of = _TOTAL_MOST, dict[str, str]()
            for member, name, file in _members(path):
                if name.startswith(".") or not wanted(name):
                    continue
                if of.setdefault(name, member) != member:
                    msg = (
                        f"{path}: this archive holds {_shown(of[name])} and {_shown(member)}, so "
                        "which of them is meant is not known; unpack it, and open the folder of "
                        "one section."
                    )
                    raise InputError(msg)
                # Of a file that is there twice the later holds, as where it is unpacked by hand.
                left -= _copy(path, file, aside / name, min(left, _FILE_MOST))
    return folder


def names_of(path: Path) -> list[str]:
    """List the files of an archive, without folders, as they can be shown.

    Raises
    ------
    InputError
        If it is damaged.
    """
    return [_shown(name) for _, name, _ in _members(path)]


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
            with reading(path, "this archive", _ADVICE):
                packed = gzip.open(path)  # noqa: SIM115  what is written below is not read
            with packed:
                _copy(path, packed, aside / name, _FILE_MOST)  # type: ignore[arg-type]
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
    with cache.building(_KIND, key) as aside:
        (aside / path.name).mkdir()
        yield inner, aside / path.name


def _copy(path: Path, file: BinaryIO, to: Path, most: int) -> int:
    """Write a file of an archive aside, and return its size."""
    with to.open("wb") as out:
        for block in _blocks(path, to.name, file, most):
            out.write(block)
    return to.stat().st_size


def _blocks(path: Path, name: str, file: BinaryIO, most: int) -> Iterator[bytes]:
    with reading(path, "this archive", _ADVICE):
        while block := file.read(2**20):
            most -= len(block)
            if most < 0:
                msg = f"with {_shown(name)} it is larger than such archives are"
                raise ValueError(msg)
            yield block


def _members(path: Path) -> Iterator[tuple[str, str, BinaryIO]]:
    """Walk over the files of a tar or zip archive: as they are called, without folders, content."""
    with reading(path, "this archive", _ADVICE):
        for seen, (member, file) in enumerate(_packed(path)):
            # Either separator leads elsewhere on some system, as a drive does.
            name = PureWindowsPath(member).name
            if seen >= _MEMBERS_MOST:
                msg = f"it holds more than {_MEMBERS_MOST} files"
                raise ValueError(msg)
            if len(name.encode(errors="replace")) > _NAME_MOST:
                msg = f"the name of one of its files is longer than {_NAME_MOST} bytes"
                raise ValueError(msg)
            yield member, name, file


def _packed(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            for info in packed.infolist():
                if not info.is_dir():
                    with packed.open(info) as file:
                        yield info.filename, file  # type: ignore[misc]
        return
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            if member.isfile() and (opened := archive.extractfile(member)) is not None:
                yield member.name, opened  # type: ignore[misc]


def _shown(name: str) -> str:
    """Return a name in one line, whatever is in it."""
    return "".join(one if one.isprintable() else "?" for one in name[:_NAME_MOST])
