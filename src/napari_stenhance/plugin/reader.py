"""What napari asks when a file or folder is opened; nothing heavy is imported to say no."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TABLES = (".h5ad", ".tsv", ".tsv.gz", ".txt", ".txt.gz")


def get_reader(path: str | list[str]) -> Callable[[str], list[Any]] | None:
    """Return a reader if a path is a section, a result or saved layers of ours; else None."""
    if isinstance(path, list):
        return None
    where = Path(path)
    if where.is_dir() and not _is_ours(where):
        return None
    return read


def read(path: str) -> list[Any]:
    """Read the layers of a section, a result, or what the writer saved."""
    from napari_stenhance.plugin.layers import open_layers
    from napari_stenhance.plugin.saved import is_saved, saved_layers

    where = Path(path)
    if is_saved(where):
        return saved_layers(where)
    return open_layers(where)[0]


def _is_ours(folder: Path) -> bool:
    """Look at the names in a folder; only where they may be a section, into its files."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    if "zarr.json" in names:
        from napari_stenhance.plugin.saved import is_saved
        from napari_stenhance.results.result import Result

        return Result.is_result(folder) or is_saved(folder)
    if not any(name.lower().endswith(_TABLES) for name in names):
        return False
    from napari_stenhance.errors import InputError
    from napari_stenhance.section.section import RECOGNISERS

    try:
        return any(recognise(folder) is not None for recognise in RECOGNISERS)
    except InputError:
        # A section with a fault: reading it says what is wrong.
        return True
