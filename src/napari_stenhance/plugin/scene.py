"""Put layers into a viewer, in order, each where its section lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.plugin.colours import SpotColours
from napari_stenhance.plugin.layer_info import (
    LayerData,
    LayerInfo,
    info_of,
    layer_info,
    layers_of,
    same_slide,
)
from napari_stenhance.plugin.places import settle

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


def add_layers(viewer: ViewerModel, layers: Sequence[LayerData]) -> list[Layer]:
    """Add layers, slides under gene images under spots, each where its section lies.

    A slide that is open already, because a result brought it or because it was opened before the
    result, is not added again; nor are its spots.

    Returns
    -------
    list of Layer
        Those that were added.
    """
    from napari.layers import Layer as LayerClass

    first, active = not len(viewer.layers), viewer.layers.selection.active
    added: list[Layer] = []
    for data in layers:
        info = info_of(data)
        if info is not None and (same := _SAME.get(info.role.name)) is not None:
            if any(same(info, other) for _, other in layers_of(viewer, info.role.name)):
                continue
        layer = LayerClass.create(*settle(viewer, data))
        rank = float("inf") if info is None else info.role.rank
        below = [n for n, other in enumerate(viewer.layers) if _rank(other) <= rank]
        # At once where it belongs: napari draws up its scene anew for each move.
        viewer.layers.insert(max(below, default=-1) + 1, layer)
        # Of genes, the session says whose bar is seen.
        if info is not None and info.role.fills and not info.gene:
            layer.colorbar.visible = True
        added.append(layer)
    viewer.canvas.overlays.scale_bar.visible = True
    # napari makes active what is added, also what is not seen.
    seen = [layer for layer in added if layer.visible and _is_looked_at(layer)]
    viewer.layers.selection.active = seen[-1] if seen else active
    if first:
        viewer.reset_view()
    return added


def show_layer(layer: Layer, *, visible: bool) -> None:
    """Show or hide a layer, where it is not so yet: napari draws up its scene anew each time."""
    if layer.visible != visible:
        layer.visible = visible


def show_bar(layer: Layer, *, visible: bool) -> None:
    """Show or hide the colour bar of a layer, where it is not so yet."""
    if layer.colorbar.visible != visible:
        layer.colorbar.visible = visible


def _is_looked_at(layer: Layer) -> bool:
    info = layer_info(layer)
    return info is not None and (info.role.fills or info.role.name == "slide")


def _same_slides(one: LayerInfo, other: LayerInfo) -> bool:
    return same_slide(one.section, other.section)


def _same_spots(one: LayerInfo, other: LayerInfo) -> bool:
    """Tell whether two layers show the same counts at the same places."""
    first, second = one.section, other.section
    if first is None or second is None or first.mpp != second.mpp:
        return False
    if not (isinstance(one.colours, SpotColours) and isinstance(other.colours, SpotColours)):
        return False
    places = (section.need_spots().obsm["spatial"] for section in (first, second))
    return (
        one.colours.genes == other.colours.genes
        and np.array_equal(one.colours.library, other.colours.library)
        and np.array_equal(*places)
    )


def _same_pictures(one: LayerInfo, other: LayerInfo) -> bool:
    """Tell whether two layers show the picture of one section."""
    first, second = one.section, other.section
    if first is None or second is None or first.source is None:
        return first is second
    return first.source == second.source


_SAME = {
    "slide": _same_slides,
    "region": _same_slides,
    "spots": _same_spots,
    "picture": _same_pictures,
}
"""Of which roles a layer is added once, and what tells that it is there."""


def _rank(layer: Layer) -> float:
    """Order our layers from the bottom up; those of others lie on top."""
    info = layer_info(layer)
    return float("inf") if info is None else info.role.rank
