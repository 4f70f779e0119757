"""Which pages hold the colours of an image, and whether its channels are red, green and blue."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from napari_stenhance.section.scale import quoted

_COLOURS = ("red", "green", "blue")
_NAMELESS = re.compile(r"(c|ch|channel|band|sample|image|#|c:)?[\s_:#-]*[\d:/\s-]*", re.IGNORECASE)
_GREY_KINDS = (0, 1)
_AXES = {"Z": "focal planes", "T": "times", "C": "channels", "R": "positions", "L": "wavelengths"}


def pages_of(file: Any, level: Any) -> list[Any]:
    """List the pages that hold the colours of a level; one, if it holds them all.

    Raises
    ------
    ValueError
        If the level has other axes than those of one image in colours.
    """
    lengths = dict(zip(level.axes, level.shape, strict=True))
    needed = _grey_pages(level) or int(lengths.get("C", 1))
    axes = "".join(axis for axis in level.axes if axis not in "IQ")
    if axes not in ("YX", "YXS", "SYX", "CYX"):
        many = [f"{n} {_AXES[axis]}" for axis, n in lengths.items() if axis in _AXES]
        what = f", a stack of {' and '.join(many)}" if many else ""
        msg = f"it has axes {level.axes} {level.shape}{what}, not one image in RGB"
        raise ValueError(msg)
    if needed not in (1, 3):
        kind = "channels" if "C" in lengths else "grey pages"
        msg = f"it has {needed} {kind} (axes {level.axes}), not the 3 of RGB"
        raise ValueError(msg)
    # Of several pages that are all alike, the first.
    pages = [page for page in level.pages[:needed] if page is not None]
    if len(pages) < needed or any(page.parent is not file.tif for page in pages):
        msg = "its pages are not all in this file"
        raise ValueError(msg)
    return pages


def _grey_pages(level: Any) -> int:
    """Count the pages of a level that are alike and grey; 0 if they are not."""
    page = level.keyframe
    if page.samplesperpixel != 1 or page.photometric not in _GREY_KINDS or "C" in level.axes:
        return 0
    return sum(n for axis, n in zip(level.axes, level.shape, strict=True) if axis in "IQ")


def doubts_of_pages(series: Any) -> tuple[str, ...]:
    """Say what was guessed of pages of one size."""
    if _grey_pages(series):
        return ("Three grey pages of one size are taken for its red, green and blue.",)
    alike = sum(n for axis, n in zip(series.axes, series.shape, strict=True) if axis in "IQ")
    return (f"The image has {alike} pages of one size; the first is the slide.",) if alike else ()


def doubts_of_channel(tif: Any, series: Any) -> tuple[str, ...]:
    """Say how the one channel of a grey image is called, if its name says more than its number."""
    if not tif.is_ome or series.keyframe.samplesperpixel != 1 or "C" in series.axes:
        return ()
    names, _ = _of_ome(tif, series)
    if len(names) != 1 or _NAMELESS.fullmatch(names[0].strip()):
        return ()
    return (f"Its one grey channel is called {quoted(names[0])}; fluorescence is no H&E.",)


def check_channels(tif: Any, series: Any) -> None:
    """Refuse channels that are called, or coloured, otherwise than red, green and blue.

    Raises
    ------
    ValueError
        If they are, as those of fluorescence.
    """
    if "C" not in series.axes:
        return
    names, colours = _of_ome(tif, series) if tif.is_ome else _of_imagej(tif)
    # One name for all says what the image is, not what they are.
    if len(set(names)) > 1 and not all(map(_is_plain, names, range(len(names)))):
        said = ", ".join(names)
    elif colours and colours != list(_COLOURS[: len(colours)]):
        said = ", ".join(colours)
    else:
        return
    msg = f"its channels (axes {series.axes}) are {said}, not red, green and blue"
    raise ValueError(msg)


def _is_plain(name: str, place: int) -> bool:
    """Tell whether a channel's name says nothing, or the colour at its place."""
    if _NAMELESS.fullmatch(name.strip()):
        return True
    colour = _COLOURS[place] if place < len(_COLOURS) else "alpha"
    return bool(re.search(rf"(^|[\W_])({colour}|{colour[0]})($|[\W_\d])", name, re.IGNORECASE))


def _of_ome(tif: Any, series: Any) -> tuple[list[str], list[str]]:
    """Read the names and colours of the channels of an image from OME's metadata."""
    lengths = dict(zip(series.axes, series.shape, strict=True))
    size = [str(lengths.get(axis, 1)) for axis in "XYC"]
    for pixels in ElementTree.fromstring(tif.ome_metadata or "<none/>").iter():
        if [pixels.get(f"Size{axis}") for axis in "XYC"] == size:
            channels = [item for item in pixels if item.tag.endswith("}Channel")]
            numbers = [int(item.get("Color", -1)) & 0xFFFFFFFF for item in channels]
            colours = [_colour(n >> 24, n >> 16 & 255, n >> 8 & 255) for n in numbers]
            # White is what stands there if nobody chose.
            chosen = colours if "white" not in colours else []
            return [item.get("Name", "") for item in channels], chosen
    return [], []


def _of_imagej(tif: Any) -> tuple[list[str], list[str]]:
    """Read the names and colours of the channels of an image from ImageJ's metadata."""
    about = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    names = [re.sub(r"^c:\d+/\d+\s*-?\s*", "", str(label)) for label in about.get("Labels", ())]
    colours = [_colour(*(int(v) for v in table[:, -1])) for table in about.get("LUTs", ())]
    return names[:3], colours if "white" not in colours else []


def _colour(red: int, green: int, blue: int) -> str:
    known = {
        (255, 0, 0): "red",
        (0, 255, 0): "green",
        (0, 0, 255): "blue",
        (255, 255, 255): "white",
    }
    return known.get((red, green, blue), f"#{red:02x}{green:02x}{blue:02x}")


def significant_bits(tif: Any) -> int | None:
    """Read how many bits of all samples OME says are in use; None if it does not."""
    said = re.findall(r'SignificantBits="(\d+)"', tif.ome_metadata or "") if tif.is_ome else []
    return int(said[0]) if len(set(said)) == 1 else None
