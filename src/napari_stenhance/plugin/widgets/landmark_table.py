"""Landmarks that say where spots belong on their slide, one in each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_stenhance.section.registration import distance_in_digits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.section.registration import Pair

_COLUMNS = ("stated", "slide")
_HIGH, _NARROW = 130, 20


class LandmarkTable(QTableWidget):
    """Where each landmark is stated, where it belongs, and how far it is from there now."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(0, len(_COLUMNS) + 1, parent)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.horizontalHeader().setMinimumSectionSize(_NARROW)
        self.horizontalHeader().setSectionResizeMode(len(_COLUMNS), QHeaderView.ResizeMode.Stretch)
        self.setWordWrap(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setMaximumHeight(_HIGH)

    def show_landmarks(
        self, pairs: Sequence[Pair], off: NDArray[np.float64], mpp: float | None
    ) -> None:
        """List landmarks in pixels, in micrometres where the scale is known."""
        by, unit = (1.0, "px") if mpp is None else (mpp, "µm")
        self.setToolTip(f"Landmarks, (x, y) in {unit}, and how far each lies from where it belongs")
        self.setHorizontalHeaderLabels((*_COLUMNS, f"{unit} off"))
        self.setRowCount(len(pairs))
        for row, (pair, distance) in enumerate(zip(pairs, off, strict=True)):
            x, y, x_slide, y_slide = (value * by for value in pair)
            texts = (f"{x:.0f}, {y:.0f}", f"{x_slide:.0f}, {y_slide:.0f}")
            for column, text in enumerate((*texts, distance_in_digits(distance * by))):
                self.setItem(row, column, QTableWidgetItem(text))

    def chosen(self) -> tuple[int, ...]:
        """Return the rows that are selected."""
        return tuple(sorted({index.row() for index in self.selectedIndexes()}))
