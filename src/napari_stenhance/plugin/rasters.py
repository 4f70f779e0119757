"""Bins and cells that are an image: which are, and which of them is under the mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.bins import BinRaster
from napari_stenhance.plugin.cells import CellRaster
from napari_stenhance.plugin.layer_info import KEY
from napari_stenhance.section.spots import geometry_of

if TYPE_CHECKING:
    import anndata as ad
    from napari.layers import Image, Labels

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
    outlines = None if section is None else section.outlines
    return BinRaster.of_spots(spots, geometry, where) or CellRaster.of_spots(
        spots, geometry, mpp, where, outlines
    )


def raster_doubts(infos: Iterable[LayerInfo | None]) -> tuple[str, ...]:
    """Say of which cells that are seen no outline is, where there are any."""
    rasters = [info.raster for info in infos if info is not None]
    return tuple(doubt for raster in rasters for doubt in getattr(raster, "doubts", ()))


def say_under_mouse(
    layer: Image | Labels, say: Callable[[LayerInfo, NDArray[np.int64], Any], str]
) -> None:
    """Let napari say which bin or cell is under the mouse, as it does of points.

    Parameters
    ----------
    layer : Image or Labels
    say : callable
        Says it, of which are seen there, and the value that the layer shows.
    """
    of = ref(layer)

    def get_status(position: Any = None, **how: Any) -> dict[str, str]:
        there = of()
        if there is None:
            return {}
        status = type(there).get_status(there, position, **how)
        said = "" if position is None else _said_under(there, say, position, **how)
        if said:
            status["value"] = said
            status["coordinates"] = f"{status['coords']}: {said}"
        return status

    layer.get_status = get_status


def _said_under(
    layer: Any, say: Callable[..., str], position: Any, *, world: bool = False, **how: Any
) -> str:
    info: LayerInfo = layer.metadata[KEY]
    assert info.raster is not None
    yx = np.asarray(layer.world_to_data(position) if world else position)[-2:]
    seen = info.raster.under(yx, layer.data_level)
    value = layer.get_value(position, world=world, **how) if len(seen) else None
    value = value[1] if isinstance(value, tuple) else value
    return "" if value is None else say(info, seen, value)
