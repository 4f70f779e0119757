"""Put layers into a viewer as they should look, and change what they show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.plugin.colours import SpotColours
from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    layer_info,
    layers_of,
    our_layers,
    same_slide,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_stenhance.results.proof import Kind


def add_layers(viewer: ViewerModel, layers: Sequence[LayerData]) -> list[Layer]:
    """Add layers, slides under gene images under spots, with a scale bar and colour bars.

    A slide that is open already, because a result brought it or because it was opened before the
    result, is not added again; nor are its spots.

    Returns
    -------
    list of Layer
        Those that were added.
    """
    from napari.layers import Layer as LayerClass

    first, active = not len(viewer.layers), viewer.layers.selection.active
    added, images = [], []
    for data in layers:
        layer = LayerClass.create(*data)
        info = layer_info(layer)
        if info is not None and info.role.name in {"slide", "spots", "region"}:
            same = _same_spots if info.role.name == "spots" else _same_slides
            if any(same(info, other) for _, other in layers_of(viewer, info.role.name)):
                continue
        viewer.add_layer(layer)
        if info is not None:
            others = list(viewer.layers)[:-1]
            below = [n for n, other in enumerate(others) if _rank(other) <= info.role.rank]
            viewer.layers.move(len(others), max(below, default=-1) + 1)
            if info.role.fills:
                layer.colorbar.visible = True
            if layer.visible and (info.role.fills or info.role.name == "slide"):
                images.append(layer)
        added.append(layer)
    viewer.canvas.overlays.scale_bar.visible = True
    # napari makes active what is added, also what is not seen.
    if images or not any(layer.visible for layer in added):
        viewer.layers.selection.active = images[-1] if images else active
    if first:
        viewer.reset_view()
    return added


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


def _rank(layer: Layer) -> float:
    """Order our layers from the bottom up; those of others lie on top."""
    info = layer_info(layer)
    return float("inf") if info is None else info.role.rank


def show_instead(
    viewer: ViewerModel, layers: Sequence[LayerData], spared: Kind | None = None
) -> None:
    """Show layers of runs instead of what lay where they are; those that are there, again.

    Parameters
    ----------
    viewer : Viewer
    layers : sequence of tuple
    spared : {"fields", "labels", "imputed"}, optional
        Runs whose layers stay as they are.
    """
    infos: list[LayerInfo] = [attributes["metadata"][KEY] for _, attributes, _ in layers]
    names = {info.name for info in infos}
    for layer, info in our_layers(viewer):
        stays = info.run is not None and info.run.kind == spared
        if info.role.covers and info.name in names and not stays:
            layer.visible = False
    for data, info in zip(layers, infos, strict=True):
        same = [layer for layer, other in our_layers(viewer) if other.key == info.key]
        for layer in same:
            layer.visible = data[1]["visible"]
        if not same:
            add_layers(viewer, [data])


def set_contrast(layer: Image, limits: tuple[float, float]) -> None:
    """Set the contrast, and let its slider reach from zero to twice that."""
    layer.contrast_limits_range = (min(0.0, limits[0]), 2 * limits[1])
    layer.contrast_limits = limits
