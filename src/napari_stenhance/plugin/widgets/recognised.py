"""What the panel 'Section' says was recognised of what it opens, and of what is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QPlainTextEdit

from napari_stenhance.errors import StenhanceError
from napari_stenhance.plugin.genes import read_first
from napari_stenhance.plugin.layer_info import our_layers
from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.picture import picture_doubts
from napari_stenhance.plugin.places import hash_slides
from napari_stenhance.plugin.rasters import raster_doubts
from napari_stenhance.plugin.widgets.scrolling import LowView
from napari_stenhance.section.section import Section
from napari_stenhance.tasks.info import describe_result, describe_section

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_stenhance.plugin.genes import GeneImage
    from napari_stenhance.plugin.layer_info import LayerData
    from napari_stenhance.plugin.session import Session
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.running.job import Job
    from napari_stenhance.storage.tile_cache import TileCache
    from napari_stenhance.tasks.options import SlideOptions


class Words(LowView, QPlainTextEdit):
    """What was recognised, to be read and copied."""


@dataclass(frozen=True)
class OpenedPath:
    """What was opened.

    Attributes
    ----------
    layers : list of tuple
    what : Section, ResultFolder or None
        None for saved layers.
    said : str
        What was recognised.
    read : GeneImage or None
        The gene that will be seen of a run.
    """

    layers: list[LayerData]
    what: Section | ResultFolder | None
    said: str
    read: GeneImage | None


def describe_opened(what: Section | ResultFolder | None, layers: list[LayerData]) -> list[str]:
    """Say what was opened, and whether a result's slide was found."""
    if what is None:
        return [
            f"Saved layers: {len(layers)}",
            *(attributes["name"] for _, attributes, _ in layers),
        ]
    if isinstance(what, Section):
        return list(describe_section(what))
    return list(describe_result(what))


def describe_looked_at(session: Session) -> str:
    """Describe the section and the results that are looked at: napari itself has opened them."""
    said: list[str] = []
    section = session.section
    if section is not None:
        here = [info for _, info in our_layers(session.viewer) if info.place is session.place]
        pictures = picture_doubts(section, [info.role for info in here])
        said = [*describe_section(section), *pictures, *raster_doubts(here)]
    results = {run.result.path: run.result for run in session.runs()}
    for result in results.values():
        try:
            said += [*([""] if said else []), *describe_result(result)]
        except StenhanceError as error:
            said.append(str(error))
    return "\n".join(said)


def open_described(
    path: Path,
    options: SlideOptions,
    job: Job,
    image: Path | None,
    tiles: TileCache,
    sections: list[Section],
    said: list[Mapping[str, Any]],
    gene: str,
) -> OpenedPath:
    """Open what lies at a path, describe it, and find with which it shares a slide.

    The gene that is looked at now is read of what was opened, if it is there; else another.
    """
    layers, opened, lacks = open_layers(path, options, job, image, tiles)
    hash_slides(opened, sections, said, job)
    described = "\n".join([*describe_opened(opened, layers), *lacks])
    return OpenedPath(layers, opened, described, read_first(layers, gene))
