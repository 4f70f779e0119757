"""What the status bar says is under the mouse in a layer of ours; nothing where nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from napari_stenhance.plugin.cell_means import said_of_cells
from napari_stenhance.plugin.crops import said_of_attention
from napari_stenhance.plugin.depth import said_of_depth
from napari_stenhance.plugin.domains import said_of_domain, said_of_domains
from napari_stenhance.plugin.genes import said_of_gene
from napari_stenhance.plugin.layer_info import LayerInfo, layer_info
from napari_stenhance.plugin.marked import said_of_marked
from napari_stenhance.plugin.outlined import said_of_outlined
from napari_stenhance.plugin.quality import said_of_fault
from napari_stenhance.plugin.similar import said_of_similarity
from napari_stenhance.plugin.spots import said_of_spots
from napari_stenhance.plugin.unfamiliar import said_of_unfamiliar

if TYPE_CHECKING:
    from napari.layers import Layer

_OF_SEVERAL = {
    "spots": said_of_spots,
    "domain spots": said_of_domains,
    "cells": said_of_cells,
}
"""Says it of bins or cells that are an image, of which several may share a pixel."""
_OF_ONE = {
    "browse": said_of_gene,
    "gene": said_of_gene,
    "channel": said_of_gene,
    "attention": said_of_attention,
    "domains": said_of_domain,
    "painting": said_of_domain,
    "quality": said_of_fault,
    "similarity": said_of_similarity,
    "marked": said_of_marked,
    "depth": said_of_depth,
    "unfamiliar": said_of_unfamiliar,
    "tissue": lambda _info, value: "tissue" if value else "",
}
"""Says it of a value; where napari alone says the level of a pyramid, and a value that is none."""


def say_under_mouse(layer: Layer) -> None:
    """Let napari say what is under the mouse in words, where these are known for the layer."""
    info = layer_info(layer)
    several = info is not None and (info.raster is not None or info.outlined is not None)
    if info is None or not (several or info.role.name in _OF_ONE):
        return
    of = ref(layer)

    def get_status(position: Any = None, **how: Any) -> dict[str, str]:
        there = of()
        if there is None:
            return {}
        status: dict[str, str] = type(there).get_status(there, position, **how)
        if position is not None:
            status["value"] = _said(there, position, **how)
            status["coordinates"] = ": ".join(filter(None, (status["coords"], status["value"])))
        return status

    layer.get_status = get_status


def _said(layer: Any, position: Any, *, world: bool = False, **how: Any) -> str:
    info = layer_info(layer)
    assert info is not None
    found = layer.get_value(position, world=world, **how)
    level, value = found if isinstance(found, tuple) else (0, found)
    if value is None or not np.isfinite(value):
        return ""
    yx = np.asarray(layer.world_to_data(position) if world else position)[-2:]
    if info.outlined is not None:
        return said_of_outlined(info.outlined, info.outlined.under(yx))
    if info.raster is not None:
        seen = info.raster.under(yx, layer.data_level)
        return _OF_SEVERAL[info.role.name](info, seen, value) if len(seen) else ""
    said = _OF_ONE[info.role.name](info, value)
    return f"{said}{_over(info, level)}" if said and layer.dtype.kind == "f" else said


def _over(info: LayerInfo, level: int) -> str:
    """Say how wide the square is that a value of a coarse level stands for."""
    if not level or info.run is None:
        return ""
    grid = info.run.grid
    unit = "µm" if grid.unit == "micrometer" else "px"
    return f" over {grid.scale_um(level):g} {unit}"
