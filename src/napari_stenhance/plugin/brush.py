"""A brush for regions: what is painted over a slide, by superpixels, becomes regions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_stenhance.plugin.layer_info import (
    LayerData,
    LayerInfo,
    Place,
    Role,
    grid_space,
    layers_of,
)
from napari_stenhance.plugin.regions import REGION_COLOUR
from napari_stenhance.section.cell_labels import cells_of_labels
from napari_stenhance.section.grid import Grid

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_stenhance.running.job import Job
    from napari_stenhance.section.named_regions import NamedRegions
    from napari_stenhance.section.slide import Slide

BRUSH = Role("brush", 7, covers=False)
_WIDE_PX, _LEAST = 24, 2
"""Of a brush: pixels of the screen, and superpixels at least."""


def hand_brush(viewer: ViewerModel, layer: Labels, size: float) -> None:
    """Hand the brush to the user, to paint in a layer; it is so many of its pixels wide."""
    viewer.layers.selection.active = layer
    layer.brush_size, layer.mode = size, "paint"


def brush_layer(slide: Slide, place: Place) -> LayerData:
    """Make a layer to paint regions in.

    No file holds what it shows, nor is it of a section: saved, it is saved whole.
    """
    from napari.utils.colormaps import DirectLabelColormap

    grid = Grid.over(slide)
    space = grid_space(grid)
    attributes = {
        "name": f"{place.name} painted",
        "opacity": 0.4,
        "colormap": DirectLabelColormap(color_dict={None: REGION_COLOUR, 0: "transparent"}),
        "metadata": LayerInfo(BRUSH, place.name, place=place).metadata(),
        **space,
        "translate": tuple(np.add(space["translate"], place.origin)),
    }
    return np.zeros(grid.shape, np.uint8), attributes, "labels"


def begin_brush(viewer: ViewerModel, layer: Labels) -> None:
    """Hand the brush to the user, as wide as it looks well now."""
    pitch = float(layer.scale[-1])
    size = _WIDE_PX / float(viewer.scene.camera.zoom) / pitch
    hand_brush(viewer, layer, max(round(size), _LEAST))


def brushed(viewer: ViewerModel, place: Place | None) -> Labels | None:
    """Return the layer in which regions are being painted; None if none are."""
    found = layers_of(viewer, BRUSH.name)
    return next((layer for layer, info in found if info.place is place), None)


def brushed_regions(
    values: NDArray[np.integer], grid_pitch: float, corner: tuple[float, float], job: Job
) -> NamedRegions:
    """Outline what was painted, one region for each label, along the edges of superpixels.

    Parameters
    ----------
    values : ndarray of int, shape (y, x)
        0 where nothing was.
    grid_pitch : float
        The side of a superpixel, in micrometres.
    corner : tuple of float
        The (y, x) of the outer corner of the first, in micrometres of the section.
    job : Job

    Raises
    ------
    InputError
        If nothing was painted.
    """
    found = cells_of_labels(values, (grid_pitch, grid_pitch), corner, "What is painted", job)
    # Without the corners between superpixels along one edge.
    return replace(found, areas=shapely.simplify(found.areas, 0), names=("",) * len(found))
