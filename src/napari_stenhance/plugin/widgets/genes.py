"""The dock 'Genes': look at any gene, measured or predicted, and pin those worth keeping."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.plugin.genes import pinned_layer
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.choices import relist
from napari_stenhance.plugin.widgets.follow import follow_session
from napari_stenhance.plugin.widgets.gene_box import GeneBox
from napari_stenhance.plugin.widgets.legend import GeneLegend
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.tasks.write import WriteOptions, write

if TYPE_CHECKING:
    from napari.viewer import Viewer


class GenesWidget(QWidget):
    """Shows any gene of a run in its browse layer, and colours the spots by it."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self._runs: list[GeneSource | None] = []
        self.source = QComboBox(self)
        self.source.setToolTip("Genes of a run, or only those that the spots measured")
        self.source.currentIndexChanged.connect(self._choose)
        self.gene = GeneBox(self)
        self.gene.setToolTip("Type a part of the name; Enter shows the gene.")
        self.gene.chosen.connect(self.show_gene)
        self.uncertainty = QCheckBox("Show its uncertainty", self)
        self.uncertainty.setToolTip(
            "Standard deviation over the ensemble: it ranks places, it is no interval."
        )
        self.uncertainty.toggled.connect(self._show_what)
        self.spots = QCheckBox("Show measured spots over it", self)
        self.spots.setToolTip("Spots, in the same colours: what was measured of this gene")
        self.spots.toggled.connect(self._show_spots)
        self.legend = GeneLegend(self)
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
        form = QFormLayout()
        form.addRow("From", self.source)
        row = QHBoxLayout()
        row.addWidget(self.gene, 1)
        row.addWidget(self.pin)
        form.addRow("Gene", row)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.accuracy)
        layout.addWidget(self.uncertainty)
        layout.addWidget(self.spots)
        layout.addWidget(self.legend)
        layout.addStretch(1)
        layout.addWidget(self.run_bar)
        follow_session(self, napari_viewer, self._refresh)

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
        if run is not None:
            # Those first that were not measured.
            genes = sorted(run.genes, key=lambda gene: run.origin(gene) == "measured")
        else:
            genes = spots.genes if spots is not None else ()
        self.gene.set_genes(genes)
        self.gene.show_gene(session.gene)
        states = (self.uncertainty, session.what == "spread"), (self.spots, session.with_spots)
        for box, on in states:
            box.blockSignals(True)
            box.setChecked(on)
            box.blockSignals(False)
        self.spots.setEnabled(run is not None)
        self.pin.setEnabled(run is not None)
        self.uncertainty.setEnabled(run is not None)
        self.legend.show_session(session)
        self.accuracy.setText(self._trust())

    def _choose(self, index: int) -> None:
        run = self._runs[index] if 0 <= index < len(self._runs) else None
        if run is None:
            self._session.look_at_measured()
        else:
            self._session.look_at(run=run)

    def show_gene(self, gene: str) -> None:
        """Show a gene: its image, if a run is chosen, and the spots' colours."""
        self._session.look_at(gene=gene)

    def _show_what(self, spread: bool) -> None:
        self._session.look_at(what="spread" if spread else "expression")

    def _show_spots(self, on: bool) -> None:
        self._session.with_spots = on
        self._session.show()

    def _trust(self) -> str:
        run, gene = self.run, self._session.gene
        if run is None or gene not in run.genes:
            return ""
        if self._session.what == "spread" and run.origin(gene) == "measured":
            return f"{gene} was measured: it has no uncertainty to be shown."
        return run.trust(gene)

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
