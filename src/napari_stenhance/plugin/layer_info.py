"""What a layer shows. The viewer's layers are the plugin's only state: no other list is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.preferences import preferences

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.plugin.bins import BinRaster
    from napari_stenhance.plugin.cells import CellRaster
    from napari_stenhance.plugin.colours import Colours
    from napari_stenhance.plugin.outlines import OutlinedRegions
    from napari_stenhance.results.edit_history import EditHistory
    from napari_stenhance.results.field import What
    from napari_stenhance.results.run import Run
    from napari_stenhance.section.grid import Grid
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.tile_cache import TileCache
    from napari_stenhance.tasks.options import SlideOptions

KEY = "stenhance"
_PICTURE = "stenhance_picture"
LayerData = tuple[Any, dict[str, Any], str]
"""(data, attributes, layer type), as npe2 readers return them."""
ALONE = "similarity", "marked", "depth", "unfamiliar"
"""Roles of layers that are looked at by themselves, and not over a gene."""


@dataclass(frozen=True)
class Role:
    """A kind of layer, defined where such layers are made.

    Attributes
    ----------
    name : str
    rank : int
        Where it lies among ours, from the bottom up.
    covers : bool
        Whether it is hidden where something else is to be seen.
    fills : bool
        Whether it is a raster that a run fills tile by tile; it has a colour bar.
    """

    name: str
    rank: int
    covers: bool = True
    fills: bool = False


@dataclass(frozen=True, eq=False)
class Place:
    """Where one piece of tissue lies in the viewer: all that shows it carries the same place.

    Attributes
    ----------
    name : str
        Of the section, with a number where several that are open have one name.
    origin : tuple of float
        (y, x) in units of the world: where the section's own (0, 0) lies.
    said : mapping
        What a result says of its slide or spots, where a result was there first; else empty.
    """

    name: str
    origin: tuple[float, float] = (0.0, 0.0)
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """How a section was opened, so that it can be opened again otherwise.

    Attributes
    ----------
    path : Path
    options : SlideOptions
    image : Path or None
        The slide that was named.
    """

    path: Path
    options: SlideOptions
    image: Path | None = None


@dataclass(frozen=True, eq=False)
class LayerInfo:
    """What a layer shows: kept in its metadata.

    Attributes
    ----------
    role : Role
    name : str
        Of the section.
    section : Section or None
        Of a slide, spots or region layer.
    opened : Opened or None
        How, of a slide or spots layer.
    run : Run or None
        Of all layers of a run; read while they are made, so that docks read nothing.
    part : str
        Which one of several: of attention, the size of crops; of a lattice, into how many parts
        steps are divided; of genes that were written, the gene.
    gene : str
    what : {"expression", "spread"}
    colours : Colours or None
        Of a layer of spots, or of a lattice.
    raster : BinRaster, CellRaster or None
        Of bins or cells that are an image instead of points.
    outlined : OutlinedRegions or None
        Of regions that are an image instead of shapes.
    edits : EditHistory or None
        Of domains: as they are now, saved or not, and as they were before.
    place : Place or None
        Where what it shows lies in the viewer; None until it was added to one.
    opacity : float or None
        That it had before it was washed out.
    over : tuple or None
        The key of the run of a region that lies over it: it shows nothing there.
    look : SavedLook or None
        Of the last of layers that were saved, until it is added to a viewer: what was looked at.
    """

    role: Role
    name: str
    section: Section | None = None
    opened: Opened | None = None
    run: Run | None = None
    part: str = ""
    gene: str = ""
    what: What = "expression"
    colours: Colours | None = None
    raster: BinRaster | CellRaster | None = None
    outlined: OutlinedRegions | None = None
    edits: EditHistory | None = None
    place: Place | None = None
    opacity: float | None = None
    over: tuple[Path, str, str] | None = None
    look: Any = None

    @property
    def of_run(self) -> tuple[Path, str, str] | None:
        """Which run it shows; None if none."""
        return None if self.run is None else self.run.key

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it from all other layers of runs."""
        return self.role.name, self.of_run, self.part

    def metadata(self) -> dict[str, Any]:
        """Return what goes into a layer."""
        return {KEY: self}


def layer_info(layer: Layer) -> LayerInfo | None:
    """Tell what a layer shows; None if it is not ours."""
    found = layer.metadata.get(KEY)
    return found if isinstance(found, LayerInfo) else None


def as_picture(attributes: dict[str, Any]) -> None:
    """Mark what is to be a layer as a mere picture of what is gone: it is of no run any more."""
    attributes["metadata"] = {**attributes.get("metadata", {}), _PICTURE: True}


def is_of_what_is_gone(layer: Layer) -> bool:
    """Tell whether a layer is but a picture of what is gone."""
    return bool(layer.metadata.get(_PICTURE))


def info_of(data: LayerData) -> LayerInfo | None:
    """Tell what a layer shows that is yet to be added; None if it is not ours."""
    found = data[1].get("metadata", {}).get(KEY)
    return found if isinstance(found, LayerInfo) else None


def our_layers(viewer: ViewerModel) -> Iterator[tuple[Layer, LayerInfo]]:
    """List our layers, from the bottom up."""
    for layer in list(viewer.layers):
        info = layer_info(layer)
        if info is not None:
            yield layer, info


def layers_of(
    viewer: ViewerModel, *roles: str, of_run: tuple[Path, str, str] | None = None
) -> Iterator[tuple[Layer, LayerInfo]]:
    """List our layers with some roles, by default of any run, from the bottom up."""
    for layer, info in our_layers(viewer):
        if info.role.name in roles and of_run in {None, info.of_run}:
            yield layer, info


def open_runs(viewer: ViewerModel, *roles: str) -> list[Run]:
    """List the runs that some layer with these roles shows, one entry each."""
    runs: dict[Any, Run] = {}
    for _, info in layers_of(viewer, *roles):
        if info.run is not None:
            runs.setdefault(info.of_run, info.run)
    return list(runs.values())


def viewer_tiles(viewer: ViewerModel) -> TileCache:
    """Return where the fields of a viewer keep tiles: one for all, so that its bound is theirs."""
    from napari_stenhance.storage.tile_cache import TileCache

    runs = (info.run for _, info in our_layers(viewer) if info.run is not None)
    there = next((run.result.tiles for run in runs), None)
    return there or TileCache(round(preferences().memory_gib * 1024**3))


def same_slide(one: Section | None, other: Section | None) -> bool:
    """Tell whether two sections are of one slide at one scale."""
    slides = [s.slide for s in (one, other) if s is not None and s.slide is not None]
    return len(slides) == 2 and slides[0].same_as(slides[1])


def open_sections(viewer: ViewerModel) -> list[Section]:
    """List the sections whose slide or spots are among the layers, in the order of opening.

    Of two that share a slide, that which also has spots.
    """
    sections: list[Section] = []
    for _, info in layers_of(viewer, "slide", "spots"):
        new = info.section
        if new is None or any(new is old for old in sections):
            continue
        shared = [n for n, old in enumerate(sections) if same_slide(old, new)]
        if not shared:
            sections.append(new)
        elif new.spots is not None:
            sections[shared[0]] = new
    return sections


def slide_layer(viewer: ViewerModel, section: Section) -> Layer:
    """Return the layer that shows a section's slide.

    Raises
    ------
    InputError
        If it was deleted.
    """
    for layer, info in layers_of(viewer, "slide"):
        if same_slide(info.section, section):
            return layer
    msg = f"{section.name}: its slide is no longer among the layers; open the section again."
    raise InputError(msg)


def pixel_space(mpp: float | None) -> dict[str, Any]:
    """Return scale and units of a layer whose data are in full-resolution pixels."""
    unit = "pixel" if mpp is None else "micrometer"
    return {"scale": (mpp or 1.0,) * 2, "units": (unit, unit), "axis_labels": ("y", "x")}


def grid_space(grid: Grid) -> dict[str, Any]:
    """Return where a layer lies whose data are a raster on a grid."""
    return {
        "scale": (grid.scale_um(),) * 2,
        "translate": grid.translate_um(),
        "units": (grid.unit,) * 2,
        "axis_labels": ("y", "x"),
    }
