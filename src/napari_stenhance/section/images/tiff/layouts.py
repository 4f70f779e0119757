"""The images of a TIFF, told apart as the makers of scanners lay them out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

from tifffile import TiffPageSeries

from napari_stenhance.section.images.image import BESIDE
from napari_stenhance.section.images.tiff.images import (
    REDUCED,
    TiffImage,
    alike,
    has_step,
    is_level,
    joined,
)
from napari_stenhance.section.scale import as_number

_NAME_LONGEST = 100
_MACRO = 9
_APERIO = "Aperio "
_NDPI_LENS = 65421
_NDPI_BESIDE = {-1.0: "macro", -2.0: "map"}
_NUMBERED = re.compile(r"[\W_]*(?:resolution|series|image|level)?[\W_]*\d*\W*$", re.IGNORECASE)
_SPACING = (
    ".//DataObject[@ObjectType='PixelDataRepresentation']/Attribute[@Name='DICOM_PIXEL_SPACING']"
)
_QPI_LEVELS = ("FullResolution", "ReducedResolution")


def images_of(tif: Any) -> list[TiffImage]:
    """List the images of a TIFF in the order of the file.

    Raises
    ------
    ValueError
        If there is none; whatever tifffile raises where it is damaged.
    """
    layouts: tuple[tuple[bool, Callable[[Any], list[TiffImage]]], ...] = (
        (tif.is_ome, _ome),
        (is_aperio(tif), _svs),
        (tif.is_scn, _scn),
        (tif.is_qpi, _qptiff),
        (tif.is_ndpi, _ndpi),
        (tif.is_bif, _bif),
        (tif.is_philips, _philips),
    )
    layout = next((layout for is_so, layout in layouts if is_so), _general)
    images = layout(tif) or _general(tif)
    if not images:
        msg = "it holds no image"
        raise ValueError(msg)
    return images


def _series(tif: Any) -> list[Any]:
    """List what tifffile found, but what is no image."""
    return [s for s in tif.series if "Y" in s.axes and "X" in s.axes and s.size > 0]


def _general(tif: Any) -> list[TiffImage]:
    """Join resolutions, and ask names and the bit of reduced images what is no slide."""
    images = []
    for series in _series(tif):
        # What only happens to have the size of a level.
        levels = [s for s in series.levels if s is series or not _name_beside(s)]
        images.append(TiffImage(tuple(levels), _name_beside(series)))
        images += [TiffImage((s,), _name_beside(s)) for s in series.levels if s not in levels]
    return [
        replace(
            one,
            name=one.name or _page_name(one.levels[0]),
            beside=bool(one.name)
            or (one.levels[0].kind == "generic" and bool(one.levels[0].keyframe.subfiletype & 1)),
        )
        for one in joined(images, is_level)
    ]


def _name_beside(series: Any) -> str:
    """Name a label, macro, overview or thumbnail by what the file says about it; "" if it is none.

    What it says is a name, or one of the first lines of a description, without sizes.
    """
    description = str(series.keyframe.description)
    lines = [re.sub(r"\s*\d+\s*x\s*\d+.*$", "", line) for line in description.splitlines()[:3]]
    names = [series.name, _page_name(series), *(n for n in lines if n and len(n) <= _NAME_LONGEST)]
    found = (BESIDE.search(name) for name in names)
    return next((match[1].lower() for match in found if match), "")


def _page_name(series: Any) -> str:
    tag = series.keyframe.tags.get("PageName")
    return str(tag.value) if tag else ""


def _ome(tif: Any) -> list[TiffImage]:
    """Take OME's images; those of old Bio-Formats are resolutions of one, under numbered names."""
    series = _series(tif)
    if not series or series[0].kind != "ome":
        return []
    images = [TiffImage(tuple(s.levels)) for s in series]
    names = {id(image.levels[0]): str(image.levels[0].name) for image in images}

    def belongs(large: TiffImage, small: TiffImage) -> bool:
        one, other = (_NUMBERED.sub("", names[id(image.levels[0])]) for image in (large, small))
        several = len(large.levels) > 1 or len(small.levels) > 1
        return one == other and not several and alike(large, small) and has_step(large, small)

    return [
        replace(image, name=name, beside=bool(BESIDE.search(name)))
        for image in joined(images, belongs)
        for name in (names[id(image.levels[0])],)
    ]


def _pages(tif: Any) -> list[Any]:
    return [page for page in tif.pages if page.shape and page.size > 0]


def _one(page: Any) -> tuple[Any, ...]:
    return (TiffPageSeries([page], name=""),)


def _stacked(pages: list[Any], axis: str) -> Any:
    """Make a level of pages of one shape; of one, it has no axis more."""
    first = pages[0]
    if len(pages) == 1:
        return TiffPageSeries(pages, first.shape, first.dtype, first.axes)
    return TiffPageSeries(pages, (len(pages), *first.shape), first.dtype, axis + first.axes)


def is_aperio(tif: Any) -> bool:
    """Tell whether a file is an SVS; some versions of tifffile take none without tiles for one."""
    return bool(tif.is_svs) or str(tif.pages.first.description).startswith(_APERIO)


def _svs(tif: Any) -> list[TiffImage]:
    """Take the first page, tiled ones of its aspect, and what lies beside (SVS)."""
    first, *rest = _pages(tif)
    slide = TiffImage(_one(first))
    levels: dict[tuple[int, ...], list[Any]] = {first.shape: [first]}
    images = []
    for page in rest:
        one = TiffImage(_one(page))
        name = _name_beside(one.levels[0])
        # A tiled page further on is a level whatever its shape: if it fits none, one is damaged.
        fits = page.shape == first.shape or alike(slide, one)
        reduced = bool(page.subfiletype & REDUCED)
        if not name and page.is_tiled and (fits or not (reduced or page.index == 1)):
            levels.setdefault(page.shape, []).append(page)
            continue
        if not name and reduced:
            name = "macro" if page.subfiletype == _MACRO else "label"
        elif not name and page.index == 1:
            name = "thumbnail"
        images.append(replace(one, name=name, beside=True))
    planes = len(levels[first.shape])
    whole = [pages for pages in levels.values() if len(pages) == planes]
    whole.sort(key=lambda pages: -pages[0].imagewidth)
    return [TiffImage(tuple(_stacked(pages, "Z") for pages in whole)), *images]


def _scn(tif: Any) -> list[TiffImage]:
    """Take Leica's images; what shows all of the glass is the macro."""
    from_page = {(view.page): view for view in scn_views(tif)}
    images = []
    for series in _series(tif):
        view = from_page.get(series.keyframe.index)
        macro = view is not None and view.whole
        name = "macro" if macro else str(series.name)
        images.append(TiffImage(tuple(series.levels), name, beside=macro))
    return images


@dataclass(frozen=True)
class ScnView:
    """What Leica's SCN says of one of its images.

    Attributes
    ----------
    page : int
        Its first.
    size_nm : tuple of float
        Width and height.
    whole : bool
        It shows all of the glass.
    """

    page: int
    size_nm: tuple[float, float]
    whole: bool


def scn_views(tif: Any) -> list[ScnView]:
    """Read how large the images of a Leica SCN are.

    Raises
    ------
    ValueError, TypeError, KeyError, ParseError
        If its description is damaged.
    """
    views = []
    for collection in ElementTree.fromstring(tif.scn_metadata).iterfind("{*}collection"):
        glass = (collection.get("sizeX"), collection.get("sizeY"))
        for image in collection.iterfind("{*}image"):
            view, places = image.find("{*}view"), image.findall("{*}pixels/{*}dimension")
            if view is not None and places:
                first = min(places, key=lambda place: int(place.get("r", 0)))
                size = (view.get("sizeX"), view.get("sizeY"))
                nm = (float(view.attrib["sizeX"]), float(view.attrib["sizeY"]))
                views.append(ScnView(int(first.attrib["ifd"]), nm, size == glass))
    return views


def _qptiff(tif: Any) -> list[TiffImage]:
    """Take what each page says that it is; the pages of one size are the colours of a level."""
    levels: dict[tuple[int, ...], list[Any]] = {}
    images = []
    for page in _pages(tif):
        found = re.search(r"<ImageType>\s*(\w+)\s*</ImageType>", page.description)
        if found is None:
            return []
        if found[1] in _QPI_LEVELS:
            levels.setdefault(page.shape, []).append(page)
        else:
            images.append(TiffImage(_one(page), found[1].lower(), beside=True))
    whole = sorted(levels.values(), key=lambda pages: -pages[0].imagewidth)
    if not whole:
        return []
    whole = [pages for pages in whole if len(pages) == len(whole[0])]
    return [TiffImage(tuple(_stacked(pages, "C") for pages in whole)), *images]


def _ndpi(tif: Any) -> list[TiffImage]:
    """Ask Hamamatsu's lens of each page; levels have one that enlarges."""

    def beside(series: Any) -> str:
        return _NDPI_BESIDE.get(series.keyframe.tags.valueof(_NDPI_LENS), "")

    # Names may be those of patients, and are not shown.
    images = [
        TiffImage((level,), beside(level)) for series in _series(tif) for level in series.levels
    ]
    return [replace(one, beside=bool(one.name)) for one in joined(images, alike)]


def _bif(tif: Any) -> list[TiffImage]:
    """Ask the description of each page of Ventana's; levels say so."""
    images = []
    levels = []
    for page in _pages(tif):
        if re.search(r"level\s*=\s*\d", page.description):
            levels.append(page)
            continue
        found = re.match(r"label|thumbnail|overview|probability|macro", page.description, re.I)
        name = found[0].lower() if found else ""
        images.append(TiffImage(_one(page), name, beside=True))
    levels.sort(key=lambda page: -page.imagewidth)
    if not levels:
        return []
    return [TiffImage(tuple(series for page in levels for series in _one(page))), *images]


def _philips(tif: Any) -> list[TiffImage]:
    """Take tiled pages, which are padded to whole tiles but for the first, and what lies beside."""
    pages = _pages(tif)
    levels = [page for page in pages if page.is_tiled and not _name_beside(_one(page)[0])]
    if not levels:
        return []
    steps = [2**n for n in range(len(levels))]
    rows = [y for y, _ in philips_spacings(tif)]
    if len(rows) == len(levels) and all(0 < y < math.inf for y in rows):
        steps = [round(y / rows[0]) for y in rows]
    images = [
        TiffImage(_one(page), _name_beside(_one(page)[0]), True)
        for page in pages
        if page not in levels
    ]
    cut = [_cut(page, levels[0], step) for page, step in zip(levels, steps, strict=True)]
    return [TiffImage(tuple(cut)), *images]


def _cut(page: Any, first: Any, step: int) -> Any:
    """Leave out what a page has more than a level of that step has."""
    lengths = dict(zip(page.axes, page.shape, strict=True))
    lengths["Y"] = max(1, min(page.imagelength, first.imagelength // max(step, 1)))
    lengths["X"] = max(1, min(page.imagewidth, first.imagewidth // max(step, 1)))
    # Truncated: not all that its page holds.
    return TiffPageSeries([page], tuple(lengths.values()), page.dtype, page.axes, truncated=True)


def philips_spacings(tif: Any) -> list[tuple[float, float]]:
    """Read how far apart Philips says that rows and columns are, in mm; 0 is no number.

    Raises
    ------
    ParseError
        If its description is damaged.
    """
    tree = ElementTree.fromstring(tif.philips_metadata)
    stated = [re.findall(r'[^\s"]+', element.text or "") for element in tree.iterfind(_SPACING)]
    return [
        (as_number(y) or 0.0, as_number(x) or 0.0)
        for y, x in (two for two in stated if len(two) == 2)
    ]
