"""The regions of a section as a table: nothing is made for a row until it is seen."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
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
_DIGITS = re.compile(r"(\d+)")


class RegionTableModel(QAbstractTableModel):
    """Regions, and the numbers of the gene that is looked at, once they are counted."""

    renamed = Signal(int, str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.names: list[str] = []
        self.order: NDArray[np.int64] = np.zeros(0, np.int64)
        self._columns: dict[str, Any] = {}
        self._waiting, self._origin, self._what = False, "predicted", "region"
        self._fixed, self._text, self._sorted = False, "", (-1, Qt.SortOrder.AscendingOrder)

    def show_names(self, names: Sequence[str], what: str, *, fixed: bool) -> None:
        """List other regions, cells or domains, of which nothing is known yet."""
        self.beginResetModel()
        self._what, self._fixed = what, fixed
        self.names, self._columns, self._waiting = list(names), {}, True
        self._arrange()
        self.endResetModel()

    def arrange(self, text: str, column: int, way: Qt.SortOrder) -> None:
        """List those whose name holds a text, in the order of a column; of -1, as they came."""
        self.beginResetModel()
        self._text, self._sorted = text.strip().casefold(), (column, way)
        self._arrange()
        self.endResetModel()

    @property
    def is_sorted_by_numbers(self) -> bool:
        """Whether other numbers are another order."""
        return self._sorted[0] > 0

    def _arrange(self) -> None:
        column, way = self._sorted
        order = np.arange(len(self.names))
        if column == 0:
            keys = [_in_order(name) for name in self.names]
            order = np.array(sorted(order, key=keys.__getitem__), np.int64)
        elif column > 0 and _NAMES[column] in self._columns:
            order = np.argsort(self._columns[_NAMES[column]], kind="stable")
        if column >= 0 and way == Qt.SortOrder.DescendingOrder:
            order = order[::-1]
        if column > 0 and _NAMES[column] in self._columns:
            # Of what is not known, there is no most.
            unknown = np.isnan(np.asarray(self._columns[_NAMES[column]], float)[order])
            order = np.concatenate([order[~unknown], order[unknown]])
        if self._text:
            found = [self._text in name.casefold() for name in self.names]
            order = order[np.array(found, bool)[order]]
        self.order = order

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
        if len(self.order):
            last = self.index(len(self.order) - 1, len(_NAMES) - 1)
            self.dataChanged.emit(self.index(0, 1), last)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.order)

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
        named = index.column() == 0 and not self._fixed
        return flags | Qt.ItemFlag.ItemIsEditable if named else flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role in {Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole}:
            return self._said(int(self.order[index.row()]), _NAMES[index.column()])
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column():
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole and not index.column():
            return self.names[self.order[index.row()]]
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        name, at = str(value).strip(), int(self.order[index.row()])
        if role != Qt.ItemDataRole.EditRole or not name or name == self.names[at]:
            return False
        self.names[at] = name
        self.dataChanged.emit(index, index)
        self.renamed.emit(at, name)
        return True

    def _said(self, row: int, name: str) -> str:
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


def _in_order(name: str) -> list[tuple[int, str]]:
    """Return what sorts names as one reads them: 9 before 10."""
    parts = _DIGITS.split(name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


class RegionTable(RowTable):
    """Regions to choose; `chosen` is emitted when others are selected by the user."""

    chosen = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.regions = RegionTableModel(self)
        self._list(self.regions, _WIDTHS)
        header = self.horizontalHeader()
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        header.setSortIndicatorClearable(True)
        header.setSortIndicatorShown(True)
        header.setSectionsClickable(True)
        header.sortIndicatorChanged.connect(self._arrange)
        self._text = ""
        self._following = False
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self.chosen)
        self.selectionModel().selectionChanged.connect(self._selected)

    def show_names(
        self, names: Sequence[str], what: str = "region", *, fixed: bool = False
    ) -> None:
        """List others, whose names may be changed unless they are fixed.

        Of regions those stay selected that are there.
        """
        rows = [row for row in self.rows() if row < len(names) and what == "region"]
        self._following = True
        self.regions.show_names(names, what, fixed=fixed)
        self._following = False
        self.choose(rows)

    def show_numbers(self, numbers: pd.DataFrame | None) -> None:
        """Show what was counted, in the order of the column that is sorted by."""
        self.regions.show_numbers(numbers)
        if self.regions.is_sorted_by_numbers:
            self._arrange()

    def search(self, text: str) -> None:
        """List only those whose name holds a text."""
        self._text = text
        self._arrange()

    def _arrange(self, *_sorted: Any) -> None:
        rows, header = self.rows(), self.horizontalHeader()
        self._following = True
        by = header.sortIndicatorSection(), header.sortIndicatorOrder()
        self.regions.arrange(self._text, *by)
        self._following = False
        self.choose(rows)

    def rows(self) -> list[int]:
        """Return which regions are selected, by their numbers in the whole list."""
        order = self.regions.order
        return sorted(int(order[i.row()]) for i in self.selectionModel().selectedRows())

    def choose(self, rows: Collection[int]) -> None:
        """Select regions instead of those that are, without choosing them."""
        if sorted(rows) == self.rows():
            return
        self._following = True
        selected, last = QItemSelection(), self.regions.columnCount() - 1
        at = np.flatnonzero(np.isin(self.regions.order, list(rows))).tolist()
        for row in at:
            selected.select(self.regions.index(row, 0), self.regions.index(row, last))
        self.selectionModel().select(selected, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        if at:
            self.scrollTo(self.regions.index(at[0], 0))
        self._following = False

    def _selected(self) -> None:
        if not self._following:
            self._pause.start()
