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

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.plugin.drawn import add_regions, drawn_regions, name_new, set_names
from napari_stenhance.plugin.layer_info import layers_of, open_sections
from napari_stenhance.plugin.live import LiveLayers
from napari_stenhance.plugin.regions import begin_drawing, open_region
from napari_stenhance.plugin.scene import show_layer
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.similar import similarity_layer
from napari_stenhance.plugin.widgets.counting import Counted, RegionCounts
from napari_stenhance.plugin.widgets.dialogs import (
    ask_for_regions,
    ask_where_to_save_regions,
    ask_where_to_save_table,
)
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.outputs import suggest_out
from napari_stenhance.plugin.widgets.region_genes import RegionGenes
from napari_stenhance.plugin.widgets.region_table import RegionTable
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.plugin.widgets.run_dock import said_of_end
from napari_stenhance.results.region_numbers import as_measurements
from napari_stenhance.results.region_top import top_numbers
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.running.numbers import counted
from napari_stenhance.section.named_regions import NamedRegions
from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.tasks.predict import PredictOptions, predict_runs

if TYPE_CHECKING:
    from napari.layers import Shapes
    from napari.viewer import Viewer

    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section

_TOP = 25
_REST = "the rest of the tissue"
_HERE = "This slide, in the selected regions"
_PAUSE_MS = 100


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
        self._live = LiveLayers(napari_viewer, self)
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
        self.against = QComboBox(self)
        self.against.setToolTip("What the selected region is compared with.")
        self.top = self._button("Top genes", "Genes that are highest in the selected region.")
        self.top.clicked.connect(self._find_top)
        self.top_title = QLabel("", self)
        self.top_title.setWordWrap(True)
        self.genes = RegionGenes(self)
        self.genes.chosen.connect(self._look_at)
        self.genes.show_numbers(None)
        self.where = QComboBox(self)
        self.where.setToolTip("Where the model of the run that is shown predicts.")
        self.predict = self._button(
            "Predict", "Apply the model that is shown; genes come as layers"
        )
        self.predict.clicked.connect(self._predict)
        self.similar = self._button(
            "Find like this", "Show where all genes are predicted to be as in the selected regions."
        )
        self.similar.clicked.connect(self._find_similar)
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
        column.addWidget(self.title)
        column.addWidget(self.table, 2)
        column.addWidget(self.export)
        for label, box, button in (
            ("Against", self.against, self.top),
            ("On", self.where, self.predict),
        ):
            row = QHBoxLayout()
            row.addWidget(QLabel(label, self))
            row.addWidget(box, 1)
            row.addWidget(button)
            column.addLayout(row)
            if button is self.top:
                column.addWidget(self.top_title)
                column.addWidget(self.genes, 3)
            # A long name must not widen the dock.
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.setMinimumContentsLength(8)
        column.addWidget(self.similar)
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
            self.genes.show_numbers(None)
            self.top_title.setText("")
        if layer is not None:
            chosen = layer.selected_data.events.items_changed
            if chosen not in self._emitters:
                self._emitters.append(chosen)
                chosen.connect(self._selected)
        self._list_targets()
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
        before = [] if self._regions is None else list(self._regions.names)
        if layer is None or place is None:
            self._regions, self._shapes, names = None, np.zeros(0, np.int64), []
        else:
            if len(layer.data) > self._known:
                name_new(layer, self._known)
            self._known = len(layer.data)
            self._regions, self._shapes = drawn_regions(layer, place)
            names = list(self._regions.names)
        if names != before or self.table.regions.names != names:
            self.table.show_names(names)
            self._list_others()
        if layer is not None:
            self._selected()
        self._count()

    def _count(self) -> None:
        self.counts.follow(self._regions)
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
        for button in (self.save, self.delete, self.top, self.similar):
            button.setEnabled(some)
        self.undo.setEnabled(self._deleted is not None and self._deleted[0] is self._layer)

    def _title(self, found: Counted | None) -> str:
        if not self.table.regions.names:
            return "Draw a region on the slide, or open a file of regions."
        if self.counts.error is not None:
            return str(self.counts.error)
        return "Counting …" if found is None else found.said

    def _list_others(self) -> None:
        """List what the selected region can be compared with."""
        chosen = self.against.currentText()
        self.against.clear()
        self.against.addItems([_REST, *self.table.regions.names[:_MOST_LISTED]])
        self.against.setCurrentIndex(max(self.against.findText(chosen), 0))

    def _list_targets(self) -> None:
        """List slides to predict on."""
        targets: list[tuple[str, tuple[Section, bool] | None]] = [(_HERE, None)]
        for section in open_sections(self._viewer):
            if section.slide is None or section is self._session.section:
                continue
            targets.append((f"{section.name}, the whole slide", (section, False)))
            if self._drawn_on(section) is not None:
                targets.append((f"{section.name}, in its regions", (section, True)))
        if [text for text, _ in targets] == [
            self.where.itemText(n) for n in range(self.where.count())
        ]:
            return
        chosen = self.where.currentText()
        self.where.clear()
        for text, target in targets:
            self.where.addItem(text, target)
        self.where.setCurrentIndex(max(self.where.findText(chosen), 0))

    def _drawn_on(self, section: Section) -> NamedRegions | None:
        for layer, info in layers_of(self._viewer, "region"):
            if info.section is section and info.place is not None and len(layer.data):
                regions, _ = drawn_regions(layer, info.place)
                return regions if len(regions) else None
        return None

    # Row and shape

    def _chosen(self) -> None:
        """Select on the slide what is selected in the table."""
        if self._layer is None:
            return
        self._busy = True
        self._viewer.layers.selection.active = self._layer
        # napari frames what is selected in this mode.
        self._layer.mode = "select"
        self._layer.selected_data = {int(self._shapes[row]) for row in self.table.rows()}
        self._busy = False

    def _selected(self, *_items: Any) -> None:
        """Select in the table what is selected on the slide."""
        if self._busy or self._layer is None or not len(self._shapes):
            return
        chosen = set(self._layer.selected_data)
        self.table.choose([row for row, n in enumerate(self._shapes) if int(n) in chosen])

    def _renamed(self, row: int, name: str) -> None:
        assert self._layer is not None
        assert self._regions is not None
        self._busy = True
        set_names(self._layer, [name], [int(self._shapes[row])])
        self._busy = False
        names = list(self._regions.names)
        names[row] = name
        self._regions = replace(self._regions, names=tuple(names))
        self._list_others()
        self._count()

    def _draw(self, mode: str) -> None:
        section = self._session.section
        if section is None:
            self.run_bar.say(InputError("Open the section to draw on: none is looked at."))
            return
        begin_drawing(self._viewer, section, mode)

    def _delete(self) -> None:
        rows = self.table.rows()
        if self._layer is None or self._regions is None or not rows:
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

    def _chosen_regions(self) -> NamedRegions:
        """Return the regions that are selected; where there is one, it needs no click.

        Raises
        ------
        InputError
            If none is.
        """
        rows = self.table.rows()
        if self._regions is not None and len(self._regions) == 1:
            rows = [0]
        if self._regions is None or not rows:
            msg = "Select a region in the table first."
            raise InputError(msg)
        return self._regions.chosen(rows)

    def _field_run(self) -> FieldRun:
        """Return the run that is looked at.

        Raises
        ------
        InputError
            If it predicts nothing from a slide.
        """
        run = self._session.run
        if not isinstance(run, FieldRun):
            msg = "Look at genes that were predicted from a slide first: choose a run in Genes."
            raise InputError(msg)
        return run

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
            self._add(layer, read)
            self._regions = None
            self._follow()
            self.run_bar.done = f"{counted(len(read), 'region')} of {path.name}."

        self.run_bar.start(f"Regions of {path.name}", task, on_done=done)

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
        found = self.counts.found
        if found is None:
            return

        def write() -> None:
            with atomic_path(path) as aside:
                found.numbers.to_csv(aside, index=False)

        self._write(path, write)

    def _write(self, path: Path, write: Callable[[], None]) -> None:
        def task(job: Job) -> None:
            with job.stage(f"Writing {path.name}", 1) as stage:
                write()
                stage.advance()

        def done(_nothing: None) -> None:
            self.run_bar.done = f"Written to {path}."

        self.run_bar.start(f"Writing {path.name}", task, on_done=done)

    # What is asked of a region

    def _look_at(self, gene: str) -> None:
        self._session.look_at(gene=gene)

    def _find_top(self) -> None:
        """Find the genes that are highest in the selected region."""
        found, rows = self.counts.found, self.table.rows()
        rows = [0] if len(self.table.regions.names) == 1 else rows
        if found is None or len(rows) != 1:
            self.run_bar.say(InputError("Select one region in the table first."))
            return
        row, other = rows[0], self.against.currentIndex() - 1
        if other == row:
            self.run_bar.say(InputError("Choose another region to compare it with."))
            return
        name, against = self.table.regions.names[row], None if other < 0 else other
        of = _REST if against is None else self.table.regions.names[against]

        def done(numbers: Any) -> None:
            self.genes.show_numbers(numbers)
            self.top_title.setText(_said_of_top(numbers, name, of))
            self.run_bar.done = f"{counted(len(numbers), 'gene')} of {name}."

        def task(job: Job) -> Any:
            return top_numbers(found.run, found.groups, row, against, found.measured, _TOP, job)

        self.run_bar.start(f"Top genes of {name}", task, on_done=done)

    def _find_similar(self) -> None:
        """Show where it is as in the selected regions."""
        try:
            run, regions = self._field_run(), self._chosen_regions()
        except StenhanceError as error:
            self.run_bar.say(error)
            return
        name = " and ".join(regions.names[:3]) + " …" * (len(regions) > 3)

        def done(layer: Any) -> None:
            self._forget_similar(run, name)
            (added,) = self._session.add([layer])
            # By itself, over the slide: another colour over a gene's would be read as neither.
            self._session.look_at_slide()
            with self._session.quiet():
                show_layer(added, visible=True)

        self.run_bar.start(
            f"Like {name}", lambda job: similarity_layer(run, regions, name, job), on_done=done
        )

    def _forget_similar(self, run: FieldRun, name: str) -> None:
        """Remove the layer of a region that was drawn otherwise before."""
        for layer, info in list(layers_of(self._viewer, "similarity", of_run=run.key)):
            if info.part == name:
                self._viewer.layers.remove(layer)

    def _predict(self) -> None:
        """Predict with the model of the run that is looked at."""
        try:
            run, target = self._field_run(), self.where.currentData()
            section, regions = self._session.section, None
            if target is None:
                regions = self._chosen_regions()
            else:
                section, inside = target
                regions = self._drawn_on(section) if inside else None
            if section is None or section.slide is None:
                msg = "Open the slide first: what is predicted is seen on it."
                raise InputError(msg)
        except StenhanceError as error:
            self.run_bar.say(error)
            return
        here = target is None
        region = None if regions is None else regions.united()

        def task(job: Job) -> Any:
            out = run.result.path if here else suggest_out([section], job)
            options = PredictOptions(
                result=run.result.path, on=(section,), out=out, run=run.name, region=region
            )
            return predict_runs(options, job)

        def done(runs: Any) -> Iterator[None]:
            yield from self._live.finish_in_turns()
            self.run_bar.done = "\n".join(["Done.", *(s for r in runs for s in said_of_end(r))])

        gene = self._session.gene
        self.run_bar.start(
            f"Predict on {section.name}",
            task,
            kept="what is finished by then is kept, and the same run goes on from there",
            on_begin=lambda: setattr(self._live, "gene", gene),
            on_done=done,
            on_event=self._live.receive,
            on_end=self._live.finish,
        )


_MOST_LISTED = 1000


def _said_of_top(numbers: Any, name: str, of: str) -> str:
    if not len(numbers):
        return f"No gene is higher in {name} than in {of}."
    row = numbers.iloc[0]
    spots = f"{row['spots']:.0f} spots" if np.isfinite(row["spots"]) else "no spots"
    return (
        f"Higher in {name} than in {of}: predicted over {row['superpixels']} superpixels, which "
        f"are no measurements; measured at {spots}."
    )
