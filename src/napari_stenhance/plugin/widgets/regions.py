"""The panel 'Regions': draw them, name them, and read what is in them; predict there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.plugin.brush import begin_brush, brush_layer, brushed, brushed_regions
from napari_stenhance.plugin.camera import centre_on
from napari_stenhance.plugin.cell_means import CellMeans
from napari_stenhance.plugin.clicks import is_click
from napari_stenhance.plugin.drawn import (
    add_regions,
    drawn_regions,
    name_new,
    set_names,
    write_names,
)
from napari_stenhance.plugin.layer_info import KEY, layer_info, layers_of
from napari_stenhance.plugin.outlined import SHAPES_MOST, choose_outlined, outlined_at
from napari_stenhance.plugin.outlines import OutlinedRegions
from napari_stenhance.plugin.regions import begin_drawing, open_region
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.buttons import row_of
from napari_stenhance.plugin.widgets.choices import narrow
from napari_stenhance.plugin.widgets.counting import Counted, Counts, RegionCounts
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.region_files import RegionFiles, name_cells, name_outlined
from napari_stenhance.plugin.widgets.region_questions import RegionQuestions
from napari_stenhance.plugin.widgets.region_table import RegionTable
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.results.domains import DomainRun
from napari_stenhance.section.named_regions import NamedRegions

if TYPE_CHECKING:
    from napari.layers import Labels, Shapes
    from napari.viewer import Viewer

    from napari_stenhance.plugin.layer_info import Place
    from napari_stenhance.section.section import Section

_DRAWN = "Drawn regions"
_PAUSE_MS = 100
_BRUSH, _PAINTED = "Brush", "End brush"
_AT_ONCE = 100
"""Shapes that are added in one turn."""
_FOUND_BY_EYE = 12
"""Rows from which on a name is typed to be found."""


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
        self.files = RegionFiles(napari_viewer, self, self)
        self.draw = self._button("Draw", "Click corners; Esc or a double click closes it.")
        self.draw.clicked.connect(lambda: self._draw("add_polygon"))
        self.lasso = self._button("Lasso", "Hold the button and draw around it.")
        self.lasso.clicked.connect(lambda: self._draw("add_polygon_lasso"))
        self.brush = self._button(_BRUSH, "Paint; what is painted becomes a region in the end.")
        self.brush.clicked.connect(self._brush)
        self.delete = self._button("Delete", "Delete the selected regions (Delete).")
        self.delete.clicked.connect(self._delete)
        self.edit = self._button("Edit", "Copy the selected regions among the drawn ones.")
        self.edit.clicked.connect(self._edit)
        self.undo = self._button("Undo", "Bring back the regions that were deleted last.")
        self.undo.clicked.connect(self._undo)
        self.open = self._button("Open …", "GeoJSON: in µm, or as QuPath writes it.")
        self.open.clicked.connect(self.files.ask_open)
        self.save = self._button("Save …", "GeoJSON: in µm, or for QuPath, with the numbers below.")
        self.save.clicked.connect(self.files.ask_save)
        self.what = QComboBox(self)
        self.what.setToolTip("What is listed: drawn regions, domains that were found, or cells.")
        self.what.currentIndexChanged.connect(self._list_chosen)
        self.cells = self._button("Cells …", "Outlines (GeoJSON), or labels of the slide.")
        self.cells.clicked.connect(self.files.ask_cells)
        self.title = QLabel("", self)
        self.title.setWordWrap(True)
        self.table = RegionTable(self)
        self.table.chosen.connect(self._chosen)
        self.table.regions.renamed.connect(self._renamed)
        delete = QShortcut(QKeySequence(Qt.Key.Key_Delete), self.table)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self._delete)
        self.export = self._button("CSV …", "Write the numbers of every region as a table.")
        self.export.clicked.connect(self.files.ask_export)
        self.find = QLineEdit(self)
        self.find.setPlaceholderText("Find a name")
        self.find.setClearButtonEnabled(True)
        self.find.textChanged.connect(self.table.search)
        self.find.hide()
        self.questions = RegionQuestions(napari_viewer, self, self)
        self._lay_out()
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._read)
        drags = napari_viewer.mouse_drag_callbacks
        drags.append(self._clicked)
        self.destroyed.connect(lambda: drags.remove(self._clicked))
        self.destroyed.connect(self._leave)
        follow_layers(self, napari_viewer, self._follow, self._drawn)
        follow_session(self, napari_viewer, self._follow)

    def _button(self, text: str, tip: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tip)
        return button

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        tools = (self.draw, self.lasso, self.brush, self.delete, self.edit, self.undo)
        column.addLayout(row_of(tools, tools[0]))
        files = self.open, self.cells, self.save, self.export
        column.addLayout(row_of(files, self.open))
        column.addWidget(narrow(self.what))
        column.addWidget(self.find)
        column.addWidget(self.title)
        column.addWidget(self.table, 2)
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
            write_names(layer, self._regions.names, self._shapes)
        names = _names_of(self._listed)
        if self.table.regions.names != names:
            self.find.clear()
            self.table.show_names(names, _what_of(self._listed), fixed=not self._are_drawn)
            self.find.setVisible(len(names) > _FOUND_BY_EYE)
            self.questions.forget()
            self.questions.list_others()
        self._selected()
        self._count()

    @property
    def _listed(self) -> Counts | None:
        """What is listed: what was chosen, or else what is drawn."""
        chosen: Counts | None = self.what.currentData()
        return self._regions if chosen is None else chosen

    @property
    def _are_drawn(self) -> bool:
        """Whether the rows are those of shapes."""
        return self.what.currentData() is None

    def list_what(self, what: str) -> None:
        """List what is called so, where it is there."""
        self.what.setCurrentIndex(max(self.what.findText(what), 0))

    def listed_regions(self) -> NamedRegions | None:
        """Return the regions that are listed; None where domains or cells are."""
        return self._listed if isinstance(self._listed, NamedRegions) else None

    def _outlined(self) -> tuple[Labels, OutlinedRegions] | None:
        """Return the layer of the regions of a file that are listed, and these."""
        found = outlined_at(self._viewer, self._session.place)
        return next((one for one in found if one[1].regions is self._listed), None)

    def _list_chosen(self) -> None:
        """List what was chosen; labels are outlined first."""
        layer = next(
            (one for one in _labels_in(self._viewer) if one is self.what.currentData()), None
        )
        if layer is not None:
            self.what.setCurrentIndex(0)
            self.files.outline_labels(layer)
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
                found.append((name_cells(info.colours.file), info.colours))
        for layer, outlined in outlined_at(self._viewer, place):
            found.append((name_outlined(layer.metadata[KEY].part), outlined.regions))
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
            self.table.show_numbers(None if found is None else found.numbers)
        self.title.setText(self._title(found))
        some = bool(self.table.regions.names)
        self.export.setEnabled(found is not None)
        self.questions.enable(some=some, regions=self.listed_regions() is not None)
        self.save.setEnabled(some and self.listed_regions() is not None)
        self.delete.setEnabled(some and self._are_drawn)
        of_file = self._outlined() is not None
        painting = brushed(self._viewer, self._session.place) is not None
        self.brush.setText(_PAINTED if painting else _BRUSH)
        self.edit.setVisible(of_file)
        self.delete.setVisible(not of_file)
        self.undo.setEnabled(self._deleted is not None and self._deleted[0] is self._layer)

    def _title(self, found: Counted | None) -> str:
        if brushed(self._viewer, self._session.place) is not None:
            return f"Paint on the slide; {_PAINTED} makes a region of what is painted."
        if not self.table.regions.names:
            return "Draw a region on the slide, or open a file of regions."
        if self.counts.error is not None:
            return str(self.counts.error)
        return "Counting …" if found is None else found.said

    # Row and shape

    def _chosen(self) -> None:
        """Select on the slide what is selected in the table."""
        of_file = self._outlined()
        if of_file is not None:
            self._choose_outlined(of_file[0], self.table.rows())
        if self._layer is None or not self._are_drawn:
            return
        self._busy = True
        self._viewer.layers.selection.active = self._layer
        # napari frames what is selected in this mode.
        self._layer.mode = "select"
        self._layer.selected_data = {int(self._shapes[row]) for row in self.table.rows()}
        self._busy = False

    def _choose_outlined(self, layer: Labels, rows: Sequence[int]) -> None:
        place, outlined = self._session.place, choose_outlined(layer, rows)
        if rows and place is not None:
            centre_on(self._viewer, outlined.box() + place.origin)

    def _clicked(self, viewer: Viewer, event: Any) -> Iterator[None]:
        """Select the region of a file that is clicked; drags are napari's."""
        of_file, place = self._outlined(), self._session.place
        if of_file is None or place is None or not (of_file[0].visible and self.isVisible()):
            return
        if not (yield from is_click(viewer, event)):
            return
        found = of_file[1].at(np.subtract(event.position[-2:], place.origin))[:1].tolist()
        if not np.isin(found, self.table.regions.order).all():
            self.find.clear()
        self.table.choose(found)
        self._choose_outlined(of_file[0], found)

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
        names = list(self._regions.names)
        names[row] = name
        write_names(self._layer, names, self._shapes)
        self._busy = False
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

    def _brush(self) -> None:
        """Begin to paint, or make regions of what was painted."""
        section, place = self._session.section, self._session.place
        layer = brushed(self._viewer, place)
        try:
            if layer is not None and place is not None and section is not None:
                self._end_brush(layer, place, section)
            elif place is None or section is None or section.slide is None:
                msg = "Open the slide to paint on: none is looked at."
                raise InputError(msg)
            else:
                made = brush_layer(section.slide, place)
                (layer,) = self._session.add([made], active=False)
                begin_brush(self._viewer, layer)
        except StenhanceError as error:
            self.run_bar.say(error)

    def _end_brush(self, layer: Labels, place: Place, section: Section) -> None:
        values, pitch = np.asarray(layer.data), float(layer.scale[-1])
        if not values.any():
            self._viewer.layers.remove(layer)
            return
        y, x = np.subtract(layer.translate, place.origin) - pitch / 2
        corner = float(y), float(x)

        def done(regions: NamedRegions) -> Iterator[None]:
            self._viewer.layers.remove(layer)
            yield
            yield from self.draw_regions(regions, section)

        self.run_bar.start(
            "Outlining what is painted",
            lambda job: brushed_regions(values, pitch, corner, job),
            on_done=done,
        )

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

    def _edit(self) -> None:
        """Copy what is selected of a file among the drawn regions, where it can be changed."""
        rows, section, regions = self.table.rows(), self._session.section, self.listed_regions()
        if section is None or regions is None or not 0 < len(rows) <= SHAPES_MOST:
            msg = f"Select the regions to change in the table first, at most {SHAPES_MOST}."
            self.run_bar.say(InputError(msg))
            return
        chosen = regions.chosen(rows)
        self.run_bar.start(
            "Editing regions",
            lambda _job: chosen,
            on_done=lambda regions: self.draw_regions(regions, section),
        )

    def draw_regions(self, regions: NamedRegions, section: Section) -> Iterator[None]:
        """Draw regions among those that are drawn; after some, others have their turn."""
        layer = open_region(self._viewer, section, to_draw=True)
        yield
        self._layer = layer
        # napari takes its time for each shape: others have their turn between some.
        for first in range(0, len(regions), _AT_ONCE):
            self._add(layer, regions.chosen(range(first, min(first + _AT_ONCE, len(regions)))))
            yield
        self._regions = None
        self.what.setCurrentIndex(0)
        self._follow()

    def _add(self, layer: Shapes, regions: NamedRegions) -> None:
        self._busy = True
        try:
            before = len(layer.data)
            add_regions(layer, regions, float(layer.scale[-1]))
            self._known = len(layer.data)
            if not all(regions.names):
                name_new(layer, before)
        finally:
            self._busy = False

    def chosen_regions(self) -> NamedRegions:
        """Return the regions that are selected; where there is one, it needs no click.

        Raises
        ------
        InputError
            If none is.
        """
        regions, rows = self.listed_regions(), self.table.rows()
        if regions is None:
            msg = "Domains and cells are listed: list drawn regions, or those of a file, first."
            raise InputError(msg)
        if len(regions) == 1:
            rows = [0]
        if not rows:
            msg = "Select one of the regions in the table first."
            raise InputError(msg)
        return regions.chosen(rows)


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
