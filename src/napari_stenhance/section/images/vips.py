"""Images without a pyramid, through libvips: decoded from top to bottom, in strips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.section.images.image import DEPTHS, ON_WHITE, STRIP, ImageSource
from napari_stenhance.section.images.memory import need_memory
from napari_stenhance.section.images.turning import said_of_turn

if TYPE_CHECKING:
    import numpy as np
    import pyvips
    from numpy.typing import NDArray

_WIDEST = 2**28 // (STRIP * 3)
"""Pixels of a row: strips of this package and of libvips are in memory at the same time."""


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
    orientation = _orientation(image)
    turned, doubts = said_of_turn(orientation)
    shape = (image.width, image.height) if orientation >= 5 else (image.height, image.width)
    cmyk = image.interpretation == "cmyk"
    return ImageSource(
        path,
        shape,
        lambda: _strips(path, loader),
        conversions=(*_said(image), *turned),
        doubts=doubts,
        profile=None if cmyk else _profile(image),
        grey=image.interpretation in ("b-w", "grey16"),
    )


def _said(image: pyvips.Image) -> Iterator[str]:
    """Say what is done to samples."""
    if image.format != "uchar":
        yield "16-bit samples, by the range in use, to 8 bits"
    if image.interpretation == "cmyk":
        managed = _profile(image) is not None
        yield "CMYK to sRGB" + (" by the file's profile" if managed else "")
    if image.hasalpha():
        yield ON_WHITE


def _profile(image: pyvips.Image) -> bytes | None:
    found: Any = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
    return found if isinstance(found, bytes) else None


def _orientation(image: pyvips.Image) -> int:
    found: Any = image.get("orientation") if image.get_typeof("orientation") else 1
    return found if isinstance(found, int) else 1


def _header(path: Path, loader: str, access: str = "sequential") -> pyvips.Image:
    import pyvips

    load = getattr(pyvips.Image, loader)
    # A file of the same name may have been opened before, and changed. What a decoder warns of are
    # pixels that it made up.
    with _decoding(path):
        return load(str(path), access=access, fail_on="warning", revalidate=True)


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
    size = f"{image.width} × {image.height} px"
    if least > path.stat().st_size:
        msg = (
            f"{path}: this image cannot be read (it claims {size}, more than the file can hold); "
            "copy it again, or export it anew."
        )
        raise InputError(msg)
    turned = _orientation(image) != 1
    if max(image.width, image.height * turned) > _WIDEST:
        msg = f"{path}: an image of {size} is too wide for its format; export it as tiled TIFF."
        raise InputError(msg)
    interlaced = image.get_typeof("interlaced") != 0 and bool(image.get("interlaced"))
    # All of it is in memory while it is decoded: samples of 16 bits, for three colours.
    needed = image.width * image.height * 6
    if interlaced or turned:
        why = "progressive (interlaced)" if interlaced else "turned (by its EXIF orientation)"
        need_memory(path, needed, why, "export it without, or as tiled TIFF")


def _strips(path: Path, loader: str) -> Iterator[NDArray[np.uint8]]:
    """Decode an image from top to bottom, 8-bit RGB; only one strip is in memory."""
    import numpy as np
    import pyvips

    turned = _orientation(_header(path, loader)) != 1
    image = _header(path, loader, "random" if turned else "sequential")
    with _decoding(path):
        if image.format != "uchar":
            image = _eight_bits(image, _header(path, loader).stats())
        image = image.autorot()
        if image.hasalpha():
            image = image.flatten(background=[255] if image.bands == 2 else [255, 255, 255])
        if image.interpretation != "srgb":
            image = image.colourspace("srgb")
        region = pyvips.Region.new(image)
        for top in range(0, image.height, STRIP):
            rows = min(STRIP, image.height - top)
            data = region.fetch(0, top, image.width, rows)
            yield np.frombuffer(data, np.uint8).reshape(rows, image.width, image.bands)


def _eight_bits(image: pyvips.Image, found: pyvips.Image) -> pyvips.Image:
    """Scale samples of 16 bits by the depth that those in use need, as libvips counted them."""
    alpha = int(image.hasalpha())
    colours = image.bands - alpha
    highest = [band[1] for band in found.tolist()[1:]]
    tops = [_top(max(highest[:colours]))] * colours + [_top(high) for high in highest[colours:]]
    scaled = image.linear([255 / top for top in tops], [0.0]).rint().cast("uchar")
    return scaled.copy(interpretation="b-w" if colours == 1 else "srgb")


def _top(highest: float) -> int:
    return next(2**depth - 1 for depth in DEPTHS if highest < 2**depth)
