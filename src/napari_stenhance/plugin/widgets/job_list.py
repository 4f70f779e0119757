"""What runs and what waits, in all panels, also in those that are folded."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_stenhance.plugin.widgets.run_bar import RunBar


class JobList(QWidget):
    """One line for each job, with a button that cancels it; it takes no room without any.

    Parameters
    ----------
    parent : QWidget
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._bars: list[tuple[str, RunBar]] = []
        self._rows: list[_Row] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(2, 0, 2, 2)
        self._column.setSpacing(2)
        self.hide()

    @property
    def said(self) -> list[str]:
        """What each line says, from top to bottom."""
        return [row.label.text() for row in self._rows if not row.isHidden()]

    def cancel(self, at: int) -> QPushButton:
        """Return the button of a line."""
        return self._rows[at].button

    def follow(self, title: str, bar: RunBar) -> None:
        """List what a panel runs from now on."""
        self._bars.append((title, bar))
        bar.changed.connect(self._refresh)

    def _refresh(self) -> None:
        jobs = [(title, job) for title, bar in self._bars for job in bar.jobs]
        while len(self._rows) < len(jobs):
            self._rows.append(_Row(self))
            self._column.addWidget(self._rows[-1])
        for row, (title, (text, cancel)) in zip(self._rows, jobs, strict=False):
            row.show_job(f"{title}: {text}", cancel)
        for row in self._rows[len(jobs) :]:
            row.hide()
        self.setVisible(bool(jobs))


class _Row(QWidget):
    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._cancel: Callable[[], None] | None = None
        self.label, self.button = QElidingLabel(parent=self), QPushButton("Cancel", self)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.label, 1)
        line.addWidget(self.button)
        self.button.clicked.connect(self._clicked)

    def show_job(self, text: str, cancel: Callable[[], None] | None) -> None:
        """Say a job; without `cancel`, it cannot be stopped any more."""
        self._cancel = cancel
        if self.label.text() != text:
            self.label.setText(text)
            self.label.setToolTip(text)
        self.button.setEnabled(cancel is not None)
        self.button.setToolTip("Stop it, or take it from what waits; what was finished is kept.")
        self.show()

    def _clicked(self) -> None:
        if self._cancel is not None:
            self._cancel()
