"""What an opened image gives, and what a format of images says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_stenhance.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STRIP = 512
"""Rows of a strip of a decoded image."""
BESIDE = re.compile(
    r"(?:^|[\W_])(label|macro|overview|thumbnail|preview)(?:[ _]image)?[\W_]*\d*\W*$", re.IGNORECASE
)
"""What is no slide by its name, at the end and maybe numbered: a slide may be "label-free"."""
ON_WHITE = "transparency laid on white"
"""Among conversions: what identifies such pixels, whatever their format."""
DEPTHS = (8, 10, 12, 14, 16)
"""Bits of cameras and scanners, whose samples may lie in 16."""

SWELLS_MOST = 50_000
"""The most samples of plain glass that a byte becomes, whatever the codec."""


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
class OtherImage:
    """An image of a file that is not open: a label, a macro, another scan.

    Attributes
    ----------
    name : str
        No other image of the file has it.
    shape : tuple of int
        Height and width in pixels.
    open : callable
        Opens it; raises `InputError` if it cannot be a slide.
    is_slide : bool
        It is the file's slide, and another image was chosen.
    """

    name: str
    shape: tuple[int, int]
    open: Callable[[], ImageSource]
    is_slide: bool = False

    def __str__(self) -> str:
        height, width = self.shape
        return f"{self.name} ({width} × {height} px{', the slide' if self.is_slide else ''})"


class SlideRefused(InputError):
    """A file's own slide cannot be used as it is; others of its images may be.

    Parameters
    ----------
    message : str
    option : str
    own : OtherImage, optional
        The slide, which says the same again where it is opened.
    others : tuple of OtherImage
        What else the file holds.
    """

    def __init__(
        self,
        message: str,
        *,
        option: str = "",
        own: OtherImage | None = None,
        others: tuple[OtherImage, ...] = (),
    ) -> None:
        super().__init__(message, option=option)
        self.own, self.others = own, others

    @classmethod
    def because(
        cls, error: InputError, own: OtherImage, others: tuple[OtherImage, ...]
    ) -> SlideRefused:
        """Add to what is wrong with a slide which other images can be chosen."""
        sentence, option = str(error), error.option
        if others:
            names = ", ".join(other.name for other in others)
            sentence, option = (
                f"{sentence.removesuffix('.')}; or choose another: {names}.",
                "series",
            )
        return cls(sentence, option=option, own=own, others=others)


@dataclass(frozen=True)
class ImageSource:
    """One image of a file, chosen once, by default its slide: whatever is said here is of it.

    Attributes
    ----------
    path : Path
        The file, or the folder.
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
    conversions : tuple of str
        What was done to samples that are no 8-bit RGB on white, in words; part of what identifies
        the pixels.
    profile : bytes, optional
        The ICC profile of the colours, as the file holds it; levels and strips do not apply it.
    grey : bool
        It is stored as grey, where 0 is black: all three colours are that.
    name : str
        What the file calls the image; none of the others is called so.
    is_slide : bool
        It is the file's slide, and no other image that was chosen.
    others : tuple of OtherImage
        What else the file holds.
    beside : tuple of Path
        Other files and folders that hold its pixels, beside `path`.
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
    conversions: tuple[str, ...] = ()
    profile: bytes | None = None
    grey: bool = False
    name: str = "slide"
    is_slide: bool = True
    others: tuple[OtherImage, ...] = ()
    beside: tuple[Path, ...] = ()
    close: Callable[[], None] = lambda: None


def has_suffix(*suffixes: str) -> Callable[[Path, bytes], bool]:
    """Make what recognises a file by the end of its name, in small letters."""
    return lambda path, _: path.is_file() and path.name.lower().endswith(suffixes)


@dataclass(frozen=True)
class ImageFormat:
    """A format of images: the attribute `FORMAT` of a module in this package, or an entry point.

    Attributes
    ----------
    name : str
        As sentences call it.
    suffixes : tuple of str
        What names of its files or folders end with, in small letters.
    recognise : callable
        Tells from a path and the file's first 132 bytes whether it is one; of a folder there are
        none. napari waits for it: it looks at names, or the beginning of small files.
    open : callable
        Opens one, reading no pixels; raises `InputError` if it is damaged, `SlideRefused` if others
        of its images may be chosen.
    order : int
        Formats are asked in ascending order, of one order ours first: what is a kind of TIFF to
        others gives less, to be asked before.
    is_slide : callable
        Tells of a folder that was recognised, as fast, whether it is one that napari should leave
        to us: not one whose images are no slides.
    """

    name: str
    suffixes: tuple[str, ...]
    recognise: Callable[[Path, bytes], bool]
    open: Callable[[Path], ImageSource]
    order: int = 50
    is_slide: Callable[[Path], bool] = lambda _: True
