"""The domains of a run as a table, which is their legend too: colour, name, how much, markers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_stenhance.plugin.widgets.scrolling import LowView

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.results.summaries import Domain

COLOUR, NAME, NUMBER, AREA, MARKERS = range(5)
_SWATCH = 14
_MARKERS = 90
"""Width that markers need at least, in px: in a narrower table areas are left out."""
_VALUE = Qt.ItemDataRole.UserRole
_WAITING = "…"
_COUNTING = "Being counted anew"


class DomainTable(LowView, QTableWidget):
    """One row for each domain: its box shows it, its name and its colour can be changed."""

    edited = Signal(int, str, bool)
    """Value, name, and whether it is hidden."""
    recoloured = Signal(int, str)
    """Value and colour, `#RRGGBB`."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(0, 5, parent)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.verticalHeader().hide()
        self._head("spots")
        self.horizontalHeader().setStretchLastSection(True)
        self.setToolTip(
            "Select rows to see these domains alone in full colour; Esc shows all again. Click a "
            "colour or double-click a name to change it; the box hides and shows. Markers by "
            "Wilcoxon's rank-sum test, for superpixels by the difference of means."
        )
        self.dialog: QColorDialog | None = None
        self.itemChanged.connect(self._changed)
        self.cellClicked.connect(self._clicked)

    def _head(self, what: str) -> None:
        self.setHorizontalHeaderLabels(["", "Domain", what.capitalize(), "mm²", "Markers"])

    def show_domains(
        self, domains: Sequence[Domain], what: str, summary: pd.DataFrame | None
    ) -> None:
        """Show domains as they are now.

        Parameters
        ----------
        domains : sequence of Domain
        what : {"spots", "superpixels"}
        summary : DataFrame or None
            How much there is of each, and what marks it, by its value; markers that are None are
            being looked for. None while all of it is being counted.
        """
        self.blockSignals(True)
        self._head(what)
        self.setRowCount(len(domains))
        for row, domain in enumerate(domains):
            swatch = self._cell(row, COLOUR, "", editable=False)
            swatch.setIcon(_swatch(domain.colour))
            swatch.setToolTip(f"{domain.colour}: click to choose another")
            name = self._cell(row, NAME, domain.name, editable=True)
            name.setData(_VALUE, domain.value)
            name.setFlags(name.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            shown = Qt.CheckState.Unchecked if domain.hidden else Qt.CheckState.Checked
            name.setCheckState(shown)
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            texts = _texts(domain.value, what, summary)
            for column, text in zip((NUMBER, AREA, MARKERS), texts, strict=True):
                cell = self._cell(row, column, text, editable=False)
                cell.setToolTip(_COUNTING if text == _WAITING else text)
                if column != MARKERS:
                    cell.setTextAlignment(right)
        for column in (COLOUR, NAME, NUMBER, AREA):
            self.resizeColumnToContents(column)
        self._fit()
        self.blockSignals(False)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Leave areas out where there would be no room for markers."""
        header = self.horizontalHeader()
        columns = (COLOUR, NAME, NUMBER, AREA)
        needed = sum(max(self.sizeHintForColumn(n), header.sectionSizeHint(n)) for n in columns)
        wide = self.viewport().width()
        self.setColumnHidden(AREA, wide < needed + _MARKERS)
        others = sum(self.columnWidth(n) for n in columns)
        # By itself the last column becomes wider, but not narrower.
        self.setColumnWidth(MARKERS, max(wide - others, header.sectionSizeHint(MARKERS)))

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

    def choose(self, values: Collection[int]) -> None:
        """Select the rows of some domains instead of what is selected, and scroll there."""
        if set(values) == set(self.chosen()):
            return
        flags = QItemSelectionModel.SelectionFlag
        selection, model = self.selectionModel(), self.model()
        was = self.blockSignals(True)
        selection.clearSelection()
        for row in range(self.rowCount()):
            if int(self.item(row, NAME).data(_VALUE)) in values:
                selection.select(model.index(row, NAME), flags.Select | flags.Rows)
                self.scrollToItem(self.item(row, NAME))
        self.blockSignals(was)
        self.itemSelectionChanged.emit()

    def keyPressEvent(self, event: Any) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.choose(())
        elif event.key() == Qt.Key.Key_Return and self.currentColumn() == COLOUR:
            self._clicked(self.currentRow(), COLOUR)
        else:
            super().keyPressEvent(event)

    def _changed(self, item: QTableWidgetItem) -> None:
        if item.column() != NAME:
            return
        hidden = item.checkState() == Qt.CheckState.Unchecked
        self.edited.emit(int(item.data(_VALUE)), item.text(), hidden)

    def _clicked(self, row: int, column: int) -> None:
        """Ask for another colour; nothing waits for the answer."""
        if column != COLOUR or row < 0:
            return
        if self.dialog is not None:
            self.dialog.close()
        name = self.item(row, NAME)
        value, before = int(name.data(_VALUE)), self.item(row, COLOUR).toolTip()[:7]
        dialog = self.dialog = QColorDialog(QColor(before), self)
        dialog.setWindowTitle(f"Colour of {name.text()}")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.colorSelected.connect(
            lambda colour: self.recoloured.emit(value, colour.name().upper())
        )
        dialog.finished.connect(self._closed)
        dialog.open()

    def _closed(self, _result: int) -> None:
        self.dialog = None


def _texts(value: int, what: str, summary: pd.DataFrame | None) -> tuple[str, str, str]:
    """Return how much there is of a domain, its area and its markers, as words."""
    if summary is None:
        return (_WAITING,) * 3
    counted = summary[summary["domain"] == value]
    if not len(counted):
        return ("",) * 3
    sizes: Any = counted.iloc[0]
    area = "–" if math.isnan(sizes["area_mm2"]) else f"{sizes['area_mm2']:.2f}"
    markers = sizes["markers"]
    return str(sizes[what]), area, markers if isinstance(markers, str) else _WAITING


def _swatch(colour: str) -> QIcon:
    pixels = QPixmap(_SWATCH, _SWATCH)
    pixels.fill(QColor(colour))
    icon = QIcon(pixels)
    # A selected row shows the very colour too.
    icon.addPixmap(pixels, QIcon.Mode.Selected)
    return icon
