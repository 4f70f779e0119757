"""Sections side by side: where each lies in the viewer, and which section a run is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    Place,
    info_of,
    layer_info,
    our_layers,
    same_slide,
)
from napari_stenhance.results.inputs import is_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section

_IN_A_ROW = 4
_BESIDE, _BELOW = 0.1, 0.4
"""Of a section's width and height: below lie the other images of its file, where asked for."""


def open_places(viewer: ViewerModel) -> list[Place]:
    """List where something of ours lies, in the order of opening."""
    places = dict.fromkeys(info.place for _, info in our_layers(viewer) if info.place is not None)
    return list(places)


def settle(viewer: ViewerModel, data: LayerData) -> LayerData:
    """Put a layer where its section lies: beside all others if it is the first of it.

    Parameters
    ----------
    viewer : Viewer
    data : tuple
        In coordinates of its section; others' layers stay as they are.
    """
    values, attributes, kind = data
    info = info_of(data)
    if info is None or info.place is not None:
        return data
    place = _place_for(viewer, info)
    moved = np.add(attributes.get("translate", (0.0, 0.0)), place.origin)
    metadata = {**attributes["metadata"], KEY: replace(info, place=place, look=None)}
    return values, {**attributes, "translate": tuple(moved), "metadata": metadata}, kind


def settle_layer(viewer: ViewerModel, layer: Layer) -> None:
    """Put a layer of ours that napari itself has added where its section lies."""
    info = layer_info(layer)
    if info is not None and info.place is None:
        place = _place_for(viewer, info)
        layer.translate = np.add(layer.translate, place.origin)
        layer.metadata[KEY] = replace(info, place=place, look=None)


def find_place(viewer: ViewerModel, info: LayerInfo) -> Place | None:
    """Return where that lies of which a layer is; None if nothing of it is open."""
    said = _said(info)
    for _, other in our_layers(viewer):
        if other.place is None:
            continue
        if info.section is not None and other.section is not None:
            alike = info.section is other.section or same_slide(info.section, other.section)
        elif info.section is not None:
            alike = is_of(info.section, other.place.said, read=False)
        elif other.section is not None:
            alike = is_of(other.section, said, read=False)
        else:
            alike = bool(said) and _same(said, _said(other) or other.place.said)
        if alike:
            return other.place
    return None


def box_of(viewer: ViewerModel, place: Place, but: str = "") -> NDArray[np.float64]:
    """Return ((top, left), (bottom, right)) of all that lies at a place, in units of the world.

    Layers of the role `but` count only where there is nothing else.
    """
    here = [(i.role.name, one) for one, i in our_layers(viewer) if i.place is place]
    there = [(name, layer) for name, layer in here if len(layer.data)]
    boxes = [layer.extent.world for name, layer in there if name != but]
    boxes = boxes or [layer.extent.world for _, layer in there]
    if not boxes:
        return np.array([place.origin, place.origin])
    return np.array([np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)])


def _place_for(viewer: ViewerModel, info: LayerInfo) -> Place:
    """Return the place of what is to be shown; a new one where nothing of it is."""
    found = find_place(viewer, info)
    if found is not None:
        return found
    places = open_places(viewer)
    names = {place.name for place in places}
    name, n = info.name, 1
    while name in names:
        n += 1
        name = f"{info.name} ({n})"
    return Place(name, _free_origin(viewer, places), _said(info))


def _free_origin(viewer: ViewerModel, places: list[Place]) -> tuple[float, float]:
    """Return a corner right of what was opened last, or, where a row is full, below all."""
    if not places:
        return 0.0, 0.0
    boxes = [box_of(viewer, place) for place in places]
    if len(places) % _IN_A_ROW:
        (_, left), (_, right) = boxes[-1]
        return places[-1].origin[0], float(right + _BESIDE * (right - left))
    heights = [bottom - top for (top, _), (bottom, _) in boxes]
    bottom = max(box[1][0] for box in boxes)
    return float(bottom + _BELOW * max(heights)), places[0].origin[1]


def _said(info: LayerInfo) -> Mapping[str, Any]:
    """Return what a run's result says of its slide or spots; empty for a section's own layers."""
    if info.run is None:
        return {}
    said = info.run.result.attributes
    return {key: said[key] for key in ("slide", "spots") if key in said}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    def what(said: Mapping[str, Any]) -> list[Any]:
        parts = [said[key] for key in ("slide", "spots") if key in said]
        return [[p.get(key) for key in ("sha256", "mpp", "series", "conversions")] for p in parts]

    return what(one) == what(other) != []


def hash_slides(
    opened: Section | ResultFolder | None,
    sections: Sequence[Section],
    said: Sequence[Mapping[str, Any]],
    job: Job | None = None,
) -> None:
    """Hash those slides that may be of one tissue with what was opened: places read nothing.

    Parameters
    ----------
    opened : Section, ResultFolder or None
        What was just opened, and is not in the viewer yet.
    sections : sequence of Section
        Those that are.
    said : sequence of mapping
        What results that are open say of their slides.
    job : Job, optional
        Receives progress.
    """
    from napari_stenhance.section.section import Section

    if isinstance(opened, Section):
        pairs = [(opened, one) for one in said]
    else:
        pairs = [] if opened is None else [(one, opened.attributes) for one in sections]
    for section, attributes in pairs:
        slide, of = section.slide, attributes.get("slide")
        if slide is not None and of is not None and list(slide.shape) == list(of["shape"]):
            slide.state.sha256(job)
