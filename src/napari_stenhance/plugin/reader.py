"""What napari asks when a file or folder is opened; nothing heavy is imported to say no."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_OURS = {"stenhance", "stenhance_layers"}
"""Attributes that a result and saved layers carry."""
_TABLES = (".tsv", ".tsv.gz", ".txt", ".txt.gz")
_POSITIONS = b"pixel_x"
_PEEK = 4096


def get_reader(path: str | list[str]) -> Callable[[str], list[Any]] | None:
    """Return a reader if a path is a section, a result or saved layers of ours; else None."""
    if isinstance(path, list):
        return None
    where = Path(path)
    if where.is_dir() and not _is_ours(where):
        return None
    return read_layers


def read_layers(path: str) -> list[Any]:
    """Read the layers of a section, a result, or what the writer saved."""
    from napari import current_viewer

    from napari_stenhance.plugin.layer_info import viewer_tiles
    from napari_stenhance.plugin.layers import open_layers

    viewer = current_viewer()
    return open_layers(Path(path), tiles=None if viewer is None else viewer_tiles(viewer))[0]


def _is_ours(folder: Path) -> bool:
    """Look at names, then into small files; anything heavier only where it may be a section."""
    names = [entry.name for entry in os.scandir(folder)]
    if "zarr.json" in names:
        try:
            content = json.loads((folder / "zarr.json").read_text("utf-8"))
            return not _OURS.isdisjoint(content["attributes"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
    from napari_stenhance.section.formats import spaceranger
    from napari_stenhance.section.formats.prefix_names import prefixes, slides_alone

    # Names decide here: locations may be large.
    if prefixes(frozenset(names)) or len(slides_alone(frozenset(names))) == 1:
        return True
    tables = [folder / name for name in names if name.lower().endswith(_TABLES)]
    if not (
        any(n.lower().endswith(".h5ad") for n in names)
        or spaceranger.root_of(folder) is not None
        or spaceranger.aggregate_above(folder) is not None
        or any(map(_has_positions, tables))
    ):
        return False
    from napari_stenhance.errors import InputError
    from napari_stenhance.section.section import RECOGNISERS

    try:
        return any(recognise(folder) is not None for recognise in RECOGNISERS)
    except InputError:
        # A section with a fault: reading it says what is wrong.
        return True


def _has_positions(table: Path) -> bool:
    try:
        with gzip.open(table) if table.suffix == ".gz" else table.open("rb") as file:
            return _POSITIONS in file.readline(_PEEK)
    except (OSError, EOFError):
        return False
