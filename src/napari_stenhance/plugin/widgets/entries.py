"""What napari's menus and its palette open: each opens its panel in the one dock.

napari makes a dock of its own for each widget of a plugin, and shows it or hides it when its entry
is chosen again. An entry never lets its dock be seen, and opens the panel instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_stenhance.plugin.widgets.workbench import workbench_of

if TYPE_CHECKING:
    from napari.viewer import Viewer


class _Entry(QWidget):
    panel = ""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(self._open)

    def event(self, event: QEvent) -> bool:
        dock = self.parent()
        if event.type() == QEvent.Type.ParentChange and isinstance(dock, QDockWidget):
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
