"""Where files and folders are dropped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QLabel, QWidget

if TYPE_CHECKING:
    from qtpy.QtGui import QDragEnterEvent, QDropEvent


class DropArea(QLabel):
    """Takes files and folders dropped on it."""

    dropped = Signal(object)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(
            "Drop a section here: a folder, an .h5ad or a slide; or a result, or saved layers",
            parent,
        )
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setMinimumHeight(72)
        self.setAcceptDrops(True)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [Path(u.toLocalFile()) for u in event.mimeData().urls() if u.isLocalFile()]
        event.acceptProposedAction()
        for path in paths:
            self.dropped.emit(path)
