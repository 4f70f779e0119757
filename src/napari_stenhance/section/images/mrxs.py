"""MIRAX slides of 3DHISTECH: a small file, and the folder of its name that holds the pixels."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.images.image import ImageFormat, ImageSource, has_suffix

_SUFFIX = ".mrxs"


def _open(path: Path) -> ImageSource:
    from napari_stenhance.section.images.decoded.vendor import open_with_openslide

    folder = path.with_suffix("")
    advice = f"copy the folder {folder.name} beside it, or export it as tiled TIFF"
    kind = "a MIRAX slide (.mrxs)"
    return open_with_openslide(path, path, kind, advice, [folder] if folder.is_dir() else [])


# The file itself is a JPEG.
FORMAT = ImageFormat(
    "MIRAX",
    (_SUFFIX,),
    has_suffix(_SUFFIX),
    _open,
    order=20,
)
