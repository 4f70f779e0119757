"""The field that says which of several samples is opened: there only where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QFormLayout

from napari_stenhance.plugin.widgets.choices import elide

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_stenhance.plugin.layer_info import Opened


class SampleBox(QComboBox):
    """Lists the samples of a file or a folder that was found to hold several."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setToolTip("Which of the samples in it is opened: each lies on a slide of its own.")
        # As wide as a long name, it would widen the dock.
        elide(self)
        self._known: dict[Path, tuple[str, ...]] = {}
        self._form: QFormLayout | None = None

    def add_to(self, form: QFormLayout) -> None:
        """Add it as a row, which is seen while there is something to choose."""
        form.addRow("Sample", self)
        self._form = form
        self._list((), None)

    def offer(self, path: Path, samples: Sequence[str]) -> None:
        """List what lies at a path, of which none is chosen."""
        self._known[path] = tuple(samples)
        self._list(samples, None)

    def show_opened(self, opened: Opened | None) -> None:
        """Show which sample is open, beside the others that lie there."""
        chosen = None if opened is None else opened.options.sample
        known = () if opened is None or chosen is None else self._known.get(opened.path, (chosen,))
        self._list(known, chosen)

    def chosen(self) -> str | None:
        """Return the sample that is chosen; None if none is."""
        name: str | None = self.currentData()
        return name

    def _list(self, samples: Sequence[str], chosen: str | None) -> None:
        self.clear()
        if chosen is None:
            self.addItem("choose one", None)
        for name in samples:
            self.addItem(name, name)
        self.setCurrentIndex(0 if chosen is None else self.findData(chosen))
        if self._form is not None:
            self._form.setRowVisible(self, bool(samples))
