"""What a layer shows. The viewer's layers are the plugin's only state: no other list is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.methods.field import GeneField
    from napari_stenhance.plugin.spots import SpotColours
    from napari_stenhance.section.section import Section

KEY = "stenhance"
Role = Literal["slide", "spots", "region", "gene", "browse"]


@dataclass(frozen=True, eq=False)
class Shown:
    """What a layer shows: kept in its metadata.

    Attributes
    ----------
    role : {"slide", "spots", "region", "gene", "browse"}
    name : str
        Of the section.
    section : Section or None
        Of a slide, spots or region layer.
    colours : SpotColours or None
        Of a spots layer.
    result : Path or None
        Of a gene or browse layer.
    run : str
    gene : str
    field : GeneField or None
        Of a gene or browse layer.
    """

    role: Role
    name: str
    section: Section | None = None
    colours: SpotColours | None = None
    result: Path | None = None
    run: str = ""
    gene: str = ""
    field: GeneField | None = None

    def metadata(self) -> dict[str, Any]:
        """Return what goes into a layer."""
        return {KEY: self}


def shown(layer: Layer) -> Shown | None:
    """Tell what a layer shows; None if it is not ours."""
    found = layer.metadata.get(KEY)
    return found if isinstance(found, Shown) else None


def layers_of(
    viewer: ViewerModel, *roles: Role, result: Path | None = None, run: str | None = None
) -> Iterator[tuple[Layer, Shown]]:
    """List our layers with some roles, from the bottom up."""
    for layer in list(viewer.layers):
        about = shown(layer)
        if (
            about is not None
            and about.role in roles
            and (result is None or about.result == result)
            and (run is None or about.run == run)
        ):
            yield layer, about


def open_sections(viewer: ViewerModel) -> list[Section]:
    """List the sections whose slide or spots are among the layers, in the order of opening."""
    sections: list[Section] = []
    for _, about in layers_of(viewer, "slide", "spots"):
        if about.section is not None and not any(about.section is s for s in sections):
            sections.append(about.section)
    return sections


def open_runs(viewer: ViewerModel) -> list[Shown]:
    """List the runs that some layer shows, one entry each."""
    runs: dict[tuple[Path | None, str], Shown] = {}
    for _, about in layers_of(viewer, "gene", "browse"):
        runs.setdefault((about.result, about.run), about)
    return list(runs.values())
