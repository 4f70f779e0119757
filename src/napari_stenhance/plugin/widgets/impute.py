"""The dock 'Impute genes': predict genes that were not measured, and look at them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.plugin.imputed import (
    imputed_browse_layer,
    imputed_layers,
    listed_genes,
    open_imputed,
    show_gene,
    written_layer,
)
from napari_stenhance.plugin.layer_info import layers_of, open_sections
from napari_stenhance.plugin.live import LiveLayers
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.plugin.widgets.choices import named, relist
from napari_stenhance.plugin.widgets.follow import follow_layers
from napari_stenhance.plugin.widgets.form import OptionsForm
from napari_stenhance.plugin.widgets.gene_box import GeneBox
from napari_stenhance.plugin.widgets.outputs import suggest_out
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.plugin.worker import Outcome, Running, notify_error
from napari_stenhance.section.cells import cluster_columns
from napari_stenhance.tasks.impute import ImputeOptions, impute
from napari_stenhance.tasks.write import WriteOptions, write

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.results.imputed import ImputedRun
    from napari_stenhance.section.section import Section

_MORE = ("method", "attended", "write", "epochs", "device", "seed", "clear_dead_locks")


class ImputeWidget(QWidget):
    """Imputes genes of an open section, and shows those of runs that are open."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._runs: list[ImputedRun] = []
        self._suggested = ""
        self._reference = Path()
        self._clusters: tuple[str, ...] = ()
        self.form = OptionsForm(
            ImputeOptions,
            choices={"spots": self._sections, "cluster_key": self._columns},
            hidden=("mpp", "image"),
            more=_MORE,
        )
        self.form.fields["reference"].filter = "Single cells (*.h5ad)"
        self.run = QPushButton("Impute genes", self)
        self.run.setToolTip("Predict them, and write them to Out.")
        self.run.clicked.connect(self._run)
        self.run_bar = RunBar(self, self.form.labels)
        self._live = LiveLayers(napari_viewer, self)
        self.source = QComboBox(self)
        self.source.setToolTip("Which imputation is shown")
        self.source.currentIndexChanged.connect(self._list_genes)
        self.gene = GeneBox(self)
        self.gene.setToolTip("Type a part of the name; Enter shows the gene.")
        self.gene.chosen.connect(self.show_gene)
        self.pin = QPushButton("Pin", self)
        self.pin.setToolTip("Write this gene into the result, as an image and a layer of its own")
        self.pin.clicked.connect(self._pin)
        self.uncertainty = QCheckBox("Show its uncertainty", self)
        self.uncertainty.setToolTip(
            "Standard deviation over the members: it ranks places, it is no interval."
        )
        self.uncertainty.toggled.connect(self._show_again)
        self.trust = QLabel("", self)
        self.trust.setWordWrap(True)
        self.trust.setToolTip(
            "Pearson r between predicted and measured log1p CP10k, over spots, while the method "
            "did not see the gene; or, of a gene that was not measured, what members differ by"
        )
        inside = QWidget(self)
        column = QVBoxLayout(inside)
        column.addWidget(self.form.main.native)
        column.addWidget(self.form.more)
        column.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setWidget(inside)
        row = QHBoxLayout()
        row.addWidget(self.gene, 1)
        row.addWidget(self.pin)
        shown = QFormLayout()
        shown.addRow("From", self.source)
        shown.addRow("Gene", row)
        layout = QVBoxLayout(self)
        layout.addWidget(scroll, 1)
        for widget in (self.run, self.run_bar):
            layout.addWidget(widget)
        layout.addLayout(shown)
        for widget in (self.trust, self.uncertainty):
            layout.addWidget(widget)
        self._current = ""
        self.form.fields["spots"].changed.connect(self._suggest)
        self.form.fields["reference"].changed.connect(self._look_at_reference)
        self._list_genes()
        follow_layers(self, napari_viewer, self._refresh)

    # What can be chosen

    def _sections(self) -> list[tuple[str, Section]]:
        return named([s for s in open_sections(self._viewer) if s.spots is not None])

    def _columns(self) -> list[tuple[str, str]]:
        """List the columns of the cells: which says their cluster is for the user to know."""
        return [("cluster, if it is there", ""), *((name, name) for name in self._clusters)]

    def _look_at_reference(self, _value: Any = None) -> None:
        """Read the columns of other cells, in a thread: they may lie on a slow disk."""
        path = Path(self.form.fields["reference"].value)
        if path == self._reference:
            return
        self._reference, self._clusters = path, ()
        self.form.refresh()
        reading = Running(f"Reading {path.name}", lambda _job: (path, cluster_columns(path)))
        reading.ended.connect(self._list_columns)
        reading.start()

    def _list_columns(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            # Run says so.
            return
        path, columns = outcome.value
        if path == self._reference:
            self._clusters = columns
            self.form.refresh()

    def _refresh(self) -> None:
        self.form.refresh()
        self._suggest()
        self._list_runs()

    def _suggest(self, _value: Any = None) -> None:
        """Suggest where the result goes."""
        out, section = self.form.fields["out"], self.form.chosen("spots")
        if section is not None and str(out.value) in {"", ".", self._suggested}:
            out.value = suggest_out(section)
            self._suggested = str(out.value)

    def _list_runs(self) -> None:
        runs = open_imputed(self._viewer)
        keys = [_key(run) for run in runs]
        before = [_key(run) for run in self._runs]
        if keys == before:
            return
        self._runs = runs
        relist(self.source, before, keys, [f"{run.result.name} · {run.name}" for run in runs])
        self._list_genes()

    # What is imputed

    def options(self) -> ImputeOptions:
        """Return the options as the form stands.

        Raises
        ------
        InputError
            If something is not chosen.
        """
        values = self.form.values()
        if values["spots"] is None:
            msg = "Choose an open section with spots."
            raise InputError(msg)
        for name, what in (("reference", "single cells (Reference)"), ("out", "a result (Out)")):
            if str(values[name]) in {"", "."}:
                msg = f"Choose the file of {what}."
                raise InputError(msg)
        return ImputeOptions(**{**values, "cluster_key": values["cluster_key"] or ""})

    def _run(self) -> None:
        try:
            options = self.options()
        except StenhanceError as error:
            notify_error(error)
            return
        self.run.setEnabled(False)

        def end() -> None:
            self.run.setEnabled(True)
            self._live.finish()

        self.run_bar.start(
            "Impute genes",
            lambda job: impute(options, job),
            on_done=lambda run: self._add(run, alone=options.then is None),
            on_event=self._live.receive,
            on_end=end,
        )

    def _add(self, run: ImputedRun, *, alone: bool) -> None:
        """Show a run, instead of what lay where it is; unless its genes were enhanced."""
        below = ("gene", "browse") if alone else ()
        for layer, about in layers_of(self._viewer, "spots", "domains", "domain spots", "imputed",
                                      "imputed gene", *below):  # fmt: skip
            layer.visible = layer.visible and about.name != run.result.name
        there = [about.gene for _, about in _layers(self._viewer, run, "imputed gene")]
        browsed = list(_layers(self._viewer, run, "imputed"))
        for data in imputed_layers(run, visible=alone):
            about = data[1]["metadata"]["stenhance"]
            if about.gene not in there if about.role == "imputed gene" else not browsed:
                add_layers(self._viewer, [data])
        self.source.setCurrentIndex([_key(r) for r in self._runs].index(_key(run)))

    # What is shown

    @property
    def shown(self) -> ImputedRun | None:
        """The run whose genes are listed."""
        index = self.source.currentIndex()
        return self._runs[index] if 0 <= index < len(self._runs) else None

    def _list_genes(self, _index: int = 0) -> None:
        run = self.shown
        for widget in (self.gene, self.pin, self.uncertainty):
            widget.setEnabled(run is not None)
        self.gene.set_genes(() if run is None else listed_genes(run))
        if run is not None:
            shown = [about.gene for _, about in _layers(self._viewer, run, "imputed")]
            self._current = shown[0] if shown else listed_genes(run)[0]
            self.gene.show_gene(self._current)
        self._say_trust()

    def show_gene(self, gene: str) -> None:
        """Show a gene over the section, and how far it can be trusted."""
        run = self.shown
        if run is None:
            return
        self._current = gene
        self.gene.show_gene(gene)
        layers = [layer for layer, _ in _layers(self._viewer, run, "imputed")]
        if not layers:
            layers = add_layers(self._viewer, [imputed_browse_layer(run, gene, visible=True)])
        what = "spread" if self.uncertainty.isChecked() else "log1p_cp10k"
        for layer in layers:
            show_gene(layer, gene, what)
        # Only the gene that was asked for: another above would hide it.
        for layer, about in layers_of(self._viewer, "gene", "browse", "imputed", "imputed gene"):
            same = about.result == run.result.path
            layer.visible = layer in layers or (layer.visible and not same)
        self._say_trust()

    def _show_again(self, _on: bool = False) -> None:
        if self._current:
            self.show_gene(self._current)

    def _say_trust(self) -> None:
        run = self.shown
        self.trust.setText("" if run is None else _trust(run, self._current))

    def _pin(self) -> None:
        run, gene = self.shown, self._current
        if run is None or not gene:
            return
        options = WriteOptions(result=run.result.path, genes=(gene,), run=run.name)
        self.run_bar.start(
            f"Pin {gene}",
            lambda job: write(options, job),
            on_done=lambda _result: self._pinned(run, gene),
        )

    def _pinned(self, run: ImputedRun, gene: str) -> None:
        for layer, about in _layers(self._viewer, run, "imputed gene"):
            if about.gene == gene:
                layer.visible = True
                return
        add_layers(self._viewer, [written_layer(run, gene, visible=True)])


def _trust(run: ImputedRun, gene: str) -> str:
    """Say how far a gene can be trusted."""
    row = run.var.loc[gene]
    if row["imputed"]:
        median = float(run.var["holdout_r"].median())
        known = (
            "" if np.isnan(median) else f" Measured genes, while hidden: median r = {median:.2f}."
        )
        return f"{gene} was not measured. Its spread: {row['spread']:.2f} log1p CP10k.{known}"
    if np.isnan(row["holdout_r"]):
        return f"{gene} was measured, and shown as it was; how well it is predicted is not known."
    given = row.get("holdout_r_given_depth", np.nan)
    beyond = "" if np.isnan(given) else f" ({given:.2f} with depth held constant)"
    r = f"r = {row['holdout_r']:.2f}{beyond}"
    return f"{gene} was measured, and shown as it was; while hidden, {r}."


def _layers(viewer: Any, run: ImputedRun, role: Any) -> Any:
    return layers_of(viewer, role, result=run.result.path, run=run.name)


def _key(run: ImputedRun) -> Any:
    return run.result.path, run.name
