"""Slides that other libraries read, which an extra installs: OpenSlide, and fastslide."""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.images.decoded.samples import lay_on_white
from napari_stenhance.section.images.image import (
    ON_WHITE,
    SWELLS_MOST,
    ImageSource,
    OtherImage,
    SlideRefused,
)
from napari_stenhance.section.images.slicing import SlicedLevel, strips_of
from napari_stenhance.section.scale import believed_mpp
from napari_stenhance.storage.reading import reading

_CHUNK = (512, 512)
Region = Callable[[int, int, int, int, int], NDArray[np.uint8]]
"""`region(level, left, top, width, height)` returns 8-bit RGB, or RGB and opacity."""


def needs_extra(path: Path, kind: str, library: str, advice: str) -> Any:
    """Import what reads a kind of slides.

    Raises
    ------
    InputError
        If it is not installed; it says what installs it.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        msg = (
            f'{path}: this is {kind}, and reading it needs pip install "napari-stenhance[slides]"; '
            f"or {advice}."
        )
        raise InputError(msg) from error


class _RegionLevel(SlicedLevel):
    """A level of a slide that a library reads in rectangles; transparency is white."""

    def __init__(self, path: Path, level: int, shape: tuple[int, int], region: Region) -> None:
        super().__init__(shape, _CHUNK)
        self._path, self._level, self._region = path, level, region

    def _read(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
        with reading(self._path, "a region of the image"):
            pixels = self._region(self._level, left, top, right - left, bottom - top)
        if pixels.shape[2] == 3:
            return np.ascontiguousarray(pixels)
        return lay_on_white(pixels[..., :3], pixels[..., 3])


def _levels(
    path: Path, sizes: Any, region: Region
) -> tuple[tuple[_RegionLevel, ...], tuple[float, ...]]:
    """Make levels of (width, height) sizes, the largest first."""
    levels = tuple(_RegionLevel(path, n, (h, w), region) for n, (w, h) in enumerate(sizes))
    width = max(sizes[0])
    return levels, tuple(_whole(width / max(size)) for size in sizes)


def _whole(step: float) -> float:
    return float(round(step)) if abs(step / round(step) - 1) < 0.01 else step


def _source(path: Path, sizes: Any, region: Region, mpp: Any, **more: Any) -> ImageSource:
    levels, downsamples = _levels(path, sizes, region)
    known = mpp is not None and all(side > 0 for side in mpp)
    scale, doubts = believed_mpp(mpp[0], mpp[1], "the file's metadata") if known else (None, ())
    several = len(levels) > 1
    return ImageSource(
        path,
        (levels[0].shape[0], levels[0].shape[1]),
        lambda: strips_of(levels[0]),
        levels=levels if several else (),
        downsamples=downsamples if several else (),
        mpp=scale,
        doubts=doubts,
        **more,
    )


def _beside(path: Path, name: str, load: Callable[[], NDArray[Any]]) -> ImageSource:
    """Open a small image of a file, such as its label, all of it."""
    with reading(path, f"its image {name!r}"):
        pixels = np.asarray(load())[..., :3].astype(np.uint8)
    return ImageSource(path, pixels.shape[:2], lambda: strips_of(pixels), part=name)


class _OpenSlide:
    """A slide of OpenSlide, which any error closes for good: it is then opened anew."""

    def __init__(self, library: Any, file: Path) -> None:
        self._library, self._file = library, file
        self._lock = threading.Lock()
        self._slide: Any = library.OpenSlide(file)

    @property
    def slide(self) -> Any:
        with self._lock:
            if self._slide is None:
                self._slide = self._library.OpenSlide(self._file)
            return self._slide

    def region(self, level: int, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        slide = self.slide
        down = slide.level_downsamples[level]
        where = (round(left * down), round(top * down))
        try:
            return np.asarray(slide.read_region(where, level, (width, height)))
        except self._library.OpenSlideError:
            with self._lock:
                self._slide = None
            raise

    def beside(self, name: str) -> NDArray[Any]:
        return np.asarray(self.slide.associated_images[name])


def _of_openslide(path: Path, opened: _OpenSlide, name: str) -> OtherImage:
    said, prefix = opened.slide.properties, f"openslide.associated.{name}"
    shape = (int(said[f"{prefix}.height"]), int(said[f"{prefix}.width"]))
    return OtherImage(name, shape, partial(_beside, path, name, partial(opened.beside, name)))


def open_with_openslide(
    path: Path,
    file: Path,
    kind: str,
    advice: str,
    beside: Any = (),
    doubts: Callable[[Mapping[str, str]], tuple[str, ...]] = lambda _: (),
    vendors: tuple[str, ...] = (),
) -> ImageSource:
    """Open a slide through OpenSlide.

    Parameters
    ----------
    path : Path
        What was asked for.
    file : Path
        What OpenSlide opens.
    kind : str
        What it is, with its article.
    advice : str
        What to do if it cannot be read, such as "export it as tiled TIFF".
    beside : sequence of Path
        Other files and folders that hold its pixels.
    doubts : callable
        Tells from OpenSlide's properties what of the format is doubtful.
    vendors : tuple of str
        What OpenSlide must take it for; anything, if there is none.

    Raises
    ------
    InputError
        If it cannot be read, OpenSlide takes it for something else, or is not installed.
    """
    library = needs_extra(path, kind, "openslide", advice)
    with reading(path, f"this file, {kind},", advice):
        opened = _OpenSlide(library, file)
        slide = opened.slide
        said = slide.properties
        vendor = said["openslide.vendor"]
        if vendors and vendor not in vendors:
            slide.close()
            msg = f"OpenSlide takes it for {vendor}"
            raise ValueError(msg)
        mpp = [said.get(f"openslide.mpp-{axis}") for axis in "xy"]
        profile = slide.color_profile
        source = _source(
            path,
            slide.level_dimensions,
            opened.region,
            None if None in mpp else [float(str(side)) for side in mpp],
            profile=None if profile is None else profile.tobytes(),
            conversions=(ON_WHITE,),
            others=tuple(_of_openslide(path, opened, name) for name in slide.associated_images),
            beside=tuple(beside),
            close=slide.close,
        )
        return replace(source, doubts=(*source.doubts, *doubts(said)))


def open_with_fastslide(
    path: Path,
    kind: str,
    advice: str,
    beside: Any = (),
    check: Callable[[float, float, float, float, float], None] | None = None,
) -> ImageSource:
    """Open a slide through fastslide; of several images the largest.

    Parameters
    ----------
    path : Path
    kind : str
        What it is, with its article.
    advice : str
        What to do if it cannot be read.
    beside : sequence of Path
        Other files and folders that hold its pixels.
    check : callable, optional
        Raises if what the file says of a region must not be believed: left, top, right and bottom
        in full-resolution pixels, and how many of those a pixel of its level has along a side.

    Raises
    ------
    InputError
        If it cannot be read, is no slide in colours, or fastslide is not installed.
    """
    library = needs_extra(path, kind, "fastslide", advice)
    with reading(path, f"this file, {kind},", advice):
        slide = library.FastSlide.from_file_path(path)
        views = sorted(slide.images, key=lambda one: one.dimensions, reverse=True)
        if not views:
            msg = "it holds no image"
            raise ValueError(msg)

        def unchecked(view: Any) -> ImageSource:
            _check_colours(view, slide.dtype)
            if not beside and math.prod(view.dimensions) > SWELLS_MOST * path.stat().st_size:
                msg = f"it claims {view.dimensions} px, more than the file can hold"
                raise ValueError(msg)

            def region(
                level: int, left: int, top: int, width: int, height: int
            ) -> NDArray[np.uint8]:
                if check is not None:
                    step = view.dimensions[0] / view.level_dimensions[level][0]
                    right, bottom = (left + width) * step, (top + height) * step
                    check(left * step, top * step, right, bottom, step)
                image = view.read_region((left, top), level, (width, height))
                return np.asarray(image.numpy(), np.uint8).reshape(height, width, -1)

            return _source(
                path,
                view.level_dimensions,
                region,
                view.mpp,
                part="" if view is views[0] else str(view.index),
                profile=slide.icc_profile,
                beside=tuple(beside),
                close=slide.close,
            )

        def opened(view: Any) -> ImageSource:
            with reading(path, f"this file, {kind},", advice):
                return unchecked(view)

        small = slide.associated_images
        names = small.keys()
        own, *others = (
            OtherImage(
                f"{view.name or 'image'} {view.index}",
                view.dimensions[::-1],
                partial(opened, view),
            )
            for view in views
        )
        for name in names:
            load = partial(_of_fastslide, small, name)
            size = small.get_dimensions(name)[::-1]
            others.append(OtherImage(name, size, partial(_beside, path, name, load)))
        try:
            source = opened(views[0])
        except InputError as error:
            raise SlideRefused.because(error, own, tuple(others)) from error
        return replace(source, name=own.name, others=tuple(others))


def _of_fastslide(images: Any, name: str) -> NDArray[Any]:
    return np.asarray(images[name].numpy())


def _check_colours(view: Any, dtype: str) -> None:
    """Refuse fluorescence and stacks.

    Raises
    ------
    ValueError
        Naming the channels, or how many planes there are.
    """
    if view.z_count > 1 or view.t_count > 1:
        msg = f"it is a stack of {view.z_count} planes and {view.t_count} times, not one plane"
        raise ValueError(msg)
    names = [str(one.get("name", "")) for one in view.channel_metadata]
    if view.num_channels not in (3, 4) or dtype != "uint8":
        msg = f"it has {view.num_channels} channels of {dtype} ({', '.join(names)}), not 8-bit RGB"
        raise ValueError(msg)
    if names and [name.lower() for name in names[:3]] != ["red", "green", "blue"]:
        msg = f"its channels are {', '.join(names)}, and not red, green and blue"
        raise ValueError(msg)
