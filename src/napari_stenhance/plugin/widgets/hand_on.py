"""What is looked at for others: saved layers, a figure for print, a script that repeats it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QApplication, QHBoxLayout, QMenu, QPushButton, QWidget

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.plugin.printed import lost_colours, view_as_figure
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.dialogs import ask_for_figure
from napari_stenhance.tasks.figure import figure
from napari_stenhance.tasks.script import ScriptOptions, script

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.plugin.widgets.run_bar import RunBar


class HandOnRow(QWidget):
    """A row of buttons, after one that is given.

    Parameters
    ----------
    viewer : Viewer
    run_bar : RunBar
        Where they work.
    on_end : callable
        Called when that has ended.
    first : QPushButton
    """

    def __init__(
        self, viewer: Viewer, run_bar: RunBar, on_end: Callable[[], None], first: QPushButton
    ) -> None:
        super().__init__()
        self._session = session_of(viewer)
        self._run_bar, self._on_end = run_bar, on_end
        self.figure = QPushButton("Figure …", self)
        self.figure.setToolTip(
            "Draw what is seen for print, as PNG, SVG or PDF: the gene on its scale, the part in "
            "view, and regions, with scale bar, colour bar and legend."
        )
        self.figure.clicked.connect(self._browse_figure)
        self.copy = QPushButton("Script", self)
        self.copy.setToolTip("Copy what repeats the runs of this result, to be kept or sent.")
        menu = QMenu(self.copy)
        self.as_commands = menu.addAction("Copy as commands")
        self.as_python = menu.addAction("Copy as Python")
        self.as_commands.triggered.connect(lambda: self._copy(python=False))
        self.as_python.triggered.connect(lambda: self._copy(python=True))
        self.copy.setMenu(menu)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for button in (first, self.figure, self.copy):
            row.addWidget(button, 1)

    def _browse_figure(self) -> None:
        if path := ask_for_figure(self):
            self.draw(path)

    def draw(self, path: Path) -> None:
        """Draw what is seen into a file, in a thread."""
        try:
            options = view_as_figure(self._session, path)
        except StenhanceError as error:
            self._run_bar.say(error)
            return
        lost = lost_colours(self._session)

        def drawn(out: Path) -> None:
            self._run_bar.done = " ".join(filter(None, (f"{out.name} is drawn.", lost)))

        self._run_bar.start(
            f"Drawing {path.name}",
            lambda job: figure(options, job),
            on_done=drawn,
            on_end=self._on_end,
        )

    def _copy(self, *, python: bool) -> None:
        """Put what repeats the result that is looked at onto the clipboard."""
        run = self._session.run
        if run is None:
            msg = "No result is looked at: open one, or run something, whose script is then copied."
            self._run_bar.say(InputError(msg))
            return
        options = ScriptOptions(result=run.result.path, python=python)

        def copied(text: str) -> None:
            QApplication.clipboard().setText(text)
            self._run_bar.done = f"The script of {run.result.path.name} is on the clipboard."

        self._run_bar.start(
            f"Reading what {run.result.path.name} was made of",
            lambda job: script(options, job),
            on_done=copied,
            on_end=self._on_end,
        )
