"""Which image of an OME-Zarr is the slide, and what else the folder holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.section.images.decoded.samples import EXACT, Scaling, scaling_of
from napari_stenhance.section.images.image import (
    BESIDE,
    ON_WHITE,
    ImageSource,
    OtherImage,
    SlideRefused,
)
from napari_stenhance.section.images.ome_zarr.levels import OmeZarrLevel
from napari_stenhance.section.images.ome_zarr.multiscale import Multiscale, read_multiscales
from napari_stenhance.section.images.ome_zarr.node import group_attributes
from napari_stenhance.section.images.slicing import strips_of
from napari_stenhance.section.scale import believed_mpp
from napari_stenhance.storage.reading import reading

_ADVICE = "export the slide as OME-Zarr 0.4 or 0.5, 8-bit RGB, or as tiled TIFF"
_COARSEST = 2**24
"""Pixels of the coarsest level, which tells what range samples of more than 8 bits use."""
_LEAST_STORED = 0.01
_LARGE_XML = 2**24


@dataclass(frozen=True)
class _Image:
    multiscale: Multiscale
    name: str
    part: str

    @property
    def rank(self) -> tuple[bool, int]:
        height, width = self.multiscale.shape
        return not BESIDE.search(self.name), height * width


def open_ome_zarr(path: Path) -> ImageSource:
    """Open the one image of an OME-Zarr that is the slide: the largest in red, green and blue.

    Raises
    ------
    InputError
        If it is no folder, holds no slide, or is not what OME-Zarr 0.4 or 0.5 allows.
    """
    if not path.is_dir():
        msg = (
            f"{path}: an OME-Zarr is a folder, and this is a file; copy the whole folder, and "
            "unpack it if it is a zip."
        )
        raise InputError(msg)
    said = group_attributes(path)
    _refuse_others(path, said)
    with reading(path, "this OME-Zarr", _ADVICE):
        images, broken = _images(path, said)
        slides = [image for image in images if _why_not(image) is None]
        if not slides:
            raise ValueError(_why_not(images[0]) if images else broken)
    slide = max(slides, key=lambda image: image.rank)
    others = tuple(_other(path, image) for image in images if image is not slide)
    try:
        source = _open_one(path, slide, "this OME-Zarr")
    except InputError as error:
        raise SlideRefused.because(error, _other(path, slide), others) from error
    return replace(source, name=slide.name, others=others)


def _other(path: Path, image: _Image) -> OtherImage:
    return OtherImage(image.name, image.multiscale.shape, partial(_open_one, path, image))


def is_slide(path: Path) -> bool:
    """Tell, from small files, whether an OME-Zarr holds a slide in 8-bit colours."""
    said = group_attributes(path)
    try:
        _refuse_others(path, said)
        images, _ = _images(path, said)
    except Exception:  # noqa: BLE001 - what cannot be read is left to other readers
        return False
    return any(
        _why_not(image) is None and image.multiscale.levels[0].dtype == np.uint8 for image in images
    )


def _refuse_others(path: Path, said: dict[str, Any]) -> None:
    """Say of what is no image what it is.

    Raises
    ------
    InputError
        If it is a plate, labels or a SpatialData store.
    """
    if "plate" in said or "well" in said:
        msg = f"{path}: this OME-Zarr is a plate of wells, and no slide; give one image of a well."
    elif "image-label" in said or ("labels" in said and "multiscales" not in said):
        msg = f"{path}: this OME-Zarr holds labels, and no slide; give the image they belong to."
    elif "spatialdata_attrs" in said and "multiscales" not in said:
        msg = f"{path}: {_said_of_store(path)}"
    else:
        return
    raise InputError(msg)


def _said_of_store(path: Path) -> str:
    images = _folders(path / "images")
    slides = [name for name in images if is_slide(path / "images" / name)]
    if slides:
        return (
            "this is a SpatialData store, of which a table and its shapes are read, or one image; "
            f"give a slide of its images ({', '.join(slides)}) in {path / 'images'}."
        )
    told = " or an image"
    if images:
        told = f", and none of its images ({', '.join(images)}) is a slide, of 8-bit colours"
    return (
        f"this is a SpatialData store without a table{told}; give the slide, or the result whose "
        "genes were exported."
    )


def _folders(path: Path) -> list[str]:
    try:
        return sorted(one.name for one in path.iterdir() if one.is_dir())
    except OSError:
        return []


def _images(path: Path, said: dict[str, Any]) -> tuple[list[_Image], str]:
    """List the images of a folder, of the largest first; and what is wrong with one that is not.

    Raises
    ------
    ValueError
        If its own image is not what the specification allows.
    """
    if "multiscales" in said:
        own = read_multiscales(path, said)
        parts = ["" if n == 0 else f"multiscales.{n}" for n in range(len(own))]
        found, broken = list(zip(own, parts, ["" for _ in own], strict=True)), ""
    elif said.get("bioformats2raw.layout") == 3:
        found, broken = _series(path)
    else:
        found, broken = [], "it holds no image"
    images, taken = [], set()
    for multiscale, part, name in found:
        name = name or multiscale.name or part or "image"
        name = name if name not in taken else f"{name} ({part})"
        taken.add(name)
        images.append(_Image(multiscale, name, part))
    return sorted(images, key=lambda image: image.rank, reverse=True), broken


def _series(path: Path) -> tuple[list[tuple[Multiscale, str, str]], str]:
    """Read the images of the layout of bioformats2raw: one folder each, named by its metadata."""
    listed = group_attributes(path / "OME").get("series")
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        listed = sorted((n for n in _folders(path) if n.isdecimal()), key=int)
    names = _names(path / "OME" / "METADATA.ome.xml")
    found, broken = [], "it holds no image"
    for n, part in enumerate(listed):
        if ".." in Path(part).parts or Path(part).is_absolute():
            continue
        try:
            said = group_attributes(path / part)
            many = read_multiscales(path / part, said)
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            broken = f"its image {part!r}: {error}"
            continue
        name = names[n] if n < len(names) else ""
        found += [(one, part if m == 0 else f"{part}.{m}", name) for m, one in enumerate(many)]
    return found, broken


def _names(path: Path) -> list[str]:
    """Read the names of images from OME-XML, if it is there; entities are not expanded."""
    try:
        if path.stat().st_size > _LARGE_XML:
            return []
        text = path.read_bytes()
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            return []
        images = [one for one in ElementTree.fromstring(text) if one.tag.endswith("}Image")]
    except (OSError, ElementTree.ParseError):
        return []
    return [one.get("Name", "") for one in images]


def _why_not(image: _Image) -> str | None:
    try:
        image.multiscale.check_slide()
    except ValueError as error:
        return str(error)
    return None


def _open_one(path: Path, image: _Image, part: str = "") -> ImageSource:
    with reading(path, part or f"its image {image.name!r}", _ADVICE):
        image.multiscale.check_slide()
        return _opened(path, image)


def _opened(path: Path, image: _Image) -> ImageSource:
    one = image.multiscale
    first = one.levels[0]
    needed = first.files_needed
    kept = _whole_steps(one)
    least = 1 if len(kept) > 1 else max(1, round(needed * _LEAST_STORED))
    if (there := first.files_there(least)) < least:
        msg = f"of the {needed} files of its pixels {there or 'none'} are there: copy it again"
        raise ValueError(msg)
    scaling = _scaling(path, one)
    conversions = scaling.said
    levels = tuple(OmeZarrLevel(path, one.levels[n], one.axes, scaling) for n, _ in kept)
    if one.colours == 4:
        _check_alpha(levels[-1])
        conversions = (*conversions, ON_WHITE)
    mpp, doubts = _scale(one)
    return ImageSource(
        path,
        one.shape,
        lambda: strips_of(levels[0]),
        part=image.part,
        levels=levels if len(levels) > 1 else (),
        downsamples=tuple(step for _, step in kept) if len(levels) > 1 else (),
        mpp=mpp,
        mpp_source="the OME-Zarr's metadata",
        doubts=doubts,
        conversions=conversions,
    )


def _whole_steps(one: Multiscale) -> list[tuple[int, float]]:
    """Choose the levels that are smaller by the same factor along y and x, with that factor."""
    height, width = one.shape
    kept = [(0, 1.0)]
    for n, level in enumerate(one.levels[1:], 1):
        lengths = dict(zip(one.axes, level.shape, strict=True))
        step = max(height, width) / max(lengths["y"], lengths["x"])
        whole = round(step)
        # A level's last pixel may stand for a part of one, or be left out.
        fits = [abs(n / whole - lengths[a]) <= 1 for a, n in (("y", height), ("x", width))]
        if whole > kept[-1][1] and all(fits):
            kept.append((n, float(whole)))
    return kept


def _scaling(path: Path, one: Multiscale) -> Scaling:
    """Choose how samples become 8 bits: by the range in use at the coarsest level."""
    dtype = one.levels[0].dtype
    if dtype == np.uint8:
        return EXACT
    coarsest = OmeZarrLevel(path, one.levels[-1], one.axes, EXACT)
    height, width = coarsest.shape[:2]
    if height * width > _COARSEST:
        msg = "it has samples of more than 8 bits, and no small level that tells their range"
        raise ValueError(msg)
    values = coarsest.samples(slice(None), slice(None))[..., :3]
    if dtype.kind == "f":
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if not (low >= 0 and high <= 1):
            msg = f"its floats go from {low:.4g} to {high:.4g}, and not from 0 to 1"
            raise ValueError(msg)
    return scaling_of(dtype, 8 * dtype.itemsize, iter([values]), None)


def _check_alpha(level: OmeZarrLevel) -> None:
    """Refuse a fourth channel that is a stain: transparency is, but for edges, all or nothing.

    Raises
    ------
    ValueError
        If it is neither nearly everywhere.
    """
    height, width = (min(n, 2048) for n in level.shape[:2])
    alpha = level.samples(slice(0, height), slice(0, width))[..., 3]
    opaque = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    if ((alpha == 0) | (alpha == opaque)).mean() < 0.9:
        msg = "its fourth channel is no transparency, and a slide has 3 colours"
        raise ValueError(msg)


def _scale(one: Multiscale) -> tuple[float | None, tuple[str, ...]]:
    sides = one.micrometres()
    if sides is not None:
        return believed_mpp(sides[1], sides[0], "the OME-Zarr's metadata")
    if set(one.sides) == {1.0}:
        return None, ()
    unit = "".join(set(one.units))
    what = f"the unit {unit!r}, which is no length" if unit else "no unit"
    doubt = f"The image states a scale of {one.sides[1]:.4g} in {what}; it is not used."
    return None, (doubt,)
