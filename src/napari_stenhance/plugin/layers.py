"""Sections and results as napari layers: everything in micrometres, exactly aligned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.beside import BESIDE, beside_layer
from napari_stenhance.plugin.channels import CHANNEL, channel_layer
from napari_stenhance.plugin.colours import PREFERRED, TOTAL, SpotColours
from napari_stenhance.plugin.crops import crop_layers
from napari_stenhance.plugin.depth import DEPTH, depth_layer
from napari_stenhance.plugin.domains import PAINTING, domain_layers, painting_layer
from napari_stenhance.plugin.drawn import written_names
from napari_stenhance.plugin.genes import BROWSE, browse_layer, gene_layers
from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    Opened,
    Role,
    as_picture,
    info_of,
    pixel_space,
)
from napari_stenhance.plugin.levels import slide_levels
from napari_stenhance.plugin.links import LinksIn
from napari_stenhance.plugin.looks import look_from_json
from napari_stenhance.plugin.marked import MARKED, marked_layer, read_mark
from napari_stenhance.plugin.outlined import OUTLINED, outlined_layer
from napari_stenhance.plugin.outlines import FINEST, OutlinedRegions
from napari_stenhance.plugin.picture import picture_doubts, picture_layers
from napari_stenhance.plugin.quality import QUALITY
from napari_stenhance.plugin.rasters import raster_doubts, raster_of_section
from napari_stenhance.plugin.regions import REGION, drawn_layers, region_layer
from napari_stenhance.plugin.saved import Saved, SavedLayer, is_saved, open_saved
from napari_stenhance.plugin.saved_edits import RunKey, kept_edits, read_edits
from napari_stenhance.plugin.spots import SPOTS, points_layer, raster_layer
from napari_stenhance.plugin.tissue import TISSUE, kept_tissue
from napari_stenhance.plugin.unfamiliar import UNFAMILIAR, unfamiliar_layer
from napari_stenhance.results.channels import COLOURS, Channel
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    from napari_stenhance.results.domain_edit import DomainEdit
    from napari_stenhance.results.edit_history import EditHistory
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.run import Run
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.section.source import SectionSource
    from napari_stenhance.storage.tile_cache import TileCache
    from napari_stenhance.tasks.options import SlideOptions

_EACH = ("opacity", "blending", "visible")
_LOOK = {
    "image": (*_EACH, "contrast_limits", "gamma", "interpolation2d", "colormap"),
    "labels": _EACH,
    "points": (*_EACH, "size", "symbol", "border_width", "shown", "face_color"),
    "shapes": (
        *_EACH,
        *("features", "shape_type", "edge_width", "z_index", "edge_color", "face_color"),
    ),
}
"""What a person may have changed of a layer that is made again."""
_KEY_OF_RUN = ("path", "kind", "name")
_PICTURE, _AS_SAVED = " (only a picture of it)", " (as saved)"
SLIDE = Role("slide", 0, covers=False)
_OF_BELIEF = (DEPTH.name, UNFAMILIAR.name, MARKED.name)
_OF_RUNS = (gene_layers, crop_layers, drawn_layers, domain_layers)
"""What makes the layers of a run; what a run does not have, it makes none of."""


def section_layers(section: Section) -> list[LayerData]:
    """Make the layers of a section: slide, or else its coarse picture, and spots."""
    opened = _opened(section.source)
    layers = picture_layers(section, opened)
    if section.slide is not None:
        attributes = {
            "name": section.name,
            "rgb": True,
            "multiscale": True,
            "metadata": LayerInfo(SLIDE, section.name, section=section, opened=opened).metadata(),
            **pixel_space(section.mpp),
        }
        layers.append((slide_levels(section.slide), attributes, "image"))
    if section.spots is not None:
        colours = SpotColours.from_section(section)
        info = LayerInfo(
            SPOTS,
            section.name,
            section=section,
            opened=opened,
            colours=colours,
            raster=raster_of_section(section),
        )
        title = colours.label(section.name, TOTAL)
        # Of very many it takes a while: here, in the thread that opens them.
        observed = section.observed
        if info.raster is not None:
            layers.append(raster_layer(TOTAL, title, section.mpp, info))
            return layers
        layer = points_layer(
            section.spots.obsm["spatial"],
            title,
            section.geometry(),
            section.mpp,
            info,
            face_color=colours.paint(TOTAL)[0],
            features={observed: np.asarray(section.spots.obs_names, dtype=object)},
        )
        layers.append(layer)
    return layers


def _opened(source: SectionSource | None) -> Opened | None:
    """Return how a section can be opened again; None for one that was made in memory."""
    from napari_stenhance.tasks.options import SlideOptions

    if source is None:
        return None
    options = SlideOptions(
        mpp=source.mpp,
        series=source.series,
        icc=source.icc,
        sample=source.sample,
        registration=source.registration,
    )
    return Opened(source.path, options, source.image)


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
        What of its section a result does not find, and what saved layers do not.

    Raises
    ------
    InputError
        If it is none of these, or cannot be used.
    """
    from napari_stenhance.results.attributes import ADVICE
    from napari_stenhance.results.inputs import find_section
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.section import open_section
    from napari_stenhance.tasks.options import SlideOptions

    if is_saved(path):
        layers, said = _saved_layers(path, tiles, job)
        return layers, None, said
    if not ResultFolder.is_result(path):
        options = options or SlideOptions()
        section = open_section(path, **options.opening(), image=image, job=job)
        layers = section_layers(section)
        roles = [info.role for info in map(info_of, layers) if info is not None]
        said = [*picture_doubts(section, roles), *raster_doubts(map(info_of, layers))]
        return layers, section, tuple(said)
    result = ResultFolder.open(path, tiles)
    with reading(path, advice=ADVICE):
        found = find_section(result, job)
        return result_layers(result, found.section), result, found.said


def _saved_layers(
    path: Path, tiles: TileCache | None, job: Job | None
) -> tuple[list[LayerData], tuple[str, ...]]:
    """Make saved layers again of what they show; where that is gone, show what was saved of it."""
    saved = open_saved(path)
    links = LinksIn(path.absolute(), saved.sections, saved.runs, tiles, job)
    layers: list[LayerData] = []
    said: list[str] = []
    with reading(path, advice="save the layers again"):
        edits = _saved_edits(saved, links)
        look = None if saved.look is None else look_from_json(saved.look, links)
        for one in saved.layers:
            made, why = _made_again(one, links, edits)
            said += [why] * bool(why)
            if made is not None:
                layers.append(_looking_as(one, made))
            elif one.data is not None:
                if _lay_over(one, saved):
                    one.attributes["visible"] = False
                if why and one.is_picture:
                    as_picture(one.attributes)
                layers.append((one.data, one.attributes, one.kind))
                if why:
                    one.attributes["name"] += _PICTURE if one.is_picture else _AS_SAVED
            elif one.is_picture:
                said.append(f"{one.attributes['name']}: it has no picture, and is left out.")
    kept = kept_edits(layers)
    layers = [_kept(data, kept) for data in layers]
    # What is added last is looked at: runs, and not the spots that lie above them.
    layers.sort(key=_is_of_section, reverse=True)
    last = next((data for data in reversed(layers) if info_of(data) is not None), None)
    if last is not None:
        metadata = last[1]["metadata"]
        metadata[KEY] = replace(metadata[KEY], look=look)
    return layers, tuple(dict.fromkeys(said))


def _lay_over(one: SavedLayer, saved: Saved) -> bool:
    """Tell whether what is but a picture was of the run of a region, seen over that of the whole.

    As pictures, both would be seen at one place, each through the other.
    """
    if one.shows is None or "run" not in one.shows:
        return False
    run = saved.runs[one.shows["run"]]
    return any(
        other.shows is not None and other.shows.get("over") == [run[k] for k in _KEY_OF_RUN]
        for other in saved.layers
    )


def _is_of_section(layer: LayerData) -> bool:
    info = info_of(layer)
    return info is not None and info.run is None


def _saved_edits(saved: Saved, links: LinksIn) -> dict[int, EditHistory]:
    """Read what was done to domains, by the numbers of runs; of those that are there."""
    from napari_stenhance.results.domains import DomainRun

    edits = {}
    for number, said in enumerate(saved.runs):
        run = links.run(number)[0] if "edits" in said else None
        if isinstance(run, DomainRun):
            edits[number] = read_edits(saved.group, said["edits"], run)
    return edits


def _kept(data: LayerData, kept: Mapping[RunKey, DomainEdit]) -> LayerData:
    """Let domains know that a save holds them as they are."""
    info = info_of(data)
    if info is not None and info.edits is not None and info.of_run in kept:
        edits = replace(info.edits, kept=kept[info.of_run])
        data[1]["metadata"][KEY] = replace(info, edits=edits)
    return data


def _made_again(
    one: SavedLayer, links: LinksIn, edits: Mapping[int, EditHistory]
) -> tuple[LayerData | None, str]:
    """Make the layer that a saved one was, from what it shows; say what of that is gone."""
    shows = one.shows
    if shows is None:
        return None, ""
    role, part, gene = shows["role"], shows["part"], shows["gene"]
    found: list[LayerData] = []
    why = ""
    if "run" in shows:
        run, why = links.run(shows["run"])
        if run is not None and role == BROWSE.name and isinstance(run, GeneSource):
            found = [browse_layer(run, gene, visible=True)] if gene in run.names else []
        elif run is not None and role == CHANNEL.name and isinstance(run, GeneSource):
            known = gene in run.names and part in COLOURS
            found = [channel_layer(run, Channel(gene, part))] if known else []
        elif isinstance(run, FieldRun) and role in _OF_BELIEF:
            found = _believed(run, role, part)
        elif run is not None and shows["run"] in edits:
            found = domain_layers(run, visible=True, edits=edits[shows["run"]])
            if role == PAINTING.name:
                _, attributes, kind = painting_layer(edits[shows["run"]])
                found = [(np.array(one.data, np.uint8), attributes, kind)]
        elif run is not None:
            found = run_layers(run)
    elif role == OUTLINED.name:
        section, why = links.section(shows["section"]) if "section" in shows else (None, "")
        mpp = float(one.attributes["scale"][0]) / FINEST if section is None else section.mpp
        outlined = OutlinedRegions.from_regions(one.data, mpp or 1.0)
        found = [outlined_layer(shows["name"], mpp, outlined, part, section)]
    elif "section" in shows:
        section, why = links.section(shows["section"])
        if section is None:
            return None, why
        if role == BESIDE.name:
            data, attributes, kind = beside_layer(section, part, 0.0, links.job)
            place = {"translate": _unplaced(one)["translate"]}
            found = [(data, {**attributes, **place}, kind)]
        elif role == QUALITY.name:
            info = LayerInfo(QUALITY, section.name, section=section)
            found = [(one.data, {**_unplaced(one), "metadata": info.metadata()}, one.kind)]
        elif role == REGION.name:
            found = [region_layer(section.name, section.mpp, section=section)]
        elif role == TISSUE.name and section.slide is not None:
            found = [kept_tissue(section, one.data, part)]
        else:
            found = section_layers(section)
    elif role == REGION.name:
        info = LayerInfo(REGION, shows["name"])
        found = [(one.data, {**_unplaced(one), "metadata": info.metadata()}, one.kind)]
    for layer in found:
        info = layer[1]["metadata"][KEY]
        if (info.role.name, info.part) == (role, part):
            return layer, why
    gone = f"{one.attributes['name']}: what it showed is not there any more."
    return None, why or gone * (bool(found) or "run" in shows)


def _believed(run: FieldRun, role: str, part: str) -> list[LayerData]:
    """Make a layer of what can be believed of a run again; none where the run does not know it."""
    try:
        if role == DEPTH.name:
            return [depth_layer(run)]
        if role == UNFAMILIAR.name:
            return [unfamiliar_layer(run)]
        marked, _ = marked_layer(run, *read_mark(part))
    except InputError:
        return []
    return [] if marked is None else [marked]


def _unplaced(one: SavedLayer) -> dict[str, Any]:
    """Return the attributes of a saved layer in coordinates of its section."""
    assert one.shows is not None
    moved = np.subtract(one.attributes.get("translate", (0.0, 0.0)), one.shows["origin"])
    return {**one.attributes, "translate": tuple(moved)}


def _looking_as(one: SavedLayer, made: LayerData) -> LayerData:
    """Give a layer the look that it was saved with; where it lies, its files say."""
    data, attributes, kind = made
    info: LayerInfo = attributes["metadata"][KEY]
    look = {key: one.attributes[key] for key in _LOOK[kind] if key in one.attributes}
    if info.gene and look.get("colormap") in PREFERRED:
        # Nobody chose it for this layer: all that shows the gene has that of now.
        del look["colormap"]
    same = info.role is not BROWSE or one.attributes["name"] == attributes["name"]
    if not same:
        # It showed the uncertainty of its gene, and shows the gene again, on a scale of its own.
        look.pop("contrast_limits", None)
    else:
        attributes["name"] = one.attributes["name"]
    if kind == "shapes":
        data = one.data
        look["ndim"] = 2
        # Of a run, its layer is named.
        if (
            "features" in look
            and info.run is None
            and (text := written_names(look["features"], look["shape_type"], look["edge_color"]))
        ):
            look["text"] = text
    elif kind == "points" and len(one.data) != len(data):
        look = {"visible": look["visible"], "opacity": look["opacity"]}
    info = replace(info, gene=one.shows["gene"] if one.shows else info.gene)
    if info.raster is not None and info.colours is not None and info.gene in info.colours:
        data = info.raster.image(info.colours.values(info.gene))
    return data, {**attributes, **look, "metadata": info.metadata()}, kind
