"""What napari asks when a file or folder is opened; nothing heavy is imported to say no."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_stenhance.section.formats.format import format_of

_OURS = {"stenhance", "stenhance_layers"}
"""Attributes that a result and saved layers carry."""


def get_reader(path: str | list[str]) -> Callable[[str], list[Any]] | None:
    """Return a reader if a path is a section, a result or saved layers of ours; else None."""
    if isinstance(path, list):
        return None
    return read_layers if _is_ours(Path(path)) else None


def read_layers(path: str) -> list[Any]:
    """Read the layers of a section, a result, or what the writer saved."""
    from napari import current_viewer

    from napari_stenhance.plugin.layer_info import viewer_tiles
    from napari_stenhance.plugin.layers import open_layers

    viewer = current_viewer()
    return open_layers(Path(path), tiles=None if viewer is None else viewer_tiles(viewer))[0]


def _is_ours(path: Path) -> bool:
    """Ask what a zarr folder says of itself; of anything else, the formats of sections."""
    zarr = path / "zarr.json"
    if not zarr.is_file():
        return format_of(path) is not None
    try:
        content = json.loads(zarr.read_text("utf-8"))
        return not _OURS.isdisjoint(content["attributes"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
