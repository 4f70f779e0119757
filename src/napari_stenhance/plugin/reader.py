"""What napari asks when a file or folder is opened; nothing heavy is imported to say no."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_stenhance.section.formats.format import format_of, holds_spots
from napari_stenhance.section.images.opening import folder_format
from napari_stenhance.storage.reading import zarr_has

_OURS = ("stenhance", "stenhance_layers")
"""Attributes that a result and saved layers carry."""
_TABLE = "encoding-type"
"""What a table of spots carries."""


def get_reader(path: str | list[str]) -> Callable[[str], list[Any]] | None:
    """Return a reader if a path is a section, a result or saved layers of ours; else None."""
    if isinstance(path, list):
        return None
    return read_layers if _is_ours(Path(path)) else None


def _is_ours(path: Path) -> bool:
    if zarr_has(path, *_OURS):
        return True
    image = folder_format(path)
    if image is not None:
        # Such as a SpatialData store, of which no image is the slide by itself.
        return image.is_slide(path) or holds_spots(path)
    # Other zarr folders are no sections.
    if (path / "zarr.json").is_file() and not zarr_has(path, _TABLE):
        return False
    return format_of(path) is not None


def read_layers(path: str) -> list[Any]:
    """Read the layers of a section, a result, or what the writer saved."""
    from napari import current_viewer
    from napari.utils.notifications import show_info, show_warning

    from napari_stenhance.plugin.layer_info import viewer_tiles
    from napari_stenhance.plugin.layers import open_layers
    from napari_stenhance.plugin.opening import take_over_edits
    from napari_stenhance.plugin.preferences import use_cache_folder
    from napari_stenhance.plugin.scene import not_open_yet

    use_cache_folder()
    viewer = current_viewer()
    tiles = None if viewer is None else viewer_tiles(viewer)
    layers, _, said = open_layers(Path(path), tiles=tiles)
    for doubt in said:
        show_warning(doubt)
    if viewer is not None:
        take_over_edits(viewer, layers)
    new: list[Any] = not_open_yet(layers)
    if not new:
        show_info(f"{Path(path).name} is open already.")
        # So a reader says that there is nothing to add.
        new = [(None,)]
    return new
