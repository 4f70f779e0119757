"""What a layer shows. The viewer's layers are the plugin's only state: no other list is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_stenhance.errors import InputError

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.plugin.spots import Colours
    from napari_stenhance.results.domain_edit import DomainEdit
    from napari_stenhance.results.field import GeneField
    from napari_stenhance.results.imputed import ImputedRun
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.tile_cache import TileCache

KEY = "stenhance"
LayerData = tuple[Any, dict[str, Any], str]
"""(data, attributes, layer type), as npe2 readers return them."""
Role = Literal[
    "slide",
    "spots",
    "region",
    "gene",
    "browse",
    "attention",
    "lattice",
    "domains",
    "painting",
    "domain spots",
    "imputed",
    "imputed gene",
]


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
    colours : Colours or None
        Of a layer of spots, or of a lattice.
    result : Path or None
        Of all layers of a run, and of those of domains.
    run : str
    part : str
        Of attention, the size of crops; of a lattice, into how many parts steps are divided.
    gene : str
    field : GeneField or None
        Of a gene or browse layer.
    edit : DomainEdit or None
        Of domains: as they are now, saved or not.
    held_out, learned_imputed : bool
        Of a gene or browse layer: whether its run was tried on spots held out, and whether what it
        learned was imputed, not measured.
    imputed : ImputedRun or None
        Of imputed genes: any, or one that was written as an image.
    """

    role: Role
    name: str
    section: Section | None = None
    colours: Colours | None = None
    result: Path | None = None
    run: str = ""
    part: str = ""
    gene: str = ""
    field: GeneField | None = None
    held_out: bool = False
    learned_imputed: bool = False
    edit: DomainEdit | None = None
    imputed: ImputedRun | None = None

    def metadata(self) -> dict[str, Any]:
        """Return what goes into a layer."""
        return {KEY: self}


def layer_info(layer: Layer) -> LayerInfo | None:
    """Tell what a layer shows; None if it is not ours."""
    found = layer.metadata.get(KEY)
    return found if isinstance(found, LayerInfo) else None


def layers_of(
    viewer: ViewerModel, *roles: Role, result: Path | None = None, run: str | None = None
) -> Iterator[tuple[Layer, LayerInfo]]:
    """List our layers with some roles, from the bottom up."""
    for layer in list(viewer.layers):
        about = layer_info(layer)
        if (
            about is not None
            and about.role in roles
            and (result is None or about.result == result)
            and (run is None or about.run == run)
        ):
            yield layer, about


def viewer_tiles(viewer: ViewerModel) -> TileCache:
    """Return where the fields of a viewer keep tiles: one for all, so that its bound is theirs."""
    from napari_stenhance.storage.tile_cache import TileCache

    fields = (about.field for _, about in layers_of(viewer, "gene", "browse"))
    return next((field.tiles for field in fields if field is not None), None) or TileCache()


def same_slide(one: Section | None, other: Section | None) -> bool:
    """Tell whether two sections are of one slide at one scale."""
    slides = [s.slide for s in (one, other) if s is not None and s.slide is not None]
    return len(slides) == 2 and (slides[0].sha256, slides[0].mpp) == (
        slides[1].sha256,
        slides[1].mpp,
    )


def open_sections(viewer: ViewerModel) -> list[Section]:
    """List the sections whose slide or spots are among the layers, in the order of opening.

    Of two that share a slide, that which also has spots.
    """
    sections: list[Section] = []
    for _, about in layers_of(viewer, "slide", "spots"):
        new = about.section
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
    for layer, about in layers_of(viewer, "slide"):
        if same_slide(about.section, section):
            return layer
    msg = f"{section.name}: its slide is no longer among the layers; open the section again."
    raise InputError(msg)


def pixel_space(mpp: float | None) -> dict[str, Any]:
    """Return scale and units of a layer whose data are in full-resolution pixels."""
    unit = "pixel" if mpp is None else "micrometer"
    return {"scale": (mpp or 1.0,) * 2, "units": (unit, unit), "axis_labels": ("y", "x")}


def open_runs(viewer: ViewerModel) -> list[LayerInfo]:
    """List the runs that some layer shows, one entry each."""
    runs: dict[tuple[Path | None, str], LayerInfo] = {}
    for _, about in layers_of(viewer, "gene", "browse"):
        runs.setdefault((about.result, about.run), about)
    return list(runs.values())
