"""The regions of a section as a table: nothing is made for a row until it is seen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtWidgets import QWidget

from napari_stenhance.plugin.widgets.scrolling import RowTable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "name": ("Region", "Double-click to rename it."),
    "mean": ("Predicted", "Mean ± standard deviation of the gene over the superpixels in it."),
    "measured_mean": ("Measured", "Mean ± standard deviation of the gene over the spots in it."),
    "spots": ("Spots", "Measured spots whose centre lies in it."),
    "area_um2": ("mm²", "Area of what is drawn."),
    "superpixels": (
        "Superpixels",
        "Those whose centre lies in it, where anything is predicted.",
    ),
}
"""Heading and tooltip of each column."""
_NAMES = tuple(COLUMNS)
_SPREAD = {"mean": "sd", "measured_mean": "measured_sd"}
_WIDTHS = (76, 80, 80, 38, 42, 72)
_WHOLE = {"superpixels", "spots"}
_PAUSE_MS = 20
_UM2_PER_MM2 = 1e6
_WAITING = "…"


class RegionTableModel(QAbstractTableModel):
    """Regions, and the numbers of the gene that is looked at, once they are counted."""

    renamed = Signal(int, str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.names: list[str] = []
        self._columns: dict[str, Any] = {}
        self._waiting, self._origin, self._what = False, "predicted", "region"

    def show_names(self, names: Sequence[str], what: str) -> None:
        """List other regions, cells or domains, of which nothing is known yet."""
        self.beginResetModel()
        self._what = what
        self.names, self._columns, self._waiting = list(names), {}, True
        self.endResetModel()

    def show_numbers(self, numbers: pd.DataFrame | None) -> None:
        """Show what was counted, a row for each region; None where nothing can be."""
        names = (*_NAMES[1:], *_SPREAD.values())
        known = {} if numbers is None else {n: numbers[n].to_numpy() for n in names}
        self._columns, self._waiting = known, False
        if numbers is not None and len(numbers):
            # Of an imputation, what is shown may be imputed or measured.
            self._origin = str(numbers["origin"].iloc[0]) or "predicted"
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, 1, 1)
        self._tell_numbers()

    def wait(self) -> None:
        """Say that numbers are being counted anew."""
        self._waiting = True
        self._tell_numbers()

    def _tell_numbers(self) -> None:
        if self.names:
            last = self.index(len(self.names) - 1, len(_NAMES) - 1)
            self.dataChanged.emit(self.index(0, 1), last)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.names)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(_NAMES)

    def headerData(
        self, section: int, way: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if way != Qt.Orientation.Horizontal:
            return None
        heading, tip = COLUMNS[_NAMES[section]]
        said = {"name": self._what, "mean": self._origin}.get(_NAMES[section], "")
        heading = said.capitalize() or heading
        said = {Qt.ItemDataRole.DisplayRole: heading, Qt.ItemDataRole.ToolTipRole: tip}
        return said.get(role)

    def flags(self, index: QModelIndex) -> Any:
        flags = super().flags(index)
        named = index.column() == 0 and self._what == "region"
        return flags | Qt.ItemFlag.ItemIsEditable if named else flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role in {Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole}:
            return self._text(index.row(), _NAMES[index.column()])
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column():
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole and not index.column():
            return self.names[index.row()]
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        name = str(value).strip()
        if role != Qt.ItemDataRole.EditRole or not name or name == self.names[index.row()]:
            return False
        self.names[index.row()] = name
        self.dataChanged.emit(index, index)
        self.renamed.emit(index.row(), name)
        return True

    def _text(self, row: int, name: str) -> str:
        if name == "name":
            return self.names[row]
        if self._waiting:
            return _WAITING
        values = self._columns.get(name)
        number = float("nan") if values is None else float(values[row])
        if np.isnan(number):
            return "–"
        if name == "area_um2":
            return f"{number / _UM2_PER_MM2:.3g}"
        if name in _WHOLE:
            return f"{number:.0f}"
        # No figure is "-0.00".
        said, spread = f"{round(number, 2) + 0.0:.2f}", self._columns[_SPREAD[name]][row]
        return said if np.isnan(spread) else f"{said} ± {spread:.2f}"


class RegionTable(RowTable):
    """Regions to choose; `chosen` is emitted when others are selected by the user."""

    chosen = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.regions = RegionTableModel(self)
        self._list(self.regions, _WIDTHS)
        self._following = False
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self.chosen)
        self.selectionModel().selectionChanged.connect(self._selected)

    def show_names(self, names: Sequence[str], what: str = "region") -> None:
        """List others; of regions those rows stay selected that are there."""
        rows = [row for row in self.rows() if row < len(names) and what == "region"]
        self._following = True
        self.regions.show_names(names, what)
        self._following = False
        self.choose(rows)

    def rows(self) -> list[int]:
        """Return the rows that are selected, from the top down."""
        return sorted(index.row() for index in self.selectionModel().selectedRows())

    def choose(self, rows: Collection[int]) -> None:
        """Select rows instead of those that are, without choosing them."""
        if sorted(rows) == self.rows():
            return
        self._following = True
        selected, last = QItemSelection(), self.regions.columnCount() - 1
        for row in rows:
            selected.select(self.regions.index(row, 0), self.regions.index(row, last))
        self.selectionModel().select(selected, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        if rows:
            self.scrollTo(self.regions.index(min(rows), 0))
        self._following = False

    def _selected(self) -> None:
        if not self._following:
            self._pause.start()
