"""Manifests: what files there should be, with size and checksum, so that none is missed or changed.

The checksum of a chunk finds what happened to its content; that a chunk is gone, or lies where
another should, only a list can tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.storage.reading import reading
from napari_stenhance.storage.seal import file_crc32, json_crc32
from napari_stenhance.storage.tiles import is_partial

_METADATA = "zarr.json"


@dataclass(frozen=True)
class Entry:
    """What a file should be.

    Attributes
    ----------
    size : int
        In bytes.
    crc32 : str
        Of its content, in hexadecimal.
    """

    size: int
    crc32: str


Manifest = Mapping[str, Entry]
"""Files by their path from the folder's root, with forward slashes."""


def list_files(root: Path, parts: Iterable[str], leave_out: Iterable[str], job: Job) -> Manifest:
    """Describe the files of some parts of a folder, each a file or a folder of files.

    Parameters
    ----------
    root : Path
    parts, leave_out : iterable of str
        Paths from the root; what is not there is passed over.
    job : Job
    """
    found: dict[str, Entry] = {}
    without = set(leave_out)
    for part in parts:
        top = root / part
        for file in sorted(top.rglob("*") if top.is_dir() else [top]):
            key = file.relative_to(root).as_posix()
            passed = any(key == other or key.startswith(f"{other}/") for other in without)
            if file.is_file() and not passed and not is_partial(file.name):
                job.check()
                found[key] = _describe(file)
    return dict(sorted(found.items()))


def _describe(file: Path) -> Entry:
    return Entry(file.stat().st_size, file_crc32(file))


def write_manifest(file: Path, manifest: Manifest) -> None:
    """Write a manifest, whole or not at all; the one that is there is replaced.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    lines = [
        json.dumps([key, entry.size, entry.crc32], ensure_ascii=False)
        for key, entry in sorted(manifest.items())
    ]
    content = "\n".join([*lines, _seal(lines), ""])
    with atomic_path(file, replace=True) as aside:
        aside.write_bytes(content.encode())


def _seal(lines: Iterable[str]) -> str:
    return json.dumps({"crc32": json_crc32(list(lines))})


def read_manifest(file: Path, advice: str) -> Manifest:
    """Read what `write_manifest` wrote; the advice is what to do where that cannot be.

    Raises
    ------
    InputError
        If it is not there, or damaged.
    """
    with reading(file, "the list of files", advice):
        *lines, seal, _ = file.read_bytes().decode().split("\n")
        if seal != _seal(lines):
            msg = "its checksum is not that of its content"
            raise ValueError(msg)
        rows = map(json.loads, lines)
        return {key: Entry(size, crc32) for key, size, crc32 in rows}


def check_files(root: Path, manifest: Manifest, advice: str) -> None:
    """Check quickly that files are there, have their size, and, if they describe others, content.

    Raises
    ------
    InputError
        If one is missing or other than it was.
    """
    for key, entry in manifest.items():
        file = root / key
        try:
            size = file.stat().st_size
        except OSError:
            msg = f"{file}: this file is missing; {advice}."
            raise InputError(msg) from None
        if size != entry.size:
            msg = f"{file}: this is damaged ({size} bytes, and should be {entry.size}); {advice}."
            raise InputError(msg)
        if file.name == _METADATA and _describe(file) != entry:
            raise InputError(_changed(file, advice))


def verify_files(root: Path, manifest: Manifest, advice: str, job: Job) -> None:
    """Read every file, and check that it is what it was.

    Raises
    ------
    InputError
        If one is missing or other than it was.
    Cancelled
        If the job was cancelled.
    """
    check_files(root, manifest, advice)
    with job.stage(f"Checking {root.name}", len(manifest)) as stage:
        for key, entry in manifest.items():
            with reading(root / key, advice=advice):
                same = _describe(root / key) == entry
            if not same:
                raise InputError(_changed(root / key, advice))
            stage.advance()


def _changed(file: Path, advice: str) -> str:
    return f"{file}: this is damaged (its content is not what was written); {advice}."
