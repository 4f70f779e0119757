"""Images without a pyramid, through libvips: decoded from top to bottom, in strips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.section.images.image import STRIP, ImageSource

if TYPE_CHECKING:
    import numpy as np
    import pyvips
    from numpy.typing import NDArray

_WIDEST = 2**28 // (STRIP * 3)
"""Pixels of a row: strips of this package and of libvips are in memory at the same time."""
_MEMORY_SHARE = 0.5


def open_flat(path: Path, loader: str, least: Callable[[], float]) -> ImageSource:
    """Open an image of which libvips decodes rows one after the other.

    Parameters
    ----------
    path : Path
    loader : str
        What libvips calls its reader of the format.
    least : callable
        Bytes that a pixel takes in the file at least; asked once libvips can read the header.

    Raises
    ------
    InputError
        If its header cannot be read, or claims what the file cannot hold.
    """
    image = _header(path, loader)
    _check_claim(path, image, image.width * image.height * least())
    return ImageSource(path, (image.height, image.width), lambda: _strips(path, loader))


def _header(path: Path, loader: str) -> pyvips.Image:
    import pyvips

    load = getattr(pyvips.Image, loader)
    # A file of the same name may have been opened before, and changed.
    with _decoding(path):
        return load(str(path), access="sequential", fail_on="truncated", revalidate=True)


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    import pyvips

    try:
        yield
    except pyvips.Error as error:
        lines = [line for line in str(error.detail).strip().splitlines() if line]
        reason = lines[-1] if lines else "it is damaged"
        msg = f"{path}: this image cannot be read ({reason}); export it again."
        raise InputError(msg) from error


def _check_claim(path: Path, image: pyvips.Image, least: float) -> None:
    """Refuse an image whose header claims more than it can hold, before any is allocated.

    Parameters
    ----------
    path : Path
    image : pyvips.Image
    least : float
        Bytes that the file has at least, if what it claims is so.
    """
    import psutil

    size = f"{image.width} × {image.height} px"
    if least > path.stat().st_size:
        msg = (
            f"{path}: this image cannot be read (it claims {size}, more than the file can hold); "
            "copy it again, or export it anew."
        )
        raise InputError(msg)
    if image.width > _WIDEST:
        msg = f"{path}: an image of {size} is too wide for its format; export it as tiled TIFF."
        raise InputError(msg)
    interlaced = image.get_typeof("interlaced") != 0 and bool(image.get("interlaced"))
    # All of it is in memory while it is decoded: samples of 16 bits, for three colours.
    needed = image.width * image.height * 6
    if interlaced and needed > _MEMORY_SHARE * psutil.virtual_memory().available:
        msg = (
            f"{path}: decoding this image takes {needed / 2**30:.1f} GB at once, since it is "
            "progressive (interlaced); export it without, or as tiled TIFF."
        )
        raise InputError(msg)


def _strips(path: Path, loader: str) -> Iterator[NDArray[np.uint8]]:
    """Decode an image from top to bottom, 8-bit RGB; only one strip is in memory."""
    import numpy as np
    import pyvips

    image = _header(path, loader)
    with _decoding(path):
        if image.hasalpha():
            image = image.flatten(background=[255] if image.bands == 2 else [255, 255, 255])
        if image.interpretation != "srgb" or image.format != "uchar":
            image = image.colourspace("srgb").cast("uchar")
        region = pyvips.Region.new(image)
        for top in range(0, image.height, STRIP):
            rows = min(STRIP, image.height - top)
            data = region.fetch(0, top, image.width, rows)
            yield np.frombuffer(data, np.uint8).reshape(rows, image.width, image.bands)
