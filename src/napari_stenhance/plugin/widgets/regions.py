"""The panel 'Regions': draw them, name them, and read what is in them; predict there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.cell_means import CellMeans, cells_layer
from napari_stenhance.plugin.drawn import add_regions, drawn_regions, name_new, set_names
from napari_stenhance.plugin.layer_info import KEY, layer_info, layers_of
from napari_stenhance.plugin.regions import begin_drawing, open_region
from napari_stenhance.plugin.scene import show_layer
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.choices import narrow
from napari_stenhance.plugin.widgets.counting import Counted, Counts, RegionCounts
from napari_stenhance.plugin.widgets.dialogs import (
    ask_for_cells,
    ask_for_regions,
    ask_where_to_save_regions,
    ask_where_to_save_table,
)
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.region_questions import RegionQuestions
from napari_stenhance.plugin.widgets.region_table import RegionTable
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.results.domains import DomainRun
from napari_stenhance.results.region_numbers import as_measurements
from napari_stenhance.running.numbers import counted
from napari_stenhance.section.cell_labels import cells_of_file, cells_of_labels
from napari_stenhance.section.named_regions import NamedRegions
from napari_stenhance.storage.atomic import atomic_path

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels, Shapes
    from napari.viewer import Viewer

    from napari_stenhance.running.job import Job

_DRAWN = "Drawn regions"
_PAUSE_MS, _AT_ONCE = 100, 1000


class RegionsWidget(QWidget):
    """The regions of the section that is looked at, and what is in them."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer, self._session = napari_viewer, session_of(napari_viewer)
        self._layer: Shapes | None = None
        self._shapes = np.zeros(0, np.int64)
        self._regions: NamedRegions | None = None
        self._known = 0
        self._busy = False
        self._deleted: tuple[Shapes, NamedRegions] | None = None
        self._emitters: list[Any] = []
        self.run_bar = RunBar(self)
        self.counts = RegionCounts(self._session, self)
        self.counts.changed.connect(self._show_counts)
        self.draw = self._button("Draw", "Click corners; Esc or a double click closes it.")
        self.draw.clicked.connect(lambda: self._draw("add_polygon"))
        self.lasso = self._button("Lasso", "Hold the button and draw around it, as with a brush.")
        self.lasso.clicked.connect(lambda: self._draw("add_polygon_lasso"))
        self.delete = self._button("Delete", "Delete the selected regions (Delete).")
        self.delete.clicked.connect(self._delete)
        self.undo = self._button("Undo", "Bring back the regions that were deleted last.")
        self.undo.clicked.connect(self._undo)
        self.open = self._button("Open …", "GeoJSON: in µm, or as QuPath writes it.")
        self.open.clicked.connect(self._ask_open)
        self.save = self._button("Save …", "GeoJSON: in µm, or for QuPath, with the numbers below.")
        self.save.clicked.connect(self._ask_save)
        self.what = QComboBox(self)
        self.what.setToolTip("What is listed: drawn regions, domains that were found, or cells.")
        self.what.currentIndexChanged.connect(self._list_chosen)
        self.cells = self._button("Cells …", "Outlines (GeoJSON), or labels of the slide.")
        self.cells.clicked.connect(self._ask_cells)
        self.title = QLabel("", self)
        self.title.setWordWrap(True)
        self.table = RegionTable(self)
        self.table.chosen.connect(self._chosen)
        self.table.regions.renamed.connect(self._renamed)
        delete = QShortcut(QKeySequence(Qt.Key.Key_Delete), self.table)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self._delete)
        self.export = self._button("Numbers as CSV …", "Write this table, of every region.")
        self.export.clicked.connect(self._ask_export)
        self.questions = RegionQuestions(napari_viewer, self, self)
        self._lay_out()
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._read)
        self.destroyed.connect(self._leave)
        follow_layers(self, napari_viewer, self._follow, self._drawn)
        follow_session(self, napari_viewer, self._follow)

    def _button(self, text: str, tip: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tip)
        return button

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        buttons = QGridLayout()
        every = (self.draw, self.lasso, self.open, self.delete, self.undo, self.save)
        for n, button in enumerate(every):
            buttons.addWidget(button, n // 3, n % 3)
        column.addLayout(buttons)
        listed = QHBoxLayout()
        listed.addWidget(narrow(self.what), 1)
        listed.addWidget(self.cells)
        column.addLayout(listed)
        column.addWidget(self.title)
        column.addWidget(self.table, 2)
        column.addWidget(self.export)
        column.addWidget(self.questions, 3)
        column.addWidget(self.run_bar)

    # What is listed

    def _follow(self) -> None:
        """List what is drawn on what is looked at now."""
        place = self._session.place
        layers = [
            layer
            for layer, info in layers_of(self._viewer, "region")
            if info.place is place and place is not None and info.run is None
        ]
        layer = layers[-1] if layers else None
        if layer is not self._layer:
            self._layer, self._known = layer, 0 if layer is None else len(layer.data)
            self._regions = None
            self.questions.forget()
        if layer is not None:
            chosen = layer.selected_data.events.items_changed
            if chosen not in self._emitters:
                self._emitters.append(chosen)
                chosen.connect(self._selected)
        self.questions.list_targets()
        self._list_kinds()
        if self._regions is None:
            self._read()
        else:
            self._count()

    def _leave(self, _parent: Any = None) -> None:
        for emitter in self._emitters:
            emitter.disconnect(self._selected)

    def _drawn(self) -> None:
        """List anew once the mouse has come to rest: a corner that is dragged is an event each."""
        if not self._busy:
            self._pause.start()

    def _read(self) -> None:
        layer, place = self._layer, self._session.place
        if layer is None or place is None:
            self._regions, self._shapes = None, np.zeros(0, np.int64)
        else:
            if len(layer.data) > self._known:
                name_new(layer, self._known)
            self._known = len(layer.data)
            self._regions, self._shapes = drawn_regions(layer, place)
        names = _names_of(self._listed)
        if self.table.regions.names != names:
            self.table.show_names(names, _what_of(self._listed))
            self.questions.forget()
            self.questions.list_others()
        self._selected()
        self._count()

    @property
    def _listed(self) -> Counts | None:
        """What is listed: domains or cells that were chosen, or else what is drawn."""
        chosen: DomainRun | CellMeans | None = self.what.currentData()
        return self._regions if chosen is None else chosen

    @property
    def _are_drawn(self) -> bool:
        """Whether the rows are those of shapes."""
        return self.what.currentData() is None

    def _list_chosen(self) -> None:
        """List what was chosen; labels are outlined first."""
        layer = next(
            (one for one in _labels_in(self._viewer) if one is self.what.currentData()), None
        )
        if layer is not None:
            self.what.setCurrentIndex(0)
            self.outline_labels(layer)
        else:
            self._read()

    def _list_kinds(self) -> None:
        """List what there is to be listed of what is looked at."""
        place = self._session.place
        found: list[tuple[str, Any]] = [(_DRAWN, None)]
        runs = [run for run in self._session.runs() if isinstance(run, DomainRun)]
        found += [(f"Domains {run.name}", run) for run in runs]
        for _, info in layers_of(self._viewer, "cells"):
            if info.place is place and isinstance(info.colours, CellMeans):
                found.append((f"Cells of {info.colours.file}", info.colours))
        found += [(f"Labels {one.name} …", one) for one in _labels_in(self._viewer)]
        before = [(self.what.itemText(n), self.what.itemData(n)) for n in range(self.what.count())]
        if len(before) == len(found) and all(
            a == c and b is d for (a, b), (c, d) in zip(before, found, strict=True)
        ):
            return
        chosen = self.what.currentText()
        self.what.blockSignals(True)
        self.what.clear()
        for text, one in found:
            self.what.addItem(text, one)
        self.what.setCurrentIndex(max(self.what.findText(chosen), 0))
        self.what.blockSignals(False)
        self._read()

    def _count(self) -> None:
        self.counts.follow(self._listed)
        self._show_counts()

    def _show_counts(self) -> None:
        found = self.counts.found
        if found is None and self.counts.error is None and self.table.regions.names:
            self.table.regions.wait()
        else:
            self.table.regions.show_numbers(None if found is None else found.numbers)
        self.title.setText(self._title(found))
        some = bool(self.table.regions.names)
        self.export.setEnabled(found is not None)
        self.questions.enable(some=some, drawn=self._are_drawn)
        for button in (self.save, self.delete):
            button.setEnabled(some and self._are_drawn)
        self.undo.setEnabled(self._deleted is not None and self._deleted[0] is self._layer)

    def _title(self, found: Counted | None) -> str:
        if not self.table.regions.names:
            return "Draw a region on the slide, or open a file of regions."
        if self.counts.error is not None:
            return str(self.counts.error)
        return "Counting …" if found is None else found.said

    # Row and shape

    def _chosen(self) -> None:
        """Select on the slide what is selected in the table."""
        if self._layer is None or not self._are_drawn:
            return
        self._busy = True
        self._viewer.layers.selection.active = self._layer
        # napari frames what is selected in this mode.
        self._layer.mode = "select"
        self._layer.selected_data = {int(self._shapes[row]) for row in self.table.rows()}
        self._busy = False

    def _selected(self, *_items: Any) -> None:
        """Select in the table what is selected on the slide."""
        if self._busy or self._layer is None or not self._are_drawn or not len(self._shapes):
            return
        chosen = set(self._layer.selected_data)
        self.table.choose([row for row, n in enumerate(self._shapes) if int(n) in chosen])

    def _renamed(self, row: int, name: str) -> None:
        if self._layer is None or self._regions is None or not self._are_drawn:
            return
        self._busy = True
        set_names(self._layer, [name], [int(self._shapes[row])])
        self._busy = False
        names = list(self._regions.names)
        names[row] = name
        self._regions = replace(self._regions, names=tuple(names))
        self.questions.list_others()
        self._count()

    def _draw(self, mode: str) -> None:
        section = self._session.section
        if section is None:
            self.run_bar.say(InputError("Open the section to draw on: none is looked at."))
            return
        self.what.setCurrentIndex(0)
        begin_drawing(self._viewer, section, mode)

    def _delete(self) -> None:
        rows = self.table.rows()
        if self._layer is None or self._regions is None or not rows or not self._are_drawn:
            return
        self._deleted = self._layer, self._regions.chosen(rows)
        self._layer.selected_data = {int(self._shapes[row]) for row in rows}
        self._layer.remove_selected()
        self._read()

    def _undo(self) -> None:
        if self._deleted is not None and self._layer is self._deleted[0]:
            self._add(self._layer, self._deleted[1])
            self._deleted = None
            self._read()

    def _add(self, layer: Shapes, regions: NamedRegions) -> None:
        self._busy = True
        try:
            add_regions(layer, regions, float(layer.scale[-1]))
            self._known = len(layer.data)
        finally:
            self._busy = False

    def chosen_regions(self) -> NamedRegions:
        """Return the regions that are selected; where there is one, it needs no click.

        Raises
        ------
        InputError
            If none is.
        """
        rows = self.table.rows() if self._are_drawn else []
        if self._regions is not None and len(self._regions) == 1:
            rows = [0]
        if self._regions is None or not rows:
            msg = f"Select one of the {_DRAWN.lower()} in the table first."
            raise InputError(msg)
        return self._regions.chosen(rows)

    # Files

    def _ask_open(self) -> None:
        path = ask_for_regions(self)
        if path is not None:
            self.open_file(path)

    def open_file(self, path: Path) -> None:
        """Draw the regions of a file on the section that is looked at."""
        section = self._session.section
        if section is None:
            self.run_bar.say(InputError("Open the section first: no slide is looked at."))
            return

        def task(job: Job) -> NamedRegions:
            with job.stage("Reading regions", 1) as stage:
                read = NamedRegions.read(path, section.mpp or 1.0)
                stage.advance()
            for doubt in read.doubts:
                job.note(doubt)
            return read

        def done(read: NamedRegions) -> Iterator[None]:
            layer = open_region(self._viewer, section, to_draw=True)
            yield
            self._layer = layer
            # napari takes its time for each shape: others have their turn between some.
            for first in range(0, len(read), _AT_ONCE):
                self._add(layer, read.chosen(range(first, min(first + _AT_ONCE, len(read)))))
                yield
            self._regions = None
            self.what.setCurrentIndex(0)
            self._follow()
            self.run_bar.done = f"{counted(len(read), 'region')} of {path.name}."

        self.run_bar.start(f"Regions of {path.name}", task, on_done=done)

    def _ask_cells(self) -> None:
        path = ask_for_cells(self)
        if path is not None:
            self.open_cells(path)

    def open_cells(self, path: Path) -> None:
        """Show cells of a file, coloured by the mean of the gene in each."""
        run = self._session.genes
        if run is None:
            msg = "Look at genes of a run first: cells are coloured by what is predicted in them."
            self.run_bar.say(InputError(msg))
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
            self.run_bar.say(InputError(msg + "that lies over what was predicted."))
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
            self.what.setCurrentIndex(self.what.findText(f"Cells of {name}"))
            self.run_bar.done = f"{counted(len(colours.cells), 'cell')} of {name}."

        self.run_bar.start(f"Cells of {name}", task, on_done=done)

    def _ask_save(self) -> None:
        asked = ask_where_to_save_regions(self)
        if asked is not None:
            self.save_file(*asked)

    def save_file(self, path: Path, *, for_qupath: bool = False) -> None:
        """Write the regions, for QuPath with the numbers of the gene that is looked at."""
        regions, section, found = self._regions, self._session.section, self.counts.found
        if regions is None:
            return
        mpp = (1.0 if section is None else section.mpp or 1.0) if for_qupath else None
        if for_qupath and found is not None:
            regions = regions.with_measurements(as_measurements(found.numbers, len(regions)))
        self._write(path, lambda: regions.write(path, mpp))

    def _ask_export(self) -> None:
        path = ask_where_to_save_table(self)
        if path is not None:
            self.export_numbers(path)

    def export_numbers(self, path: Path) -> None:
        """Write the table of all regions, as `summarise` writes it."""
        if self.counts.found is not None:
            self.write_table(path, self.counts.found.numbers)

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
            self.run_bar.done = f"Written to {path}."

        self.run_bar.start(f"Writing {path.name}", task, on_done=done)


def _labels_in(viewer: Viewer) -> list[Labels]:
    """List layers of labels that are none of ours."""
    from napari.layers import Labels

    return [one for one in viewer.layers if isinstance(one, Labels) and layer_info(one) is None]


def _what_of(listed: Counts | None) -> str:
    if isinstance(listed, DomainRun):
        return "domain"
    return "cell" if isinstance(listed, CellMeans) else "region"


def _names_of(listed: Counts | None) -> list[str]:
    if isinstance(listed, DomainRun):
        return [one.name for one in listed.domains]
    if isinstance(listed, CellMeans):
        return list(listed.cells.names)
    return [] if listed is None else list(listed.names)
