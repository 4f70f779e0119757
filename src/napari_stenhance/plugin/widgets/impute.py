"""The panel 'Impute genes': predict genes that were not measured; 'Genes' shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QVBoxLayout

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.genes import gene_layers
from napari_stenhance.plugin.layer_info import open_sections
from napari_stenhance.plugin.opening import open_at_once
from napari_stenhance.plugin.widgets.choices import named
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.outputs import suggest_out
from napari_stenhance.plugin.widgets.run_dock import RunDock
from napari_stenhance.plugin.worker import Outcome, Running
from napari_stenhance.running.job import Job
from napari_stenhance.section.cells import cluster_columns
from napari_stenhance.tasks.impute import ImputeOptions, impute

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.results.imputed import ImputedRun
    from napari_stenhance.section.section import Section

_CELL_TYPES = (
    "cluster", "cell_type", "celltype", "cell_types", "celltypes", "annotation", "cell_ontology",
    "leiden", "louvain",
)  # fmt: skip
"""Columns that say what kind a cell is, the surest first."""
_MORE = ("method", "attended", "write", "epochs", "device", "seed", "clear_dead_locks")


class ImputeWidget(RunDock):
    """Imputes genes of an open section."""

    _reference = Path()
    _clusters: tuple[str, ...] = ()

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(
            napari_viewer,
            "Impute genes",
            "Predict them, and write them to Out; the panel Genes shows them.",
            ImputeOptions,
            {"spots": self._sections, "cluster_key": self._columns},
            _MORE,
        )
        self.form.fields["reference"].filter = "Single cells (*.h5ad)"
        layout = QVBoxLayout(self)
        layout.addWidget(self._scrolled(), 1)
        layout.addWidget(self.run)
        layout.addWidget(self.run_bar)
        self.form.fields["spots"].changed.connect(self._suggest)
        self.form.fields["reference"].changed.connect(self._look_at_reference)
        follow_layers(self, napari_viewer, self._refresh)
        follow_session(self, napari_viewer, lambda: self._offer("spots"))

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
            known = {column.casefold().replace(" ", "_"): column for column in reversed(columns)}
            found = [known[name] for name in _CELL_TYPES if name in known]
            if found:
                self.form.fields["cluster_key"].value = found[0]

    def _refresh(self) -> None:
        self.form.refresh()
        self._suggest()

    def _suggest(self, _value: Any = None) -> None:
        section = self.form.chosen("spots")
        if section is not None:
            self._suggest_out(suggest_out([section]))

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

    def _goes_to(self, options: ImputeOptions) -> Any:
        return [options.spots]

    def _work(self, options: ImputeOptions, job: Job) -> ImputedRun:
        return impute(options, job)

    def _done(self, run: ImputedRun, options: ImputeOptions) -> None:
        """Show a run, instead of what lay where it is; unless its genes were enhanced."""
        alone = options.then is None
        layers = gene_layers(run, visible=alone)
        if alone:
            open_at_once(self._session, layers, run)
        else:
            self._session.add(layers)
