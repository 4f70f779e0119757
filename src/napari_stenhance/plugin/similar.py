"""Where else tissue is predicted to be like a region, as a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stenhance.plugin.images import image_layer, layer_title
from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, Role
from napari_stenhance.results.region_genes import similarity_levels

if TYPE_CHECKING:
    from napari_stenhance.results.runs import FieldRun
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.named_regions import NamedRegions

SIMILAR = Role("similarity", 3, fills=True)
COLOURS = "PiYG"
"""From pink, over white, to green: none of those that genes have."""


def similarity_layer(run: FieldRun, regions: NamedRegions, name: str, job: Job) -> LayerData:
    """Make the layer of how like some regions, taken as one, each superpixel is predicted to be.

    Raises
    ------
    InputError
        If nothing is predicted in them, or they are as the mean of the tissue.
    """
    levels = similarity_levels(run, regions.united(), job)
    info = LayerInfo(SIMILAR, run.result.name, run=run, part=name)
    title = layer_title(f"similarity to {name}", run)
    return image_layer(levels, run.grid, title, info, COLOURS, visible=True, limits=(-1.0, 1.0))


def said_of_similarity(info: LayerInfo, value: float) -> str:
    """Say how like the region it is, as is seen."""
    return f"similarity to {info.part}, predicted: {value:.2f} (1 alike, 0 unlike, -1 opposite)"
