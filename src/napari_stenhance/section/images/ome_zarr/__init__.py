"""OME-Zarr 0.4 and 0.5: a folder whose colours are a slide."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.images.image import ImageFormat, ImageSource

_ROOTS = ("multiscales", "bioformats2raw.layout", "plate", "well", "labels", "spatialdata_attrs")
_SUFFIX = ".ome.zarr"


def _recognise(path: Path, start: bytes) -> bool:
    """Take a group that says what OME-Zarr says, and a file that is named like one."""
    from napari_stenhance.section.images.ome_zarr.node import group_attributes

    if not path.is_dir():
        return path.name.lower().endswith(_SUFFIX)
    said = group_attributes(path)
    return not set(_ROOTS).isdisjoint(said)


def _open(path: Path) -> ImageSource:
    from napari_stenhance.section.images.ome_zarr.images import open_ome_zarr

    return open_ome_zarr(path)


def _is_slide(path: Path) -> bool:
    from napari_stenhance.section.images.ome_zarr.images import is_slide

    return is_slide(path)


FORMAT = ImageFormat("OME-Zarr", (_SUFFIX,), _recognise, _open, is_slide=_is_slide)
