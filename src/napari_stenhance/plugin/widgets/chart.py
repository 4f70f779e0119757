"""A small chart: how well each number of domains fits."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_stenhance.running.numbers import counted

_HEIGHT = 110
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 16.0, 24.0, 24.0
_DOT = 3.5
_APART = 28.0


class CriterionChart(QWidget):
    """A line through the criterion of each number that was tried; the chosen one is filled."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.scores: tuple[tuple[int, float], ...] = ()
        self.chosen = 0
        self._title = ""
        self.setFixedHeight(_HEIGHT)
        self.hide()

    def show_scores(self, criterion: str, scores: Sequence[tuple[int, float]], chosen: int) -> None:
        """Show other scores; without any, nothing."""
        self.scores, self.chosen = tuple(scores), chosen
        self._title = f"{counted(chosen, 'domain')}, by {criterion}"
        self.setToolTip(f"{criterion} for each number of domains that was tried; more is better.")
        self.setVisible(bool(self.scores))
        self.update()

    def points(self) -> list[QPointF]:
        """Return where the scores lie in the widget."""
        numbers, values = zip(*self.scores, strict=True)
        wide = self.width() - _LEFT - _RIGHT
        high = self.height() - _TOP - _BOTTOM
        range_x = max(max(numbers) - min(numbers), 1)
        range_y = (max(values) - min(values)) or 1.0
        return [
            QPointF(
                _LEFT + wide * (number - min(numbers)) / range_x,
                _TOP + high * (max(values) - value) / range_y,
            )
            for number, value in self.scores
        ]

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self.scores:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        line = self.palette().color(QPalette.ColorRole.Highlight)
        painter.setPen(text)
        whole, middle = QRectF(self.rect()), Qt.AlignmentFlag.AlignCenter
        painter.drawText(QRectF(0, 0, whole.width(), _TOP - 6), middle, self._title)
        points = self.points()
        last = -_APART
        for (number, _), point in zip(self.scores, points, strict=True):
            if point.x() - last >= _APART:
                last = point.x()
                under = QRectF(point.x() - _APART, whole.height() - 20, 2 * _APART, 18)
                painter.drawText(under, middle, str(number))
        values = [value for _, value in self.scores]
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for value, y in ((max(values), _TOP), (min(values), whole.height() - _BOTTOM)):
            painter.drawText(QRectF(0, y - 8, _LEFT - 10, 16), right, f"{value:.3g}")
        painter.setPen(QPen(line, 1.5))
        painter.drawPolyline(QPolygonF(points))
        for (number, _), point in zip(self.scores, points, strict=True):
            best = number == self.chosen
            painter.setBrush(text if best else self.palette().color(QPalette.ColorRole.Window))
            painter.drawEllipse(point, _DOT + best, _DOT + best)
        painter.end()
