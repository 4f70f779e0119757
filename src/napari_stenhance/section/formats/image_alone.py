"""An image without spots: one to predict on."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFormat, SlideFile
from napari_stenhance.section.images.opening import image_suffixes


def _recognise(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(image_suffixes())


FORMAT = SectionFormat("an image", _recognise, lambda path: SlideFile(path, path.stem), order=0)
