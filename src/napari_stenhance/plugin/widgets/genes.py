"""The dock 'Genes': look at any gene, measured or predicted, and pin those worth keeping."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

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

from napari_stenhance.plugin.layer_info import LayerInfo, layers_of, open_runs
from napari_stenhance.plugin.layers import browse_layer, gene_layer
from napari_stenhance.plugin.scene import add_layers, browse, colour_spots
from napari_stenhance.plugin.widgets.follow import follow_layers
from napari_stenhance.plugin.widgets.gene_box import GeneBox
from napari_stenhance.plugin.widgets.legend import SpotLegend
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.tasks.write import WriteOptions, write

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.methods.decoder import Decoder
    from napari_stenhance.results.result import ResultFolder


class GenesWidget(QWidget):
    """Shows any gene of a run in its browse layer, and colours the spots by it."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._runs: list[LayerInfo | None] = []
        self.source = QComboBox(self)
        self.source.setToolTip("Predicted genes of a run, or only what the spots measured")
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
            "Pearson r between predicted and measured expression, over spots of the training "
            "sections that lay in blocks held out from training. Depth is the total count of a "
            "spot: what is left with it held constant is no mere density of cells."
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
    def run(self) -> LayerInfo | None:
        """The run whose genes are listed; None if only measured genes are."""
        index = self.source.currentIndex()
        return self._runs[index] if 0 <= index < len(self._runs) else None

    def _list_sources(self) -> None:
        runs: list[LayerInfo | None] = list(open_runs(self._viewer))
        labels = [f"{about.name} · {about.run}" for about in runs if about is not None]
        if any(layers_of(self._viewer, "spots")):
            runs.append(None)
            labels.append("measured spots")
        before = [_key(about) for about in self._runs]
        if [_key(about) for about in runs] == before:
            return
        kept, new = self.source.currentText(), [n for n in labels if self.source.findText(n) < 0]
        self.source.blockSignals(True)
        self.source.clear()
        self.source.addItems(labels)
        self._runs = runs
        # A run that has just come is what the user wants to see.
        wanted = new[0] if new else kept
        self.source.setCurrentIndex(max(self.source.findText(wanted), 0) if labels else -1)
        self.source.blockSignals(False)
        self._list_genes()

    def _list_genes(self, _index: int = 0) -> None:
        run = self.run
        if run is not None and run.field is not None:
            genes = run.field.genes
        else:
            measured = [a.colours.genes for _, a in layers_of(self._viewer, "spots") if a.colours]
            genes = tuple(dict.fromkeys(gene for each in measured for gene in each))
        self.gene.set_genes(genes)
        self.pin.setEnabled(run is not None)
        self.uncertainty.setEnabled(run is not None)
        browsed = [a.gene for _, a in self._browse_layers()]
        self._current = browsed[0] if browsed else self._current
        if self._current in genes:
            self.gene.show_gene(self._current)
        self._say_accuracy()

    def _browse_layers(self) -> list[tuple[Any, LayerInfo]]:
        run = self.run
        if run is None:
            return []
        return list(layers_of(self._viewer, "browse", result=run.result, run=run.run))

    def show_gene(self, gene: str) -> None:
        """Show a gene: its image, if a run is chosen, and the spots' colours."""
        self._current = gene
        self.gene.show_gene(gene)
        run = self.run
        if run is not None and run.field is not None:
            self._browse(run, gene)
        for layer, about in layers_of(self._viewer, "spots"):
            if self.spots.isChecked() and about.colours is not None and gene in about.colours:
                self.legend.show_range(*colour_spots(layer, gene))
        self._colour_lattices(gene)
        self._say_accuracy()

    def _colour_lattices(self, gene: str) -> None:
        """Colour the lattices of the run, on one scale, and hide those of other runs."""
        run, ends = self.run, None
        if run is None or not self.spots.isChecked():
            return
        for layer, about in layers_of(self._viewer, "lattice", result=run.result):
            if about.run != run.run:
                layer.visible = False
            elif about.colours is not None and gene in about.colours:
                ends = colour_spots(layer, gene, ends)
                self.lattice_legend.show_range(*ends)

    def _browse(self, run: LayerInfo, gene: str) -> None:
        from napari_stenhance.results.result import ResultFolder

        assert run.result is not None
        assert run.field is not None
        layers = [layer for layer, _ in self._browse_layers()]
        if not layers:
            data = browse_layer(
                ResultFolder.open(run.result), run.run, gene, run.field, visible=True
            )
            layers = add_layers(self._viewer, [data])
        what = "spread" if self.uncertainty.isChecked() else "latent"
        for layer in layers:
            browse(layer, gene, what)
        # Only the gene that was asked for: a pinned one above would hide it.
        for layer, about in layers_of(self._viewer, "gene", "browse", "imputed", "imputed gene"):
            layer.visible = layer in layers or (layer.visible and about.result != run.result)

    def _show_again(self, _on: bool = False) -> None:
        if self._current:
            self.show_gene(self._current)

    def _say_accuracy(self) -> None:
        run = self.run
        if run is None or run.field is None or self._current not in run.field.genes:
            self.accuracy.setText("")
            return
        said = _on_held_out(run.field.decoder, self._current, held_out=run.held_out)
        against = " (of an imputed gene: with what was imputed)" if run.learned_imputed else ""
        self.accuracy.setText(f"{self._current} on held-out spots: {said}{against}")

    def _pin(self) -> None:
        run, gene = self.run, self._current
        if run is None or run.result is None or not gene:
            return
        options = WriteOptions(result=run.result, genes=(gene,), run=run.run)
        self.run_bar.start(
            f"Pin {gene}",
            lambda job: write(options, job),
            on_done=lambda result: self._pinned(result, run, gene),
        )

    def _pinned(self, result: ResultFolder, run: LayerInfo, gene: str) -> None:
        assert run.field is not None
        for layer, about in layers_of(self._viewer, "gene", result=run.result, run=run.run):
            if about.gene == gene:
                layer.visible = True
                return
        add_layers(self._viewer, [gene_layer(result, run.run, gene, run.field, visible=True)])


def _on_held_out(decoder: Decoder, gene: str, *, held_out: bool) -> str:
    """Say how well a gene was predicted on spots that were held out, or why that is not known."""
    index = decoder.index_of(gene)
    r, given = (float(v[index]) for v in (decoder.held_out_r, decoder.held_out_r_given_depth))
    if not held_out:
        return "not known, for this recipe holds none out"
    if math.isnan(r):
        # Written before genes were averaged over the sections in which they vary.
        older = all(map(math.isnan, decoder.held_out_r_given_depth))
        where = "it does not vary in every section" if older else "it varies in no section"
        return f"not known, for {where} that was learned from"
    return f"r = {r:.2f}" + ("" if math.isnan(given) else f", with depth held constant {given:.2f}")


def _key(about: LayerInfo | None) -> Any:
    return None if about is None else (about.result, about.run)
