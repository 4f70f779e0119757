"""A form made of a task's options: the same dataclass that makes the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    FloatSpinBox,
    LineEdit,
    Select,
    SpinBox,
)
from magicgui.widgets.bases import ValueWidget
from superqt import QCollapsible

from napari_stenhance.tasks.options import Option, options_of

Choices = Callable[[], list[tuple[str, Any]]]
"""Lists (label, value) of what can be chosen now."""

_LARGEST = 2**31 - 1
_NONE = "none"


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
        self._listed: dict[str, dict[str, Any]] = {name: {} for name in choices}
        self.labels: dict[str, str] = {}
        self.fields: dict[str, ValueWidget] = {
            option.name: self._widget(option)
            for option in options_of(options)
            if option.name not in hidden
        }
        self.main = _container(w for name, w in self.fields.items() if name not in more)
        folded = _container(w for name, w in self.fields.items() if name in more)
        self.more = QCollapsible("More options")
        self.more.addWidget(folded.native)
        self._folded = folded
        self.refresh()

    def _widget(self, option: Option) -> ValueWidget:
        label = self.labels[option.name] = option.label
        if option.optional and option.kind in {int, float}:
            self._may_be_none.add(option.name)
            label += " (0: by default)"
        shared = {
            "name": option.name,
            "label": f"{label} [{option.unit}]" if option.unit else label,
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
            return FileEdit(mode=mode, value=default or "", **shared)
        if option.kind is bool:
            return CheckBox(value=bool(default), **shared)
        if option.kind is int:
            return SpinBox(value=default or 0, min=0, max=_LARGEST, **shared)
        if option.kind is float:
            return FloatSpinBox(value=default or 0, min=0, max=_LARGEST, **shared)
        if option.kind is str:
            return LineEdit(value=default or "", **shared)
        msg = f"{option.name}: there is no widget for {option.kind}"
        raise TypeError(msg)

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
        if name not in self._choices:
            return value
        listed = self._listed[name]
        if isinstance(self.fields[name], Select):
            return tuple(listed[label] for label in value)
        return listed.get(value)

    def values(self) -> dict[str, Any]:
        """Return the value of every field."""
        return {name: self.chosen(name) for name in self.fields}


def _container(widgets: Any) -> Container[Any]:
    return Container(widgets=list(widgets), labels=True)
