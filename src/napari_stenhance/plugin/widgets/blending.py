"""A slider from one section to the other that lies over it, and a button that blinks."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

_WHOLE, _BLINK_MS, _LETTERS = 100, 700, 12


class BlendRow(QWidget):
    """Says how much of the section on top is seen.

    Parameters
    ----------
    parent : QWidget
    blend : callable
        Receives it, from 0 to 1.
    carry : callable
        Called to draw the regions of the one section on the other.
    """

    def __init__(
        self, parent: QWidget, blend: Callable[[float], None], carry: Callable[[], None]
    ) -> None:
        super().__init__(parent)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setRange(0, _WHOLE)
        self.slider.setValue(_WHOLE // 2)
        self.slider.setToolTip("What is seen: only the left section, both, or only the right.")
        self.slider.valueChanged.connect(lambda value: blend(value / _WHOLE))
        self.blink = QPushButton("Blink", self)
        self.blink.setCheckable(True)
        self.blink.setToolTip("Show the left and the right in turn: what moves does not fit.")
        self.blink.toggled.connect(self._toggled)
        self.carry = QPushButton("Regions →", self)
        self.carry.setToolTip(
            "Draw the regions of the left section on the right one too, where they lie over it: "
            "the panel Regions then tells the numbers of both."
        )
        self.carry.clicked.connect(carry)
        self._clock = QTimer(self)
        self._clock.setInterval(_BLINK_MS)
        self._clock.timeout.connect(self._turn)
        self._before = _WHOLE // 2
        self.ends = QLabel("", self), QLabel("", self)
        sliding, buttons, column = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        sliding.addWidget(self.ends[0])
        sliding.addWidget(self.slider, 1)
        sliding.addWidget(self.ends[1])
        buttons.addWidget(self.blink)
        buttons.addWidget(self.carry)
        column.addLayout(sliding)
        column.addLayout(buttons)
        self.hide()

    def begin(self, left: str, right: str) -> None:
        """Show it, with the names of the sections that lie over one another."""
        for label, name in zip(self.ends, (left, right), strict=True):
            label.setText(name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…")
            label.setToolTip(name)
        self.carry.setText(f"Regions → {self.ends[1].text()}")
        self.show()

    def end(self) -> None:
        """Hide it, and stop blinking."""
        self.blink.setChecked(False)
        self.hide()

    def _toggled(self, on: bool) -> None:
        if on:
            self._before = self.slider.value()
            self._turn()
            self._clock.start()
        else:
            self._clock.stop()
            self.slider.setValue(self._before)

    def _turn(self) -> None:
        left = self.slider.value() < _WHOLE / 2
        self.slider.setValue(_WHOLE if left else 0)
