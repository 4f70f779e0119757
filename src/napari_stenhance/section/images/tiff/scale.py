"""The scale that a TIFF states for one of its images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from napari_stenhance.section.images.tiff.images import TiffImage
from napari_stenhance.section.images.tiff.vendors import DEFAULT_DPI, per_unit, vendor_size
from napari_stenhance.section.scale import believed_mpp

_PER_UNIT = {2: 25400.0, 3: 10000.0}
_INCH = 2
_DIFFER = 0.03
_PER_MICROMETRE = (0.2, 1.3)
_UNIT = 296


@dataclass(frozen=True)
class StatedScale:
    """The scale that a file states.

    Attributes
    ----------
    mpp : float or None
        Micrometres per pixel; None if nothing is stated, or nothing that can be true.
    source : str
        Where, in words.
    doubts : tuple of str
        What was stated and not believed.
    """

    mpp: float | None = None
    source: str = "unknown"
    doubts: tuple[str, ...] = ()


def stated_scale(tif: Any, image: TiffImage) -> StatedScale:
    """Read the scale that a TIFF states for an image.

    What the format itself says comes first, then resolution tags; each of this image alone. Tags
    that only repeat a screen's or a printer's default are no statement.
    """
    vendor = vendor_size(tif, image)
    tags = _by_tags(image.levels[0].keyframe)
    if vendor is None:
        return tags
    if vendor.size is None:
        return StatedScale(doubts=vendor.doubts)
    mpp, doubts = believed_mpp(*vendor.size, vendor.source)
    scale = StatedScale(mpp, vendor.source if mpp else "unknown", doubts)
    if scale.mpp and tags.mpp and vendor.tags_count and abs(tags.mpp / scale.mpp - 1) > _DIFFER:
        doubt = (
            f"{scale.source} states {scale.mpp:.4g} µm per pixel, resolution tags "
            f"{tags.mpp:.4g}; the first is used."
        )
        return replace(scale, doubts=(doubt,))
    return scale


def _by_tags(page: Any) -> StatedScale:
    unit = int(page.tags.valueof(_UNIT, default=_INCH))
    x, y = per_unit(page)
    length = _PER_UNIT.get(unit)
    if length is None or not (x > 0 and y > 0) or (x == y == 1):
        return StatedScale()
    if unit == _INCH and round(x) in DEFAULT_DPI:
        return StatedScale()
    hint = ""
    if _PER_MICROMETRE[0] <= 1 / x <= _PER_MICROMETRE[1]:
        hint = f" If they count pixels in a micrometre, the scale is {1 / x:.4g}."
    mpp, doubts = believed_mpp(length / x, length / y, "resolution tags", hint)
    return StatedScale(mpp, "resolution tags" if mpp else "unknown", doubts)
