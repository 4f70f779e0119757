"""PNG; its density in pixels per metre is never a scale."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.images.image import ImageFormat, ImageSource
from napari_stenhance.section.images.vips import open_flat
from napari_stenhance.storage.reading import reading

_SWELLS = 1100
"""The most bytes that a byte of deflate becomes; it is 1032."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def _open(path: Path) -> ImageSource:
    def stored() -> float:
        with reading(path, "this image"), path.open("rb") as file:
            head = file.read(26)
            return head[24] * _CHANNELS[head[25]] / 8 / _SWELLS

    return open_flat(path, "pngload", stored)


FORMAT = ImageFormat("PNG", (".png",), lambda _, start: start.startswith(b"\x89PNG"), _open)
