"""Let the Tab key walk as one reads: Qt's own order is that in which widgets were made."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLayout, QScrollArea, QSplitter, QWidget


def order_tabs(widget: QWidget) -> None:
    """Let Tab go through what lies in a widget in the order of its layouts."""
    for one, other in pairwise(_reached(widget)):
        QWidget.setTabOrder(one, other)


def _reached(widget: QWidget) -> Iterator[QWidget]:
    if isinstance(widget, QScrollArea):
        yield from _reached(widget.widget())
    elif isinstance(widget, QSplitter):
        for n in range(widget.count()):
            yield from _reached(widget.widget(n))
    elif widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
        yield widget
    elif widget.layout() is not None:
        yield from _in_layout(widget.layout())


def _in_layout(layout: QLayout) -> Iterator[QWidget]:
    for n in range(layout.count()):
        item = layout.itemAt(n)
        if item.widget() is not None:
            yield from _reached(item.widget())
        elif item.layout() is not None:
            yield from _in_layout(item.layout())
