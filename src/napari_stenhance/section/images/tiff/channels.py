"""Which pages hold the colours of an image, and whether its channels are red, green and blue."""

from __future__ import annotations

import re
from typing import Any

from napari_stenhance.section.images.tiff.described import Described, described
from napari_stenhance.section.scale import quoted

_COLOURS = ("red", "green", "blue")
_BRIGHT = re.compile(
    r"bright|transmi|gr[ea]y|h\s*(&|and|\+)\s*e|(^|[\W_])(bf|tl|he|luma|luminance|white)($|[\W_])",
    re.IGNORECASE,
)
"""What a grey channel of light that went through is called."""
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
    """Say in which colour the one channel of a grey image is shown, if in any."""
    if not _is_alone(series):
        return ()
    colour = "".join(described(tif, series).colours[:1])
    is_grey = colour[1:3] == colour[3:5] == colour[5:]
    return () if is_grey else (f"Its one channel is shown in {colour}; fluorescence is no H&E.",)


def _is_alone(series: Any) -> bool:
    """Tell whether an image is one grey channel."""
    return (
        series.keyframe.samplesperpixel == 1 and not _grey_pages(series) and "C" not in series.axes
    )


def check_channels(tif: Any, series: Any) -> None:
    """Refuse channels that are called, or coloured, otherwise than those of brightfield.

    Raises
    ------
    ValueError
        If they are, as those of fluorescence, or of images of genes.
    """
    said = described(tif, series)
    if "C" in series.axes:
        _check_three(series, said)
    elif _is_alone(series):
        _check_one(series, said)


def _check_three(series: Any, said: Described) -> None:
    names, colours = [name.strip() for name in said.names], said.colours
    told = [_tells(name, series) and not _is_colour(name, n) for n, name in enumerate(names)]
    # One name for all says what the image is, not what they are.
    if len(set(names)) > 1 and any(told):
        are = ", ".join(names)
    elif colours and colours != _COLOURS[: len(colours)]:
        are = ", ".join(colours)
    elif said.emit and dict(zip(series.axes, series.shape, strict=True))["C"] == 3:
        are = "fluorescence"
    else:
        return
    msg = f"its channels (axes {series.axes}) are {are}, not red, green and blue"
    raise ValueError(msg)


def _check_one(series: Any, said: Described) -> None:
    name = said.names[0].strip() if len(said.names) == 1 and said.named else ""
    if said.emit or (_tells(name, series) and not _BRIGHT.search(name)):
        called = f" is called {quoted(name)}, and" if name else ":"
        msg = f"its one channel{called} fluorescence and images of genes are no slides"
        raise ValueError(msg)


def _tells(name: str, series: Any) -> bool:
    """Tell whether a channel's name says more than its number; a gene may be called C3."""
    return bool(name) and (series.dtype.kind == "f" or not _NAMELESS.fullmatch(name))


def _is_colour(name: str, place: int) -> bool:
    """Tell whether a channel's name says the colour at its place."""
    colour = _COLOURS[place] if place < len(_COLOURS) else "alpha"
    return bool(re.search(rf"(^|[\W_])({colour}|{colour[0]})($|[\W_\d])", name, re.IGNORECASE))


def significant_bits(tif: Any) -> int | None:
    """Read how many bits of all samples OME says are in use; None if it does not."""
    said = re.findall(r'SignificantBits="(\d+)"', tif.ome_metadata or "") if tif.is_ome else []
    return int(said[0]) if len(set(said)) == 1 else None
