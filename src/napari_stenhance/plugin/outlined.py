"""Regions of a file that are too many to be shapes, as a layer: an image of their outlines.

napari takes milliseconds for each shape, and goes through all of them for each that is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    Place,
    Role,
    layers_of,
    pixel_space,
)
from napari_stenhance.plugin.regions import REGION_COLOUR

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap

    from napari_stenhance.plugin.outlines import OutlinedRegions
    from napari_stenhance.section.named_regions import NamedRegions
    from napari_stenhance.section.section import Section

OUTLINED = Role("outlined regions", 7, covers=False)
SHAPES_MOST = 500
"""Regions of a file up to which they are shapes, that can be changed with napari's tools."""
_CHOSEN_COLOUR = "#ffe800"
_CHOSEN, _COLOURS_MOST = 255, 253
"""The label of what is chosen; of colours, the first so many of a file have labels of their own."""


def _colours(regions: NamedRegions) -> list[str]:
    """List the colours that there are, each once; the label of the first is 1."""
    found = dict.fromkeys(colour or REGION_COLOUR for colour in regions.colours)
    return [*list(found)[:_COLOURS_MOST], REGION_COLOUR]


def _labels(outlined: OutlinedRegions) -> NDArray[np.uint8]:
    """Return the label of each region: that of its colour, or of what is chosen."""
    colours = _colours(outlined.regions)
    number = {colour: n for n, colour in reversed(list(enumerate(colours, 1)))}
    said = (number.get(c or REGION_COLOUR, len(colours)) for c in outlined.regions.colours)
    labels = np.fromiter(said, np.uint8)
    labels[list(outlined.chosen)] = _CHOSEN
    return labels


def _colormap(regions: NamedRegions) -> DirectLabelColormap:
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = dict(enumerate(_colours(regions), 1))
    return DirectLabelColormap(color_dict={**colours, None: "transparent", _CHOSEN: _CHOSEN_COLOUR})


def outlined_layer(
    name: str,
    mpp: float | None,
    outlined: OutlinedRegions,
    file: str,
    section: Section | None = None,
) -> LayerData:
    """Make the layer of the regions of a file.

    Parameters
    ----------
    name : str
        Of the section.
    mpp : float or None
        Micrometres per pixel of its slide.
    outlined : OutlinedRegions
    file : str
        What they are called.
    section : Section, optional
    """
    info = LayerInfo(OUTLINED, name, section=section, part=file, outlined=outlined)
    attributes = {
        "name": f"{file} · {name}",
        "opacity": 1.0,
        "colormap": _colormap(outlined.regions),
        "metadata": info.metadata(),
        **pixel_space(mpp),
        **outlined.place(),
    }
    return outlined.levels(_labels(outlined)), attributes, "labels"


def choose_outlined(layer: Labels, rows: Sequence[int]) -> OutlinedRegions:
    """Let some regions of a layer stand out instead of those that do."""
    info: LayerInfo = layer.metadata[KEY]
    outlined = info.outlined
    assert outlined is not None
    if tuple(rows) != outlined.chosen:
        outlined = replace(outlined, chosen=tuple(rows))
        layer.metadata[KEY] = replace(info, outlined=outlined)
        layer.data = outlined.levels(_labels(outlined))
    return outlined


def outlined_at(
    viewer: ViewerModel, place: Place | None
) -> Iterator[tuple[Labels, OutlinedRegions]]:
    """List the layers at a place that show regions of files, and these."""
    for layer, info in layers_of(viewer, OUTLINED.name):
        if info.outlined is not None and info.place is place:
            yield layer, info.outlined


def said_of_outlined(outlined: OutlinedRegions, seen: NDArray[np.int64]) -> str:
    """Say which region is seen, and of what class; nothing where none is."""
    if not len(seen):
        return ""
    name, kind = outlined.regions.names[seen[0]], outlined.regions.kinds[seen[0]]
    return f"region: {name}" if kind in {"", name} else f"region: {name}, {kind}"
