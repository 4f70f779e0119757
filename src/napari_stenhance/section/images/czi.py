"""Zeiss CZI slides."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.images.image import ImageFormat, ImageSource, has_suffix

_SUFFIX = ".czi"


def _open(path: Path) -> ImageSource:
    from napari_stenhance.section.images.decoded.vendor import open_with_fastslide

    return open_with_fastslide(path, "a Zeiss CZI", "export it from ZEN as OME-TIFF")


FORMAT = ImageFormat(
    "Zeiss CZI",
    (_SUFFIX,),
    has_suffix(_SUFFIX),
    _open,
    order=20,
)
