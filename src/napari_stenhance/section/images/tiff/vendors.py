"""What the makers of scanners, OME and ImageJ write of the size of pixels in a TIFF."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from napari_stenhance.section.images.tiff.described import pixels_of
from napari_stenhance.section.images.tiff.images import TiffImage
from napari_stenhance.section.images.tiff.layouts import is_aperio, philips_spacings, scn_views

_INCH = 25400.0
_MICROMETRES = {
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "thou": 25.4,
    "in": _INCH,
    "pt": _INCH / 72,
}
_IMAGEJ = {
    **_MICROMETRES,
    **dict.fromkeys(("micron", "microns", "micrometer", "micrometre", "\\u00B5m"), 1.0),
    **dict.fromkeys(("inch", "inches"), _INCH),
}
_XMP = 700
_TRESTLE = "MedScan"
_X, _Y = 282, 283
DEFAULT_DPI = (72, 96, 150, 300)
"""Dots per inch of screens and printers, which many programs write for want of a scale."""
_NO_LENGTH = ("pixel", "reference frame")


@dataclass(frozen=True)
class VendorSize:
    """What a format says of the size of an image's pixels.

    Attributes
    ----------
    source : str
        Where, in words.
    size : tuple of float or None
        Along x and y in µm; NaN is no number; None if it says that nothing is known.
    tags_count : bool
        Resolution tags mean something beside it.
    doubts : tuple of str
        Why it says nothing.
    """

    source: str = ""
    size: tuple[float, float] | None = None
    tags_count: bool = False
    doubts: tuple[str, ...] = ()


_UNKNOWN = VendorSize()


def vendor_size(tif: Any, image: TiffImage) -> VendorSize | None:
    """Read what the format says of the size of an image's pixels.

    Returns
    -------
    VendorSize or None
        None if resolution tags are the format's way to say it.
    """
    ways: tuple[tuple[bool, Callable[[Any, TiffImage], VendorSize | None]], ...] = (
        (tif.is_ome, _ome),
        (is_aperio(tif), _aperio),
        (tif.is_scn, _leica),
        (tif.is_qpi, _perkin_elmer),
        (tif.is_ndpi, lambda *_: None),
        (tif.is_bif, _ventana),
        (tif.is_philips, _philips),
        (tif.is_imagej, _imagej),
        (str(tif.pages.first.software).startswith(_TRESTLE), _trestle),
    )
    return next((way(tif, image) for is_so, way in ways if is_so), None)


def _number(text: str | None) -> float:
    try:
        return float((text or "").strip().replace(",", "."))
    except ValueError:
        return math.nan


def _aperio(tif: Any, image: TiffImage) -> VendorSize | None:
    fields = (part.partition("=") for part in tif.pages.first.description.split("|"))
    stated = next((value for name, _, value in fields if name.strip() == "MPP"), None)
    # What lies beside repeats what the slide says.
    if stated is None or image.beside:
        return _UNKNOWN
    mpp = _number(stated)
    return VendorSize("Aperio's MPP", (mpp, mpp))


def _leica(tif: Any, image: TiffImage) -> VendorSize | None:
    height, width = image.shape
    for view in scn_views(tif):
        if view.page == image.levels[0].keyframe.index:
            x, y = view.size_nm
            return VendorSize("the size of Leica's view", (x / width / 1e3, y / height / 1e3))
    return _UNKNOWN


def _ventana(tif: Any, image: TiffImage) -> VendorSize | None:
    for page in tif.pages:
        text = xmp_of(page)
        found = re.search(r"""<iScan\b[^>]*\sScanRes\s*=\s*["']([^"']*)["']""", text)
        if found and not image.beside:
            mpp = _number(found[1])
            return VendorSize("Ventana's ScanRes", (mpp, mpp))
    return _UNKNOWN


def xmp_of(page: Any) -> str:
    """Return the XML beside a page, or nothing."""
    value = page.tags.valueof(_XMP, default=b"")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _philips(tif: Any, image: TiffImage) -> VendorSize | None:
    spacings = philips_spacings(tif)
    if not spacings or image.beside:
        return _UNKNOWN
    # Of full resolution is the first.
    y, x = spacings[0]
    return VendorSize("Philips' DICOM_PIXEL_SPACING", (1e3 * x, 1e3 * y))


def _perkin_elmer(tif: Any, image: TiffImage) -> VendorSize | None:
    # The profile of the scan may be XML inside the XML, with its brackets escaped.
    text = tif.pages.first.description.replace("&lt;", "<").replace("&gt;", ">")
    found = re.search(r"<PixelSizeMicrons>([^<]*)</PixelSizeMicrons>", text)
    if found is None or image.beside:
        return None
    mpp = _number(found[1])
    return VendorSize("PerkinElmer's PixelSizeMicrons", (mpp, mpp), tags_count=True)


def _trestle(tif: Any, image: TiffImage) -> VendorSize | None:
    x, y = per_unit(image.levels[0].keyframe)
    return VendorSize("Trestle's XResolution", (x, y)) if x or y else _UNKNOWN


def _imagej(tif: Any, image: TiffImage) -> VendorSize | None:
    unit = str((tif.imagej_metadata or {}).get("unit", ""))
    length = _IMAGEJ.get(unit)
    x, y = per_unit(image.levels[0].keyframe)
    # ImageJ keeps a screen's dots per inch, which say nothing of the image.
    if length is None or not (x and y) or (length == _INCH and round(x) in DEFAULT_DPI):
        return _UNKNOWN
    return VendorSize("ImageJ's unit and XResolution", (length / x, length / y))


def _ome(tif: Any, image: TiffImage) -> VendorSize | None:
    """Find the pixels' size that OME states for an image."""
    of_page = pixels_of(tif, image.shape, image.levels[0].keyframe.index)
    stated = [size for p in of_page if (size := _stated_size(p)) is not None]
    # Images of one size without their pages, of different scales: nobody can tell.
    return stated[0] if stated and all(size == stated[0] for size in stated) else None


def _stated_size(pixels: ElementTree.Element) -> VendorSize | None:
    sizes = []
    for axis in "XY":
        size = pixels.get(f"PhysicalSize{axis}")
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        if size is None:
            continue
        if unit in _NO_LENGTH:
            return _UNKNOWN
        if unit not in _MICROMETRES:
            doubt = f"OME's PhysicalSize{axis} has the unit {unit[:20]!r}, and is not used."
            return VendorSize(doubts=(doubt,))
        sizes.append(_number(size) * _MICROMETRES[unit])
    if not sizes:
        return None
    return VendorSize("OME's PhysicalSizeX", (sizes[0], sizes[-1]), tags_count=True)


def per_unit(page: Any) -> tuple[float, float]:
    """Return how many pixels a page states to lie along a unit of x and y; 0 where it does not."""
    values = []
    for tag in (_X, _Y):
        stated = page.tags.valueof(tag, default=0)
        above, below = stated[:2] if isinstance(stated, tuple) else (stated, 1)
        values.append(float(above) / float(below) if below else 0.0)
    return values[0], values[1]


def overlap_px(tif: Any, image: TiffImage) -> int:
    """Return by how many pixels tiles overlap at most, which other formats have apart."""
    if image.beside:
        return 0
    page, found = image.levels[0].keyframe, []
    if tif.is_bif:
        joints = re.findall(r"<TileJointInfo\b[^>]*>", xmp_of(page))
        joined = " ".join(one for one in joints if not re.search("""FlagJoined=["']0""", one))
        found = re.findall(r"""\sOverlap[XY]\s*=\s*["']-?(\d+)["']""", joined)
    elif str(page.software).startswith(_TRESTLE):
        listed = re.search(r"OverlapsXY\s*=([\d ]*)", page.description)
        found = listed[1].split() if listed else []
    return max(map(int, found), default=0)
