"""The panel 'Genes': look at any gene, measured or predicted, and pin those worth keeping."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.alone import look_alone_at
from napari_stenhance.plugin.asked_for import are_spots_seen, why_no_spots
from napari_stenhance.plugin.colours import SpotColours
from napari_stenhance.plugin.depth import depth_layer
from napari_stenhance.plugin.genes import pinned_layer
from napari_stenhance.plugin.region_values import RegionValues
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.above_row import AboveRow
from napari_stenhance.plugin.widgets.buttons import push_button, row_of
from napari_stenhance.plugin.widgets.channel_legend import ChannelLegend
from napari_stenhance.plugin.widgets.choices import elide, relist
from napari_stenhance.plugin.widgets.error_text import ErrorText
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.gene_list import GeneList
from napari_stenhance.plugin.widgets.gene_reader import GeneReader
from napari_stenhance.plugin.widgets.gene_rows import GeneRows
from napari_stenhance.plugin.widgets.gene_table import GeneTable
from napari_stenhance.plugin.widgets.histogram import GeneHistogram
from napari_stenhance.plugin.widgets.legend import GeneLegend
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.plugin.widgets.unfamiliar_button import UnfamiliarButton
from napari_stenhance.results.domains import DomainRun
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.gene_statistics import GeneStatistics, count_statistics
from napari_stenhance.results.gene_sums import is_formula
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun, gene_run
from napari_stenhance.tasks.write import WriteOptions, write

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.plugin.colours import Colours
    from napari_stenhance.plugin.layer_info import Place
    from napari_stenhance.running.job import Job
_OF_SPOTS = "Spots, in the same colours: what was measured of this gene"
_OF_DEPTH = (
    "Show how much a spot would count in all, as the image shows it: much where cells lie densely. "
    "Genes are learned beside it."
)
_NO_DEPTH = (
    "Total counts are predicted with the preset robust alone, of spots and of bins that count "
    "enough: not by this run."
)
_LAST = re.compile(r"[+*/(,]\s*|(?:^|\s)-\s*")


class GeneSearch(QLineEdit):
    """Where one types a part of a name; the arrow down goes on to the table."""

    def __init__(self, table: GeneTable, parent: QWidget) -> None:
        super().__init__(parent)
        self._table = table
        self.setPlaceholderText("type to search a gene")
        self.setClearButtonEnabled(True)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() not in {Qt.Key.Key_Down, Qt.Key.Key_Up}:
            super().keyPressEvent(event)
            return
        self._table.setFocus()
        if not self._table.currentIndex().isValid():
            self._table.setCurrentIndex(self._table.genes.index(0, 0))


class GenesWidget(QWidget):
    """Shows any gene of a run in its browse layer, and colours the spots by it."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self.reader = GeneReader(self._session, self)
        self._runs: list[GeneSource | None] = []
        self._listed: tuple[Any, ...] = ()
        self._rows = GeneRows.of_measured(())
        self._of_spots: WeakKeyDictionary[Colours, GeneStatistics] = WeakKeyDictionary()
        self._top: WeakKeyDictionary[Place, tuple[DomainRun, dict[str, str]]] = WeakKeyDictionary()
        self._order: tuple[str | None, bool] = (None, False)
        self._is_sum = False
        self.source = QComboBox(self)
        self.source.setToolTip("Genes of a run, or only those that the spots measured")
        self.source.currentIndexChanged.connect(self._choose)
        self.table = GeneTable(self)
        self.table.chosen.connect(self.show_gene)
        self.table.together.connect(self._show_together)
        self.table.reordered.connect(self._reorder)
        self.gene = GeneSearch(self.table, self)
        self.gene.setToolTip(
            "Type a part of the name; Enter shows the gene that is meant. Or a sum of genes, such "
            "as ERBB2 + GRB7 - ALB, 2 * A - B or mean(A, B, C): of what is shown of each."
        )
        self.error = ErrorText(self)
        self.gene.textChanged.connect(self._filter)
        self.gene.textChanged.connect(lambda: self.error.say(""))
        self.gene.returnPressed.connect(self._enter)
        self.list = GeneList(self)
        self.list.changed.connect(self._filter)
        self.list.scored.connect(self._show_score)
        self.reliable = QCheckBox("Reliable", self)
        self.reliable.setToolTip(
            "Reliable genes only: hide those that were predicted with a lower r given depth on "
            "what was held out, and those of which it is not known. What was measured is shown as "
            "it was, and stays."
        )
        self.reliable.toggled.connect(self._filter)
        self.least = QDoubleSpinBox(self)
        self.least.setRange(-1, 1)
        self.least.setSingleStep(0.05)
        self.least.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.least.setPrefix("≥ ")
        self.least.setValue(self._session.least_r)
        self.least.setToolTip(
            "r | depth, Pearson's r on what was held out, with depth held constant: below it a "
            "gene is not reliable, and its image is washed out; so, above 0, is one that cannot be "
            "told from depth (n.s. in the table)."
        )
        self.least.valueChanged.connect(self._set_least)
        self.statistics = QPushButton("Statistics", self)
        self.statistics.setToolTip(
            "Compute the mean and Moran's I of every gene, and, where domains are open, in which "
            "of them it is expressed most."
        )
        self.statistics.clicked.connect(self._compute)
        self.depth = push_button(
            self,
            "Total counts",
            _OF_DEPTH,
            self._show_depth,
        )
        self.uncertainty = QCheckBox("Show its uncertainty", self)
        self.uncertainty.setToolTip(
            "Expression sd, how far the members of the ensemble disagree: it ranks places. Where a "
            "spot would be measured is its prediction interval, above."
        )
        self.uncertainty.toggled.connect(self._show_what)
        self.spots = QCheckBox("Show measured spots", self)
        self.spots.setToolTip(_OF_SPOTS)
        self.spots.toggled.connect(self._show_spots)
        self.legend = GeneLegend(self)
        self.channels = ChannelLegend(self)
        self.histogram = GeneHistogram(self)
        self.region = RegionValues(napari_viewer, self)
        self.region.changed.connect(self._count)
        self.in_region = QLabel("", self)
        self.in_region.setWordWrap(True)
        self.in_region.setToolTip("Of the gene that is shown, where it is drawn or selected")
        self.accuracy = QLabel("", self)
        self.accuracy.setWordWrap(True)
        self.accuracy.setToolTip(
            "Pearson r between predicted and measured expression, over spots: of the training "
            "sections, in blocks held out from training; of an imputation, while the method did "
            "not see the gene. Depth is the total count of a spot: what is left with it held "
            "constant is no mere density of cells."
        )
        self.pin = QPushButton("Pin", self)
        self.pin.setToolTip("Write this gene into the result, as an image and a layer of its own")
        self.pin.clicked.connect(self._pin)
        self.run_bar = RunBar(self)
        self.above = AboveRow(napari_viewer, self.run_bar, self)
        self.unfamiliar = UnfamiliarButton(napari_viewer, self.run_bar, self)
        self._lay_out()
        follow_session(self, napari_viewer, self._refresh)
        follow_layers(self, napari_viewer, self.region.follow, self.region.follow)

    def _lay_out(self) -> None:
        form = QFormLayout()
        elide(self.source)
        form.addRow("From", self.source)
        row = QHBoxLayout()
        row.addWidget(self.gene, 1)
        row.addWidget(self.pin)
        form.addRow("Gene", row)
        form.addRow(self.error)
        form.addRow("List", self.list)
        reliable = QHBoxLayout()
        reliable.addWidget(self.reliable)
        reliable.addWidget(self.least, 1)
        form.addRow(reliable)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(row_of((self.statistics, self.depth, self.unfamiliar)))
        layout.addWidget(self.table, 1)
        layout.addWidget(self.accuracy)
        layout.addWidget(self.uncertainty)
        layout.addWidget(self.above)
        layout.addWidget(self.spots)
        layout.addWidget(self.legend)
        layout.addWidget(self.channels)
        layout.addWidget(self.histogram)
        layout.addWidget(self.in_region)
        layout.addWidget(self.run_bar)
        walk = (
            self.source,
            self.gene,
            self.pin,
            self.list.text,
            self.list.browse,
            self.list.score,
            self.list.sets,
        )
        walk += (self.reliable, self.least, self.statistics, self.depth, self.unfamiliar)
        walk += (self.table, self.uncertainty)
        walk += (self.above.value, self.above.scale, self.above.mark)
        for one, other in pairwise((*walk, self.spots)):
            self.setTabOrder(one, other)

    @property
    def run(self) -> GeneSource | None:
        """The run whose genes are listed; None if only measured genes are."""
        return self._session.genes

    def _refresh(self) -> None:
        """Show what is looked at now."""
        session, run = self._session, self.run
        before = self._runs
        self._runs = [one for one in session.runs() if isinstance(one, GeneSource)]
        spots = session.measured
        if spots is not None:
            self._runs.append(None)
        relist(self.source, before, self._runs, run)
        self._list()
        self.table.show_genes(self._looked_at())
        seen = are_spots_seen(session)
        states = (self.uncertainty, session.what == "spread"), (self.spots, seen)
        for box, on in states:
            box.blockSignals(True)
            box.setChecked(on)
            box.blockSignals(False)
        for widget in (self.pin, self.uncertainty, self.reliable, self.least):
            widget.setEnabled(run is not None)
        if session.channels or (run is not None and session.gene not in run.names.known):
            # How uncertain a sum is does not follow from its genes.
            self.uncertainty.setEnabled(False)
        self.pin.setEnabled(run is not None and not session.channels)
        why = why_no_spots(session)
        self.spots.setEnabled(not why)
        self.spots.setToolTip(why or _OF_SPOTS)
        for widget in (self.uncertainty, self.spots):
            # Several genes have neither; their legend takes the room.
            widget.setVisible(not session.channels)
        self.statistics.setEnabled(bool(self._rows.genes))
        learned = isinstance(run, FieldRun) and run.field.decoder.depth is not None
        self.depth.setEnabled(learned)
        self.depth.setToolTip(_OF_DEPTH if learned else _NO_DEPTH)
        self.above.follow()
        self.unfamiliar.follow()
        self.above.setVisible(not session.channels)
        self.legend.show_session(session)
        self.channels.show_session(session)
        self.region.follow()
        self._count()
        self.accuracy.setText(self._trust())

    def _count(self) -> None:
        """Show how often each value of the gene occurs."""
        session, run = self._session, self.run
        spots, at_spots = session.measured, None
        one_unit = run is None or (spots is not None and run.unit == spots.unit)
        if spots is not None and one_unit and session.what == "expression":
            at_spots = spots.values(session.gene) if session.gene in spots or run is None else None
        shown = bool(session.title)
        image = session.values if shown and run is not None else None
        limits, region = session.limits, self.region
        self.histogram.show_values(image, at_spots if shown else None, limits, region.values)
        self.in_region.setText(region.said)
        self.in_region.setVisible(bool(region.said))

    def _list(self) -> None:
        """List the genes of what is looked at, if they are not those that are listed."""
        session, run = self._session, self.run
        genes = run.genes if run is not None else getattr(session.measured, "genes", ())
        known = self._known_statistics()
        listed = (None if run is None else run.key, genes, session.least_r, known)
        if listed == self._listed:
            return
        self._listed = listed
        if run is None:
            self._rows = GeneRows.of_measured(genes, getattr(session.measured, "aliases", {}))
        else:
            self._rows = GeneRows.from_run(run, session.least_r)
        if known is not None:
            self._rows = self._rows.with_statistics(genes, known, self._top_domains())
            self.table.genes.explain("mean", known.of_mean)
            self.table.genes.explain("moran", known.of_moran)
        self.list.find_among(self._rows)
        self._filter()

    def _known_statistics(self) -> GeneStatistics | None:
        """Return what was computed of the genes that are listed; None if nothing was."""
        if self.run is not None:
            return self.run.known_statistics
        spots = self._session.measured
        return None if spots is None else self._of_spots.get(spots)

    def _top_domains(self) -> dict[str, str]:
        """Return where each gene is expressed most, of domains that are open."""
        place, open_runs = self._session.place, {one.key for one in self._session.runs()}
        domains, top = (place and self._top.get(place)) or (None, {})
        if domains is None or domains.key not in open_runs:
            return {}
        said = f"The domain in which the gene's mean is highest, as {domains.name} was written"
        self.table.genes.explain("domain", said)
        return top

    def _compute(self) -> None:
        """Compute the statistics of the genes that are listed, in a thread."""
        run, spots, section = self.run, self._session.measured, self._session.section
        place, domains = (
            self._session.place,
            [one for one in self._session.runs() if isinstance(one, DomainRun)],
        )

        def task(job: Job) -> tuple[GeneStatistics | None, dict[str, str]]:
            top = domains[-1].top_domains() if domains else {}
            if run is not None:
                # Of one that is not complete, they would change: it is refused.
                gene_run(ResultFolder.open(run.result.path), run.name)
                return run.statistics, top
            if not isinstance(spots, SpotColours) or section is None or section.spots is None:
                return None, top
            xy = np.asarray(section.spots.obsm["spatial"])[:, :2]
            return count_statistics(spots.counts, spots.library, xy, job), top

        def done(found: tuple[GeneStatistics | None, dict[str, str]]) -> None:
            said, top = found
            if place is not None and domains:
                self._top[place] = domains[-1], top
            if run is None and spots is not None and said is not None:
                self._of_spots[spots] = said
            self._listed = ()
            self._refresh()

        self.run_bar.start("Statistics of all genes", task, on_done=done)

    def _filter(self, _state: Any = None) -> None:
        """Show those rows that are asked for."""
        by, descending = self._order
        text = self.gene.text().strip()

        def order(part: str) -> NDArray[np.int64]:
            return self._rows.order(
                part,
                self.list.within,
                only_reliable=self.reliable.isChecked(),
                by=by,
                descending=descending,
            )

        seen = order(text)
        self._is_sum = not seen.size and is_formula(text)
        if self._is_sum:
            # Of a sum, the gene that is being typed is searched.
            seen = order(_LAST.split(text)[-1])
        self.table.show_rows(self._rows, seen, self._looked_at())

    def _looked_at(self) -> list[str]:
        """Return the genes that are looked at."""
        channels = self._session.channels
        return [one.gene for one in channels] if channels else [self._session.gene]

    def _reorder(self, by: str | None, descending: bool) -> None:
        self._order = by, descending
        self._filter()

    def _enter(self) -> None:
        text = self.gene.text().strip()
        gene = None if self._is_sum else self._rows.meant(text, self.table.genes.seen)
        source = self.run or self._session.measured
        if gene is None and text and source and (self._is_sum or not len(self.table.genes.seen)):
            try:
                gene = source.names.find(text, any_case=True).text
            except InputError as error:
                self.error.say(str(error))
        if gene is not None:
            self.gene.selectAll()
            self.show_gene(gene)

    def _set_least(self, least: float) -> None:
        self._session.least_r = least
        self._session.show()

    def _choose(self, index: int) -> None:
        run = self._runs[index] if 0 <= index < len(self._runs) else None
        if run is None:
            self._session.look_at_measured()
        else:
            self._session.look_at(run=run)

    def show_gene(self, gene: str) -> None:
        """Show a gene: its image, if a run is chosen, and the spots' colours."""
        self.error.say("")
        if self.run is None and self._session.run is not None:
            # Domains are looked at, under which no spots are seen.
            self._session.look_at_measured(gene)
        else:
            self.reader.look_at(gene=gene)

    def _show_score(self, score: str) -> None:
        """Show the score of the list, or say why that cannot be."""
        source = self.run or self._session.measured
        if source is None:
            return
        try:
            self.show_gene(source.names.find(score).text)
        except InputError as error:
            self.error.say(str(error))

    def _show_together(self, genes: list[str]) -> None:
        """Show several genes at once, or say why that cannot be."""
        self.error.say("")
        try:
            self._session.look_at_channels(genes)
        except InputError as error:
            self.error.say(str(error))
            # What is selected is what is shown.
            self.table.show_genes(self._looked_at())

    def _show_what(self, spread: bool) -> None:
        self.reader.look_at(what="spread" if spread else "expression")

    def _show_depth(self) -> None:
        run = self.run
        if isinstance(run, FieldRun):
            look_alone_at(self._session, "depth", run, lambda: depth_layer(run))

    def _show_spots(self, on: bool) -> None:
        self._session.with_spots = on
        self._session.show()

    def _trust(self) -> str:
        run, gene = self.run, self._session.gene
        if run is not None and self._session.channels:
            return "\n".join(
                f"{'Not reliable. ' if one.doubtful else ''}{run.trust(one.gene)}"
                for one in self._session.channels
            )
        if run is None or gene not in run.names:
            return ""
        if self._session.what == "spread" and run.origin(gene) == "measured":
            return f"{gene} was measured: it has no uncertainty to be shown."
        said = run.trust(gene)
        if self._session.reliability != "not reliable":
            return said
        if gene not in run.names.known:
            return f"Not reliable, as one of its genes. {said}"
        return f"Not reliable. {said}"

    def _pin(self) -> None:
        run, gene = self.run, self._session.gene
        if run is None or not gene:
            return
        options = WriteOptions(result=run.result.path, genes=(gene,), run=run.name)
        self.run_bar.start(
            f"Pin {gene}",
            lambda job: write(options, job),
            on_done=lambda _result: self._pinned(run, gene),
        )

    def _pinned(self, run: GeneSource, gene: str) -> None:
        self._session.add([pinned_layer(run, gene, visible=False)])
        self._session.look_at(run=run, gene=gene, what="expression")
