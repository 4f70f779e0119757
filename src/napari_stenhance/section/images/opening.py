"""The door to images: which format a file is, and which of its images is opened."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.running.extensions import extensions
from napari_stenhance.section.images.image import (
    ImageFormat,
    ImageSource,
    OtherImage,
    SlideRefused,
)
from napari_stenhance.section.images.profile import in_srgb
from napari_stenhance.storage.reading import reading

_START = 132


def image_formats() -> tuple[ImageFormat, ...]:
    """List the formats of images in the order in which they are asked."""
    found = extensions("napari_stenhance.section.images", "FORMAT")
    return tuple(sorted(found, key=lambda one: one.order))


def image_suffixes() -> tuple[str, ...]:
    """List what names of images end with, in small letters, as in ".jpg"."""
    return tuple(suffix for one in image_formats() for suffix in one.suffixes)


def folder_format(path: Path) -> ImageFormat | None:
    """Find the format of images that a folder is; None if it is none, or no folder."""
    if not path.is_dir():
        return None
    return next((one for one in image_formats() if one.recognise(path, b"")), None)


def open_image(path: Path, series: str | None = None, *, icc: bool = True) -> ImageSource:
    """Open an image of a file or a folder; its pixels are read when they are asked for.

    Parameters
    ----------
    path : Path
    series : str, optional
        The name of an image of the file; by default its slide is opened.
    icc : bool
        Convert colours to sRGB by the profile that the file holds.

    Raises
    ------
    InputError
        If it is missing, no image that can be read, or holds none of that name.
    """
    if path.is_dir():
        start = b""
    elif path.is_file():
        with reading(path), path.open("rb") as file:
            start = file.read(_START)
        if not start:
            msg = f"{path}: this image cannot be read (it is empty); copy it again."
            raise InputError(msg)
    else:
        msg = f"{path}: there is no such image file."
        raise InputError(msg)
    image = _chosen(path, _known(path, start), series)
    return in_srgb(image) if icc and image.profile is not None else image


def _known(path: Path, start: bytes) -> ImageFormat:
    for one in image_formats():
        if one.recognise(path, start):
            return one
    *names, last = (one.name for one in image_formats())
    msg = (
        f"{path}: this image cannot be read (it is no {', '.join(names)} or {last}); export it "
        "again."
    )
    raise InputError(msg)


def _chosen(path: Path, kind: ImageFormat, series: str | None) -> ImageSource:
    """Open the image of a name, or the slide; that may be refused, and others not."""
    try:
        image = kind.open(path)
    except SlideRefused as refused:
        if refused.own is None or series in (None, refused.own.name):
            raise
        own, others = replace(refused.own, is_slide=True), refused.others
    else:
        if series in (None, image.name):
            return image
        own, others = (
            OtherImage(image.name, image.shape, partial(kind.open, path), True),
            image.others,
        )
    for other in others:
        if other.name == series:
            rest = (own, *(one for one in others if one is not other))
            return replace(other.open(), name=series, is_slide=False, others=rest)
    listed = (
        f"it holds {', '.join(map(str, (own, *others)))}" if others else "its slide is the only one"
    )
    msg = f"{path}: this file holds no image {series!r}; {listed}."
    raise InputError(msg, option="series")


def image_size(path: Path, series: str | None = None) -> tuple[int, int]:
    """Read the (height, width) in pixels of the image that `open_image` opens.

    Raises
    ------
    InputError
        If it is missing, no image that can be read, or holds none of that name.
    """
    image = open_image(path, series, icc=False)
    image.close()
    return image.shape
