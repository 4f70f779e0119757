"""An error in a dock: red, whole, to be selected and copied, until the next action."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QPalette, QResizeEvent
from qtpy.QtWidgets import QFrame, QPlainTextEdit, QSizePolicy, QWidget

_ON_DARK, _ON_LIGHT = "#FF8A80", "#B3261E"
_DARK = 128
_MARGIN = 4


class ErrorText(QPlainTextEdit):
    """Shows a sentence in as many lines as it needs: also a path that no label would break."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("stenhance error")
        self.setReadOnly(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        for bar in (self.setHorizontalScrollBarPolicy, self.setVerticalScrollBarPolicy):
            bar(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.document().setDocumentMargin(_MARGIN)
        self.hide()

    def say(self, text: str) -> None:
        """Show an error instead of the last one; hide if there is none."""
        self.setPlainText(text)
        if text:
            self._colour()
            self._fit()
        self.setVisible(bool(text))

    def text(self) -> str:
        """Return what is shown; empty if nothing is."""
        return self.toPlainText()

    def _colour(self) -> None:
        """Take the red that can be read on what lies behind."""
        # A theme of napari gives text its colour, and leaves what lies behind as it is.
        text = self.parentWidget().palette().color(QPalette.ColorRole.WindowText)
        red = _ON_DARK if text.lightness() > _DARK else _ON_LIGHT
        wanted = f"QPlainTextEdit {{ color: {red}; background: transparent; }}"
        if self.styleSheet() != wanted:
            self.setStyleSheet(wanted)

    def _fit(self) -> None:
        """Be as high as the lines are."""
        layout, lines = self.document().documentLayout(), self.document().lineCount()
        block = self.document().firstBlock()
        while block.isValid():
            # A block has its lines once it was laid out.
            layout.blockBoundingRect(block)
            block = block.next()
        lines = max(lines, round(layout.documentSize().height()))
        # What a theme puts around the text.
        around = self.height() - self.viewport().height()
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + 2 * _MARGIN + 2 + around)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self.text():
            self._colour()
