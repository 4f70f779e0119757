"""The dock 'Find domains': find spatial domains, look at them, and correct them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.plugin.domains import (
    begin_painting,
    domain_layers,
    layers_of_domains,
    painting,
    painting_layer,
    show_edit,
)
from napari_stenhance.plugin.layer_info import layers_of, open_runs, open_sections
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.plugin.widgets.chart import CriterionChart
from napari_stenhance.plugin.widgets.choices import named, relist
from napari_stenhance.plugin.widgets.domain_table import DomainTable
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.outputs import suggest_out
from napari_stenhance.plugin.widgets.run_dock import RunDock
from napari_stenhance.plugin.worker import notify_error
from napari_stenhance.results.domain_edit import DomainEdit
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.domains import DomainsOptions, domains

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.results.run import Run
    from napari_stenhance.section.section import Section

_LIST_HEIGHT = 80
_MORE = (
    "superpixel_um", "method", "preset", "clustering", "runs", "refine", "group", "epochs",
    "device", "seed", "clear_dead_locks",
)  # fmt: skip


class DomainsWidget(RunDock):
    """Finds the domains of open sections or fields, and edits those that are open."""

    _runs: Sequence[Run] = ()
    _listed: Run | None = None

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(
            napari_viewer,
            "Find domains",
            "Find them, and write them to Out.",
            DomainsOptions,
            {"sections": self._inputs},
            _MORE,
        )
        self.form.fields["sections"].native.setMaximumHeight(_LIST_HEIGHT)
        self.source = QComboBox(self)
        self.source.setToolTip("Which domains are listed below")
        self.source.currentIndexChanged.connect(self._choose)
        self.chart = CriterionChart(self)
        self.table = DomainTable(self)
        self.table.edited.connect(lambda *values: self._edit(_renamed_or_hidden, *values))
        self.merge = _button(
            self, "Merge", "Make one domain of the selected rows: the first remains.", self._merge
        )
        self.paint = _button(
            self, "Repaint", "Paint with napari's tools, on a copy of the domains.", self._paint
        )
        self.save = _button(
            self, "Save", "Write the changes beside the computed domains.", self._save
        )
        above, below = QWidget(self), QWidget(self)
        top, bottom, buttons = QVBoxLayout(above), QVBoxLayout(below), QHBoxLayout()
        top.addWidget(self._scrolled(), 1)
        top.addWidget(self.run)
        top.addWidget(self.run_bar)
        for widget in (self.merge, self.paint, self.save):
            buttons.addWidget(widget)
        for widget in (self.source, self.chart, self.table):
            bottom.addWidget(widget, int(widget is self.table))
        bottom.addLayout(buttons)
        split = QSplitter(Qt.Orientation.Vertical, self)
        split.addWidget(above)
        split.addWidget(below)
        QVBoxLayout(self).addWidget(split)
        self.form.fields["sections"].changed.connect(self._suggest)
        follow_layers(self, napari_viewer, self._refresh)
        follow_session(self, napari_viewer, self._list_runs)

    # What can be chosen

    def _inputs(self) -> list[tuple[str, Section | Path]]:
        """List sections with spots, and results with a field: their superpixels."""
        sections = [s for s in open_sections(self._viewer) if s.spots is not None]
        spots: list[tuple[str, Section | Path]] = [*named(sections)]
        runs = open_runs(self._viewer, "gene", "browse")
        paths = dict.fromkeys(run.result.path for run in runs if run.kind == "fields")
        return [*spots, *((f"superpixels of {path.name}", path) for path in paths)]

    def _refresh(self) -> None:
        had = bool(self.form.chosen("sections"))
        self.form.refresh()
        sections = self.form.fields["sections"]
        if not had and sections.choices:
            sections.value = [sections.choices[0]]
        self._suggest()

    def _suggest(self, _value: Any = None) -> None:
        """Suggest where the result goes."""
        chosen = self.form.chosen("sections")
        sections = [one for one in chosen if not isinstance(one, Path)]
        if chosen:
            # Domains of superpixels go into the result itself.
            self._suggest_out(suggest_out(sections) if sections else chosen[0])

    def _list_runs(self) -> None:
        """List the domains of the section that is looked at, and show those of its run."""
        before = self._runs
        self._runs = [run for run in self._session.runs() if run.kind == "labels"]
        keys = [run.key for run in self._runs]
        looked_at, listed = self._session.run, self._listed
        if looked_at is not None and looked_at.key in keys:
            self._listed = looked_at
        elif listed is None or listed.key not in keys:
            self._listed = self._runs[-1] if self._runs else None
        relist(self.source, before, self._runs, self._listed)
        self._show_run()

    def _choose(self, index: int) -> None:
        self._session.look_at(run=self._runs[index])

    # What is found

    def options(self) -> DomainsOptions:
        """Return the options as the form stands.

        Raises
        ------
        InputError
            If nothing is chosen.
        """
        values = self.form.values()
        if not values["sections"]:
            msg = "Choose at least one open section with spots, or a result with a field."
            raise InputError(msg)
        if all(isinstance(one, Path) for one in values["sections"]):
            values["out"] = None
        elif str(values["out"]) in {"", "."}:
            msg = "Choose where the result goes (Out)."
            raise InputError(msg)
        return DomainsOptions(**values)

    def _goes_to(self, options: DomainsOptions) -> Any:
        return options.sections if options.out is not None else ()

    def _work(self, options: DomainsOptions, job: Job) -> tuple[DomainRun, ...]:
        return domains(options, job)

    def _done(self, runs: tuple[DomainRun, ...], _options: DomainsOptions) -> None:
        self._add(runs)

    def _add(self, runs: tuple[DomainRun, ...]) -> None:
        """Show runs, instead of what lay where they are."""
        layers = [layer for run in runs for layer in domain_layers(run, visible=True)]
        self._session.open(layers, runs[-1])

    # What is changed

    @property
    def current(self) -> DomainEdit | None:
        """The domain run that is listed, with the changes made to it."""
        if self._listed is None:
            return None
        layers = layers_of(self._viewer, "domains", of_run=self._listed.key)
        return next((info.edit for _, info in layers), None)

    def _show_run(self, _index: int = 0) -> None:
        edit = self.current
        for button in (self.merge, self.paint, self.save):
            button.setEnabled(edit is not None)
        if edit is None:
            self.table.setRowCount(0)
            self.chart.show_scores("", (), 0)
            return
        self.chart.show_scores(edit.run.criterion, edit.run.scores, edit.run.chosen)
        self.table.show_domains(edit.domains, edit.run.summary())

    def _edit(self, change: Callable[..., DomainEdit], *values: Any) -> None:
        before = edit = self.current
        if before is None:
            return
        try:
            edit = change(before, *values)
        except StenhanceError as error:
            notify_error(error)
        if edit != before:
            show_edit(self._viewer, edit)
        self._show_run()

    def _merge(self) -> None:
        chosen = self.table.chosen()
        if len(chosen) < 2:
            notify_error(InputError("Select the rows of at least two domains to merge."))
            return
        self._edit(_merged, chosen)

    def _paint(self) -> None:
        edit = self.current
        if edit is None:
            return
        if painting(self._viewer, edit.run) is None:
            add_layers(self._viewer, [painting_layer(edit)])
        chosen = self.table.chosen()
        layer = painting(self._viewer, edit.run)
        layer.selected_label = chosen[0] if chosen else edit.domains[0].value
        begin_painting(self._viewer, edit.run)

    def _save(self) -> None:
        edit = self.current
        if edit is None:
            return
        layer = painting(self._viewer, edit.run)
        try:
            if layer is not None:
                edit = edit.paint(layer.data)
        except StenhanceError as error:
            notify_error(error)
            return
        if not edit.changed:
            notify_error(InputError("Nothing was changed: there is nothing to save."))
            return
        self.run_bar.start(
            "Save domains",
            lambda _job: edit.save(),
            on_done=lambda saved: self._saved(edit.run, saved),
        )

    def _saved(self, run: DomainRun, saved: DomainRun) -> None:
        """Show what was saved; the computed domains are again as they were."""
        layer = painting(self._viewer, run)
        if layer is not None:
            self._viewer.layers.remove(layer)
        show_edit(self._viewer, DomainEdit.from_run(run))
        for other, _ in layers_of_domains(self._viewer, run):
            other.visible = False
        self._add((saved,))


def _renamed_or_hidden(edit: DomainEdit, value: int, name: str, hidden: bool) -> DomainEdit:
    if edit.domain(value).name != name:
        edit = edit.rename(value, name)
    return edit.hide(value, hidden=hidden)


def _merged(edit: DomainEdit, values: list[int]) -> DomainEdit:
    for value in values[1:]:
        edit = edit.merge(value, values[0])
    return edit


def _button(parent: QWidget, text: str, tip: str, clicked: Callable[[], None]) -> QPushButton:
    button = QPushButton(text, parent)
    button.setToolTip(tip)
    button.clicked.connect(lambda _on=False: clicked())
    return button
