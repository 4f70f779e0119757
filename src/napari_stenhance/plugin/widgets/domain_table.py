"""The domains of a run as a table, which is their legend too: colour, name, how much, markers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem, QWidget

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.results.summaries import Domain

NAME, NUMBER, AREA, MARKERS = range(4)
_SWATCH = 14
_VALUE = Qt.ItemDataRole.UserRole


class DomainTable(QTableWidget):
    """One row for each domain: its box shows it, its name can be edited."""

    edited = Signal(int, str, bool)
    """Value, name, and whether it is hidden."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(0, 4, parent)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.verticalHeader().hide()
        self._head("spots")
        self.horizontalHeader().setStretchLastSection(True)
        self.setToolTip(
            "Double-click a name to change it; the box hides and shows; markers by Wilcoxon's "
            "rank-sum test, for superpixels by the difference of means"
        )
        self.itemChanged.connect(self._changed)

    def _head(self, what: str) -> None:
        self.setHorizontalHeaderLabels(["Domain", what.capitalize(), "mm²", "Markers"])

    def show_domains(self, domains: tuple[Domain, ...], summary: pd.DataFrame) -> None:
        """Show domains as they are now, with what was counted when they were written."""
        what = "spots" if "spots" in summary else "superpixels"
        counted = summary.set_index("domain")
        self.blockSignals(True)
        self._head(what)
        self.setRowCount(len(domains))
        for row, domain in enumerate(domains):
            name = self._cell(row, NAME, domain.name, editable=True)
            name.setIcon(_swatch(domain.colour))
            name.setData(_VALUE, domain.value)
            name.setFlags(name.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            shown = Qt.CheckState.Unchecked if domain.hidden else Qt.CheckState.Checked
            name.setCheckState(shown)
            texts = ["", "", ""]
            if domain.value in counted.index:
                sizes: Any = counted.loc[domain.value]
                area = "–" if math.isnan(sizes["area_mm2"]) else f"{sizes['area_mm2']:.2f}"
                texts = [str(sizes[what]), area, sizes["markers"]]
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            for column, text in zip((NUMBER, AREA, MARKERS), texts, strict=True):
                cell = self._cell(row, column, text, editable=False)
                cell.setToolTip(text)
                if column != MARKERS:
                    cell.setTextAlignment(right)
        for column in (NAME, NUMBER, AREA):
            self.resizeColumnToContents(column)
        self.blockSignals(False)

    def _cell(self, row: int, column: int, text: str, *, editable: bool) -> QTableWidgetItem:
        """Set the text of a cell; it stays the one it is, because a person may be in it."""
        cell = self.item(row, column)
        if cell is None:
            cell = QTableWidgetItem()
            if not editable:
                cell.setFlags(cell.flags() & ~Qt.ItemFlag.ItemIsEditable)
            self.setItem(row, column, cell)
        cell.setText(text)
        return cell

    def chosen(self) -> list[int]:
        """Return the values of the domains whose rows are selected, from the top down."""
        rows = sorted({index.row() for index in self.selectedIndexes()})
        return [int(self.item(row, NAME).data(_VALUE)) for row in rows]

    def _changed(self, item: QTableWidgetItem) -> None:
        if item.column() != NAME:
            return
        hidden = item.checkState() == Qt.CheckState.Unchecked
        self.edited.emit(int(item.data(_VALUE)), item.text(), hidden)


def _swatch(colour: str) -> QIcon:
    pixels = QPixmap(_SWATCH, _SWATCH)
    pixels.fill(QColor(colour))
    return QIcon(pixels)
