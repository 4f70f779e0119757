"""A colour bar for spots, which napari cannot give to colours that are set one by one."""

from __future__ import annotations

import numpy as np
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_stenhance.plugin.colours import lookup_table

_HEIGHT = 12


class SpotLegend(QWidget):
    """The colours of spots, between the values that the darkest and the brightest stand for."""

    def __init__(self, parent: QWidget, what: str) -> None:
        super().__init__(parent)
        self._what = what
        self.low, self.high = QLabel(self), QLabel(self)
        colours = (lookup_table()[:, :3] * 255).astype(np.uint8)
        bar = np.ascontiguousarray(np.broadcast_to(colours, (_HEIGHT, *colours.shape)))
        image = QImage(bar.tobytes(), 256, _HEIGHT, 3 * 256, QImage.Format.Format_RGB888)
        gradient = QLabel(self)
        gradient.setPixmap(QPixmap.fromImage(image.copy()))
        gradient.setScaledContents(True)
        gradient.setFixedHeight(_HEIGHT)
        gradient.setMinimumWidth(_HEIGHT)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.low)
        layout.addWidget(gradient, 1)
        layout.addWidget(self.high)
        self.hide()

    def show_range(self, low: float, high: float) -> None:
        """Show the values of the first and the last colour."""
        self.low.setText(f"{self._what} {low:.2f}")
        self.high.setText(f"{high:.2f} log1p CP10k")
        self.show()
