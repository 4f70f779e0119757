"""How the fields of an options dataclass describe themselves to the command line and widgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from napari_stenhance.errors import InputError


@dataclass(frozen=True)
class Help:
    """What a field means, for `Annotated`.

    Attributes
    ----------
    text : str
        One line; the tooltip and the command's help.
    unit : str
        Shown beside the value.
    positional : bool
        On the command line, an argument without a name.
    takes : tuple of str
        Classes whose objects Python may give instead of a path, such as "Section".
    choices : callable, optional
        Returns the values that there are, each with a word on it or none: what is registered.
    """

    text: str
    unit: str = ""
    positional: bool = False
    takes: tuple[str, ...] = ()
    choices: Callable[[], Mapping[str, str]] | None = None

    def whole(self) -> str:
        """Return the text with the choices and the unit."""
        text = self.text
        if self.choices is not None:
            listed = (f"{name} ({what})" if what else name for name, what in self.choices().items())
            text = f"{text.removesuffix('.')}: {', '.join(listed)}."
        return f"{text} [{self.unit}]" if self.unit else text


_SEED_MOST = 2**63 - 1

SECTION = ("Section", "AnnData")
"""What a section may be in Python, beside a path."""


ClearDeadLocks = Annotated[
    bool,
    Help(
        "Write even if the result is locked by a process on another host: say so only if that "
        "process has died."
    ),
]


@dataclass(frozen=True)
class Option:
    """One field of an options dataclass.

    Attributes
    ----------
    name : str
    kind : type
        Of the value, or of one of several.
    several : bool
        The field is a tuple.
    optional : bool
        The field may be None.
    default : object
        `dataclasses.MISSING` if the value must be given.
    text : str
        What it means, with its unit.
    unit : str
    positional : bool
    takes : tuple of str
        Classes whose objects Python may give instead of a path.
    """

    name: str
    kind: Any
    several: bool
    optional: bool
    default: Any
    text: str
    unit: str
    positional: bool
    takes: tuple[str, ...]


def options_of(options: type[Any]) -> Iterator[Option]:
    """Describe the fields of an options dataclass, which are annotated with `Help`."""
    hints = get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        hint = hints[field.name]
        kind, about = get_args(hint)[0], next(a for a in hint.__metadata__ if isinstance(a, Help))
        several = get_origin(kind) is tuple
        optional = get_origin(kind) in {UnionType, Union}
        if several:
            kind = get_args(kind)[0]
        elif optional:
            (kind,) = (k for k in get_args(kind) if k is not NoneType)
        yield Option(
            name=field.name,
            kind=kind,
            several=several,
            optional=optional,
            default=field.default,
            text=about.whole(),
            unit=about.unit,
            positional=about.positional,
            takes=about.takes,
        )


class Options:
    """Base of tasks' options: strings are accepted for paths, single values for several.

    Of several, any iterable is taken; an empty string names none of them.
    """

    def __post_init__(self) -> None:
        for option in options_of(type(self)):
            value = getattr(self, option.name)
            if option.several:
                one = isinstance(value, str) or not isinstance(value, Iterable)
                several = (value,) if one else value
                # A table refuses to be compared with a string.
                value = tuple(_as(option.kind, v) for v in several if not _empty(v))
            value = _as(option.kind, value)
            if option.name == "seed":
                check_seed(value, "seed")
            object.__setattr__(self, option.name, value)


def check_seed(seed: object, option: str) -> None:
    """Refuse what no generator of random numbers starts from: NumPy's none below 0.

    Raises
    ------
    InputError
        If a seed is negative or beyond 64 bits.
    """
    if isinstance(seed, int) and not 0 <= seed <= _SEED_MOST:
        msg = f"The seed is {seed}; it must not be negative, and at most {_SEED_MOST}."
        raise InputError(msg, option=option)


def _empty(value: Any) -> bool:
    return isinstance(value, str) and not value


def _as(kind: Any, value: Any) -> Any:
    """Turn a string into a path where one is expected, NumPy's into a plain one; sections stay."""
    if kind is str and isinstance(value, str):
        return str(value)
    return Path(value) if kind is Path and isinstance(value, str) else value
