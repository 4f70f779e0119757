"""The files of Stereo-seq, told by their names, tables of text by their first line."""

from __future__ import annotations

import re
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import names_in
from napari_stenhance.section.tables.claims import opened_text
from napari_stenhance.storage.reading import reading

_GEF = re.compile(r".+\.gef", re.IGNORECASE)
_GEM = re.compile(r".+\.gem(?:\.gz)?", re.IGNORECASE)
_TEXT = re.compile(r".+\.(?:tsv|txt)(?:\.gz)?", re.IGNORECASE)
_INSIDE = ("", "outs", "feature_expression", "outs/feature_expression")
_LOOKED_AT = 2**14
_BIN = re.compile(r"bin([1-9]\d{0,4})")


def is_stereo(path: Path) -> bool:
    """Tell whether a path is a GEF or a GEM, or a folder of SAW that holds one."""
    if path.is_dir():
        return bool(_gef_in(path))
    return path.is_file() and (_is_named(path.name) or _is_gem_by_content(path))


def find_counts(path: Path) -> Path:
    """Return the file that is meant: of a folder the GEF of the tissue.

    Raises
    ------
    InputError
        If a folder holds several.
    """
    if path.is_file():
        return path
    files = _gef_in(path)
    tissue = [file for file in files if file.name.lower().endswith(".tissue.gef")]
    if len(tissue or files) == 1:
        return (tissue or files)[0]
    names = ", ".join(str(file.relative_to(path)) for file in files)
    msg = f"{path}: several files hold counts: {names}; name the one that you mean."
    raise InputError(msg)


def bin_size_of(path: Path, name: str) -> int:
    """Return the size of bins that are named as bin50.

    Raises
    ------
    InputError
        If they are named otherwise.
    """
    match = _BIN.fullmatch(name)
    if match is None:
        msg = f"{path}: {name!r} is no size of bins; name one as bin50, of 50 spots of the chip."
        raise InputError(msg, option="sample")
    return int(match[1])


def _is_named(name: str) -> bool:
    return bool(_GEF.fullmatch(name) or _GEM.fullmatch(name))


def _gef_in(path: Path) -> list[Path]:
    folders = [path / inside for inside in _INSIDE]
    found = [f / n for f in folders for n in sorted(names_in(f)) if _is_named(n)]
    return [file for file in found if file.is_file()]


def _is_gem_by_content(path: Path) -> bool:
    if not _TEXT.fullmatch(path.name):
        return False
    try:
        with reading(path), opened_text(path) as file:
            lines = file.read(_LOOKED_AT).decode("utf-8", "replace").splitlines()
    except InputError:
        return False
    head = next((line for line in lines if not line.startswith("#")), "").lower().split("\t")
    return {"geneid", "x", "y"} <= set(head) and any(
        name in head for name in ("midcount", "midcounts", "umicount")
    )
