"""An image without spots: one to predict on."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFormat, SlideFile
from napari_stenhance.section.images.opening import folder_format, image_suffixes


def _recognise(path: Path) -> bool:
    if path.is_file():
        return path.name.lower().endswith(image_suffixes())
    return folder_format(path) is not None


def _open(path: Path) -> SlideFile:
    # A folder's name may have dots that end no name: of a DICOM series, its number.
    named = path.is_file() or path.name.lower().endswith(image_suffixes())
    return SlideFile(path, path.stem if named else path.name)


FORMAT = SectionFormat("an image", _recognise, _open, image_alone=True, order=0)
