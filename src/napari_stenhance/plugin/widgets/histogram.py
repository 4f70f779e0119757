"""How often each value of the gene occurs: over the tissue, at measured spots, in a region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_stenhance.plugin.regions import REGION_COLOUR
from napari_stenhance.results.scale import said_ends

BINS = 64
_HEIGHT, _TEXT = 64, 14
_OF_REGION = QColor(REGION_COLOUR)


class GeneHistogram(QWidget):
    """Filled bars for the image, a line for the spots, one for a region, as high as the widget.

    Attributes
    ----------
    image, spots, region : ndarray of int64, shape (BINS,), or None
        How many values lie in each part of the range; None where there are none.
    range : tuple of float
        Of the values of all.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.image: NDArray[np.int64] | None = None
        self.spots: NDArray[np.int64] | None = None
        self.region: NDArray[np.int64] | None = None
        self.range = (0.0, 1.0)
        self._limits: tuple[float, float] | None = None
        self.setFixedHeight(_HEIGHT)
        self.setToolTip(
            "How often each value occurs: bars over the tissue, the line at the measured spots, "
            "the blue one in the region that is drawn or selected, each as high as its own "
            "highest. Upright lines are the first and the last colour."
        )
        self.hide()

    def show_values(
        self,
        image: NDArray[np.floating] | None,
        spots: NDArray[np.floating] | None,
        limits: tuple[float, float] | None,
        region: NDArray[np.floating] | None = None,
    ) -> None:
        """Show other values, in one unit; those that are not finite are left out."""
        parts = [
            v[np.isfinite(v)] if v is not None else np.zeros(0, np.float32)
            for v in (image, spots, region)
        ]
        seen = [v for v in parts if v.size]
        self._limits = limits
        self.setVisible(bool(seen))
        if not seen:
            self.image = self.spots = self.region = None
            return
        low, high = min(float(v.min()) for v in seen), max(float(v.max()) for v in seen)
        self.range = low, high if high > low else low + 1.0
        counts = [self._count(v) if v.size else None for v in parts]
        self.image, self.spots, self.region = counts
        self.update()

    def _count(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        low, high = self.range
        # Several times as fast as numpy.histogram, for bins that are all alike.
        bins = ((values.astype(np.float64) - low) * (BINS / (high - low))).astype(np.int64)
        return np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(text)
        faint.setAlpha(90)
        wide, high = self.width() / BINS, float(self.height() - _TEXT)
        if self.image is not None:
            for n, part in enumerate(self.image / max(self.image.max(), 1)):
                painter.fillRect(QRectF(n * wide, high * (1 - part), wide, high * part), faint)
        for counts, pen in ((self.spots, QPen(text, 1)), (self.region, QPen(_OF_REGION, 2))):
            if counts is not None:
                tops = high * (1 - counts / max(counts.max(), 1))
                steps = [QPointF(n * wide, top) for m, top in enumerate(tops) for n in (m, m + 1)]
                painter.setPen(pen)
                painter.drawPolyline(QPolygonF(steps))
        low, top = self.range
        painter.setPen(QPen(text, 1, Qt.PenStyle.DashLine))
        for limit in self._limits or ():
            x = (limit - low) / (top - low) * self.width()
            if 0 <= x <= self.width():
                painter.drawLine(QPointF(x, 0), QPointF(x, high))
        painter.setPen(text)
        line = QRectF(0, high, self.width(), _TEXT)
        first, last = said_ends(self.range)
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft, first)
        painter.drawText(line, Qt.AlignmentFlag.AlignRight, last)
        painter.end()
