"""The dock 'Impute genes': predict genes that were not measured; 'Genes' shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.plugin.genes import gene_layers
from napari_stenhance.plugin.layer_info import open_sections
from napari_stenhance.plugin.live import LiveLayers
from napari_stenhance.plugin.scene import show_instead
from napari_stenhance.plugin.widgets.choices import named
from napari_stenhance.plugin.widgets.follow import follow_layers
from napari_stenhance.plugin.widgets.form import OptionsForm
from napari_stenhance.plugin.widgets.outputs import suggest_out
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.plugin.worker import Outcome, Running, notify_error
from napari_stenhance.section.cells import cluster_columns
from napari_stenhance.tasks.impute import ImputeOptions, impute

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.results.imputed import ImputedRun
    from napari_stenhance.section.section import Section

_MORE = ("attended", "write", "epochs", "device", "seed", "clear_dead_locks")


class ImputeWidget(QWidget):
    """Imputes genes of an open section."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
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
        self.run.setToolTip("Predict them, and write them to Out; the dock Genes shows them.")
        self.run.clicked.connect(self._run)
        self.run_bar = RunBar(self, self.form.labels)
        self._live = LiveLayers(napari_viewer, self)
        inside = QWidget(self)
        column = QVBoxLayout(inside)
        column.addWidget(self.form.main.native)
        column.addWidget(self.form.more)
        column.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setWidget(inside)
        layout = QVBoxLayout(self)
        layout.addWidget(scroll, 1)
        layout.addWidget(self.run)
        layout.addWidget(self.run_bar)
        self.form.fields["spots"].changed.connect(self._suggest)
        self.form.fields["reference"].changed.connect(self._look_at_reference)
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

    def _suggest(self, _value: Any = None) -> None:
        """Suggest where the result goes."""
        out, section = self.form.fields["out"], self.form.chosen("spots")
        if section is not None and str(out.value) in {"", ".", self._suggested}:
            out.value = suggest_out(section)
            self._suggested = str(out.value)

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
        spared = None if alone else "fields"
        show_instead(self._viewer, gene_layers(run, visible=alone), spared)
