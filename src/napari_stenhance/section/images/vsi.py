"""Olympus VSI slides: a small file, and the folder `_NAME_` that holds the pixels."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.images.image import ImageFormat, ImageSource, has_suffix

_SUFFIX = ".vsi"


def _open(path: Path) -> ImageSource:
    from napari_stenhance.section.images.decoded.vendor import open_with_fastslide

    folder = path.with_name(f"_{path.stem}_")
    advice = f"copy the folder {folder.name} beside it, or export it from OlyVIA as tiled TIFF"
    return open_with_fastslide(path, "an Olympus VSI", advice, [folder] if folder.is_dir() else [])


# The file itself is a TIFF.
FORMAT = ImageFormat(
    "Olympus VSI",
    (_SUFFIX,),
    has_suffix(_SUFFIX),
    _open,
    order=20,
)
