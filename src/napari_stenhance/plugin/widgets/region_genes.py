"""The top genes of a region as a table: predicted and measured beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QFont
from qtpy.QtWidgets import QAbstractItemView, QWidget

from napari_stenhance.plugin.widgets.scrolling import RowTable

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = {
    "gene": ("Gene", "Click it to look at it. In grey italics: predicted, but not reliably."),
    "difference": ("Pred. Δ", "Difference of means over superpixels, in the run's unit."),
    "effect": (
        "Effect",
        "That difference in standard deviations (Cohen's d). There is no p of predictions.",
    ),
    "measured_difference": ("Meas. Δ", "Difference of means over spots, log1p CP10k."),
    "q": (
        "q",
        (
            "Of spots: Wilcoxon's rank-sum test, adjusted over all measured genes (Benjamini and "
            "Hochberg). – where fewer than 3 spots lie on either side."
        ),
    ),
}
_NAMES = tuple(_COLUMNS)
_WIDTHS = (58, 46, 40, 48, 48)
_GREY = QColor(145, 145, 145)


class RegionGenesModel(QAbstractTableModel):
    """A row for each gene."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.numbers: pd.DataFrame | None = None
        self._italic = QFont(parent.font())
        self._italic.setItalic(True)

    def show_numbers(self, numbers: pd.DataFrame | None) -> None:
        """Show the genes of another region."""
        self.beginResetModel()
        self.numbers = numbers
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        inside = parent is not None and parent.isValid()
        return 0 if inside or self.numbers is None else len(self.numbers)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(_NAMES)

    def headerData(
        self, section: int, way: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if way != Qt.Orientation.Horizontal:
            return None
        heading, tip = _COLUMNS[_NAMES[section]]
        said = {Qt.ItemDataRole.DisplayRole: heading, Qt.ItemDataRole.ToolTipRole: tip}
        return said.get(role)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if self.numbers is None:
            return None
        name, row = _NAMES[index.column()], self.numbers.iloc[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return str(row["gene"]) if name == "gene" else _number(name, float(row[name]))
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{row['gene']}: {row['reliability']}"
        if role == Qt.ItemDataRole.TextAlignmentRole and name != "gene":
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if row["reliability"] == "not reliable":
            look = {
                Qt.ItemDataRole.ForegroundRole: QBrush(_GREY),
                Qt.ItemDataRole.FontRole: self._italic,
            }
            return look.get(role)
        return None


def _number(name: str, value: float) -> str:
    if np.isnan(value):
        return "–"
    if name == "q":
        return "<.001" if value < 0.001 else f"{value:.2g}"
    said = round(value, 2) + 0.0
    return f"{said:.2f}" if name == "effect" else f"{said:+.2f}"


class RegionGenes(RowTable):
    """Top genes; `chosen` carries the one that is clicked or walked to."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.genes = RegionGenesModel(self)
        self._list(self.genes, _WIDTHS)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.selectionModel().currentRowChanged.connect(self._walked)

    def show_numbers(self, numbers: pd.DataFrame | None) -> None:
        """Show the genes of another region; None shows none."""
        self.genes.show_numbers(numbers)
        self.setVisible(numbers is not None)

    def _walked(self, now: QModelIndex, _before: QModelIndex) -> None:
        if now.isValid() and self.genes.numbers is not None:
            self.chosen.emit(str(self.genes.numbers["gene"].iloc[now.row()]))
