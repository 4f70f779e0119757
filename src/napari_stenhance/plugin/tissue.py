"""The tissue of a slide as a layer that napari's brush edits, and what a run takes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.features.masks import find_tissue
from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    Role,
    grid_space,
    layers_of,
    same_slide,
)
from napari_stenhance.plugin.session import session_of
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.tissue_mask import TissueMask
from napari_stenhance.storage.cache import Cache

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_stenhance.results.run import Run
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section

TISSUE = Role("tissue", 5)
_COLOUR = "#00e5ff"
_BRUSH = 12


def found_tissue(section: Section, job: Job) -> NDArray[np.bool_]:
    """Find the tissue of a section's slide; nothing where there seems to be none, and say so."""
    slide = section.need_slide()
    grid = Grid.over(slide)
    try:
        return find_tissue(replace(slide, tissue=None), grid, "density", Cache.default(), job)
    except InputError as error:
        job.note(f"{error} What you paint is taken for tissue.")
        return np.zeros(grid.shape, bool)


def tissue_layer(section: Section, run: Run | None, job: Job) -> LayerData:
    """Make the layer of a slide's tissue: as a run was given it, or else as it is found.

    Its part says what was found, so that what nobody edited is known.
    """
    found, given = found_tissue(section, job), None
    grid = Grid.over(section.need_slide())
    if isinstance(run, FieldRun) and run.complete:
        given = run.result.given_tissue(run.name)
    shown = given if given is not None and given.shape == grid.shape else found
    return _layer(section, shown, grid, TissueMask(found, grid).sha256 if found.any() else "")


def kept_tissue(section: Section, mask: NDArray[np.integer], part: str) -> LayerData:
    """Make the layer again that was saved."""
    return _layer(section, np.asarray(mask) != 0, Grid.over(section.need_slide()), part)


def _layer(section: Section, mask: NDArray[np.bool_], grid: Grid, part: str) -> LayerData:
    from napari.utils.colormaps import DirectLabelColormap

    # Whatever label is painted with is tissue.
    colours = {None: _COLOUR, 0: np.zeros(4), 1: _COLOUR}
    attributes = {
        "name": f"tissue of {section.name}",
        "opacity": 0.35,
        "colormap": DirectLabelColormap(color_dict=colours),
        "metadata": LayerInfo(TISSUE, section.name, section=section, part=part).metadata(),
        **grid_space(grid),
    }
    return mask.astype(np.uint8), attributes, "labels"


def layer_of_tissue(viewer: ViewerModel, section: Section | None) -> Labels | None:
    """Return the layer of a section's tissue, if there is one."""
    found = (one for one, i in layers_of(viewer, TISSUE.name) if same_slide(i.section, section))
    return next(found, None)


def edited_tissue(viewer: ViewerModel, section: Section) -> TissueMask | None:
    """Return the tissue of a section as it was edited; None if it is as it was found.

    Raises
    ------
    InputError
        If nothing is left of it.
    """
    for layer, info in layers_of(viewer, TISSUE.name):
        if same_slide(info.section, section):
            mask = TissueMask.given(np.asarray(layer.data) != 0, section.need_slide())
            return None if mask.sha256 == info.part else mask
    return None


def carried_tissue(viewer: ViewerModel, old: Section, new: Section) -> LayerData | None:
    """Make the layer of tissue that was edited, for its section that was opened otherwise.

    Returns
    -------
    tuple or None
        None if nothing was edited.

    Raises
    ------
    InputError
        If its slide is another image now.
    """
    layer = layer_of_tissue(viewer, old)
    was, slide = old.slide, new.slide
    if layer is None or was is None or not np.any(layer.data):
        return None
    mask = edited_tissue(viewer, old)
    if mask is None:
        return None
    if slide is None or (slide.path, slide.series, slide.shape) != (
        was.path,
        was.series,
        was.shape,
    ):
        msg = f"{new.name}: what was edited of its tissue was of another slide, and is left out."
        raise InputError(msg)
    moved = mask.at_scale_of(slide)
    return _layer(new, moved.values, moved.grid, "")


def keep_found(layer: Labels, found: NDArray[np.bool_]) -> None:
    """Take all edits back: what is found is what the layer shows."""
    info: LayerInfo = layer.metadata[KEY]
    assert info.section is not None
    grid = Grid.over(info.section.need_slide())
    part = TissueMask(found, grid).sha256 if found.any() else ""
    layer.metadata[KEY] = replace(info, part=part)
    layer.data = found.astype(np.uint8)


def with_edited_tissue(viewer: ViewerModel, sections: tuple[Section, ...]) -> Iterator[Section]:
    """Give sections the tissue that was edited.

    Raises
    ------
    InputError
        If nothing is left of it; it names the section.
    """
    for section in sections:
        try:
            mask = edited_tissue(viewer, section)
        except InputError as error:
            msg = f"{section.name}: {error}"
            raise InputError(msg) from error
        yield section if mask is None else section.with_tissue(mask)


def hide_tissue(viewer: ViewerModel) -> None:
    """Hide every layer of tissue: what a run shows is seen in its own colours."""
    for layer, _ in layers_of(viewer, TISSUE.name):
        layer.visible = False


def take_brush(viewer: ViewerModel, layer: Labels) -> None:
    """Show a layer of tissue over the slide, ready for napari's brush."""
    session_of(viewer).look_at_slide()
    layer.visible = True
    layer.selected_label, layer.brush_size = 1, _BRUSH
    viewer.layers.selection.active = layer
