"""The images of a TIFF, the slide among them, through tifffile."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.section.images.decoded.vendor import open_with_openslide
from napari_stenhance.section.images.image import ImageSource, OtherImage, SlideRefused
from napari_stenhance.section.images.slicing import strips_of
from napari_stenhance.section.images.tiff.images import TiffImage, whole_step
from napari_stenhance.section.images.tiff.layouts import images_of
from napari_stenhance.section.images.tiff.scale import stated_scale
from napari_stenhance.section.images.tiff.tiles import TiffReader, levels_of
from napari_stenhance.section.images.tiff.vendors import overlap_px
from napari_stenhance.storage.reading import reading

# What it logs would stand above our sentence where nobody listens.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_NAME_LONGEST = 60


def open_tiff(path: Path, at: int | None = None) -> ImageSource:
    """Open an image of a TIFF; its size, levels and scale are all of it.

    Parameters
    ----------
    path : Path
    at : int, optional
        Which image, counted as the file holds them. By default the slide: the largest in colours
        that is no label, macro, overview or thumbnail by its metadata.

    Raises
    ------
    InputError
        If the file is no TIFF that can be read, or the image is not in colours or grey.
    """
    with reading(path, "this TIFF"):
        file = TiffReader(path)
    try:
        return _opened(path, file, at)
    except Exception:
        file.close()
        raise


def _opened(path: Path, file: TiffReader, at: int | None) -> ImageSource:
    with reading(path, "this TIFF"):
        images = images_of(file.tif)
        listed = [
            OtherImage(name, image.shape, partial(open_tiff, path, n))
            for n, (name, image) in enumerate(zip(_names(images), images, strict=True))
        ]
    if at is not None:
        return replace(_source(path, file, images[at]), name=listed[at].name)
    slide = max(range(len(images)), key=lambda n: _rank(images[n]))
    others = tuple(one for n, one in enumerate(listed) if n != slide)
    try:
        source = _source(path, file, images[slide])
    except InputError as error:
        raise SlideRefused.because(error, listed[slide], others) from error
    return replace(source, name=listed[slide].name, others=others)


def _source(path: Path, file: TiffReader, image: TiffImage) -> ImageSource:
    with reading(path, "this TIFF"):
        scale = stated_scale(file.tif, image)
        overlap = overlap_px(file.tif, image)
    if overlap:
        file.close()
        return _stitched(path, overlap)
    with reading(path, "the image", "copy it again, or export it as 8-bit RGB"):
        levels, colours = levels_of(file, image.levels)
    height, width = levels[0].shape[:2]
    return ImageSource(
        path,
        (height, width),
        lambda: strips_of(levels[0]),
        part=f"{image.levels[0].keyframe.index}".strip("()").replace(", ", "."),
        levels=levels if len(levels) > 1 else (),
        downsamples=tuple(_downsample((height, width), level.shape) for level in levels),
        mpp=scale.mpp,
        mpp_source=scale.source,
        doubts=(*scale.doubts, *colours.doubts),
        conversions=colours.conversions,
        profile=colours.profile,
        grey=_is_grey(image),
        close=file.close,
    )


def _stitched(path: Path, overlap: int) -> ImageSource:
    """Open an image whose tiles overlap, which OpenSlide stitches."""
    kind = f"an image whose tiles overlap by up to {overlap} px and have to be stitched"
    advice = "export it as OME-TIFF or SVS"
    return open_with_openslide(path, path, kind, advice, vendors=("ventana", "trestle"))


def _is_grey(image: TiffImage) -> bool:
    """Tell whether it is one grey page, of which 0 is black; several may be its colours."""
    page = image.levels[0].keyframe
    several = image.in_colours or not set("IQ").isdisjoint(image.lengths)
    return page.photometric == 1 and page.samplesperpixel in (1, 2) and not several


def _rank(image: TiffImage) -> tuple[bool, bool, int]:
    height, width = image.shape
    return not image.beside, image.in_colours, height * width


def _names(images: Sequence[TiffImage]) -> list[str]:
    """Name images as the file does, else by their number; no two alike."""
    names: list[str] = []
    for number, image in enumerate(images, start=1):
        name = " ".join(image.name.split())[:_NAME_LONGEST] or f"image {number}"
        more = (f"{name} {n}" for n in range(2, len(images) + 2))
        names.append(name if name not in names else next(n for n in more if n not in names))
    return names


def _downsample(full: tuple[int, int], level: tuple[int, ...]) -> float:
    """Return the pixels of the full resolution for each of a level, of which sizes are rounded."""
    step = whole_step(full, (level[0], level[1]))
    return float(step) if step else max(full) / max(level[:2])
