"""Domains in a viewer: one set of colours for labels and spots, and what a person changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    Role,
    grid_space,
    layers_of,
)
from napari_stenhance.plugin.levels import shown_levels
from napari_stenhance.plugin.spots import points_layer
from napari_stenhance.results.label_map import LABELS_MOST
from napari_stenhance.results.palette import colour_of, rgba

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer
    from napari.utils.colormaps import DirectLabelColormap

    from napari_stenhance.results.domain_edit import DomainEdit
    from napari_stenhance.results.run import Run

DOMAINS, PAINTING, DOMAIN_SPOTS = Role("domains", 4), Role("painting", 5), Role("domain spots", 6)
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


def domain_layers(run: Run, *, visible: bool) -> list[LayerData]:
    """Make the layers of a domain run: a label image, and the spots in the same colours."""
    from napari_stenhance.results.domain_edit import DomainEdit
    from napari_stenhance.results.domains import CONFIDENCE, LABEL, DomainRun
    from napari_stenhance.section.spots import geometry_of, positions_px
    from napari_stenhance.storage.levels import Levels
    from napari_stenhance.storage.pyramid import majority_pool

    if not isinstance(run, DomainRun):
        return []
    edit, grid, labels = DomainEdit.from_run(run), run.grid, run.levels
    info = LayerInfo(DOMAINS, run.result.name, run=run, edit=edit)
    title = f"{run.result.name} domains: {run.name}"
    levels = Levels.from_arrays(labels, majority_pool)
    attributes = {
        "name": title,
        "multiscale": True,
        "opacity": 0.6,
        "visible": visible,
        "metadata": info.metadata(),
        **_label_look(edit),
        **grid_space(grid),
    }
    layers: list[LayerData] = [(shown_levels(levels, labels[0].dtype, 0), attributes, "labels")]
    spots = run.spots()
    if spots is not None:
        value_of = {d.name: d.value for d in run.domains}
        features = {
            "spot": np.asarray(spots.obs_names, dtype=object),
            "domain": spots.obs[LABEL].astype(object).to_numpy(),
            "confidence": spots.obs[CONFIDENCE].to_numpy(),
            "label": np.array([value_of.get(name, 0) for name in spots.obs[LABEL].astype(object)]),
        }
        layer = points_layer(
            positions_px(spots, title),
            f"{title} (spots)",
            geometry_of(spots),
            None if grid.unit == "pixel" else grid.mpp,
            replace(info, role=DOMAIN_SPOTS),
            features=features,
            visible=visible,
            opacity=1.0,
            **_spots_look(edit, features["label"]),
        )
        layers.append(layer)
    return layers


def _label_look(edit: DomainEdit, *, new: bool = False) -> dict[str, Any]:
    return {"colormap": label_colours(edit, new=new), "features": label_features(edit)}


def _spots_look(edit: DomainEdit, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Colour spots by their label; those of hidden domains are not shown."""
    rgba = colour_table(edit)[labels]
    return {"face_color": rgba, "shown": rgba[:, 3] > 0}


def layers_of_domains(viewer: ViewerModel, run: Run) -> Iterator[tuple[Layer, LayerInfo]]:
    """List the layers of a domain run."""
    return layers_of(viewer, "domains", "painting", "domain spots", of_run=run.key)


def show_edit(viewer: ViewerModel, edit: DomainEdit) -> None:
    """Show the domains of a run as they are now, in all its layers."""
    for layer, info in layers_of_domains(viewer, edit.run):
        layer.metadata[KEY] = replace(info, edit=edit)
        if info.role is PAINTING:
            layer.data = edit.lookup()[layer.data]
        look = (
            _spots_look(edit, layer.features["label"].to_numpy())
            if info.role is DOMAIN_SPOTS
            else _label_look(edit, new=info.role is PAINTING)
        )
        for name, value in look.items():
            setattr(layer, name, value)


def painting(viewer: ViewerModel, run: Run) -> Labels | None:
    """Return the layer in which a run is being repainted."""
    found = layers_of(viewer, "painting", of_run=run.key)
    return next((layer for layer, _ in found), None)


def painting_layer(edit: DomainEdit) -> LayerData:
    """Make a layer to repaint a run in: napari can paint no pyramid."""
    run = edit.run
    info = LayerInfo(PAINTING, run.result.name, run=run, edit=edit)
    attributes = {
        "name": f"{info.name} repainted: {run.name}",
        "multiscale": False,
        "opacity": 0.6,
        "metadata": info.metadata(),
        **_label_look(edit, new=True),
        **grid_space(run.grid),
    }
    return edit.lookup()[np.asarray(run.levels[0][...])], attributes, "labels"


def begin_painting(viewer: ViewerModel, run: Run) -> None:
    """Hand the brush to the user, and hide what it would paint under."""
    for layer, info in layers_of_domains(viewer, run):
        layer.visible = info.role is PAINTING
        if info.role is PAINTING:
            viewer.layers.selection.active = layer
            layer.brush_size = _BRUSH
            layer.mode = "paint"
