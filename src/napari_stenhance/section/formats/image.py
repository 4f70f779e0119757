"""Images of every kind, by what their first bytes say they are."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats import flat, tiff
from napari_stenhance.section.formats.pixels import ImageSource
from napari_stenhance.storage.reading import reading

IMAGE_SUFFIXES = (*flat.SUFFIXES, *tiff.SUFFIXES)
_MAGIC = {
    b"\xff\xd8\xff": flat.open_jpeg,
    b"\x89PNG": flat.open_png,
    **{order + version: tiff.open_tiff
       for order, versions in ((b"II", (b"*\0", b"+\0")), (b"MM", (b"\0*", b"\0+")))
       for version in versions},
}  # fmt: skip


def open_image(path: Path) -> ImageSource:
    """Open the image of a file; its pixels are read when they are asked for.

    Raises
    ------
    InputError
        If it is missing, or no image that can be read.
    """
    if not path.is_file():
        msg = f"{path}: there is no such image file."
        raise InputError(msg)
    with reading(path), path.open("rb") as file:
        start = file.read(4)
    for magic, opened in _MAGIC.items():
        if start.startswith(magic):
            return opened(path)
    msg = f"{path}: this image cannot be read (it is no TIFF, JPEG or PNG); export it again."
    raise InputError(msg)


def image_size(path: Path) -> tuple[int, int]:
    """Read the (height, width) in pixels of the image that `open_image` opens.

    Raises
    ------
    InputError
        If it is missing, or no image that can be read.
    """
    image = open_image(path)
    image.close()
    return image.shape
