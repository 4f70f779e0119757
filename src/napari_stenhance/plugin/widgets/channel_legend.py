"""What each colour stands for, where several genes are shown at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QBrush, QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_stenhance.results.channels import MOST, Channel
from napari_stenhance.results.scale import said_ends

if TYPE_CHECKING:
    from napari_stenhance.plugin.session import Session

_HEIGHT = 12
_HATCH = QColor(210, 210, 210)


class _Gradient(QWidget):
    """From black to a colour; hatched where the gene is not reliable, as in the table."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.colour, self.hatched = QColor(0, 0, 0), False
        self.setMinimumWidth(_HEIGHT)
        self.setFixedHeight(_HEIGHT)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter, gradient = QPainter(self), QLinearGradient(0, 0, self.width(), 0)
        gradient.setColorAt(0, QColor(0, 0, 0))
        gradient.setColorAt(1, self.colour)
        painter.fillRect(self.rect(), gradient)
        if self.hatched:
            painter.fillRect(self.rect(), QBrush(_HATCH, Qt.BrushStyle.BDiagPattern))
        painter.end()


class ChannelLegend(QWidget):
    """A line for each channel: the gene, and its colours between the values that they stand for."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.title = QLabel("", self)
        self.title.setWordWrap(True)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title, 0, 0, 1, 3)
        layout.setColumnStretch(1, 1)
        self._lines = [
            (QLabel(self), QLabel(self), _Gradient(self), QLabel(self)) for _ in range(MOST)
        ]
        for n, (name, low, gradient, high) in enumerate(self._lines):
            # Beside its numbers, a name would widen the dock, and narrow the canvas.
            name.setWordWrap(True)
            layout.addWidget(name, 2 * n + 1, 0, 1, 3)
            for column, widget in enumerate((low, gradient, high)):
                layout.addWidget(widget, 2 * n + 2, column)
        self.hide()

    @property
    def texts(self) -> list[tuple[str, str, str, tuple[int, int, int]]]:
        """What is seen: gene, first and last value, and the last colour, of each line."""
        return [
            (name.text(), low.text(), high.text(), gradient.colour.getRgb()[:3])
            for name, low, gradient, high in self._lines
            if name.isVisibleTo(self)
        ]

    def show_session(self, session: Session) -> None:
        """Show what the colours of a session stand for; nothing if it shows no channels."""
        channels, run = session.channels, session.genes
        self.setVisible(bool(channels))
        if run is None:
            return
        origins = dict.fromkeys(run.origin(one.gene) for one in channels)
        self.title.setText(f"{' or '.join(origins)}, {run.unit}; colours add up")
        for n, line in enumerate(self._lines):
            for widget in line:
                widget.setVisible(n < len(channels))
            if n < len(channels):
                self._show(line, channels[n], run.names.label(channels[n].gene))

    def _show(
        self, line: tuple[QLabel, QLabel, _Gradient, QLabel], channel: Channel, gene: str
    ) -> None:
        name, low, gradient, high = line
        doubt = "It was not predicted reliably: its colour is greyish." if channel.doubtful else ""
        name.setText(f"{gene} – not reliable" if channel.doubtful else gene)
        name.setToolTip(doubt)
        for label, said in zip((low, high), said_ends(channel.limits), strict=True):
            label.setText(said)
        gradient.colour, gradient.hatched = QColor.fromRgbF(*channel.rgb), channel.doubtful
        gradient.update()
