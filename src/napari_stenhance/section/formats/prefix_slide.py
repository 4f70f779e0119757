"""The image of a prefix that has no counts: one to predict on."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFormat, SlideFile
from napari_stenhance.section.formats.prefix.names import (
    IMAGES,
    PIXEL_SIZE,
    name_of,
    named_by,
    number_in,
    slides_alone,
)


def _open(path: Path) -> SlideFile:
    folder, names, (prefix,) = named_by(path, slides_alone)
    image = next(prefix + name for name in IMAGES if prefix + name in names)
    return SlideFile(
        folder / image, name_of(prefix, folder), number_in(folder / f"{prefix}{PIXEL_SIZE}")
    )


FORMAT = SectionFormat(
    "a folder with the image of prefix files alone (he-raw.jpg)",
    lambda path: len(named_by(path, slides_alone)[2]) == 1,
    _open,
    image_alone=True,
    order=95,
)
