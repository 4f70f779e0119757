"""Rasters of a run as image layers, and how its layers are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_stenhance.plugin.layer_info import LayerData, LayerInfo

if TYPE_CHECKING:
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.grid import Grid


def run_title(result: ResultFolder, run: str) -> str:
    """Name a section, and the run too where its result has several."""
    return result.name if run == result.runs[0] else f"{result.name} ({run})"


def image_layer(
    levels: Sequence[Any],
    grid: Grid,
    title: str,
    about: LayerInfo,
    limits: tuple[float, float],
    colormap: str,
    *,
    visible: bool,
) -> LayerData:
    """Make a multiscale image layer of what lies on a grid."""
    attributes = {
        "name": title,
        "rgb": False,
        "multiscale": True,
        # dask's cache would show old tiles of a run that is still being filled.
        "cache": False,
        "contrast_limits": limits,
        "colormap": colormap,
        "blending": "translucent",
        "opacity": 0.75,
        "visible": visible,
        "metadata": about.metadata(),
        "scale": (grid.scale_um(),) * 2,
        "translate": grid.translate_um(),
        "units": (grid.unit,) * 2,
        "axis_labels": ("y", "x"),
    }
    return levels, attributes, "image"
