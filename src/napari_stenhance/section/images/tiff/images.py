"""An image of a TIFF, and which pages are resolutions of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

_ASPECT = 0.01
REDUCED = 1
"""The bit of a page's subfile type that says so."""

Belongs = Callable[["TiffImage", "TiffImage"], bool]


@dataclass(frozen=True)
class TiffImage:
    """An image of a TIFF.

    Attributes
    ----------
    levels : tuple of tifffile.TiffPageSeries
        From full resolution down.
    name : str
        What the file calls it; "" if it does not.
    beside : bool
        It is no slide but a label, macro, overview or thumbnail.
    """

    levels: tuple[Any, ...]
    name: str = ""
    beside: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = (self.lengths[axis] for axis in "YX")
        return height, width

    @property
    def lengths(self) -> dict[str, int]:
        """How long each axis is at full resolution."""
        first = self.levels[0]
        return {axis: int(n) for axis, n in zip(first.axes, first.shape, strict=True)}

    @property
    def in_colours(self) -> bool:
        """Tell whether it has three colours, and maybe transparency."""
        lengths = self.lengths
        return (
            lengths.get("S", lengths.get("C", 1)) in (3, 4)
            or self.levels[0].keyframe.photometric == 3
        )


def joined(images: Iterable[TiffImage], belongs: Belongs) -> list[TiffImage]:
    """Make one image of those that are resolutions of a larger one; the order stays."""
    images = list(images)
    largest_first = sorted(images, key=lambda one: one.shape, reverse=True)
    of: dict[int, list[TiffImage]] = {}
    for one in largest_first:
        into = next((i for i, parts in of.items() if _fits(parts, one, belongs)), None)
        of.setdefault(id(one) if into is None else into, []).append(one)
    return [
        replace(one, levels=tuple(sorted(levels, key=lambda level: -level.keyframe.imagewidth)))
        for one in images
        if id(one) in of
        for levels in ([level for part in of[id(one)] for level in part.levels],)
    ]


def _fits(parts: list[TiffImage], one: TiffImage, belongs: Belongs) -> bool:
    first = parts[0]
    sizes = {TiffImage((level,)).shape for part in parts for level in part.levels}
    return not (first.name or one.name or one.shape in sizes) and belongs(first, one)


def is_level(large: TiffImage, small: TiffImage) -> bool:
    """Tell whether one may be another's coarse level: tiled, or said to be reduced, of its size."""
    page = small.levels[0].keyframe
    reduced = bool(page.subfiletype & REDUCED)
    if large.levels[0].keyframe.subfiletype & REDUCED or not (reduced or page.is_tiled):
        return False
    return alike(large, small) and (reduced or has_step(large, small))


def alike(large: TiffImage, small: TiffImage) -> bool:
    """Tell whether two images hold the same kind of pixels, and are of one aspect."""
    kinds = [
        (one.levels[0].dtype, {a: n for a, n in one.lengths.items() if a not in "YX"})
        for one in (large, small)
    ]
    (height, width), (rows, columns) = large.shape, small.shape
    off = abs(height * columns / width - rows)
    return kinds[0] == kinds[1] and columns < width and off <= max(1.0, _ASPECT * rows)


def has_step(large: TiffImage, small: TiffImage) -> bool:
    """Tell whether a whole number of pixels of one lie along a pixel of the other."""
    return (whole_step(large.shape, small.shape) or 0) > 1


def whole_step(large: tuple[int, int], small: tuple[int, int]) -> int | None:
    """Return the whole number that sizes were divided by, and rounded; None if there is none.

    Powers of two come first: rounded sizes of few pixels fit several.
    """
    ratio = max(large) / max(small)
    for step in (1 << max(round(ratio).bit_length() - 1, 0), 1 << round(ratio).bit_length()):
        if all(abs(n / step - m) < 1 for n, m in zip(large, small, strict=True)):
            return step
    step = round(ratio)
    fits = step and all(abs(n / step - m) < 1 for n, m in zip(large, small, strict=True))
    return step if fits else None
