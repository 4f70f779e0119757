"""What scrolls: areas that are never narrower than what lies in them, and low views."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QAbstractItemModel, QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QScrollArea,
    QTableView,
    QWidget,
)

_ROW, _NARROWEST = 20, 24


class UpDownArea(QScrollArea):
    """Scrolls what is too high; what is too wide would be cut off, so nothing is.

    Parameters
    ----------
    inside : QWidget
    parent : QWidget
    """

    def __init__(self, inside: QWidget, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidgetResizable(True)
        # Tab goes to what lies inside, which is scrolled to.
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidget(inside)

    def minimumSizeHint(self) -> QSize:
        hint, inside = super().minimumSizeHint(), self.widget()
        if inside is not None:
            wide = inside.minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width()
            hint.setWidth(wide)
        return hint

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


class LowView:
    """A view that scrolls by itself: it asks for little height, and takes what is left.

    Else it would ask for 192 px, and what it lies in would scroll too. Stands before Qt's class.
    """

    least_height = 120

    def sizeHint(self) -> QSize:
        hint: QSize = super().sizeHint()  # type: ignore[misc]
        return QSize(hint.width(), self.least_height)


class RowTable(LowView, QTableView):
    """A low table of rows that are a line each, and chosen whole."""

    def _list(self, model: QAbstractItemModel, widths: Iterable[int]) -> None:
        """Show a model, with columns of these widths, in px."""
        self.setModel(model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        # Heights that are asked of each row would take longer than all else.
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(_ROW)
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setMinimumSectionSize(_NARROWEST)
        for column, width in enumerate(widths):
            self.setColumnWidth(column, width)
