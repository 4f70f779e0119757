"""Put layers into a viewer, in order, each where its section lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.utils.notifications import show_warning

from napari_stenhance.plugin.colours import SpotColours
from napari_stenhance.plugin.layer_info import (
    LayerData,
    LayerInfo,
    info_of,
    layer_info,
    layers_of,
    our_layers,
    same_slide,
)
from napari_stenhance.plugin.places import settle, settle_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.section.section import Section


def add_layers(
    viewer: ViewerModel, layers: Sequence[LayerData], *, active: bool = True
) -> list[Layer]:
    """Add layers, slides under gene images under spots, each where its section lies.

    A slide that is open already, because a result brought it or because it was opened before the
    result, is not added again; nor are its spots, wherever they are placed.

    Parameters
    ----------
    viewer : ViewerModel
    layers : sequence of tuple
    active : bool
        Whether that of them is made active, or stays it, which is seen; else what napari makes so.

    Returns
    -------
    list of Layer
        Those that were added.
    """
    from napari.layers import Layer as LayerClass

    first, before = not len(viewer.layers), viewer.layers.selection.active
    added: list[Layer] = []
    for data in layers:
        info = info_of(data)
        if info is not None:
            if any(_is_same(info, other) for _, other in layers_of(viewer, info.role.name)):
                continue
        layer = LayerClass.create(*settle(viewer, data))
        # At once where it belongs: napari draws up its scene anew for each move.
        viewer.layers.insert(_position(viewer, layer), layer)
        # Of genes, the session says whose bar is seen.
        if info is not None and info.role.fills and not info.gene:
            layer.colorbar.visible = True
        added.append(layer)
    viewer.canvas.overlays.scale_bar.visible = True
    if active:
        # napari makes active what is added, also what is not seen.
        seen = [layer for layer in added if layer.visible and _is_looked_at(layer)]
        viewer.layers.selection.active = seen[-1] if seen else before
    if first:
        viewer.reset_view()
    return added


def take_in(viewer: ViewerModel, layer: Layer) -> None:
    """Do for a layer of ours that napari itself has added what `add_layers` does."""
    settle_layer(viewer, layer)
    at, wanted = viewer.layers.index(layer), _position(viewer, layer)
    if wanted < at:
        viewer.layers.move(at, wanted)
    info = layer_info(layer)
    if info is not None and info.role.fills and not info.gene:
        layer.colorbar.visible = True
    viewer.canvas.overlays.scale_bar.visible = True


def not_open_yet(layers: Sequence[LayerData]) -> list[LayerData]:
    """Leave out what the viewer shows already: a second slide would lie over all of the first.

    Parameters
    ----------
    layers : sequence of tuple
        That napari itself is about to add to the current viewer.
    """
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is None:
        return list(layers)
    for said in said_of_places(viewer, layers):
        show_warning(said)
    there = [info for _, info in our_layers(viewer)]
    infos = map(info_of, layers)
    return [
        data
        for data, info in zip(layers, infos, strict=True)
        if info is None or not any(_is_twin(info, other) for other in there)
    ]


def said_of_places(viewer: ViewerModel, layers: Sequence[LayerData]) -> list[str]:
    """Say of which sections the spots are open already, but placed otherwise: these stay."""
    said = {}
    for data in layers:
        info = info_of(data)
        for _, other in [] if info is None else layers_of(viewer, "spots"):
            if info.role.name == "spots" and _placed_otherwise(info.section, other.section):
                there, here = (_how_placed(one.section) for one in (other, info))
                name = other.name if other.place is None else other.place.name
                said[name] = (
                    f"{name} is open with its spots {there}, and stays so; to see them "
                    f"{here}, remove their layer first."
                )
    return list(said.values())


def show_layer(layer: Layer, *, visible: bool) -> None:
    """Show or hide a layer, where it is not so yet: napari draws up its scene anew each time."""
    if layer.visible != visible:
        layer.visible = visible


def show_bar(layer: Layer, *, visible: bool) -> None:
    """Show or hide the colour bar of a layer, where it is not so yet."""
    if layer.colorbar.visible != visible:
        layer.colorbar.visible = visible


def _position(viewer: ViewerModel, layer: Layer) -> int:
    """Return where a layer belongs: above all others that do not lie over it."""
    others = [(n, other) for n, other in enumerate(viewer.layers) if other is not layer]
    return max((n for n, other in others if _rank(other) <= _rank(layer)), default=-1) + 1


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
    if _placed_otherwise(first, second):
        # Two of one section on one slide: nobody could tell which are learned from.
        return True
    if not (isinstance(one.colours, SpotColours) and isinstance(other.colours, SpotColours)):
        return False
    places = (section.need_spots().obsm["spatial"] for section in (first, second))
    return (
        one.colours.genes == other.colours.genes
        and np.array_equal(one.colours.library, other.colours.library)
        and np.array_equal(*places)
    )


def _placed_otherwise(one: Section | None, other: Section | None) -> bool:
    """Tell whether two sections are of the same spots, which registrations place differently."""
    if one is None or other is None or one.source is None or other.source is None:
        return False
    if one.mpp != other.mpp or one.registration == other.registration:
        return False
    first, second = one.source, other.source
    return (first.path, first.sample) == (second.path, second.sample)


def _how_placed(section: Section | None) -> str:
    placing = section and section.registration
    return "as its files state them" if placing is None else f"placed by {placing.made}"


def _same_pictures(one: LayerInfo, other: LayerInfo) -> bool:
    """Tell whether two layers show the picture of one section."""
    first, second = one.section, other.section
    if first is None or second is None or first.source is None:
        return first is second
    return first.source == second.source


def _is_same(one: LayerInfo, other: LayerInfo) -> bool:
    same = _SAME.get(one.role.name)
    return same is not None and same(one, other)


def _is_twin(one: LayerInfo, other: LayerInfo) -> bool:
    """Tell whether a layer shows nothing but what another one shows."""
    if one.role.name != other.role.name:
        return False
    if one.role.name == "region":
        # What a person drew is in no other.
        return False
    return _is_same(one, other) or (one.run is not None and one.key == other.key)


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
