"""Buttons and numbers of the panels, and how they lie side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QPushButton, QWidget

_NUMBER_WIDTH = 64


def push_button(parent: QWidget, text: str, tip: str, clicked: Callable[[], None]) -> QPushButton:
    """Make a button that calls something without arguments: Qt says whether it is checked.

    Parameters
    ----------
    parent : QWidget
    text, tip : str
    clicked : callable
    """
    button = QPushButton(text, parent)
    button.setToolTip(tip)
    button.clicked.connect(lambda _on=False: clicked())
    return button


def number_box(parent: QWidget, value: float, most: float, unit: str, tip: str) -> QDoubleSpinBox:
    """Make a field for a number with its unit: an angle either way, or a length above 0."""
    box = QDoubleSpinBox(parent)
    box.setRange(-most if unit == "°" else 0.1, most)
    box.setDecimals(1)
    box.setValue(value)
    box.setSuffix(unit)
    box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
    box.setMinimumWidth(_NUMBER_WIDTH)
    box.setToolTip(tip)
    return box


def row_of(widgets: Sequence[QWidget], wide: QWidget | None = None) -> QHBoxLayout:
    """Lay widgets side by side; one may be as wide as it can."""
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, int(widget is wide))
    return row
