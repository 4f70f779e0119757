"""Pyramidal TIFF (SVS, OME-TIFF, NDPI, generic) through tifffile, tile by tile."""

from __future__ import annotations

import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.pixels import Pixels

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi", ".scn", ".bif", ".qptiff")
_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4}
_PER_UNIT = {2: 25400.0, 3: 10000.0}
_DEFAULT_DPI = (72, 96, 150, 300)


def _main_series(tif: tifffile.TiffFile) -> Any:
    return max(tif.series, key=lambda series: series.size)


def _opened(path: Path) -> tifffile.TiffFile:
    try:
        return tifffile.TiffFile(path)
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        msg = f"{path}: this is no TIFF that can be read ({error}); export the slide again."
        raise InputError(msg) from error


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's (height, width) in pixels from its tags alone."""
    with _opened(path) as tif:
        series = _main_series(tif)
        height, width = (series.shape[series.axes.index(axis)] for axis in "YX")
        return int(height), int(width)


def read_mpp(path: Path) -> float | None:
    """Read the scale that a TIFF states, in µm per pixel; None if it states none.

    Order: Aperio's MPP, OME's PhysicalSizeX, resolution tags. Tags that only repeat a screen's or
    a printer's default, or differ between x and y, are no statement.
    """
    with _opened(path) as tif:
        page = tif.pages.first
        if tif.is_svs:
            match = re.search(r"MPP\s*=\s*([\d.,]+)", page.description)
            return float(match[1].replace(",", ".")) if match else None
        if tif.is_ome and tif.ome_metadata:
            size = re.search(r'PhysicalSizeX="([^"]+)"', tif.ome_metadata)
            unit = re.search(r'PhysicalSizeXUnit="([^"]+)"', tif.ome_metadata)
            factor = _MICROMETRES.get(unit[1] if unit else "µm")
            return float(size[1]) * factor if size and factor else None
        unit_code = page.tags.get("ResolutionUnit")
        per_unit = _PER_UNIT.get(int(unit_code.value) if unit_code else 2)
        if per_unit is None or "XResolution" not in page.tags:
            return None
        x, y = page.resolution
        if x <= 0 or y <= 0 or abs(x / y - 1) > 0.05:
            return None
        if per_unit == _PER_UNIT[2] and round(x) in _DEFAULT_DPI:
            return None
        mpp = per_unit / x
        return mpp if 0.05 <= mpp <= 20 else None


class _Level:
    """A level of a TIFF, its bands last and without a fourth."""

    def __init__(self, level: zarr.Array[Any], band: int) -> None:
        self._level, self._band = level, band
        self.dtype, self.ndim = level.dtype, level.ndim
        self.shape = (*(n for axis, n in enumerate(level.shape) if axis != band), 3)
        self.chunks = (*(n for axis, n in enumerate(level.chunks) if axis != band), 3)

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.uint8]:
        where = list(key[:2])
        where.insert(self._band, slice(0, 3))
        return np.moveaxis(np.asarray(self._level[tuple(where)]), self._band, -1)


def open_pyramid(path: Path) -> tuple[tuple[Pixels, ...], tuple[float, ...]] | None:
    """Open the levels of a pyramidal 8-bit RGB TIFF lazily; None if it has no pyramid.

    Returns
    -------
    levels : tuple of Pixels
        Tiles that the file leaves out are white.
    downsamples : tuple of float
    """
    tif = _opened(path)
    series = _main_series(tif)
    if len(series.levels) < 2 or series.dtype != "uint8":
        tif.close()
        return None
    store = series.aszarr(fillvalue=255)
    # The levels read from the file for as long as anything holds them.
    weakref.finalize(store, tif.close)
    group = zarr.open_group(store, mode="r")
    axes = series.axes
    band = next((axes.index(a) for a in "SC" if a in axes), None)
    if len(axes) != 3 or band is None or series.shape[band] not in (3, 4):
        msg = f"{path}: the image has axes {axes} {series.shape}, not RGB; export it as RGB."
        raise InputError(msg)
    arrays = sorted(group.arrays(), key=lambda item: int(item[0]))
    levels = tuple(_Level(array, band) for _, array in arrays)
    height = levels[0].shape[0]
    downsamples = []
    for level in levels:
        ratio = height / level.shape[0]
        whole = round(ratio)
        downsamples.append(float(whole) if abs(ratio / whole - 1) < 0.01 else ratio)
    return levels, tuple(downsamples)
