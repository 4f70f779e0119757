"""How far tissue lies from what was learned from: a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stenhance.plugin.images import image_layer, layer_title
from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, Role
from napari_stenhance.results.unfamiliar import distance_levels

if TYPE_CHECKING:
    from napari_stenhance.results.runs import FieldRun

UNFAMILIAR = Role("unfamiliar", 3, fills=True)
_COLOURS = "coolwarm"
"""From blue, over grey at 1, to red."""


def unfamiliar_layer(run: FieldRun) -> LayerData:
    """Make the layer of how far the tissue of a run lies from what was learned from.

    Raises
    ------
    InputError
        If the run does not know.
    """
    info = LayerInfo(UNFAMILIAR, run.result.name, run=run)
    title = layer_title("unfamiliar tissue", run)
    limits = (0.0, 2.0)
    levels = distance_levels(run)
    return image_layer(levels, run.grid, title, info, _COLOURS, visible=True, limits=limits)


def said_of_unfamiliar(_info: LayerInfo, value: float) -> str:
    """Say how far it lies, as is seen."""
    where = "unlike what was learned from" if value > 1 else "like what was learned from"
    return f"distance from the training tissue {value:.2f}: {where} (95% of it stays within 1)"
