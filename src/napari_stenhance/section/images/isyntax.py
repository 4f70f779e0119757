"""iSyntax slides."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.images.image import ImageFormat, ImageSource, has_suffix

_SUFFIX = ".isyntax"


def _open(path: Path) -> ImageSource:
    from napari_stenhance.section.images.decoded.vendor import open_with_fastslide

    return open_with_fastslide(path, "a Philips iSyntax", "export it as tiled TIFF")


FORMAT = ImageFormat(
    "iSyntax",
    (_SUFFIX,),
    has_suffix(_SUFFIX),
    _open,
    order=20,
)
