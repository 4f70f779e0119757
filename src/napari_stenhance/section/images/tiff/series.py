"""The one image of a TIFF that is the slide, through tifffile."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.section.images.image import STRIP, ImageSource, Pixels
from napari_stenhance.section.images.tiff.scale import stated_mpp
from napari_stenhance.section.images.tiff.tiles import TiffReader, levels_of
from napari_stenhance.storage.reading import reading

# What it logs would stand above our sentence where nobody listens.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# At the end of a name: a slide may be called "label-free".
_BESIDE = re.compile(r"(^|[\W_])(label|macro|overview|thumbnail)([ _]image)?\W*$", re.IGNORECASE)
_NAME_LONGEST = 100


def open_tiff(path: Path) -> ImageSource:
    """Open the one image of a TIFF that is the slide; its size, levels and scale are all of it.

    It is the largest in colours that is no label, macro, overview or thumbnail by its metadata.

    Raises
    ------
    InputError
        If the file is no TIFF that can be read, or the image is not in colours or grey.
    """
    with reading(path, "this TIFF"):
        file = TiffReader(path)
    try:
        return _opened(path, file)
    except Exception:
        file.close()
        raise


def _opened(path: Path, file: TiffReader) -> ImageSource:
    with reading(path, "this TIFF"):
        series = _slide_of(file.tif)
        mpp, doubts = stated_mpp(file.tif, series)
    with reading(path, "the image", "copy it again, or export it as 8-bit RGB"):
        levels, colours = levels_of(file, series)
    height, width = levels[0].shape[:2]
    return ImageSource(
        path,
        (height, width),
        lambda: _strips(levels[0]),
        part=f"{series.keyframe.index}".strip("()").replace(", ", "."),
        levels=levels if len(levels) > 1 else (),
        downsamples=tuple(_downsample(height / level.shape[0]) for level in levels),
        mpp=mpp,
        doubts=(*doubts, *colours.doubts),
        conversions=colours.conversions,
        profile=colours.profile,
        close=file.close,
    )


def _slide_of(tif: Any) -> Any:
    """Choose the series that is the slide."""
    series = [s for s in tif.series if "Y" in s.axes and "X" in s.axes and s.size > 0]
    if not series:
        msg = "it holds no image"
        raise ValueError(msg)
    macro = _scn_macros(tif) if tif.is_scn else ()
    return max(series, key=lambda s: _rank(s, macro))


def _rank(series: Any, macros: tuple[str, ...]) -> tuple[bool, bool, bool, int]:
    lengths = dict(zip(series.axes, series.shape, strict=True))
    return (
        not _is_beside(series) and series.name not in macros,
        series.name == "Baseline",
        lengths.get("S", lengths.get("C", 1)) in (3, 4) or series.keyframe.photometric == 3,
        lengths["Y"] * lengths["X"],
    )


def _is_beside(series: Any) -> bool:
    """Tell a label, macro, overview or thumbnail by what the file says about it."""
    page = series.keyframe
    if series.kind == "generic" and page.subfiletype & 1:
        return True
    named = page.tags.get("PageName")
    names = [series.name, named.value if named else "", *_lines(page.description)]
    return any(_BESIDE.search(str(name)) for name in names)


def _lines(description: str) -> list[str]:
    """Take what may be a name out of a description: its short lines, without sizes."""
    lines = [re.sub(r"\s*\d+\s*x\s*\d+.*$", "", line) for line in description.splitlines()[:3]]
    return [line for line in lines if line and len(line) <= _NAME_LONGEST]


def _scn_macros(tif: Any) -> tuple[str, ...]:
    """Name the images of a Leica SCN that show the whole glass."""
    xml = tif.scn_metadata or ""
    whole = re.search(r'<collection[^>]*sizeX="(\d+)" sizeY="(\d+)"', xml)
    images = re.findall(
        r'<image name="([^"]*)".*?<view sizeX="(\d+)" sizeY="(\d+)"', xml, re.DOTALL
    )
    return tuple(name for name, *size in images if whole and tuple(size) == whole.groups())


def _downsample(ratio: float) -> float:
    whole = round(ratio)
    return float(whole) if abs(ratio / whole - 1) < 0.01 else ratio


def _strips(level: Pixels) -> Iterator[NDArray[np.uint8]]:
    for top in range(0, level.shape[0], STRIP):
        yield level[top : top + STRIP, :]
