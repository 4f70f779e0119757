"""Spots, and what lies between them, as layers of points."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.colours import colormap_of
from napari_stenhance.plugin.images import set_colormap
from napari_stenhance.plugin.layer_info import KEY, LayerData, LayerInfo, Role, pixel_space

if TYPE_CHECKING:
    from napari.layers import Image, Points

    from napari_stenhance.plugin.bins import BinRaster
    from napari_stenhance.section.spots import SpotGeometry

SPOTS = Role("spots", 6)
SPOT = "spot"
"""The column of the names of spots."""


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


def bins_layer(
    gene: str, title: str, mpp: float | None, info: LayerInfo, raster: BinRaster
) -> LayerData:
    """Make a layer of bins that are the pixels of an image, turned and mirrored as they lie."""
    from napari.utils.transforms.transform_utils import decompose_linear_matrix

    px = mpp or 1.0
    rotate, scale, shear = decompose_linear_matrix(raster.step * px, upper_triangular=True)
    assert info.colours is not None
    values = info.colours.values(gene)
    attributes = {
        "name": title,
        "rgb": False,
        "colormap": colormap_of(gene),
        "contrast_limits": info.colours.ends(values),
        "opacity": 0.8,
        "metadata": info.metadata(),
        **pixel_space(mpp),
        "scale": tuple(scale),
        "rotate": rotate,
        "shear": shear,
        "translate": tuple(raster.corner * px),
    }
    return raster.image(values), attributes, "image"


def colour_spots(
    layer: Points | Image, gene: str, ends: tuple[float, float] | None, colormap: Any
) -> tuple[float, float]:
    """Colour spots, bins or a lattice by a gene; return what the first and last colour mean."""
    info: LayerInfo = layer.metadata[KEY]
    assert info.colours is not None
    layer.metadata[KEY] = replace(info, gene=gene)
    values, raster = info.colours.values(gene), getattr(info.colours, "raster", None)
    if raster is None:
        layer.face_color, ends = info.colours.paint(gene, ends, values, colormap)
        _say_values(layer, info.colours.said(gene), values)
    else:
        ends = info.colours.ends(values, ends)
        layer.data = raster.image(values)
        set_colormap(layer, colormap)
        layer.contrast_limits = ends
    layer.name = info.colours.label(info.name, gene)
    return ends


def _say_values(layer: Points, name: str, values: NDArray[np.float32]) -> None:
    """Let napari say the value of the spot under the mouse, under the name of what it is of."""
    table = layer.features
    others = [column for column in table.columns if column != SPOT]
    # In place: napari would look up the kinds of all columns anew.
    table.drop(columns=others, inplace=True)
    table[name] = np.round(values, 2)
