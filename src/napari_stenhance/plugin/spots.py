"""Spots, and what lies between them, as layers of points; very many of them as an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.colours import SpotColours, colormap_of
from napari_stenhance.plugin.images import set_colormap
from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    Role,
    pixel_space,
)
from napari_stenhance.section.observed import several

if TYPE_CHECKING:
    from napari.layers import Image, Points

    from napari_stenhance.section.spots import SpotGeometry

SPOTS = Role("spots", 6)


def points_layer(
    xy: NDArray[Any],
    title: str,
    geometry: SpotGeometry,
    mpp: float | None,
    info: LayerInfo,
    **look: Any,
) -> LayerData:
    """Make a layer of spots at (x, y) in full-resolution pixels, at their true size."""
    in_pixels = geometry.unit == "pixel" or mpp is None
    attributes = {
        "name": title,
        "size": geometry.spot_diameter_um / (1.0 if in_pixels else mpp or 1.0),
        "symbol": geometry.spot_shape,
        "border_width": 0,
        "opacity": 0.8,
        "metadata": info.metadata(),
        **pixel_space(mpp),
        **look,
    }
    return np.asarray(xy, np.float64)[:, 1::-1], attributes, "points"


def raster_layer(gene: str, title: str, mpp: float | None, info: LayerInfo) -> LayerData:
    """Make a layer of bins or cells that are an image, as they lie."""
    assert info.colours is not None
    assert info.raster is not None
    values = info.colours.values(gene)
    attributes = {
        "name": title,
        "rgb": False,
        "colormap": colormap_of(gene),
        "contrast_limits": info.colours.ends(values),
        "opacity": 0.8,
        "metadata": info.metadata(),
        **pixel_space(mpp),
        **info.raster.place(mpp or 1.0),
    }
    return info.raster.image(values), attributes, "image"


def colour_spots(
    layer: Points | Image, gene: str, ends: tuple[float, float] | None, colormap: Any
) -> tuple[float, float]:
    """Colour spots, bins or a lattice by a gene; return what the first and last colour mean."""
    info: LayerInfo = layer.metadata[KEY]
    assert info.colours is not None
    layer.metadata[KEY] = replace(info, gene=gene)
    values = info.colours.values(gene)
    if info.raster is None:
        layer.face_color, ends = info.colours.paint(gene, ends, values, colormap)
        _say_values(layer, info.colours.said(gene), values)
    else:
        ends = info.colours.ends(values, ends)
        if info.gene != gene:
            layer.data = info.raster.image(values)
        set_colormap(layer, colormap)
        if tuple(layer.contrast_limits) != ends:
            layer.contrast_limits = ends
    layer.name = info.colours.label(info.name, gene)
    return ends


def said_of_spots(info: LayerInfo, seen: NDArray[np.int64], value: float) -> str:
    """Say the value that is seen, and of which bin or cell it is."""
    assert isinstance(info.colours, SpotColours)
    assert info.section is not None
    said, observed = f"{info.colours.said(info.gene)}: {value:.2f}", info.section.observed
    if len(seen) > 1:
        return f"{said} in the mean of {len(seen)} {several(observed)}"
    return f"{observed}: {info.section.need_spots().obs_names[seen[0]]}, {said}"


def _say_values(layer: Points, name: str, values: NDArray[np.float32]) -> None:
    """Let napari say the value of the spot under the mouse, under the name of what it is of."""
    table = layer.features
    # In place: napari would look up the kinds of all columns anew. The first says which spot it is.
    for other in table.columns[1:]:
        del table[other]
    table[name] = np.round(values, 2)
