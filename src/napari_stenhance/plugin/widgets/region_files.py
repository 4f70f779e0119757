"""Files of the panel 'Regions': regions and cells that are opened, what is saved, and numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.cell_means import cells_layer
from napari_stenhance.plugin.layer_info import KEY, layers_of
from napari_stenhance.plugin.outlined import OUTLINED, SHAPES_MOST, outlined_layer
from napari_stenhance.plugin.outlines import OutlinedRegions
from napari_stenhance.plugin.scene import show_layer
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.dialogs import (
    ask_for_cells,
    ask_for_regions,
    ask_where_to_save_regions,
    ask_where_to_save_table,
)
from napari_stenhance.results.region_numbers import as_measurements
from napari_stenhance.running.numbers import counted
from napari_stenhance.section.cell_labels import cells_of_file, cells_of_labels
from napari_stenhance.section.named_regions import NamedRegions
from napari_stenhance.storage.atomic import atomic_path

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QWidget

    from napari_stenhance.plugin.widgets.counting import RegionCounts
    from napari_stenhance.plugin.widgets.run_bar import RunBar
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section


def name_outlined(file: str) -> str:
    """Name the regions of a file where what can be listed is."""
    return f"Regions of {file}"


def name_cells(file: str) -> str:
    """Name the cells of a file where what can be listed is."""
    return f"Cells of {file}"


class RegionPanel(Protocol):
    """What the panel is to its files."""

    counts: RegionCounts
    run_bar: RunBar

    def listed_regions(self) -> NamedRegions | None:
        """Return the regions that are listed; None where domains or cells are."""

    def draw_regions(self, regions: NamedRegions, section: Section) -> Iterator[None]:
        """Draw regions among those that are drawn; after some, others have their turn."""

    def list_what(self, what: str) -> None:
        """List what is called so, where it is there."""


class RegionFiles:
    """Opens and saves what a panel lists.

    Parameters
    ----------
    viewer : Viewer
    panel : RegionPanel
    parent : QWidget
        Of windows that ask for files.
    """

    def __init__(self, viewer: Viewer, panel: RegionPanel, parent: QWidget) -> None:
        self._viewer, self._session = viewer, session_of(viewer)
        self._panel, self._parent = panel, parent

    def ask_open(self) -> None:
        path = ask_for_regions(self._parent)
        if path is not None:
            self.open_regions(path)

    def open_regions(self, path: Path) -> None:
        """Draw the regions of a file on the section that is looked at; very many are outlined."""
        section = self._session.section
        if section is None:
            self._panel.run_bar.say(InputError("Open the section first: no slide is looked at."))
            return

        def task(job: Job) -> tuple[NamedRegions, OutlinedRegions | None]:
            with job.stage("Reading regions", 1) as stage:
                shape = None if section.slide is None else section.slide.shape
                read = NamedRegions.read(path, section.mpp or 1.0, shape)
                many = len(read) > SHAPES_MOST
                outlined = OutlinedRegions.from_regions(read, section.mpp or 1.0) if many else None
                stage.advance()
            for doubt in read.doubts:
                job.note(doubt)
            return read, outlined

        def done(found: tuple[NamedRegions, OutlinedRegions | None]) -> Iterator[None]:
            read, outlined = found
            said = f"{counted(len(read), 'region')} of {path.name}."
            if outlined is None:
                yield from self._panel.draw_regions(read, section)
            else:
                yield from self._outline(outlined, path.name, section)
                said += " So many are listed as they are in the file: to change some, select them"
                said += " and press Edit."
            self._panel.run_bar.done = said

        self._panel.run_bar.start(f"Regions of {path.name}", task, on_done=done)

    def _outline(self, outlined: OutlinedRegions, name: str, section: Section) -> Iterator[None]:
        layer = outlined_layer(section.name, section.mpp, outlined, name, section)
        for old, info in list(layers_of(self._viewer, OUTLINED.name)):
            if info.part == name and info.place is self._session.place:
                self._viewer.layers.remove(old)
                yield
        self._session.add([layer])
        yield
        self._panel.list_what(name_outlined(name))

    def ask_cells(self) -> None:
        path = ask_for_cells(self._parent)
        if path is not None:
            self.open_cells(path)

    def open_cells(self, path: Path) -> None:
        """Show cells of a file, coloured by the mean of the gene in each."""
        run = self._session.genes
        if run is None:
            msg = "Look at genes of a run first: cells are coloured by what is predicted in them."
            self._panel.run_bar.say(InputError(msg))
            return

        def task(job: Job) -> NamedRegions:
            of = run.result.attributes.get("slide")
            shape = None if of is None else tuple(of["shape"])
            read = cells_of_file(path, shape, run.grid.mpp, job)
            for doubt in read.doubts:
                job.note(doubt)
            return read

        self._show_cells(path.name, task)

    def outline_labels(self, layer: Labels) -> None:
        """Show the cells that a layer of labels holds, as those of a file."""
        place, run = self._session.place, self._session.genes
        turned = layer.ndim != 2 or layer.multiscale or np.any(layer.rotate != np.eye(2))
        if turned or np.any(layer.shear) or place is None or run is None:
            msg = f"{layer.name}: cells are outlined from one flat layer of labels, not turned, "
            self._panel.run_bar.say(InputError(msg + "that lies over what was predicted."))
            return
        values, sides = np.asarray(layer.data), tuple(map(float, layer.scale))
        corner = np.subtract(layer.translate, place.origin) - np.divide(layer.scale, 2)
        at = float(corner[0]), float(corner[1])
        self._show_cells(
            layer.name, lambda job: cells_of_labels(values, sides, at, layer.name, job)
        )

    def _show_cells(self, name: str, read: Callable[[Job], NamedRegions]) -> None:
        run, gene = self._session.genes, self._session.gene
        assert run is not None

        def task(job: Job) -> Any:
            return cells_layer(run, read(job), name, gene, job)

        def done(layer: Any) -> Iterator[None]:
            for old, info in list(layers_of(self._viewer, "cells", of_run=run.key)):
                if info.part == name:
                    self._viewer.layers.remove(old)
            (added,) = self._session.add([layer])
            yield
            self._session.with_spots = True
            with self._session.quiet():
                show_layer(added, visible=True)
            self._session.show()
            colours = layer[1]["metadata"][KEY].colours
            self._panel.list_what(name_cells(name))
            self._panel.run_bar.done = f"{counted(len(colours.cells), 'cell')} of {name}."

        self._panel.run_bar.start(f"Cells of {name}", task, on_done=done)

    def ask_save(self) -> None:
        asked = ask_where_to_save_regions(self._parent)
        if asked is not None:
            self.save_regions(*asked)

    def save_regions(self, path: Path, *, for_qupath: bool = False) -> None:
        """Write the regions, for QuPath with the numbers of the gene that is looked at."""
        regions, found = self._panel.listed_regions(), self._panel.counts.found
        section = self._session.section
        if regions is None:
            return
        mpp = (1.0 if section is None else section.mpp or 1.0) if for_qupath else None
        if for_qupath and found is not None:
            regions = regions.with_measurements(as_measurements(found.numbers, len(regions)))
        self._write(path, lambda: regions.write(path, mpp))

    def ask_export(self) -> None:
        path = ask_where_to_save_table(self._parent)
        if path is not None:
            self.export_numbers(path)

    def export_numbers(self, path: Path) -> None:
        """Write the table of all regions, as `summarise` writes it."""
        if self._panel.counts.found is not None:
            self.write_table(path, self._panel.counts.found.numbers)

    def write_table(self, path: Path, numbers: pd.DataFrame) -> None:
        """Write a table, in a thread."""

        def write() -> None:
            with atomic_path(path) as aside:
                numbers.to_csv(aside, index=False)

        self._write(path, write)

    def _write(self, path: Path, write: Callable[[], None]) -> None:
        def task(job: Job) -> None:
            with job.stage(f"Writing {path.name}", 1) as stage:
                write()
                stage.advance()

        def done(_nothing: None) -> None:
            self._panel.run_bar.done = f"Written to {path}."

        self._panel.run_bar.start(f"Writing {path.name}", task, on_done=done)
