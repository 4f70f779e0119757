"""Rasters of a run as image layers, and how its layers are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stenhance.plugin.layer_info import LayerData, LayerInfo, grid_space
from napari_stenhance.plugin.levels import contrast, shown_levels

if TYPE_CHECKING:
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.section.grid import Grid
    from napari_stenhance.storage.levels import Levels


def run_title(run: GeneSource) -> str:
    """Name a section, and the run too where its result has several."""
    return f"{run.result.name} ({run.name})" if run.number else run.result.name


def image_layer(
    levels: Levels, grid: Grid, title: str, info: LayerInfo, colormap: str, *, visible: bool
) -> LayerData:
    """Make a multiscale image layer of what lies on a grid."""
    shown = shown_levels(levels)
    attributes = {
        "name": title,
        "rgb": False,
        "multiscale": True,
        # dask's cache would show old tiles of a run that is still being filled.
        "cache": False,
        "contrast_limits": contrast(shown),
        "colormap": colormap,
        "blending": "translucent",
        "opacity": 0.75,
        "visible": visible,
        "metadata": info.metadata(),
        **grid_space(grid),
    }
    return shown, attributes, "image"
