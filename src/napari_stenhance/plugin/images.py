"""Rasters of a run as image layers, and how its layers are called."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_stenhance.methods.registry import methods
from napari_stenhance.plugin.layer_info import KEY, LayerData, LayerInfo, grid_space
from napari_stenhance.plugin.levels import contrast, shown_levels

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.utils.colormaps import Colormap

    from napari_stenhance.results.run import Run
    from napari_stenhance.section.grid import Grid
    from napari_stenhance.storage.levels import Levels

_OPACITY, _WASHED = 0.75, 0.25


def run_title(run: Run) -> str:
    """Name the method of a run, that it is of a region, and which of several it is."""
    identity = run.identity
    method = identity.get("method", run.name)
    # A method of another package may be gone.
    said = next((entry.title for entry in methods() if entry.name == method), method)
    if identity.get("preset", "robust") != "robust":
        said += f" {identity['preset']}"
    if run.in_region:
        said += ", region"
    number = run.name.rpartition("-")[2]
    return f"{said} ({number})" if number.isdigit() and said != run.name else said


def layer_title(what: str, run: Run) -> str:
    """Name a layer of a run: what it shows comes first, for napari leaves out the middle."""
    return f"{what} · {run_title(run)} · {run.result.name}"


def image_layer(
    levels: Levels,
    grid: Grid,
    title: str,
    info: LayerInfo,
    colormap: str,
    *,
    visible: bool,
    limits: tuple[float, float] | None = None,
) -> LayerData:
    """Make a multiscale image layer of what lies on a grid; by default in limits of its own."""
    shown = shown_levels(levels)
    attributes = {
        "name": title,
        "rgb": False,
        "multiscale": True,
        # dask's cache would show old tiles of a run that is still being filled.
        "cache": False,
        "contrast_limits": limits or contrast(shown),
        "colormap": colormap,
        "blending": "translucent",
        "opacity": _OPACITY,
        "visible": visible,
        "metadata": info.metadata(),
        **grid_space(grid),
    }
    return shown, attributes, "image"


def set_colormap(layer: Image, colormap: Colormap) -> None:
    """Show a layer in other colours, where it is not so yet: napari draws up its bar anew."""
    if layer.colormap.name != colormap.name or not layer.colormap.same_colors(colormap):
        layer.colormap = colormap


def wash_out(layer: Layer, *, washed: bool) -> None:
    """Let a layer look as little to be relied on as what it shows; or give it back its opacity."""
    info: LayerInfo = layer.metadata[KEY]
    if washed and layer.opacity > _WASHED:
        layer.metadata[KEY] = replace(info, opacity=layer.opacity)
        layer.opacity = _WASHED
    elif not washed and layer.opacity == _WASHED:
        layer.opacity = info.opacity or _OPACITY
