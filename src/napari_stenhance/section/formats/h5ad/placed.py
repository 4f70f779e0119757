"""A table of spots that is placed, as a section before its counts are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import SectionFiles
from napari_stenhance.section.picture import picture_in
from napari_stenhance.section.placed import PlacedTable
from napari_stenhance.section.positions import says_exchanged
from napari_stenhance.section.samples import file_name
from napari_stenhance.section.space_ranger import refuse_picture_pixels
from napari_stenhance.section.stated import find_mpp, scale_factors, stated_mpp

if TYPE_CHECKING:
    import anndata as ad


def section_files(
    placed: PlacedTable,
    name: str,
    origin: Path,
    images: tuple[Path, ...],
    read: Callable[[], tuple[ad.AnnData, tuple[str, ...]]],
) -> SectionFiles:
    """Find the scale of the spots, of which the counts are read later."""
    mpp, source, no_scale = None, "unknown", ""
    where = str(origin)
    try:
        if placed.in_um:
            mpp, source = stated_mpp(placed.uns, where)
        else:
            refuse_picture_pixels(placed.obs, placed.xy, scale_factors(placed.uns)[1], where)
            mpp, source = find_mpp(placed.obs, placed.uns, placed.xy, where)
    except InputError as error:
        if error.option != "mpp":
            raise
        # The user may give another.
        no_scale = str(error)
    if placed.sample is not None:
        name = f"{name}-{file_name(placed.sample)}"
    return SectionFiles(
        name,
        origin,
        images,
        placed.xy,
        mpp,
        source,
        read,
        placed.doubts,
        no_scale=no_scale,
        no_pixels=placed.no_pixels,
        in_um=placed.in_um,
        may_be_exchanged=says_exchanged(placed.obs, placed.xy),
        picture=picture_in(placed.uns),
    )
