"""The colour bar of what is looked at, with a title: napari has none for points, and no titles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_stenhance.plugin.colours import lookup_table
from napari_stenhance.plugin.titles import other_title_of
from napari_stenhance.results.scale import said_ends

if TYPE_CHECKING:
    from napari_stenhance.plugin.session import Session

_HEIGHT = 12


class GeneLegend(QWidget):
    """The colours between the values that the first and the last of them stand for."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.title, self.low, self.high = QLabel(self), QLabel(self), QLabel(self)
        self.other = QLabel(self)
        for words in (self.title, self.other):
            words.setWordWrap(True)
        self._gradient = QLabel(self)
        self._gradient.setScaledContents(True)
        self._gradient.setFixedHeight(_HEIGHT)
        self._gradient.setMinimumWidth(_HEIGHT)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title, 0, 0, 1, 3)
        layout.addWidget(self.low, 1, 0)
        layout.addWidget(self._gradient, 1, 1)
        layout.addWidget(self.high, 1, 2, Qt.AlignmentFlag.AlignRight)
        layout.addWidget(self.other, 2, 0, 1, 3)
        layout.setColumnStretch(1, 1)
        self.hide()

    def show_session(self, session: Session) -> None:
        """Show what the colours of a session stand for; nothing if it shows none."""
        said, limits, other = session.title, session.limits, other_title_of(session)
        self.setVisible(bool(said or other))
        self.other.setText(other)
        self.other.setVisible(bool(other))
        for widget in (self.title, self.low, self._gradient, self.high):
            widget.setVisible(bool(said))
        if not said or limits is None:
            return
        self.title.setText(said)
        # Of a sum that is too long for a title, this is the formula.
        self.title.setToolTip(session.gene if session.gene != session.label else "")
        for label, end in zip((self.low, self.high), said_ends(limits), strict=True):
            label.setText(end)
        colours = (lookup_table(session.colormap)[:, :3] * 255).astype(np.uint8)
        bar = np.ascontiguousarray(np.broadcast_to(colours, (_HEIGHT, *colours.shape)))
        image = QImage(bar.tobytes(), 256, _HEIGHT, 3 * 256, QImage.Format.Format_RGB888)
        self._gradient.setPixmap(QPixmap.fromImage(image.copy()))
