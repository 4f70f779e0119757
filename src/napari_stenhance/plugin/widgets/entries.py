"""What napari's menus and its palette open: each opens its panel in the one dock.

napari makes a dock of its own for each widget of a plugin, and shows it or hides it when its entry
is chosen again. An entry lets its dock be seen only while what the panel needs is imported, and
opens the panel then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QLabel, QProgressBar, QVBoxLayout, QWidget

from napari_stenhance.plugin.widgets.preparing import is_prepared, prepare

if TYPE_CHECKING:
    from napari.viewer import Viewer


class _Entry(QWidget):
    panel = ""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer, self._waits = napari_viewer, False
        layout, bar = QVBoxLayout(self), QProgressBar(self)
        self.words = QLabel("Preparing the panel, once after each start of napari …", self)
        self.words.setWordWrap(True)
        bar.setRange(0, 0)
        layout.addWidget(self.words)
        layout.addWidget(bar)
        layout.addStretch(1)
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(self._open)

    def event(self, event: QEvent) -> bool:
        dock = self.parent()
        if event.type() == QEvent.Type.ParentChange and isinstance(dock, QDockWidget):
            if is_prepared():
                # Hidden before it is docked, it takes no room.
                dock.hide()
            dock.installEventFilter(self)
            self._turn.start()
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Show:
            self._turn.start()
        return super().eventFilter(watched, event)

    def _open(self) -> None:
        if not self._waits:
            self._waits = True
            prepare(self, self._open_panel)

    def _open_panel(self) -> None:
        from napari_stenhance.plugin.widgets.workbench import workbench_of

        self._waits = False
        dock = self.parent()
        if isinstance(dock, QDockWidget):
            dock.hide()
        workbench_of(self._viewer).open(self.panel)


class SectionEntry(_Entry):
    """Opens the panel 'Section'."""

    panel = "section"


class EnhanceEntry(_Entry):
    """Opens the panel 'Enhance genes'."""

    panel = "enhance"


class ImputeEntry(_Entry):
    """Opens the panel 'Impute genes'."""

    panel = "impute"


class GenesEntry(_Entry):
    """Opens the panel 'Genes'."""

    panel = "genes"


class DomainsEntry(_Entry):
    """Opens the panel 'Find domains'."""

    panel = "domains"


class RegionsEntry(_Entry):
    """Opens the panel 'Regions'."""

    panel = "regions"


class CompareEntry(_Entry):
    """Opens the panel 'Compare'."""

    panel = "compare"
