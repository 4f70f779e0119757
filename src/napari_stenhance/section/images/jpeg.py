"""JPEG; its density in dots per inch is never a scale."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.images.image import ImageFormat, ImageSource
from napari_stenhance.section.images.vips import open_flat


def _open(path: Path) -> ImageSource:
    # Each block of 8 × 8 pixels takes a bit at least, in the first of its scans.
    return open_flat(path, "jpegload", lambda: 1 / 64 / 8)


FORMAT = ImageFormat(
    "JPEG", (".jpg", ".jpeg"), lambda _, start: start.startswith(b"\xff\xd8\xff"), _open
)
