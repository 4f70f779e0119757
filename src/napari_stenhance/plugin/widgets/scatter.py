"""A small chart: the values of one gene on both sides of a comparison, place by place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen
from qtpy.QtWidgets import QWidget

from napari_stenhance.results.scale import said_ends

_HEIGHT = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 10.0, 22.0, 34.0
_DOT, _DOTS = 1.6, "#4c93f0"


class ScatterChart(QWidget):
    """A dot for each place, on one scale along both axes, with the line where both are equal.

    Attributes
    ----------
    x, y : ndarray of float32, shape (n,)
    said : str
        What stands above it.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.x = self.y = np.zeros(0, np.float32)
        self.said = ""
        self._names = ("", "")
        self.setFixedHeight(_HEIGHT)
        self.hide()

    def show_values(
        self,
        x: NDArray[np.float32],
        y: NDArray[np.float32],
        names: tuple[str, str],
        said: str,
    ) -> None:
        """Show other values; without any, nothing."""
        self.x, self.y, self._names, self.said = x, y, names, said
        self.setToolTip(f"Across: {names[0]}. Upwards: {names[1]}. The line: where both are equal.")
        self.setVisible(bool(len(x)))
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not len(self.x):
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        low = float(min(self.x.min(), self.y.min()))
        high = float(max(self.x.max(), self.y.max()))
        high = high if high > low else low + 1.0
        wide, tall = self.width() - _LEFT - _RIGHT, self.height() - _TOP - _BOTTOM
        across = _LEFT + wide * (self.x - low) / (high - low)
        down = _TOP + tall * (high - self.y) / (high - low)
        painter.setPen(QPen(text, 0.5))
        painter.drawRect(QRectF(_LEFT, _TOP, wide, tall))
        painter.drawLine(QPointF(_LEFT, _TOP + tall), QPointF(_LEFT + wide, _TOP))
        dots = QColor(_DOTS)
        dots.setAlpha(170)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(dots)
        for one, other in zip(across, down, strict=True):
            painter.drawEllipse(QPointF(float(one), float(other)), _DOT, _DOT)
        painter.setPen(text)
        middle, right = Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight
        painter.drawText(QRectF(0, 2, self.width(), _TOP - 4), middle, self.said)
        first, last = said_ends((low, high))
        below = QRectF(_LEFT, _TOP + tall + 1, wide, 15)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, first)
        painter.drawText(below, right, last)
        painter.drawText(QRectF(0, _TOP - 2, _LEFT - 4, 15), right, last)
        painter.drawText(QRectF(0, _TOP + tall - 13, _LEFT - 4, 15), right, first)
        painter.drawText(below.translated(0, 15), middle, self._names[0])
        painter.translate(14, _TOP + tall / 2)
        painter.rotate(-90)
        painter.drawText(QRectF(-tall / 2, -8, tall, 16), middle, self._names[1])
        painter.end()
