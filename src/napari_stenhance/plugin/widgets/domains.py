"""The panel 'Find domains': find spatial domains, look at them, and correct them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSplitter, QVBoxLayout, QWidget

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.layer_info import open_runs, open_sections
from napari_stenhance.plugin.widgets.choices import named
from napari_stenhance.plugin.widgets.domain_editor import DomainEditor
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.outputs import suggest_out
from napari_stenhance.plugin.widgets.run_dock import RunDock
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.domains import DomainsOptions, domains

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.section.section import Section

_LIST_HEIGHT = 80
_MORE = (
    "superpixel_um", "method", "preset", "clustering", "runs", "refine", "group", "epochs",
    "device", "seed", "clear_dead_locks",
)  # fmt: skip


class DomainsWidget(RunDock):
    """Finds the domains of open sections or fields, and edits those that are open."""

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
        self.editor = DomainEditor(napari_viewer, self.run_bar, self)
        above = QWidget(self)
        top = QVBoxLayout(above)
        top.setContentsMargins(0, 0, 0, 0)
        top.addWidget(self._scrolled(), 1)
        top.addWidget(self.run)
        top.addWidget(self.run_bar)
        split = QSplitter(Qt.Orientation.Vertical, self)
        split.addWidget(above)
        split.addWidget(self.editor)
        # What was found takes the height that is left.
        split.setStretchFactor(1, 1)
        QVBoxLayout(self).addWidget(split)
        self.form.fields["sections"].changed.connect(self._suggest)
        follow_layers(self, napari_viewer, self._refresh)
        follow_session(self, napari_viewer, lambda: self._offer("sections"))

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
        self.editor.show_runs(runs)
