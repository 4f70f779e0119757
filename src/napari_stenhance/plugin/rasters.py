"""Bins and cells that are an image: which are, and of which no outline is seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from napari_stenhance.plugin.bins import BinRaster
from napari_stenhance.plugin.cells import CellRaster
from napari_stenhance.section.spots import geometry_of

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.plugin.layer_info import LayerInfo
    from napari_stenhance.section.section import Section


def raster_of_section(section: Section) -> BinRaster | CellRaster | None:
    """Lay out the bins or cells of a section; None where they are shown as points."""
    return raster_of_spots(section.need_spots(), section.mpp, section.name, section)


def raster_of_spots(
    spots: ad.AnnData, mpp: float | None, where: str, section: Section | None = None
) -> BinRaster | CellRaster | None:
    """Lay out spots, whose outlines a section may know; None where they are shown as points."""
    geometry = geometry_of(spots)
    outlines = None if section is None else section.placed_outlines
    return BinRaster.of_spots(spots, geometry, where) or CellRaster.of_spots(
        spots, geometry, mpp, where, outlines
    )


def raster_doubts(infos: Iterable[LayerInfo | None]) -> tuple[str, ...]:
    """Say of which cells that are seen no outline is, where there are any."""
    rasters = [info.raster for info in infos if info is not None]
    return tuple(doubt for raster in rasters for doubt in getattr(raster, "doubts", ()))
