"""What the docks share that run a task: its options, a button, and how far it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QElapsedTimer
from qtpy.QtWidgets import QApplication, QPushButton, QVBoxLayout, QWidget

from napari_stenhance.errors import StenhanceError
from napari_stenhance.plugin.live import LiveLayers
from napari_stenhance.plugin.preferences import preferences
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.form import OptionsForm
from napari_stenhance.plugin.widgets.outputs import suggest_out
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.plugin.widgets.scrolling import UpDownArea
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import OPENING

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.results.run import Run
    from napari_stenhance.section.section import Section


_KEPT = "what is finished by then is kept, and the same run goes on from there"
_OF_SLIDES = (*OPENING, "image")
"""What is said where a section is opened."""


class RunDock(QWidget):
    """A dock that runs a task with the options of its form; layers fill in while it works.

    Parameters
    ----------
    viewer : Viewer
    title, tip : str
        Of the task, and of its button.
    options : type
        The task's options.
    choices : mapping
        What the fields list whose values are in the viewer.
    more : sequence of str
        Fields that are folded away.
    """

    def __init__(
        self,
        viewer: Viewer,
        title: str,
        tip: str,
        options: type[Any],
        choices: Mapping[str, Callable[[], Any]],
        more: Sequence[str],
    ) -> None:
        super().__init__()
        self._viewer, self._title, self._suggested = viewer, title, ""
        self.form = OptionsForm(options, choices=choices, hidden=_OF_SLIDES, more=more)
        preferences().fill(self.form.fields)
        self.run = QPushButton(title, self)
        self.run.setToolTip(tip)
        self.run.clicked.connect(self._run)
        self._clicked = QElapsedTimer()
        self.run_bar = RunBar(self, self.form.labels)
        self._session = session_of(viewer)
        self._section: Section | None = None
        self._live = LiveLayers(viewer, self)

    def _scrolled(self, *between: QWidget) -> UpDownArea:
        """Lay out the form, with something between what is seen and what is folded away."""
        inside = QWidget(self)
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.form.main, *between, self.form.more):
            column.addWidget(widget)
        column.addStretch(1)
        return UpDownArea(inside, self)

    def _suggest_out(self, path: Path) -> None:
        """Suggest where the result goes, unless the user said that."""
        out = self.form.fields["out"]
        if str(out.value) in {"", ".", self._suggested}:
            out.value = path
            self._suggested = str(out.value)

    def _offer(self, field: str) -> None:
        """Choose the section that is looked at in a field, once it is another."""
        section = self._session.section
        if section is not self._section:
            self._section = section
            self.form.refresh()
            self.form.choose(field, section)

    def _suggest(self) -> None:
        """Suggest what follows from what is chosen."""

    def _goes_to(self, options: Any) -> Sequence[Section]:
        """Return the sections whose results Out is for; none if it is not asked for."""
        raise NotImplementedError

    def _settle(self, options: Any, job: Job) -> Any:
        """Suggest again, in the worker, which may read slides to tell them from each other."""
        sections = self._goes_to(options)
        out = suggest_out(sections, job) if sections else options.out
        if out == options.out:
            return options
        job.note(f"Out is {out}, for the result of another section lies at {options.out}.")
        return replace(options, out=out)

    def options(self) -> Any:
        """Return the options as the form stands.

        Raises
        ------
        InputError
            If something is not chosen.
        """
        raise NotImplementedError

    def _first_gene(self) -> str:
        """Return the gene to look at first; empty for that which the run itself shows first."""
        return ""

    def _work(self, options: Any, job: Job) -> Any:
        raise NotImplementedError

    def _done(self, made: Any, options: Any) -> None:
        """Show what was made, beyond what came while it was."""

    def _show(self, made: Any, options: Any) -> Iterator[None]:
        """Show all that came of a task that ended well, a layer a turn."""
        yield from self._live.finish_in_turns()
        self._done(made, options)
        runs: tuple[Run, ...] = made if isinstance(made, tuple) else (made,)
        self.run_bar.done = "\n".join(
            ["Done.", *(line for run in runs for line in said_of_end(run))]
        )

    def _run(self) -> None:
        again = (
            self._clicked.isValid() and self._clicked.elapsed() < QApplication.doubleClickInterval()
        )
        self._clicked.start()
        if again and self.run_bar.busy:
            # The second click of two that were meant as one.
            return
        try:
            options = self.options()
        except StenhanceError as error:
            self.run_bar.say(error)
            return
        is_ours = str(self.form.fields["out"].value) == self._suggested
        gene, out = self._first_gene(), options.out
        self.run_bar.start(
            self._title,
            lambda job: self._work(self._settle(options, job) if is_ours else options, job),
            kept=_KEPT,
            named=self._title if out is None else f"{self._title}, {Path(out).name}",
            on_begin=lambda: setattr(self._live, "gene", gene),
            on_done=lambda made: self._show(made, options),
            on_event=self._live.receive,
            on_end=self._end,
        )

    def _end(self) -> None:
        self._suggest()
        self._live.finish()


def said_of_end(run: Run) -> list[str]:
    """Say where a run lies, in letters that may be broken into lines, and how good it is."""
    path, home = run.result.path.absolute(), Path.home()
    said = f"~{os.sep}{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
    broken = said.replace(os.sep, f"{os.sep}\u200b")
    return [f"{run.name} is in {broken}.", *([f"{run.how_well}."] * bool(run.how_well))]
