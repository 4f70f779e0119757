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

from napari_stenhance.plugin.genes import browse, browse_layer, pinned_layer
from napari_stenhance.plugin.layer_info import layers_of, open_runs
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.plugin.spots import colour_spots
from napari_stenhance.plugin.widgets.choices import relist
from napari_stenhance.plugin.widgets.follow import follow_layers
from napari_stenhance.plugin.widgets.gene_box import GeneBox
from napari_stenhance.plugin.widgets.legend import SpotLegend
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.tasks.write import WriteOptions, write

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_stenhance.results.run import Run


_ROLES = ("gene", "browse")


class GenesWidget(QWidget):
    """Shows any gene of a run in its browse layer, and colours the spots by it."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._runs: list[GeneSource | None] = []
        self.source = QComboBox(self)
        self.source.setToolTip("Genes of a run, or only those that the spots measured")
        self.source.currentIndexChanged.connect(self._list_genes)
        self.gene = GeneBox(self)
        self.gene.setToolTip("Type a part of the name; Enter shows the gene.")
        self.gene.chosen.connect(self.show_gene)
        self.uncertainty = QCheckBox("Show its uncertainty", self)
        self.uncertainty.setToolTip(
            "Standard deviation over the ensemble: it ranks places, it is no interval."
        )
        self.uncertainty.toggled.connect(self._show_again)
        self.spots = QCheckBox("Colour the spots by it", self)
        self.spots.setChecked(True)
        self.spots.toggled.connect(self._show_again)
        self.legend = SpotLegend(self, "spots")
        self.lattice_legend = SpotLegend(self, "lattice")
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
        layout.addWidget(self.lattice_legend)
        layout.addStretch(1)
        layout.addWidget(self.run_bar)
        self._current = ""
        follow_layers(self, napari_viewer, self._list_sources)

    @property
    def run(self) -> GeneSource | None:
        """The run whose genes are listed; None if only measured genes are."""
        index = self.source.currentIndex()
        return self._runs[index] if 0 <= index < len(self._runs) else None

    def _list_sources(self) -> None:
        runs: list[GeneSource | None] = [
            run for run in open_runs(self._viewer, *_ROLES) if isinstance(run, GeneSource)
        ]
        if any(layers_of(self._viewer, "spots")):
            runs.append(None)
        before, chosen = self._runs, self.run
        self._runs = runs
        # A run that has just come, and is shown, is what the user wants to see.
        if relist(self.source, before, runs, lambda run: chosen is None or self._is_shown(run)):
            self._list_genes()
        # A lattice comes after the field of its run, in the colours of the same gene.
        if self._current and not self.lattice_legend.isVisibleTo(self):
            self._colour_lattices(self._current)

    def _is_shown(self, run: Run | None) -> bool:
        return run is None or any(layer.visible for layer in self._layers(run, *_ROLES))

    def _layers(self, run: Run, *roles: str) -> list[Layer]:
        return [layer for layer, _ in layers_of(self._viewer, *roles, of_run=run.key)]

    def _list_genes(self, _index: int = 0) -> None:
        run = self.run
        if run is None:
            measured = [i.colours.genes for _, i in layers_of(self._viewer, "spots") if i.colours]
            genes = tuple(dict.fromkeys(gene for each in measured for gene in each))
        else:
            # Those first that were not measured.
            genes = tuple(sorted(run.genes, key=lambda gene: run.origin(gene) == "measured"))
            layers = layers_of(self._viewer, *_ROLES, of_run=run.key)
            seen_first = sorted(layers, key=lambda pair: not pair[0].visible)
            self._current = seen_first[0][1].gene if seen_first else self._current
        self.gene.set_genes(genes)
        self.pin.setEnabled(run is not None)
        self.uncertainty.setEnabled(run is not None)
        if self._current in genes:
            self.gene.show_gene(self._current)
        self._say_accuracy()

    def show_gene(self, gene: str) -> None:
        """Show a gene: its image, if a run is chosen, and the spots' colours."""
        self._current = gene
        self.gene.show_gene(gene)
        if self.run is not None:
            self._browse(self.run, gene)
        for layer, info in layers_of(self._viewer, "spots"):
            if self.spots.isChecked() and info.colours is not None and gene in info.colours:
                self.legend.show_range(*colour_spots(layer, gene))
        self._colour_lattices(gene)
        self._say_accuracy()

    def _colour_lattices(self, gene: str) -> None:
        """Colour the lattices of the run, on one scale, and hide those of other runs."""
        run, ends = self.run, None
        if run is None or not self.spots.isChecked():
            return
        for layer, info in layers_of(self._viewer, "lattice"):
            if info.run is None or info.run.result.path != run.result.path:
                continue
            if info.of_run != run.key:
                layer.visible = False
            elif info.colours is not None and gene in info.colours:
                ends = colour_spots(layer, gene, ends)
                self.lattice_legend.show_range(*ends)

    def _browse(self, run: GeneSource, gene: str) -> None:
        layers = self._layers(run, "browse")
        if not layers:
            layers = add_layers(self._viewer, [browse_layer(run, gene, visible=True)])
        for layer in layers:
            browse(layer, gene, "spread" if self.uncertainty.isChecked() else "expression")
        # Only the gene that was asked for: a pinned one above would hide it.
        for layer, info in layers_of(self._viewer, *_ROLES):
            elsewhere = info.run is None or info.run.result.path != run.result.path
            layer.visible = layer in layers or (layer.visible and elsewhere)
        active = self._viewer.layers.selection.active
        if active is not None and not active.visible:
            self._viewer.layers.selection.active = layers[0]

    def _show_again(self, _on: bool = False) -> None:
        if self._current:
            self.show_gene(self._current)

    def _say_accuracy(self) -> None:
        run, gene = self.run, self._current
        self.accuracy.setText("" if run is None or gene not in run.genes else run.trust(gene))

    def _pin(self) -> None:
        run, gene = self.run, self._current
        if run is None or not gene:
            return
        options = WriteOptions(result=run.result.path, genes=(gene,), run=run.name)
        self.run_bar.start(
            f"Pin {gene}",
            lambda job: write(options, job),
            on_done=lambda _result: self._pinned(run, gene),
        )

    def _pinned(self, run: GeneSource, gene: str) -> None:
        for layer, info in layers_of(self._viewer, "gene", of_run=run.key):
            if info.gene == gene:
                layer.visible = True
                return
        add_layers(self._viewer, [pinned_layer(run, gene, visible=True)])
