"""What is asked of regions: their top genes, what is like them, and a prediction in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.plugin.alone import look_alone
from napari_stenhance.plugin.drawn import drawn_regions
from napari_stenhance.plugin.layer_info import layers_of, open_sections
from napari_stenhance.plugin.live import LiveLayers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.similar import similarity_layer
from napari_stenhance.plugin.widgets.buttons import row_of
from napari_stenhance.plugin.widgets.choices import narrow
from napari_stenhance.plugin.widgets.dialogs import ask_where_to_save_table
from napari_stenhance.plugin.widgets.gene_reader import GeneReader
from napari_stenhance.plugin.widgets.outputs import suggest_out
from napari_stenhance.plugin.widgets.region_genes import RegionGenes
from napari_stenhance.plugin.widgets.run_dock import said_of_end
from napari_stenhance.results.domains import DomainRun
from napari_stenhance.results.region_top import top_numbers
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.running.numbers import counted
from napari_stenhance.tasks.predict import PredictOptions, predict_runs

if TYPE_CHECKING:
    import pandas as pd
    from napari.viewer import Viewer

    from napari_stenhance.plugin.widgets.counting import RegionCounts
    from napari_stenhance.plugin.widgets.region_files import RegionFiles
    from napari_stenhance.plugin.widgets.region_table import RegionTable
    from napari_stenhance.plugin.widgets.run_bar import RunBar
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.named_regions import NamedRegions
    from napari_stenhance.section.section import Section

_TOP = 25
_REST = "the rest of the tissue"
_HERE = "selected regions"
_OTHERS = "the rest"
_MOST_LISTED = 1000


class RegionList(Protocol):
    """What the panel knows of the regions that it lists."""

    table: RegionTable
    counts: RegionCounts
    run_bar: RunBar
    files: RegionFiles

    def chosen_regions(self) -> NamedRegions:
        """Return the regions that are selected."""


class RegionQuestions(QWidget):
    """Asks of what is selected in a list of regions.

    Parameters
    ----------
    viewer : Viewer
    listed : RegionList
    parent : QWidget
    """

    def __init__(self, viewer: Viewer, listed: RegionList, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._listed = viewer, session_of(viewer), listed
        self._live = LiveLayers(viewer, self)
        self.reader = GeneReader(self._session, self)
        self.against = QComboBox(self)
        self.against.setToolTip("What the selected region is compared with.")
        self.top = QPushButton("Top genes", self)
        self.top.setToolTip("Genes that are highest in the selected region.")
        self.top.clicked.connect(self._find_top)
        self.title = QLabel("", self)
        self.title.setWordWrap(True)
        self.genes = RegionGenes(self)
        self.genes.chosen.connect(self._look_at)
        self.export = QPushButton("Genes as CSV …", self)
        self.export.setToolTip("Write the table of these genes, as summarise does.")
        self.export.clicked.connect(self._ask_export)
        self.where = QComboBox(self)
        self.where.setToolTip("Where the model of the run that is shown predicts.")
        self.predict = QPushButton("Predict", self)
        self.predict.setToolTip("Apply the model that is shown; its genes come as layers.")
        self.predict.clicked.connect(self._predict)
        self.similar = QPushButton("Find like this", self)
        self.similar.setToolTip(
            "Show where all genes are predicted to be as in the selected regions."
        )
        self.similar.clicked.connect(self._find_similar)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        against = self.top, QLabel("against", self), narrow(self.against)
        column.addLayout(row_of(against, self.against))
        column.addWidget(self.title)
        column.addWidget(self.genes, 1)
        column.addLayout(row_of((self.similar, self.export), self.export))
        on = self.predict, QLabel("on", self), narrow(self.where)
        column.addLayout(row_of(on, self.where))
        self.into = QLabel("", self)
        self.into.setWordWrap(True)
        self.where.currentIndexChanged.connect(self._say_into)
        column.addWidget(self.into)
        self._say_into()
        self.forget()
        self.list_others()

    def forget(self) -> None:
        """Show no genes: other regions are listed."""
        self._show(None, "")

    def _show(self, numbers: pd.DataFrame | None, said: str) -> None:
        self.genes.show_numbers(numbers)
        self.export.setVisible(numbers is not None)
        self.title.setText(said)
        self.title.setVisible(bool(said))
        # Without genes, the room is that of the regions.
        policy = QSizePolicy.Policy.Maximum if numbers is None else QSizePolicy.Policy.Preferred
        self.setSizePolicy(QSizePolicy.Policy.Preferred, policy)

    def _ask_export(self) -> None:
        path, numbers = ask_where_to_save_table(self), self.genes.genes.numbers
        if path is not None and numbers is not None:
            self._listed.files.write_table(path, numbers)

    def enable(self, *, some: bool, regions: bool) -> None:
        """Let be asked what can be: of regions alone, what is like them."""
        self.top.setEnabled(some)
        self.similar.setEnabled(some and regions)

    def list_others(self) -> None:
        """List what the selected region can be compared with."""
        chosen, at = self.against.currentText(), self.against.currentIndex()
        before = [self.against.itemText(n) for n in range(self.against.count())]
        names = [_OTHERS, *self._listed.table.regions.names[:_MOST_LISTED]]
        self.against.clear()
        self.against.addItems(names)
        # Several may be called the same, and one may have been renamed.
        renamed = sum(map(str.__ne__, before, names)) < 2 and len(before) == len(names)
        self.against.setCurrentIndex(at if renamed else max(self.against.findText(chosen), 0))

    def list_targets(self) -> None:
        """List slides to predict on."""
        targets: list[tuple[str, tuple[Section, bool] | None]] = [(_HERE, None)]
        for section in open_sections(self._viewer):
            if section.slide is None or section is self._session.section:
                continue
            targets.append((f"{section.name}, the whole slide", (section, False)))
            if _are_regions_on(self._viewer, section):
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

    def _say_into(self) -> None:
        """Say where the prediction of another slide is written; the worker looks once more."""
        target = self.where.currentData()
        said = "" if target is None else f"Written to {suggest_out([target[0]])}"
        self.into.setText(said)
        self.into.setVisible(bool(said))

    def _field_run(self) -> FieldRun:
        """Return the run that is looked at, or else that which the numbers of the table are of.

        Raises
        ------
        InputError
            If it predicts nothing from a slide.
        """
        run, found = self._session.run, self._listed.counts.found
        if isinstance(run, DomainRun) and found is not None:
            # Domains lie over what is predicted.
            run = found.run
        if not isinstance(run, FieldRun):
            msg = (
                "Look at genes that were predicted from a slide first: choose the run in Genes, or "
                "its section in Section; where its model is to predict, say beside Predict."
            )
            raise InputError(msg)
        return run

    def _look_at(self, gene: str) -> None:
        found = self._listed.counts.found
        if isinstance(self._session.run, DomainRun) and found is not None:
            # Under domains a gene is not seen: that of the table is.
            if found.run is None:
                self._session.look_at_measured(gene)
            else:
                self._session.look_at(run=found.run, gene=gene)
            return
        self.reader.look_at(gene=gene)

    def _find_top(self) -> None:
        """Find the genes that are highest in the selected region."""
        found, rows = self._listed.counts.found, self._listed.table.rows()
        rows = [0] if len(self._listed.table.regions.names) == 1 else rows
        if found is None or len(rows) != 1:
            self._listed.run_bar.say(InputError("Select one region in the table first."))
            return
        row, other = rows[0], self.against.currentIndex() - 1
        if other == row:
            self._listed.run_bar.say(InputError("Choose another region to compare it with."))
            return
        name, against = self._listed.table.regions.names[row], None if other < 0 else other
        of = _REST if against is None else self._listed.table.regions.names[against]

        def done(numbers: Any) -> None:
            self._show(numbers, _said_of_top(numbers, name, of))
            self._listed.run_bar.done = f"{counted(len(numbers), 'gene')} of {name}."

        def task(job: Job) -> Any:
            return top_numbers(found.run, found.groups, row, against, found.measured, _TOP, job)

        self._listed.run_bar.start(f"Top genes of {name}", task, on_done=done)

    def _find_similar(self) -> None:
        """Show where it is as in the selected regions."""
        try:
            run, regions = self._field_run(), self._listed.chosen_regions()
        except StenhanceError as error:
            self._listed.run_bar.say(error)
            return
        name = " and ".join(regions.names[:3]) + " …" * (len(regions) > 3)

        def done(layer: Any) -> None:
            self._forget_similar(run, name)
            (added,) = self._session.add([layer])
            look_alone(self._session, added)
            said = f"Green is predicted like {name}, pink is its opposite. "
            self._listed.run_bar.done = f"{said}Look at a gene to see it again."

        self._listed.run_bar.start(
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
                regions = self._listed.chosen_regions()
                _need_more_than(run)
            else:
                section, inside = target
                regions = _regions_on(self._viewer, section) if inside else None
            if section is None or section.slide is None:
                msg = "Open the slide first: what is predicted is seen on it."
                raise InputError(msg)
        except StenhanceError as error:
            self._listed.run_bar.say(error)
            return
        here = target is None

        def task(job: Job) -> Any:
            region = None if regions is None else regions.united()
            out = run.result.path if here else suggest_out([section], job)
            options = PredictOptions(
                result=run.result.path, on=(section,), out=out, run=run.name, region=region
            )
            return predict_runs(options, job)

        def done(runs: Any) -> Iterator[None]:
            yield from self._live.finish_in_turns()
            if self._session.run is not run and gene in (self._session.genes or run).names:
                self._look_at(gene)
            self._listed.run_bar.done = "\n".join(
                ["Done.", *(s for r in runs for s in said_of_end(r))]
            )

        gene = self._session.gene
        self._listed.run_bar.start(
            f"Predict on {section.name}",
            task,
            kept="what is finished by then is kept, and the same run goes on from there",
            on_done=done,
            on_event=self._live.receive,
            on_end=self._live.finish,
        )


def _need_more_than(run: FieldRun) -> None:
    if not run.in_region:
        msg = (
            f"This model has predicted all of {run.result.name} already: in its regions nothing "
            "else would come of it. Choose another slide under On."
        )
        raise InputError(msg)


def _said_of_top(numbers: Any, name: str, of: str) -> str:
    if not len(numbers):
        return f"No gene is higher in {name} than in {of}."
    row = numbers.iloc[0]
    spots = f"{row['spots']:.0f} spots" if np.isfinite(row["spots"]) else "no spots"
    over = f"predicted over {row['superpixels']} superpixels (no measurements), "
    return f"{name} against {of}: {over if row['superpixels'] else ''}measured at {spots}."


def _are_regions_on(viewer: Viewer, section: Section) -> bool:
    """Tell whether anything is drawn on a section, or a file of regions is open there."""
    layers = layers_of(viewer, "region", "outlined regions")
    return any(info.section is section and len(layer.data) for layer, info in layers)


def _regions_on(viewer: Viewer, section: Section) -> NamedRegions | None:
    """Return what is drawn on a section, or else the regions of a file there; None without any."""
    for layer, info in layers_of(viewer, "region"):
        if info.section is section and info.place is not None and len(layer.data):
            drawn, _ = drawn_regions(layer, info.place)
            if len(drawn):
                return drawn
    for _, info in layers_of(viewer, "outlined regions"):
        if info.section is section and info.outlined is not None:
            return info.outlined.regions
    return None
