"""How much a spot would count in all, as the image shows it: a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stenhance.plugin.images import image_layer, layer_title
from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, Role
from napari_stenhance.results.belief import depth_levels

if TYPE_CHECKING:
    from napari_stenhance.results.runs import FieldRun

DEPTH = Role("depth", 3, fills=True)
_COLOURS = "cividis"


def depth_layer(run: FieldRun) -> LayerData:
    """Make the layer of a run's predicted total counts.

    Raises
    ------
    InputError
        If the run did not learn depth.
    """
    info = LayerInfo(DEPTH, run.result.name, run=run)
    levels, title = depth_levels(run), layer_title("total counts", run)
    return image_layer(levels, run.grid, title, info, _COLOURS, visible=True)


def said_of_depth(_info: LayerInfo, value: float) -> str:
    """Say how much it is, as is seen."""
    return f"total counts of a spot, predicted: {value:,.0f}"
