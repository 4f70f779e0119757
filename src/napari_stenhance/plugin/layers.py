"""Sections and results as napari layers: everything in micrometres, exactly aligned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.plugin.colours import TOTAL, SpotColours
from napari_stenhance.plugin.crops import crop_layers
from napari_stenhance.plugin.domains import domain_layers
from napari_stenhance.plugin.genes import gene_layers
from napari_stenhance.plugin.layer_info import KEY, LayerData, LayerInfo, Role, pixel_space
from napari_stenhance.plugin.levels import slide_levels
from napari_stenhance.plugin.regions import drawn_layers, region_layer
from napari_stenhance.plugin.spots import SPOTS, points_layer

if TYPE_CHECKING:
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.run import Run
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.tile_cache import TileCache
    from napari_stenhance.tasks.options import SlideOptions

SLIDE = Role("slide", 0, covers=False)
_OF_RUNS = (gene_layers, crop_layers, drawn_layers, domain_layers)
"""What makes the layers of a run; what a run does not have, it makes none of."""


def section_layers(section: Section) -> list[LayerData]:
    """Make the layers of a section: slide, spots, and an empty one to draw regions in."""
    layers: list[LayerData] = []
    if section.slide is not None:
        attributes = {
            "name": section.name,
            "rgb": True,
            "multiscale": True,
            "metadata": LayerInfo(SLIDE, section.name, section=section).metadata(),
            **pixel_space(section.mpp),
        }
        layers.append((slide_levels(section.slide), attributes, "image"))
    if section.spots is not None:
        colours = SpotColours.from_spots(section.spots)
        layer = points_layer(
            section.spots.obsm["spatial"],
            colours.label(section.name, TOTAL),
            section.geometry(),
            section.mpp,
            LayerInfo(SPOTS, section.name, section=section, colours=colours),
            face_color=colours.paint(TOTAL)[0],
            features={"spot": np.asarray(section.spots.obs_names, dtype=object)},
        )
        layers.append(layer)
    if section.slide is not None:
        layers.append(region_layer(section.name, section.mpp, section=section))
    return layers


def run_layers(run: Run, *, visible: bool = True) -> list[LayerData]:
    """Make the layers of a run: of all that it has."""
    return [layer for make in _OF_RUNS for layer in make(run, visible=visible)]


def result_layers(result: ResultFolder, section: Section | None) -> list[LayerData]:
    """Make the layers of a result: its slide and spots, if found, and every run that has any.

    The newest domains are visible, instead of genes; of genes, those of fields. Spots are hidden
    where anything else is to be seen.
    """
    from napari_stenhance.results.runs import FieldRun, every_run

    layers = [] if section is None else section_layers(section)
    runs = [run for run in every_run(result) if not isinstance(run, FieldRun) or run.created]
    kinds = {run.kind for run in runs}
    for _, attributes, _ in layers:
        if attributes["metadata"][KEY].role is SPOTS:
            attributes["visible"] = not runs
    first = next((kind for kind in ("labels", "fields", "imputed") if kind in kinds), None)
    for run in runs:
        # The last of all is the newest of domains, where there are any.
        shown = run.kind == first and (first != "labels" or run is runs[-1])
        layers += run_layers(run, visible=shown)
    return layers


def open_layers(
    path: Path,
    options: SlideOptions | None = None,
    job: Job | None = None,
    image: Path | None = None,
    tiles: TileCache | None = None,
) -> tuple[list[LayerData], Section | ResultFolder | None, tuple[str, ...]]:
    """Open a section, a result, or layers that were saved.

    Parameters
    ----------
    path : Path
    options : SlideOptions, optional
        How the slide of a section is opened.
    job : Job, optional
        Receives the progress of building a pyramid.
    image : Path, optional
        The slide of a section, where it does not lie beside the counts.
    tiles : TileCache, optional
        Where the fields of a result keep tiles: the viewer's.

    Returns
    -------
    layers : list of tuple
    opened : Section, ResultFolder or None
        None for saved layers.
    said : tuple of str
        What of its section a result does not find.

    Raises
    ------
    InputError
        If it is none of these, or cannot be used.
    """
    from napari_stenhance.plugin.saved import is_saved, saved_layers
    from napari_stenhance.results.attributes import ADVICE
    from napari_stenhance.results.inputs import find_section
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.section import open_section
    from napari_stenhance.storage.reading import reading

    if is_saved(path):
        return saved_layers(path), None, ()
    if not ResultFolder.is_result(path):
        how = {} if options is None else options.opening()
        section = open_section(path, **how, image=image, job=job)
        return section_layers(section), section, ()
    result = ResultFolder.open(path, tiles)
    with reading(path, advice=ADVICE):
        found = find_section(result, job)
        return result_layers(result, found.section), result, found.said
