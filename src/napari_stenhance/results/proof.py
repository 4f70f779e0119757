"""What proves that a complete run is what was written: a manifest of its files, under `files/`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from napari_stenhance.results.attributes import ADVICE
from napari_stenhance.running.job import Job
from napari_stenhance.storage.manifest import (
    Manifest,
    check_files,
    list_files,
    read_manifest,
    verify_files,
    write_manifest,
)

Kind = Literal["fields", "labels", "imputed"]
"""Of runs, by the group that holds them."""
UNPROVEN = (
    "This result was written before results carried checksums, so damage to its values would not "
    "be noticed; to have them proven, run the same command into a new result."
)


def manifest_of(root: Path, kind: Kind, run: str, *, proven: bool) -> Manifest:
    """Read what files a complete run should have.

    The image of a gene may be removed as a whole: it can be written again, so none of it is missed.

    Parameters
    ----------
    root : Path
        Of the result.
    kind : {"fields", "labels", "imputed"}
    run : str
    proven : bool
        Whether there must be a manifest: of a run of format 1 there is none, so nothing is listed.

    Raises
    ------
    InputError
        If it is damaged or missing.
    """
    file = _file(root, kind, run)
    listed = read_manifest(file, ADVICE) if proven or file.exists() else {}
    images = {_image_of(key) for key in listed} - {""}
    removed = {image for image in images if not (root / image).is_dir()}
    return {key: entry for key, entry in listed.items() if _image_of(key) not in removed}


def _image_of(key: str) -> str:
    """Return the folder of the gene's image that a file belongs to; of others nothing."""
    parts = key.split("/")
    return "/".join(parts[:4]) if parts[2:3] == ["genes"] else ""


def _file(root: Path, kind: Kind, run: str) -> Path:
    return root / "files" / "manifests" / kind / f"{run}.jsonl"


def check_run(root: Path, kind: Kind, run: str, *, proven: bool) -> None:
    """Check quickly that the files of a complete run are there, and none is cut short.

    Raises
    ------
    InputError
        If one is missing or damaged.
    """
    check_files(root, manifest_of(root, kind, run, proven=proven), ADVICE)


def verify_run(root: Path, kind: Kind, run: str, job: Job, *, proven: bool) -> int:
    """Read every file of a complete run, check that it is what was written, and count them.

    Raises
    ------
    InputError
        If one is missing or damaged.
    Cancelled
        If the job was cancelled.
    """
    manifest = manifest_of(root, kind, run, proven=proven)
    verify_files(root, manifest, ADVICE, job)
    return len(manifest)


def record_files(root: Path, kind: Kind, run: str, parts: Sequence[str], job: Job) -> None:
    """Put the files of some parts of a result, as they are now, into the manifest of a run.

    The run's own zarr.json is left out: it changes, and its attributes carry a checksum.
    """
    file = _file(root, kind, run)
    before = read_manifest(file, ADVICE) if file.exists() else {}
    new = list_files(root, parts, [f"{kind}/{run}/zarr.json"], job)
    kept = {
        key: entry
        for key, entry in before.items()
        if not any(key == part or key.startswith(f"{part}/") for part in parts)
    }
    write_manifest(file, {**kept, **new})


def is_recorded(root: Path, kind: Kind, run: str, part: str) -> bool:
    """Tell whether the manifest of a run holds a group of the result."""
    return f"{part}/zarr.json" in manifest_of(root, kind, run, proven=False)
