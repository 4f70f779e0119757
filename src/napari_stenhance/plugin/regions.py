"""Regions as layers to draw in, and what was drawn as polygons in micrometres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_stenhance.plugin.images import layer_title
from napari_stenhance.plugin.layer_info import (
    LayerData,
    LayerInfo,
    Role,
    layers_of,
    pixel_space,
    same_slide,
)
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.results.runs import FieldRun

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.results.run import Run
    from napari_stenhance.section.region import Region
    from napari_stenhance.section.section import Section

REGION = Role("region", 7, covers=False)
REGION_COLOUR = "#00c8ff"
_CORNERS = 64


def region_layer(
    name: str,
    mpp: float | None,
    region: Region | None = None,
    section: Section | None = None,
    run: Run | None = None,
) -> LayerData:
    """Make a layer with a slide's transform to draw polygons in, or with those of a region."""
    attributes = {
        "name": f"{name} region",
        "ndim": 2,
        "shape_type": "polygon",
        "edge_color": REGION_COLOUR,
        "face_color": "transparent",
        "opacity": 1.0,
        # In pixels of the slide: about three pixels of the screen when a section fills it.
        "edge_width": 20 / (mpp or 1.0),
        "metadata": LayerInfo(REGION, name, section=section, run=run).metadata(),
        **pixel_space(mpp),
    }
    polygons: list[NDArray[np.float64]] = []
    if region is not None:
        parts = getattr(region.area, "geoms", [region.area])
        polygons = [np.asarray(p.exterior.coords)[:-1, ::-1] / (mpp or 1.0) for p in parts]
    return polygons, attributes, "shapes"


def open_region(viewer: ViewerModel, section: Section, *, to_draw: bool = False) -> Layer:
    """Return the layer to draw on a section in; it is made when it is first asked for.

    napari takes its time for a layer of shapes, also for an empty one; and for each that is made
    active, which one to draw in is left.
    """
    layer = region_layer(section.name, section.mpp, section=section)
    add_layers(viewer, [layer], active=not to_draw)
    return next(
        found for found, info in layers_of(viewer, "region") if same_slide(info.section, section)
    )


def begin_drawing(viewer: ViewerModel, section: Section, mode: str = "add_polygon") -> None:
    """Hand the layer to draw on a section in to the user, with a tool of napari's."""
    layer = open_region(viewer, section, to_draw=True)
    layer.visible = True
    viewer.layers.selection.active = layer
    # In a turn of its own: adding the layer has taken this one.
    QTimer.singleShot(0, lambda: setattr(layer, "mode", mode))


def drawn_layers(run: Run, *, visible: bool) -> list[LayerData]:
    """Make the layer of the region that a run is of, if it has one; it is always to be seen."""
    del visible
    region = run.result.region(run.name) if isinstance(run, FieldRun) else None
    if region is None:
        return []
    layer = region_layer(run.result.name, run.grid.mpp, region, run=run)
    layer[1]["name"] = layer_title("region", run)
    return [layer]


def polygons_um(layer: Layer, slide: Layer) -> list[Any]:
    """Return what was drawn in a shapes layer as polygons in micrometres of a slide.

    Rectangles and ellipses count; lines and paths, which have no area, do not.
    """
    mpp = float(slide.scale[-1])
    polygons = []
    for corners, kind in zip(layer.data, layer.shape_type, strict=True):
        if kind in {"line", "path"} or len(corners) < 3:
            continue
        world = [layer.data_to_world(p[-2:]) for p in outline(kind, corners)]
        pixels = [slide.world_to_data(p) for p in world]
        polygons.append(area_of(np.asarray(pixels)[:, ::-1] * mpp))
    return polygons


def outline(kind: str, vertices: Any) -> NDArray[np.float64]:
    """Return the corners of a shape; an ellipse, of whose box napari keeps the corners, gets 64."""
    corners = np.asarray(vertices, dtype=np.float64)
    if kind != "ellipse":
        return corners
    turn = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)[:, None]
    across, along = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    return corners.mean(axis=0) + np.cos(turn) * across + np.sin(turn) * along


def area_of(xy: NDArray[np.float64]) -> Any:
    """Make the area of a shape: rings that begin and end at its first corner, or one ring."""
    rings = _rings(xy)
    if len(rings) == 1:
        area = shapely.Polygon(rings[0])
        return area if area.is_valid else shapely.make_valid(area)
    # A ring within another is a hole in it, as napari fills them.
    area = shapely.Polygon()
    for ring in rings:
        area = area.symmetric_difference(shapely.make_valid(shapely.Polygon(ring)))
    return area


def _rings(xy: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Take apart what `drawn.shape_of` joined; of another shape, the one ring that it is."""
    home = np.flatnonzero((xy == xy[0]).all(axis=1))
    parts = [xy[begin:end] for begin, end in zip(home, [*home[1:], len(xy)], strict=True)]
    rings = [part for part in parts if len(part) > 2]
    # Where all corners are in one place there is no ring at all.
    if len(home) < 3 or not rings or not all(_is_closed(part[1:]) for part in rings[1:]):
        return [xy]
    return [rings[0], *(part[1:] for part in rings[1:])]


def _is_closed(ring: NDArray[np.float64]) -> bool:
    return len(ring) > 3 and bool((ring[0] == ring[-1]).all())
