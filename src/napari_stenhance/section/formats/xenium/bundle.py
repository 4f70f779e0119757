"""The files of a Xenium bundle, told by their names; nothing heavy is imported."""

from __future__ import annotations

import json
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import names_in, text_matrix_in
from napari_stenhance.storage.reading import reading

MANIFEST = "experiment.xenium"
TRANSCRIPTS = "transcripts.parquet"
PIXEL_UM = 0.2125
"""Of the morphology images of every instrument so far."""
_MATRIX = "cell_feature_matrix"
_CELLS = ("cells.parquet", "cells.csv.gz", "cells.csv")
_OUTLINES = ("cell_boundaries.parquet", "cell_boundaries.csv.gz", "cell_boundaries.csv")
_MANIFEST_MOST = 2**22


def root_of_xenium(path: Path) -> Path | None:
    """Find the bundle that is meant: a folder, its `outs`, its manifest or its transcripts."""
    if path.is_file():
        named = path.name in (MANIFEST, TRANSCRIPTS) and (path.parent / MANIFEST).is_file()
        return path.parent if named else None
    return next((f for f in (path, path / "outs") if (f / MANIFEST).is_file()), None)


def is_xenium(path: Path) -> bool:
    """Tell whether a path is a bundle, or what stands for one."""
    return root_of_xenium(path) is not None


def home_of(root: Path) -> Path:
    """Return the folder that is named after the run."""
    root = root.resolve()
    return root.parent if root.name == "outs" else root


def pixel_size(root: Path) -> tuple[float, str]:
    """Read µm per pixel of the morphology images; return them and where they come from.

    Raises
    ------
    InputError
        If the manifest cannot be read, or states what is none.
    """
    path = root / MANIFEST
    with reading(path, "the manifest", "copy the bundle again"):
        with path.open("rb") as file:
            content = json.loads(file.read(_MANIFEST_MOST))
        stated = dict(content).get("pixel_size")
        if stated is None:
            return PIXEL_UM, f"that of Xenium's images, as {MANIFEST} does not state it"
        size = float(stated)
        if not 0 < size < 100:
            msg = f"pixel_size is {size:g}"
            raise ValueError(msg)
    return size, f"stated in {MANIFEST}"


def counts_of_cells(root: Path) -> tuple[Path, ...]:
    """Return the matrix of cells: HDF5, or as text.

    Raises
    ------
    InputError
        If it is not there.
    """
    if (root / f"{_MATRIX}.h5").is_file():
        return (root / f"{_MATRIX}.h5",)
    if files := text_matrix_in(root / _MATRIX):
        return files
    packed = next((n for n in names_in(root) if n == f"{_MATRIX}.tar.gz"), "")
    what = f"unpack {packed}" if packed else f"copy {_MATRIX}.h5 there"
    msg = f"{root}: this Xenium bundle has no counts of cells; {what}."
    raise InputError(msg)


def outlines_of_cells(root: Path) -> Path | None:
    """Return the table of the corners of cells; None where there is none."""
    return next((root / name for name in _OUTLINES if (root / name).is_file()), None)


def table_of_cells(root: Path) -> Path:
    """Return the table of cells.

    Raises
    ------
    InputError
        If it is not there.
    """
    found = next((root / name for name in _CELLS if (root / name).is_file()), None)
    if found is None:
        msg = (
            f"{root}: this Xenium bundle does not say where its cells lie; copy {_CELLS[0]} there."
        )
        raise InputError(msg)
    return found
