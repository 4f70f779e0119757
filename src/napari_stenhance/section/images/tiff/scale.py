"""The scale that a TIFF states for one of its images."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

import tifffile

from napari_stenhance.section.scale import PLAUSIBLE_MPP

_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4}
_PER_UNIT = {2: 25400.0, 3: 10000.0}
_DEFAULT_DPI = (72, 96, 150, 300)
_SQUARE = 0.01


def stated_mpp(tif: tifffile.TiffFile, series: Any) -> tuple[float | None, tuple[str, ...]]:
    """Read the scale that a TIFF states for an image, in µm per pixel.

    Order: Aperio's MPP, OME's PhysicalSizeX and Y, resolution tags; each of this image alone. Tags
    that only repeat a screen's or a printer's default are no statement.

    Returns
    -------
    mpp : float or None
        None if nothing is stated, or nothing that can be true.
    doubts : tuple of str
        What was stated and not believed.
    """
    page = series.keyframe
    if tif.is_svs and (match := re.search(r"MPP\s*=\s*([^|\r\n]+)", page.description)):
        mpp = _number(match[1].replace(",", "."))
        return _believed(mpp, mpp)
    if tif.is_ome and tif.ome_metadata and (sizes := _physical_size(tif.ome_metadata, series)):
        return _believed(*sizes)
    return _by_tags(page)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _believed(x: float, y: float) -> tuple[float | None, tuple[str, ...]]:
    low, high = PLAUSIBLE_MPP
    wrong = [size for size in (x, y) if not low <= size <= high]
    if wrong:
        doubt = (
            f"The image states {wrong[0]:.4g} µm per pixel, which cannot be right for a slide "
            f"({low:g} to {high:g}); it is not used."
        )
        return None, (doubt,)
    if abs(x / y - 1) > _SQUARE:
        doubt = (
            f"The image states pixels of {x:.4g} × {y:.4g} µm, which are not square; its scale is "
            "not used."
        )
        return None, (doubt,)
    return x, ()


def _physical_size(xml: str, series: Any) -> tuple[float, float] | None:
    """Find the pixels' size that OME states for an image; None if it states none.

    The image is known by its first page; where OME does not say which that is, by its size.
    """
    pixels = [p for p in ElementTree.fromstring(xml).iter() if p.tag.endswith("}Pixels")]
    height, width = (series.shape[series.axes.index(axis)] for axis in "YX")
    fitting = [p for p in pixels if (p.get("SizeX"), p.get("SizeY")) == (f"{width}", f"{height}")]
    of_page = [p for p in fitting if _first_page(p) == series.keyframe.index] or fitting
    stated = [size for p in of_page if (size := _stated_size(p)) is not None]
    # Images of one size without their pages, of different scales: nobody can tell.
    return stated[0] if stated and all(size == stated[0] for size in stated) else None


def _first_page(pixels: ElementTree.Element) -> int | None:
    pages = [int(d.get("IFD", 0)) for d in pixels if d.tag.endswith("}TiffData")]
    return min(pages, default=None)


def _stated_size(pixels: ElementTree.Element) -> tuple[float, float] | None:
    sizes = []
    for axis in "XY":
        size = pixels.get(f"PhysicalSize{axis}")
        factor = _MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if size is not None and factor is not None:
            sizes.append(_number(size) * factor)
    return (sizes[0], sizes[-1]) if sizes else None


def _by_tags(page: Any) -> tuple[float | None, tuple[str, ...]]:
    unit = page.tags.get("ResolutionUnit")
    per_unit = _PER_UNIT.get(int(unit.value) if unit else 2)
    if per_unit is None or "XResolution" not in page.tags or "YResolution" not in page.tags:
        return None, ()
    x, y = page.resolution
    low, high = PLAUSIBLE_MPP
    if not (x > 0 and y > 0 and low <= per_unit / x <= high and low <= per_unit / y <= high):
        return None, ()
    if per_unit == _PER_UNIT[2] and round(x) in _DEFAULT_DPI:
        return None, ()
    return _believed(per_unit / x, per_unit / y)
