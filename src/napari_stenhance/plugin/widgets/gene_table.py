"""A table of tens of thousands of genes: it is walked with arrow keys, sorted by its header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QRectF,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtGui import QBrush, QColor, QFont, QPainter, QPalette, QPixmap, QResizeEvent
from qtpy.QtWidgets import (
    QApplication,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from napari_stenhance.plugin.widgets.gene_rows import GeneRows
from napari_stenhance.plugin.widgets.scrolling import RowTable
from napari_stenhance.running.numbers import counted

_COLUMNS = {
    "gene": ("", "Grey italics beside a hatched swatch: predicted, but not reliably."),
    "r": (
        "r",
        (
            "Pearson's r between predicted and measured expression over spots that were held out; "
            "of an imputation, while the gene was hidden. – is not known."
        ),
    ),
    "given": (
        "r | depth",
        (
            "The same r with the log total count of the spots held constant: what is left of it is "
            "no mere density of cells. – is not known; n.s. is not above 0 by its error "
            "(1.645 standard errors over the held-out spots): it cannot be told from depth."
        ),
    ),
    "mean": ("Mean", ""),
    "moran": ("Moran's I", ""),
    "domain": ("Top domain", ""),
}
_NAMES = tuple(_COLUMNS)
_BARS = ("r", "given")
_WIDTHS = {"gene": 92, "r": 44, "given": 66, "mean": 50, "moran": 62, "domain": 80}
_SWATCH = 12
_PAUSE_MS = 20
_TOGETHER = "Ctrl+click others, up to four in all, to see them at once, each in a colour."
_NOT_TOLD = ", for it cannot be told from depth (its r given depth is not above 0 by its error)"
_GREY = QColor(145, 145, 145)
"""On light and on dark."""


class GeneTableModel(QAbstractTableModel):
    """What is seen of the genes, and in which order: nothing is made for a row until it is seen."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.rows = GeneRows.of_measured(())
        self.seen: NDArray[np.int64] = np.zeros(0, np.int64)
        self._place: NDArray[np.int64] = self.seen
        self._tips = {name: tip for name, (_, tip) in _COLUMNS.items()}
        self._grey = QBrush(_GREY)
        self._italic = QFont(parent.font())
        self._italic.setItalic(True)
        self._hatched = _hatched(_GREY)

    def show_rows(self, rows: GeneRows, seen: NDArray[np.int64]) -> None:
        """Show other rows."""
        self.beginResetModel()
        self.rows, self.seen = rows, seen
        self._place = np.full(len(rows.genes), -1)
        self._place[seen] = np.arange(len(seen))
        self.endResetModel()

    def explain(self, column: str, text: str) -> None:
        """Say in a tooltip what a column holds."""
        self._tips[column] = text

    def place_of(self, gene: str) -> int:
        """Return the row in which a gene is seen; -1 if it is not."""
        row = self.rows.row_of.get(gene)
        return -1 if row is None else int(self._place[row])

    def gene_at(self, place: int) -> str:
        """Return the gene of a row that is seen."""
        return self.rows.genes[self.seen[place]]

    def number(self, index: QModelIndex) -> float:
        """Return what is known of a gene; NaN if nothing is."""
        known = self.rows.numbers.get(_NAMES[index.column()])
        return float("nan") if known is None else float(known[self.seen[index.row()]])

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.seen)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(_NAMES)

    def headerData(
        self, section: int, way: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if way != Qt.Orientation.Horizontal:
            return None
        name = _NAMES[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return counted(len(self.seen), "gene") if name == "gene" else _COLUMNS[name][0]
        return self._tips[name] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        name, row = _NAMES[index.column()], self.seen[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(index, name, int(row))
        doubtful = self.rows.reliability[row] == "not reliable"
        if role == Qt.ItemDataRole.ToolTipRole:
            only_depth = self.rows.only_depth is not None and bool(self.rows.only_depth[row])
            said = f"{self.rows.genes[row]}: {self.rows.reliability[row]}"
            return f"{said}{_NOT_TOLD if only_depth else ''}. {_TOGETHER}"
        if role == Qt.ItemDataRole.TextAlignmentRole and name not in {"gene", "domain"}:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if doubtful and role == Qt.ItemDataRole.ForegroundRole:
            return self._grey
        if doubtful and role == Qt.ItemDataRole.FontRole:
            return self._italic
        if doubtful and role == Qt.ItemDataRole.DecorationRole and name == "gene":
            return self._hatched
        return None

    def _text(self, index: QModelIndex, name: str, row: int) -> str:
        if name == "gene":
            return self.rows.genes[row]
        if name == "domain":
            return "" if self.rows.domains is None else str(self.rows.domains[row])
        number = round(self.number(index), 2)
        if np.isnan(number):
            return "–"
        # No figure is "-0.00".
        text = f"{number + 0.0:.2f}"
        only_depth = name == "given" and self.rows.only_depth is not None
        return f"n.s. {text}" if only_depth and self.rows.only_depth[row] else text


class _Bars(QStyledItemDelegate):
    """Paints a number of 0 … 1 as a bar behind its figures."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        self.initStyleOption(option, index)
        text, option.text = option.text, ""
        style = QApplication.style() if option.widget is None else option.widget.style()
        control = QStyle.ControlElement.CE_ItemViewItem
        style.drawControl(control, option, painter, option.widget)
        number = index.model().number(index)
        painter.save()
        if number > 0:
            bar = QRectF(option.rect).adjusted(1, 3, -1, -3)
            bar.setWidth(bar.width() * min(number, 1.0))
            colour = QColor(option.palette.color(QPalette.ColorRole.Text))
            colour.setAlpha(70)
            painter.fillRect(bar, colour)
        painter.setFont(option.font)
        selected = option.state & QStyle.StateFlag.State_Selected
        role = QPalette.ColorRole.HighlightedText if selected else QPalette.ColorRole.Text
        painter.setPen(option.palette.color(role))
        painter.drawText(option.rect.adjusted(0, 0, -3, 0), option.displayAlignment, text)
        painter.restore()


class GeneTable(RowTable):
    """Genes to look at; `chosen` carries the one that the user walks to, or clicks.

    While a key is held, only where it has come to is shown: nothing queues up.
    """

    chosen = Signal(str)
    together = Signal(object)
    """Several that are selected, to be shown at once."""
    reordered = Signal(object, bool)
    """By what rows are to be sorted, None for as they came, and whether downwards."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.genes = GeneTableModel(self)
        self._list(self.genes, (_WIDTHS[name] for name in _NAMES))
        header = self.horizontalHeader()
        header.setSectionsClickable(True)
        header.sectionClicked.connect(self._sort)
        self._sorted_by: str | None = None
        self._descending = False
        bars = _Bars(self)
        for column, name in enumerate(_NAMES):
            if name in _BARS:
                self.setItemDelegateForColumn(column, bars)
        self._walking = QTimer(self)
        self._walking.setSingleShot(True)
        self._walking.setInterval(_PAUSE_MS)
        self._walking.timeout.connect(self._choose)
        self._following = False
        self.selectionModel().selectionChanged.connect(self._walked)

    def show_rows(self, rows: GeneRows, seen: NDArray[np.int64], genes: Sequence[str]) -> None:
        """Show some of the rows, and which genes are looked at."""
        self._following = True
        self.genes.show_rows(rows, seen)
        for column, name in enumerate(_NAMES):
            known = name == "gene" or name in rows.numbers
            self.setColumnHidden(
                column, not (known or (name == "domain" and rows.domains is not None))
            )
        self._following = False
        self._widen()
        self.show_genes(genes)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._widen()
        # Where what is said of the gene takes more room, the gene is still seen.
        self.scrollTo(self.currentIndex())

    def _widen(self) -> None:
        """Give the names what numbers leave; where that is too little, r given depth goes alone."""
        narrow = self.viewport().width() < sum(_WIDTHS[name] for name in ("gene", *_BARS))
        known = self.genes.rows.numbers
        self.setColumnHidden(1, "r" not in known or (narrow and "given" in known))
        others = sum(self.columnWidth(n) for n in range(1, len(_NAMES)))
        self.setColumnWidth(0, max(_WIDTHS["gene"], self.viewport().width() - others))

    def show_genes(self, genes: Sequence[str]) -> None:
        """Select genes without choosing them; none that are not seen."""
        places = [place for place in map(self.genes.place_of, genes) if place >= 0]
        if sorted(places) == self._places() and (places or not self.currentIndex().isValid()):
            return
        self._walking.stop()
        self._following = True
        model, flag = self.selectionModel(), QItemSelectionModel.SelectionFlag
        self.clearSelection()
        at = self.genes.index(places[-1], 0) if places else QModelIndex()
        model.setCurrentIndex(at, flag.NoUpdate)
        for place in places:
            model.select(self.genes.index(place, 0), flag.Select | flag.Rows)
        if places:
            self.scrollTo(at)
        self._following = False

    def step(self, rows: int) -> None:
        """Walk some rows down, or up if negative; from nowhere, to the first."""
        to = self.currentIndex().row() + rows if self.currentIndex().isValid() else 0
        if 0 <= to < self.genes.rowCount():
            self.setCurrentIndex(self.genes.index(to, 0))

    def _places(self) -> list[int]:
        """Return the rows that are selected, from the top down."""
        return sorted(index.row() for index in self.selectionModel().selectedRows())

    def keyboardSearch(self, _text: str) -> None:
        """Search nothing: the box above the table does."""

    def _walked(self) -> None:
        if not self._following and not self._walking.isActive():
            self._walking.start()

    def _choose(self) -> None:
        places = self._places()
        if len(places) > 1:
            self.together.emit([self.genes.gene_at(place) for place in places])
        elif places:
            self.chosen.emit(self.genes.gene_at(places[0]))

    def _sort(self, column: int) -> None:
        """Sort numbers downwards first, then upwards, then leave rows as they came."""
        name = _NAMES[column]
        first = name not in {"gene", "domain"}
        if name != self._sorted_by:
            self._sorted_by, self._descending = name, first
        elif self._descending == first:
            self._descending = not first
        else:
            self._sorted_by = None
        header = self.horizontalHeader()
        header.setSortIndicatorShown(self._sorted_by is not None)
        way = Qt.SortOrder.DescendingOrder if self._descending else Qt.SortOrder.AscendingOrder
        header.setSortIndicator(column, way)
        self.reordered.emit(self._sorted_by, self._descending)


def _hatched(colour: QColor) -> QPixmap:
    pixels = QPixmap(_SWATCH, _SWATCH)
    pixels.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixels)
    painter.setPen(colour)
    painter.fillRect(pixels.rect(), QBrush(colour, Qt.BrushStyle.BDiagPattern))
    painter.drawRect(pixels.rect().adjusted(0, 0, -1, -1))
    painter.end()
    return pixels
