"""Which image is the slide that spots were measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import SectionFiles
from napari_stenhance.section.images.image import SlideRefused
from napari_stenhance.section.images.opening import image_size, open_image
from napari_stenhance.section.picture import Picture
from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.storage.cache import Cache

if TYPE_CHECKING:
    from napari_stenhance.section.outlines import CellOutlines

INSIDE_LEAST = 0.9
"""The share of spots that must lie inside their slide."""
# A superpixel: what is coarser shows nothing of it, and is the slide only where it is named.
_SERVES_MOST_UM = 8.0


@dataclass(frozen=True)
class SlideMatch:
    """Where the spots of a section lie.

    Attributes
    ----------
    image : Path or None
        The slide's file.
    factor : float
        Pixels of the slide for each pixel of the positions: 1, but for a picture made from it.
    doubts : tuple of str
    """

    image: Path | None
    factor: float = 1.0
    doubts: tuple[str, ...] = ()


def share_inside(xy: NDArray[np.float64], shape: tuple[int, int]) -> float:
    """Return the share of positions (x, y) inside an image of a (height, width), in pixels.

    All of no positions are inside.
    """
    height, width = shape
    inside = (xy >= -0.5).all(axis=1) & (xy[:, 0] <= width - 0.5) & (xy[:, 1] <= height - 0.5)
    return float(inside.mean()) if len(inside) else 1.0


def from_um(found: SectionFiles, mpp: float | None, image: Path | None) -> SectionFiles:
    """Turn positions in micrometres into pixels: of the scale that is given, stated, or a slide's.

    Raises
    ------
    InputError
        If there is a slide, and nothing says its scale.
    """
    if mpp is not None:
        return found.in_pixels(mpp, "given")
    if found.mpp is not None:
        return found.in_pixels(found.mpp, found.mpp_source)
    images = found.images if image is None else (image,)
    if not images:
        placed = found.in_pixels(1.0, "as positions are in µm, without a slide")
        if found.picture is None:
            return placed
        doubt = f"{found.picture.name} cannot be laid under the spots: its scale is not stated."
        return replace(placed, picture=None, doubts=(*placed.doubts, doubt))
    stated = {_stated_mpp(one) for one in images}
    if len(stated) > 1 or None in stated:
        names = ", ".join(one.name for one in images)
        msg = (
            f"{found.origin}: positions are in µm, and nothing says how many µm a pixel of {names} "
            "has; give the scale."
        )
        raise InputError(msg, option="mpp")
    (scale,) = stated
    return found.in_pixels(scale or 1.0, "stated in the image")


def _stated_mpp(image: Path) -> float | None:
    source = open_image(image)
    try:
        return source.mpp
    finally:
        source.close()


def picture_as_slide(found: SectionFiles, image: Path, cache: Cache | None) -> SectionFiles | None:
    """Take the picture that a table keeps as the slide, where it is named: "hires", "lowres".

    Parameters
    ----------
    found : SectionFiles
    image : Path
        What was given as the slide.
    cache : Cache or None
        Where its pixels are written, so that it is a file as others are; by default the user's.

    Returns
    -------
    SectionFiles or None
        With the file as its only image, and its scale factor; None if no such picture is meant.
    """
    picture = found.picture
    if picture is None or image.exists() or picture.called != image.name:
        return None
    file = _kept_file(picture, cache)
    return replace(found, images=(file,), pictures={file.name: picture.factor}, sizes={})


def kept_picture(found: SectionFiles, mpp: float | None, cache: Cache | None) -> SlideMatch | None:
    """Take the picture that a table keeps as the slide, where there is no other.

    Parameters
    ----------
    found : SectionFiles
    mpp : float or None
        Micrometres per full-resolution pixel that were given.
    cache : Cache or None
        As of `picture_as_slide`.

    Returns
    -------
    SlideMatch or None
        None if there is none that can: positions lie outside it, or are no pixels; its scale is
        not known, or so coarse that one of its pixels is wider than a superpixel.
    """
    picture, scale = found.picture, found.mpp if mpp is None else mpp
    if picture is None or picture.shape is None or scale is None or found.no_pixels:
        return None
    pixel = scale / picture.factor
    inside = share_inside(found.xy * picture.factor, picture.shape)
    if pixel > _SERVES_MOST_UM or inside < INSIDE_LEAST:
        return None
    doubt = (
        f"There is no slide: {picture.name} serves as one, though it is coarse, with pixels of "
        f"{pixel:.3g} µm, {picture.factor:.4g} of those of the full-resolution image along each "
        "side; positions were scaled. Give the slide to see cells."
    )
    return SlideMatch(_kept_file(picture, cache), picture.factor, (doubt,))


def _kept_file(picture: Picture, cache: Cache | None) -> Path:
    """Write a picture that a table keeps into the cache, once; return its file."""
    import tifffile

    pixels = picture.read()
    digest = hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).data)
    file = (cache or Cache.default()).entry(
        "pictures", f"{digest.hexdigest()[:16]}-{picture.called}.tif"
    )
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as aside:
            tifffile.imwrite(aside, pixels, photometric="rgb", compression="zlib")
    return file


def choose_image(
    found: SectionFiles, series: str | None = None, *, outside: bool = False
) -> SlideMatch:
    """Choose the one image that the positions fit, by the sizes that headers state.

    Parameters
    ----------
    found : SectionFiles
    series : str, optional
        The name of another image in its file than the slide.
    outside : bool
        Take the only image also if spots lie outside it.

    Raises
    ------
    InputError
        If they fit several, the only image cannot be read, or none is of that name.
    """
    why_not = {image: _why_not(image, found, series, outside=outside) for image in found.images}
    fitting = [image for image, why in why_not.items() if not why]
    if len(fitting) > 1:
        names = ", ".join(image.name for image in fitting)
        msg = (
            f"{found.origin}: several files could be the image: {names}; leave only the slide "
            "there, or name it."
        )
        raise InputError(msg, option="image")
    if fitting:
        return SlideMatch(fitting[0])
    if series is not None:
        whys = "; ".join(f"{image.name}: {why}" for image, why in why_not.items())
        msg = f"{found.origin}: no image {series!r} that the spots fit lies there. {whys}"
        raise InputError(msg.strip(), option="series")
    doubts = [f"The image {i.name} was left out: {why}." for i, why in why_not.items()]
    return SlideMatch(None, doubts=(*doubts, *filter(None, [found.without])))


def _why_not(image: Path, found: SectionFiles, series: str | None, *, outside: bool) -> str:
    if found.no_pixels:
        return found.no_pixels
    try:
        shape = image_size(image, series)
    except InputError as error:
        if len(found.images) == 1:
            raise
        refused = isinstance(error, SlideRefused)
        return "it holds no such image" if error.option == "series" and not refused else ""
    inside = share_inside(found.xy, shape)
    if inside < INSIDE_LEAST and not (outside and len(found.images) == 1):
        how_many = f"{1 - inside:.0%} of the spots lie outside it"
        if share_inside(found.xy, shape[::-1]) >= INSIDE_LEAST:
            return (
                f"{how_many}, though not if it were turned by 90°, or x and y exchanged; give the "
                "image as their positions were measured on it, or these as (x, y)"
            )
        return f"{how_many}, so their coordinates belong to another (full-resolution) image"
    return _disagreement(shape, found)[0]


def _disagreement(shape: tuple[int, int], found: SectionFiles) -> tuple[str, bool]:
    """Compare an image's size with that of the one that pictures were made from.

    Returns
    -------
    how : str
        How they differ; "" if they do not.
    turned : bool
        They agree but for width and height, which are exchanged.
    """
    for name, (height, width) in found.sizes.items():
        expected = np.array(shape) * found.pictures[name]
        if (np.abs(expected - (height, width)) <= 1).all():
            continue
        turned = bool((np.abs(expected - (width, height)) <= 1).all())
        how = (
            f"its size, {shape[1]} × {shape[0]} px, does not agree with {name}, {width} × {height} "
            f"px at a scale of {found.pictures[name]:.4g}"
            + (": it is turned by 90°" if turned else "")
        )
        return how, turned
    return "", False


def place_on(
    found: SectionFiles, image: Path, series: str | None = None, *, outside: bool = False
) -> SlideMatch:
    """Take the image that the user gave; a picture made from the slide gets scaled positions.

    Where `outside`, also if spots lie outside it.

    Raises
    ------
    InputError
        If it cannot be read, holds no image of that name, or is not the image that the positions
        belong to.
    """
    if found.no_pixels:
        msg = f"{found.origin}: {found.no_pixels}; write positions in pixels of {image.name}."
        raise InputError(msg)
    shape = image_size(image, series)
    name = next((n for n in found.pictures if image.name.endswith(n)), None)
    factor = found.pictures[name] if name else 1.0
    inside = share_inside(found.xy * factor, shape)
    if inside < INSIDE_LEAST and not outside:
        msg = (
            f"{image}: {1 - inside:.0%} of the spots lie outside this image of {shape[1]} × "
            f"{shape[0]} px; give the full-resolution image that their positions belong to."
        )
        raise InputError(msg)
    if name:
        doubt = (
            f"{name} serves as the slide, though it is coarse: it has {factor:.4g} of the pixels "
            "of the full-resolution image along each side; positions were scaled."
        )
        return SlideMatch(image, factor, (doubt,))
    how, turned = _disagreement(shape, found)
    if turned:
        msg = f"{image}: {how}; give the image as it was given to the vendor's software."
        raise InputError(msg)
    doubt = f"{image.name} may not be the slide: {how}; look whether spots lie on tissue."
    return SlideMatch(image, doubts=(doubt,) if how else ())


def positions_on_picture(xy: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Place positions on a smaller picture: corners lie on each other, not centres of pixels."""
    return (xy + 0.5) * factor - 0.5


def outlines_on_picture(
    read: Callable[[], CellOutlines], ids: list[str], factor: float
) -> CellOutlines:
    """Read the outlines of some cells, on the image that serves as their slide."""
    found = read().of(ids)
    return found if factor == 1 else found.moved(lambda xy: positions_on_picture(xy, factor))
