"""TIFF and what is made of it: SVS, OME-TIFF, NDPI, SCN, BIF."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.images.image import ImageFormat, ImageSource

_MAGIC = (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+")


def _open(path: Path) -> ImageSource:
    from napari_stenhance.section.images.tiff.series import open_tiff

    return open_tiff(path)


FORMAT = ImageFormat(
    "TIFF",
    (".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi", ".scn", ".bif", ".qptiff"),
    lambda _, start: start.startswith(_MAGIC),
    _open,
)
