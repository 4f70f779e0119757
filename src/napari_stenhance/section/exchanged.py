"""Positions whose x and y were exchanged: what a table says, and the slide decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import SectionFiles
from napari_stenhance.section.images.opening import image_size
from napari_stenhance.section.placing import INSIDE_LEAST, share_inside
from napari_stenhance.section.slide import WHITE, Slide

# Of 255, in the mean over spots: tissue is darker than glass.
_DARKER_LEAST = 12
_PIXELS_MOST = 10**8


def inside_alone(found: SectionFiles, images: tuple[Path, ...], series: str | None) -> SectionFiles:
    """Exchange x and y where something says so, and an image holds the spots only then."""
    if not found.may_be_exchanged:
        return found
    for image in images:
        try:
            shape = image_size(image, series)
        except InputError:
            # Said where it is chosen.
            continue
        given, other = (share_inside(xy, shape) for xy in (found.xy, found.xy[:, ::-1]))
        if given < INSIDE_LEAST <= other:
            return _exchanged(found, f"only so do spots lie inside {image.name}")
    return found


def on_tissue(found: SectionFiles, slide: Slide | None, factor: float) -> SectionFiles:
    """Exchange x and y where something says so, and more spots lie on tissue then.

    Where nothing tells, a doubt says so.
    """
    if not found.may_be_exchanged:
        return found
    darker = 0.0
    if slide is not None:
        pixels = slide.pixels[-1]
        if np.prod(pixels.shape) <= _PIXELS_MOST:
            image, scale = np.asarray(pixels[:, :]), factor / slide.downsamples[-1]
            given, other = (_light(image, xy * scale) for xy in (found.xy, found.xy[:, ::-1]))
            darker = given - other
    if darker > _DARKER_LEAST:
        return _exchanged(found, "only so do spots lie on tissue")
    if darker < -_DARKER_LEAST:
        return replace(found, may_be_exchanged="")
    doubt = (
        f"{found.may_be_exchanged}: x and y of the positions are exchanged, or a slide was turned "
        "and mirrored; look whether spots lie on the tissue, and else write positions as (x, y)."
    )
    return replace(found, may_be_exchanged="", doubts=(*found.doubts, doubt))


def _exchanged(found: SectionFiles, proof: str) -> SectionFiles:
    why = found.may_be_exchanged
    doubt = f"x and y of the positions are exchanged, and put right: {why}, and {proof}."
    read = found.read

    def reread() -> tuple[Any, tuple[str, ...]]:
        table, doubts = read()
        table.obsm["spatial"] = np.ascontiguousarray(table.obsm["spatial"][:, ::-1])
        return table, doubts

    return replace(
        found,
        xy=np.ascontiguousarray(found.xy[:, ::-1]),
        read=reread,
        doubts=(*found.doubts, doubt),
        may_be_exchanged="",
    )


def _light(image: NDArray[np.uint8], xy: NDArray[np.float64]) -> float:
    """Return how light an image is at positions, in the mean; outside it is glass."""
    x, y = np.rint(xy).astype(np.int64).T
    height, width = image.shape[:2]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    light = np.full(len(xy), float(WHITE))
    light[inside] = image[y[inside], x[inside]].mean(axis=1)
    return float(light.mean())
