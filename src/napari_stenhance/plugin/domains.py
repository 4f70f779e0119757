"""Domains in a viewer: one set of colours for labels and spots, and what a person changes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.brush import hand_brush
from napari_stenhance.plugin.images import layer_title
from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    Role,
    grid_space,
    layers_of,
    pixel_space,
)
from napari_stenhance.plugin.levels import shown_levels
from napari_stenhance.plugin.rasters import raster_of_spots
from napari_stenhance.plugin.spots import points_layer
from napari_stenhance.results.label_map import LABELS_MOST
from napari_stenhance.results.palette import colour_of, rgba
from napari_stenhance.section.observed import several

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer
    from napari.utils.colormaps import DirectLabelColormap

    from napari_stenhance.results.domain_edit import DomainEdit, SpotLabels
    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.results.edit_history import EditHistory
    from napari_stenhance.results.run import Run

DOMAINS, PAINTING, DOMAIN_SPOTS = Role("domains", 4), Role("painting", 5), Role("domain spots", 6)
_BRUSH = 9
_DIMMED = 0.15
_UNSAVED = "* "
"""Before the name of a layer: what comes first is still seen where names are cut."""


def colour_table(
    edit: DomainEdit, chosen: Collection[int] = (), *, new: bool = False
) -> NDArray[np.float32]:
    """Return the RGBA, 0 … 1, of every label.

    Parameters
    ----------
    edit : DomainEdit
    chosen : collection of int
        Domains that stand out: all others are dimmed, if there are any.
    new : bool
        Colour also what is no domain yet.

    Returns
    -------
    ndarray of float32, shape (256, 4)
    """
    table = np.zeros((LABELS_MOST + 1, 4), np.float32)
    if new:
        table[1:] = [rgba(colour_of(value)) for value in range(1, LABELS_MOST + 1)]
    for domain in edit.domains:
        table[domain.value] = rgba(domain.colour, hidden=domain.hidden)
    if chosen:
        others = np.setdiff1d(np.arange(len(table)), list(chosen))
        table[others, 3] *= _DIMMED
    for old, stays in edit.merged.items():
        table[old] = table[stays]
    return table / 255


def label_colours(
    edit: DomainEdit, chosen: Collection[int] = (), *, new: bool = False
) -> DirectLabelColormap:
    """Return the colours of a labels layer."""
    from napari.utils.colormaps import DirectLabelColormap

    table = colour_table(edit, chosen, new=new)
    colours: dict[int | None, Any] = {value: table[value] for value in range(len(table))}
    return DirectLabelColormap(color_dict={None: np.zeros(4), **colours})


def label_features(edit: DomainEdit) -> pd.DataFrame:
    """Return what napari says of the label under the mouse."""
    import pandas as pd

    names = {d.value: d.name for d in edit.domains}
    names |= {old: names[stays] for old, stays in edit.merged.items()}
    return pd.DataFrame({"index": [0, *names], "domain": ["", *names.values()]})


def domain_layers(run: Run, *, visible: bool, edits: EditHistory | None = None) -> list[LayerData]:
    """Make the layers of a domain run: a label image, and the spots in the same colours.

    Parameters
    ----------
    run : Run
    visible : bool
    edits : EditHistory, optional
        What was done to it.
    """
    from napari_stenhance.results.domain_edit import SpotLabels
    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.results.edit_history import EditHistory
    from napari_stenhance.section.spots import geometry_of, positions_px

    if not isinstance(run, DomainRun):
        return []
    spots, grid = run.spots(), run.grid
    if edits is None:
        found = None if spots is None else SpotLabels.from_run(run, spots)
        edits = EditHistory.from_run(run, found)
    info = LayerInfo(DOMAINS, run.result.name, run=run, edits=edits)
    title = layer_title("domains", run)
    attributes = {
        "name": title,
        "multiscale": True,
        "opacity": 0.6,
        "visible": visible,
        "metadata": info.metadata(),
        **_label_look(edits.now),
        **grid_space(grid),
    }
    layers: list[LayerData] = [(_pyramid(edits.now), attributes, "labels")]
    if spots is not None and edits.spots is not None:
        mpp = None if grid.unit == "pixel" else grid.mpp
        raster = raster_of_spots(spots, mpp, title)
        info = replace(info, role=DOMAIN_SPOTS, raster=raster)
        if raster is not None:
            labels = raster.labels(edits.now.spot_labels(edits.spots)[0])
            attributes = {
                **attributes,
                "name": layer_title("domains of spots", run),
                "opacity": 1.0,
                "metadata": info.metadata(),
                **pixel_space(mpp),
                **raster.place(mpp or 1.0),
                "multiscale": True,
            }
            return [*layers, (labels, attributes, "labels")]
        layer = points_layer(
            positions_px(spots, title),
            layer_title("domains of spots", run),
            geometry_of(spots),
            mpp,
            info,
            features=_spot_features(edits.now, edits.spots),
            visible=visible,
            opacity=1.0,
            **_spots_look(edits.now, edits.spots),
        )
        layers.append(layer)
    return layers


def _pyramid(edit: DomainEdit) -> list[Any]:
    """Return the levels of a label image, as it was found or painted; what was merged is not."""
    from napari_stenhance.storage.levels import Levels, shapes_of
    from napari_stenhance.storage.pyramid import majority_pool
    from napari_stenhance.storage.tiles import tile_size

    found = edit.run.levels
    if edit.painted is None:
        levels = Levels.from_arrays(found, majority_pool)
    else:
        size, arrays = tile_size(found[0]), [edit.painted]
        while len(arrays) < len(found):
            arrays.append(majority_pool(arrays[-1]))

        def read(level: int, i: int, j: int) -> NDArray[np.uint8]:
            return arrays[level][i * size : (i + 1) * size, j * size : (j + 1) * size]

        levels = Levels(shapes_of(found), size, read)
    return shown_levels(levels, found[0].dtype, 0)


def _label_look(
    edit: DomainEdit, chosen: Collection[int] = (), *, new: bool = False
) -> dict[str, Any]:
    return {"colormap": label_colours(edit, chosen, new=new), "features": label_features(edit)}


def _spots_look(
    edit: DomainEdit, spots: SpotLabels, chosen: Collection[int] = ()
) -> dict[str, Any]:
    """Colour spots by their label; those of hidden domains are not shown."""
    rgba = colour_table(edit, chosen)[edit.spot_labels(spots)[0]]
    return {"face_color": rgba, "shown": rgba[:, 3] > 0}


def _spot_features(edit: DomainEdit, spots: SpotLabels) -> pd.DataFrame:
    """Return what napari says of the spot under the mouse."""
    import pandas as pd

    labels, repainted = edit.spot_labels(spots)
    called = np.full(LABELS_MOST + 1, None, object)
    for domain in edit.domains:
        called[domain.value] = domain.name
    return pd.DataFrame(
        {
            spots.observed: spots.names,
            "domain": called[labels],
            "confidence": np.where(repainted, np.nan, spots.confidence),
            "label": labels,
        }
    )


def layers_of_domains(viewer: ViewerModel, run: Run) -> Iterator[tuple[Layer, LayerInfo]]:
    """List the layers of a domain run."""
    return layers_of(viewer, "domains", "painting", "domain spots", of_run=run.key)


def show_edits(viewer: ViewerModel, edits: EditHistory, chosen: Collection[int] = ()) -> None:
    """Show the domains of a run as they are now, in all its layers; some stand out."""
    now = edits.now
    for layer, info in layers_of_domains(viewer, now.run):
        before = None if info.edits is None else info.edits.now
        layer.metadata[KEY] = replace(info, edits=edits)
        if before is None or not before.same_labels(now):
            if info.role is DOMAINS and (before is None or before.painted is not now.painted):
                layer.data = _pyramid(now)
            elif info.role is PAINTING:
                raster = now.raster()
                if not np.array_equal(layer.data, raster):
                    layer.data = raster
            elif info.raster is not None and edits.spots is not None:
                layer.data = info.raster.labels(now.spot_labels(edits.spots)[0])
        if _are_points(info) and edits.spots is not None and _renamed(before, now):
            layer.features = _spot_features(now, edits.spots)
        if not _are_points(info):
            layer.features = label_features(now)
    show_chosen(viewer, edits, chosen)


def _renamed(before: DomainEdit | None, now: DomainEdit) -> bool:
    """Tell whether what is said of a spot is another."""
    return before is None or not before.same_as(now)


def _are_points(info: LayerInfo) -> bool:
    return info.role is DOMAIN_SPOTS and info.raster is None


def said_of_domain(info: LayerInfo, value: int) -> str:
    """Say the domain that is seen; nothing where none is."""
    assert info.edits is not None
    now = info.edits.now
    seen = {domain.value: domain.name for domain in now.domains if not domain.hidden}
    name = seen.get(int(now.lookup()[value]), "")
    return f"domain: {name}" if name else ""


def said_of_domains(info: LayerInfo, seen: NDArray[np.int64], value: int) -> str:
    """Say the domain that is seen, of which bin or cell it is, and how sure that is."""
    assert info.edits is not None
    assert info.edits.spots is not None
    now, spots = info.edits.now, info.edits.spots
    names = {domain.value: domain.name for domain in now.domains}
    if len(seen) > 1:
        name = names.get(int(now.lookup()[value]), "none")
        return f"domain: {name}, of most of {len(seen)} {several(spots.observed)}"
    # On a coarse level what is shown is that of most bins around.
    (one,), (labels, repainted) = seen, now.spot_labels(spots)
    said = f"{spots.observed}: {spots.names[one]}, domain: {names.get(int(labels[one]), 'none')}"
    sure = spots.confidence[one]
    return said if repainted[one] or np.isnan(sure) else f"{said}, confidence: {sure:.2f}"


def mark_unsaved(viewer: ViewerModel, run: Run, *, unsaved: bool) -> None:
    """Say at the layers of a run whether something of it is not saved."""
    for layer, _ in layers_of_domains(viewer, run):
        name = layer.name.removeprefix(_UNSAVED)
        name = f"{_UNSAVED}{name}" if unsaved else name
        if layer.name != name:
            layer.name = name


def show_chosen(viewer: ViewerModel, edits: EditHistory, chosen: Collection[int]) -> None:
    """Let some domains of a run stand out; without any, all are as they are."""
    for layer, info in layers_of_domains(viewer, edits.now.run):
        if not _are_points(info):
            layer.colormap = label_colours(edits.now, chosen, new=info.role is PAINTING)
        elif edits.spots is not None:
            for name, value in _spots_look(edits.now, edits.spots, chosen).items():
                setattr(layer, name, value)


def domain_at(
    viewer: ViewerModel, position: Any, view_direction: Any, dims_displayed: Any
) -> tuple[DomainRun, int] | None:
    """Tell which domain is seen at a point of the world, and of which run; None if none is."""
    for layer, info in reversed(list(layers_of(viewer, "domains", "painting", "domain spots"))):
        edits = info.edits
        if not layer.visible or edits is None:
            continue
        found = layer.get_value(
            position, view_direction=view_direction, dims_displayed=dims_displayed, world=True
        )
        if isinstance(found, tuple):
            found = found[1]
        if found is None:
            continue
        if _are_points(info):
            found = layer.features["label"].iloc[int(found)]
        value = int(edits.now.lookup()[int(found)])
        if any(d.value == value and not d.hidden for d in edits.now.domains):
            return edits.now.run, value
    return None


def painting(viewer: ViewerModel, run: Run) -> Labels | None:
    """Return the layer in which a run is being repainted."""
    found = layers_of(viewer, "painting", of_run=run.key)
    return next((layer for layer, _ in found), None)


def painting_layer(edits: EditHistory) -> LayerData:
    """Make a layer to repaint a run in: napari can paint no pyramid."""
    edit, run = edits.now, edits.now.run
    info = LayerInfo(PAINTING, run.result.name, run=run, edits=edits)
    attributes = {
        "name": layer_title("domains repainted", run),
        "multiscale": False,
        "opacity": 0.6,
        "metadata": info.metadata(),
        **_label_look(edit, new=True),
        **grid_space(run.grid),
    }
    return edit.raster(), attributes, "labels"


def begin_painting(viewer: ViewerModel, run: Run) -> None:
    """Hand the brush to the user, and hide what it would paint under."""
    for layer, info in layers_of_domains(viewer, run):
        layer.visible = info.role is PAINTING
        if info.role is PAINTING:
            hand_brush(viewer, layer, _BRUSH)


def end_painting(viewer: ViewerModel, run: Run) -> None:
    """Take the brush away, and show again what lay under it."""
    for layer, info in layers_of_domains(viewer, run):
        if info.role is PAINTING:
            viewer.layers.remove(layer)
        else:
            layer.visible = True
    # What is made visible is looked at, and with it made active.
    for layer, _ in layers_of(viewer, DOMAINS.name, of_run=run.key):
        viewer.layers.selection.active = layer
