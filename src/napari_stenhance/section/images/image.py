"""What an opened image gives, what a format of images says of itself, and the door to both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_stenhance.errors import InputError
from napari_stenhance.running.extensions import extensions
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STRIP = 512
"""Rows of a strip of a decoded image."""
_START = 64


class Pixels(Protocol):
    """A level of a pyramid, (y, x, 3) uint8, read where it is sliced; any thread may do so.

    Slicing raises `InputError` where the file is damaged, and nothing else.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[np.uint8]
    ndim: int

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class ImageSource:
    """The one image of a file that is the slide, chosen once: whatever is said here is of it.

    Attributes
    ----------
    path : Path
    shape : tuple of int
        Height and width in pixels.
    strips : callable
        Decodes the image from top to bottom, `STRIP` rows at a time, (rows, width, 3) uint8; of
        these a pyramid is made if the file holds none.
    part : str
        Which image of the file it is; "" if files of its format have one.
    levels : tuple of Pixels
        From full resolution down; empty if the file holds no pyramid.
    downsamples : tuple of float
        Full-resolution pixels for each pixel of a level.
    mpp : float or None
        Micrometres per pixel that the file states; None if it states none that can be true.
    mpp_source : str
        Where in the file, in words.
    doubts : tuple of str
        What was guessed or not believed.
    close : callable
        Lets go of the file; levels can then not be read any more.
    """

    path: Path
    shape: tuple[int, int]
    strips: Callable[[], Iterator[NDArray[np.uint8]]]
    part: str = ""
    levels: tuple[Pixels, ...] = ()
    downsamples: tuple[float, ...] = ()
    mpp: float | None = None
    mpp_source: str = "the file's metadata"
    doubts: tuple[str, ...] = ()
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class ImageFormat:
    """A format of images: the attribute `FORMAT` of a module in this package, or an entry point.

    Attributes
    ----------
    name : str
        As sentences call it.
    suffixes : tuple of str
        What names of its files end with, in small letters.
    recognise : callable
        Tells from a file's path and its first 64 bytes whether it is one.
    open : callable
        Opens one, reading no pixels; raises `InputError` if it is damaged.
    order : int
        Formats are asked in ascending order, of one order ours first: what is a kind of TIFF to
        others gives less, to be asked before.
    """

    name: str
    suffixes: tuple[str, ...]
    recognise: Callable[[Path, bytes], bool]
    open: Callable[[Path], ImageSource]
    order: int = 50


def image_formats() -> tuple[ImageFormat, ...]:
    """List the formats of images in the order in which they are asked."""
    found = extensions("napari_stenhance.section.images", "FORMAT")
    return tuple(sorted(found, key=lambda one: one.order))


def image_suffixes() -> tuple[str, ...]:
    """List what names of images end with, in small letters, as in ".jpg"."""
    return tuple(suffix for one in image_formats() for suffix in one.suffixes)


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
        start = file.read(_START)
    for one in image_formats():
        if one.recognise(path, start):
            return one.open(path)
    *names, last = (one.name for one in image_formats())
    msg = (
        f"{path}: this image cannot be read (it is no {', '.join(names)} or {last}); export it "
        "again."
    )
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
