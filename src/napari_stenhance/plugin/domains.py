"""Domains in a viewer: one set of colours for labels and spots, and what a person changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.layer_info import KEY, LayerInfo, layers_of
from napari_stenhance.results.label_map import LABELS_MOST
from napari_stenhance.results.palette import colour_of, rgba

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer
    from napari.utils.colormaps import DirectLabelColormap

    from napari_stenhance.results.domain_edit import DomainEdit

_BRUSH = 9


def colour_table(edit: DomainEdit, *, new: bool = False) -> NDArray[np.float32]:
    """Return the RGBA, 0 … 1, of every label; those that are no domain only if `new` is asked."""
    table = np.zeros((LABELS_MOST + 1, 4), np.float32)
    if new:
        table[1:] = [rgba(colour_of(value)) for value in range(1, LABELS_MOST + 1)]
    for domain in edit.domains:
        table[domain.value] = rgba(domain.colour, hidden=domain.hidden)
    for old, stays in edit.merged.items():
        table[old] = table[stays]
    return table / 255


def label_colours(edit: DomainEdit, *, new: bool = False) -> DirectLabelColormap:
    """Return the colours of a labels layer."""
    from napari.utils.colormaps import DirectLabelColormap

    table = colour_table(edit, new=new)
    colours: dict[int | None, Any] = {value: table[value] for value in range(len(table))}
    return DirectLabelColormap(color_dict={None: np.zeros(4), **colours})


def label_features(edit: DomainEdit) -> pd.DataFrame:
    """Return what napari says of the label under the mouse."""
    import pandas as pd

    names = {d.value: d.name for d in edit.domains}
    names |= {old: names[stays] for old, stays in edit.merged.items()}
    return pd.DataFrame({"index": [0, *names], "domain": ["", *names.values()]})


def paint_spots(edit: DomainEdit, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Colour spots by their label; those of hidden domains are transparent."""
    return colour_table(edit)[labels]


def layers_of_run(viewer: ViewerModel, about: LayerInfo) -> Iterator[tuple[Layer, LayerInfo]]:
    """List the layers of a domain run."""
    roles = ("domains", "painting", "domain spots")
    return layers_of(viewer, *roles, result=about.result, run=about.run)


def open_domains(viewer: ViewerModel) -> list[LayerInfo]:
    """List the domain runs that some layer shows, one entry each."""
    runs: dict[Any, LayerInfo] = {}
    for _, about in layers_of(viewer, "domains"):
        runs.setdefault((about.result, about.run), about)
    return list(runs.values())


def show_edit(viewer: ViewerModel, about: LayerInfo, edit: DomainEdit) -> None:
    """Show the domains of a run as they are now, in all its layers."""
    for layer, shown in layers_of_run(viewer, about):
        layer.metadata[KEY] = replace(shown, edit=edit)
        if shown.role == "domain spots":
            colours = paint_spots(edit, layer.features["label"].to_numpy())
            layer.face_color = colours
            layer.shown = colours[:, 3] > 0
            continue
        if shown.role == "painting":
            layer.data = edit.lookup()[layer.data]
        layer.colormap = label_colours(edit, new=shown.role == "painting")
        layer.features = label_features(edit)


def painting(viewer: ViewerModel, about: LayerInfo) -> Labels | None:
    """Return the layer in which a run is being repainted."""
    found = layers_of(viewer, "painting", result=about.result, run=about.run)
    return next((layer for layer, _ in found), None)


def painting_layer(about: LayerInfo) -> Any:
    """Make a layer to repaint a run in: napari can paint no pyramid."""
    edit = about.edit
    assert edit is not None
    grid = edit.run.grid
    attributes = {
        "name": f"{about.name} repainted: {about.run}",
        "multiscale": False,
        "colormap": label_colours(edit, new=True),
        "features": label_features(edit),
        "opacity": 0.6,
        "metadata": replace(about, role="painting").metadata(),
        "scale": (grid.scale_um(),) * 2,
        "translate": grid.translate_um(),
        "units": (grid.unit,) * 2,
        "axis_labels": ("y", "x"),
    }
    return edit.lookup()[np.asarray(edit.run.levels[0][...])], attributes, "labels"


def begin_painting(viewer: ViewerModel, layer: Labels) -> None:
    """Hand the brush to the user, and hide what it would paint under."""
    about: LayerInfo = layer.metadata[KEY]
    for other, shown in layers_of_run(viewer, about):
        other.visible = shown.role == "painting"
    viewer.layers.selection.active = layer
    layer.brush_size = _BRUSH
    layer.mode = "paint"
