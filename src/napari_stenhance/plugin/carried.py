"""Regions that stay on their slide while their section is opened otherwise, as at another scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import shapely

from napari_stenhance.plugin.layer_info import our_layers
from napari_stenhance.plugin.outlined import outlined_layer
from napari_stenhance.plugin.outlines import OutlinedRegions
from napari_stenhance.plugin.regions import region_layer
from napari_stenhance.plugin.scene import add_layers

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_stenhance.section.named_regions import NamedRegions
    from napari_stenhance.section.section import Section


@dataclass(frozen=True, eq=False)
class DrawnShapes:
    """What was drawn on a section.

    Attributes
    ----------
    shapes : list of ndarray
        Corners (y, x), in pixels of the slide.
    look : dict
        Kind and colours of each, as napari takes them.
    features : DataFrame
        Name, class, colour and measurements of each.
    """

    shapes: list[NDArray[Any]]
    look: dict[str, Any]
    features: pd.DataFrame


@dataclass(frozen=True, eq=False)
class CarriedRegions:
    """The regions of a section.

    Attributes
    ----------
    mpp : float
        Micrometres per pixel that the section had.
    drawn : DrawnShapes or None
    of_files : dict of str to NamedRegions
        Those of files that are outlined, in micrometres, by what their file is called.
    """

    mpp: float
    drawn: DrawnShapes | None
    of_files: dict[str, NamedRegions]


def remove_section(viewer: ViewerModel, section: Section) -> CarriedRegions:
    """Remove the layers of a section; return its regions."""
    drawn, of_files = None, {}
    for layer, info in list(our_layers(viewer)):
        if info.section is not section:
            continue
        if info.role.name == "region" and len(layer.data):
            look = {
                "shape_type": list(layer.shape_type),
                "edge_color": layer.edge_color.copy(),
                "face_color": layer.face_color.copy(),
            }
            drawn = DrawnShapes(list(layer.data), look, layer.features.copy())
        if info.outlined is not None:
            of_files[info.part] = info.outlined.regions
        viewer.layers.remove(layer)
    return CarriedRegions(section.mpp or 1.0, drawn, of_files)


def carry_over(viewer: ViewerModel, section: Section, carried: CarriedRegions) -> None:
    """Put regions on the same pixels of the slide, as it was opened now."""
    drawn, mpp = carried.drawn, section.mpp or 1.0
    if drawn is not None:
        # Made with them: what is added to a layer is taken for new, and named anew.
        _, attributes, kind = region_layer(section.name, section.mpp, section=section)
        attributes = {**attributes, **drawn.look, "features": drawn.features}
        add_layers(viewer, [(drawn.shapes, attributes, kind)])
    for file, regions in carried.of_files.items():
        areas = shapely.transform(regions.areas, lambda um: um * (mpp / carried.mpp))
        outlined = OutlinedRegions.from_regions(replace(regions, areas=areas), mpp)
        add_layers(viewer, [outlined_layer(section.name, section.mpp, outlined, file, section)])
