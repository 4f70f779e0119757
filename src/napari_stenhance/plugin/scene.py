"""Put layers into a viewer as they should look, and change what they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    Role,
    layer_info,
    layers_of,
    same_slide,
)
from napari_stenhance.plugin.layers import browse_title
from napari_stenhance.plugin.levels import contrast, field_levels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer, Points

    from napari_stenhance.methods.field import What

_RANKS: dict[Role, int] = {
    "slide": 0,
    "browse": 1,
    "gene": 1,
    "attention": 1,
    "imputed": 1,
    "imputed gene": 1,
    "domains": 2,
    "painting": 3,
    "spots": 4,
    "lattice": 4,
    "domain spots": 4,
    "region": 5,
}
_COLOUR_BARS = {"gene", "browse", "attention", "imputed", "imputed gene"}


def add_layers(viewer: ViewerModel, layers: Sequence[LayerData]) -> list[Layer]:
    """Add layers, slides under gene images under spots, with a scale bar and colour bars.

    A slide that is open already, because a result brought it or because it was opened before the
    result, is not added again.

    Returns
    -------
    list of Layer
        Those that were added.
    """
    from napari.layers import Layer as LayerClass

    first = not len(viewer.layers)
    added = []
    for data in layers:
        layer = LayerClass.create(*data)
        about = layer_info(layer)
        if about is not None and about.role in {"slide", "region"}:
            there = [other.section for _, other in layers_of(viewer, about.role)]
            if any(same_slide(about.section, section) for section in there):
                continue
        viewer.add_layer(layer)
        below = [n for n, other in enumerate(viewer.layers[:-1]) if _rank(other) <= _rank(layer)]
        viewer.layers.move(len(viewer.layers) - 1, max(below, default=-1) + 1)
        if about is not None and about.role in _COLOUR_BARS:
            layer.colorbar.visible = True
        added.append(layer)
    viewer.canvas.overlays.scale_bar.visible = True
    images = [layer for layer in added if layer.visible and _rank(layer) <= _RANKS["gene"]]
    if images:
        viewer.layers.selection.active = images[-1]
    if first:
        viewer.reset_view()
    return added


def _rank(layer: Layer) -> int:
    """Order our layers from the bottom up; those of others lie on top."""
    about = layer_info(layer)
    return len(_RANKS) if about is None else _RANKS[about.role]


def browse(layer: Image, gene: str, what: What = "latent") -> None:
    """Show another gene, or its spread, in a browse layer."""
    about: LayerInfo = layer.metadata[KEY]
    assert about.field is not None
    levels = field_levels(about.field, gene, what)
    layer.metadata[KEY] = replace(about, gene=gene)
    layer.data = levels
    set_contrast(layer, contrast(levels))
    layer.name = browse_title(layer.name.split(" browse:")[0], gene, about.field, what)


def set_contrast(layer: Image, limits: tuple[float, float]) -> None:
    """Set the contrast, and let its slider reach from zero to twice that."""
    layer.contrast_limits_range = (min(0.0, limits[0]), 2 * limits[1])
    layer.contrast_limits = limits


def colour_spots(
    layer: Points, gene: str, ends: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Colour spots, or a lattice, by a gene; return what the first and last colour mean."""
    about: LayerInfo = layer.metadata[KEY]
    assert about.colours is not None
    layer.metadata[KEY] = replace(about, gene=gene)
    layer.face_color, ends = about.colours.paint(gene, ends)
    layer.name = about.colours.label(about.name, gene)
    return ends
