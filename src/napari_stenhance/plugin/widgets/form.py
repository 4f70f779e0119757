"""A form made of a task's options: the same dataclass that makes the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    FileEdit,
    FloatSpinBox,
    LineEdit,
    Select,
)
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QListWidget, QWidget
from superqt import QCollapsible

from napari_stenhance.plugin.widgets.choices import elide
from napari_stenhance.tasks.options import Option, options_of

Choices = Callable[[], list[tuple[str, Any]]]
"""Lists (label, value) of what can be chosen now."""

_LARGEST = 2**31 - 1
_NONE = "none"
_NO_NUMBER, _NUMBER_WIDTH = "by default", 110


class OptionsForm:
    """Widgets for the fields of an options dataclass.

    Parameters
    ----------
    options : type
        A frozen dataclass whose fields are annotated with `Help`.
    choices : mapping
        For some fields, what to choose from instead of naming a path: several values for a
        tuple, at most one for an optional field.
    hidden : collection of str
        Fields that the caller fills in, or that do not apply.
    more : collection of str
        Fields that lie folded under 'More options'.

    Attributes
    ----------
    fields : dict
        The widgets by the names of the fields.
    labels : dict of str
        What the fields are called beside them.
    """

    def __init__(
        self,
        options: type[Any],
        *,
        choices: Mapping[str, Choices],
        hidden: Collection[str] = (),
        more: Collection[str] = (),
    ) -> None:
        self._choices = choices
        self._may_be_none: set[str] = set()
        self._whole = {option.name for option in options_of(options) if option.kind is int}
        self._listed: dict[str, dict[str, Any]] = {name: {} for name in choices}
        self.labels: dict[str, str] = {}
        self.fields: dict[str, ValueWidget] = {
            option.name: self._widget(option)
            for option in options_of(options)
            if option.name not in hidden
        }
        self.main = _rows(w for name, w in self.fields.items() if name not in more)
        self.more = QCollapsible("More options")
        for part in (self.more, self.more.content()):
            part.layout().setContentsMargins(0, 0, 0, 0)
        self.more.addWidget(_rows(w for name, w in self.fields.items() if name in more))
        self.refresh()

    def _widget(self, option: Option) -> ValueWidget:
        label = self.labels[option.name] = option.label
        may_be_none = option.optional and option.kind in {int, float}
        if may_be_none:
            self._may_be_none.add(option.name)
        # What is chosen from a list is no number.
        has_unit = option.unit and option.name not in self._choices
        shared = {
            "name": option.name,
            "label": f"{label} [{option.unit}]" if has_unit else label,
            "tooltip": option.text,
        }
        default = None if option.default is dataclasses.MISSING else option.default
        if option.name in self._choices:
            kind = Select if option.several else ComboBox
            return kind(choices=(), **shared)
        if option.choices:
            return ComboBox(choices=option.choices, value=default, **shared)
        if get_origin(option.kind) is Literal:
            choices = [(str(value), value) for value in get_args(option.kind)]
            if option.optional:
                choices.insert(0, (_NONE, None))
            return ComboBox(choices=choices, value=default, **shared)
        if option.kind is Path:
            # What is read must be there; what is written may not be yet.
            mode = "r" if option.positional else "w"
            field = FileEdit(mode=mode, value=default or "", **shared)
            field.choose_btn.text = "…"
            return field
        if option.kind is bool:
            return CheckBox(value=bool(default), **shared)
        if option.kind in {int, float}:
            return _number(option.kind, default or 0, _NO_NUMBER if may_be_none else "", shared)
        if option.kind is str:
            return LineEdit(value=default or "", **shared)
        msg = f"{option.name}: there is no widget for {option.kind}"
        raise TypeError(msg)

    def add_below(self, name: str, widget: QWidget) -> None:
        """Lay out something that helps with a field below it."""
        native = self.fields[name].native
        rows = native.parentWidget().layout()
        row, _ = rows.getWidgetPosition(native)
        rows.insertRow(row + 1, widget)

    def choose(self, name: str, value: Any) -> None:
        """Choose one of what a field lists, if it lists it."""
        field = self.fields[name]
        label = next((key for key, one in self._listed[name].items() if one is value), None)
        if label is not None:
            field.value = [label] if isinstance(field, Select) else label

    def refresh(self) -> None:
        """List again what can be chosen; what was chosen stays so while it is there."""
        for name, choices in self._choices.items():
            listed = dict(choices())
            widget = self.fields[name]
            before = widget.value if self._listed[name] else None
            self._listed[name] = listed
            widget.choices = tuple(listed)
            if isinstance(widget, Select):
                widget.value = [label for label in before or () if label in listed]
            elif before in listed:
                widget.value = before

    def chosen(self, name: str) -> Any:
        """Return the value of a field, as the options dataclass takes it."""
        value = self.fields[name].value
        if name in self._may_be_none and value == 0:
            return None
        if name in self._whole:
            return int(value)
        if name not in self._choices:
            return value
        listed = self._listed[name]
        if isinstance(self.fields[name], Select):
            return tuple(listed[label] for label in value)
        return listed.get(value)

    def values(self) -> dict[str, Any]:
        """Return the value of every field."""
        return {name: self.chosen(name) for name in self.fields}


def _number(kind: type, value: float, instead_of_0: str, shared: Mapping[str, Any]) -> FloatSpinBox:
    """Make a field for a number of 0 or more, which may say something else than 0."""
    # magicgui's own field for whole numbers cannot say anything else.
    field = FloatSpinBox(
        value=value, min=0, max=_LARGEST, step=1 if kind is int else None, **shared
    )
    native = field.native
    if kind is int:
        native.setDecimals(0)
    native.setSpecialValueText(instead_of_0)
    # As wide as its largest number, it would widen the dock.
    native.setMinimumWidth(_NUMBER_WIDTH)
    return field


def _rows(widgets: Iterable[ValueWidget]) -> QWidget:
    """Lay out fields, each below its label: side by side they would widen the dock."""
    inside = QWidget()
    rows = QFormLayout(inside)
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapAllRows)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for widget in widgets:
        native = widget.native
        if isinstance(widget, CheckBox):
            rows.addRow(native)
            continue
        if isinstance(native, QComboBox):
            elide(native)
        elif isinstance(native, QListWidget):
            native.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            native.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        label = QLabel(widget.label, inside)
        label.setToolTip(widget.tooltip or "")
        label.setBuddy(native)
        rows.addRow(label, native)
    return inside
