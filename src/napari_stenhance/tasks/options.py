"""How the fields of an options dataclass describe themselves to the command line and widgets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
    """

    text: str
    unit: str = ""
    positional: bool = False


def as_paths(values: object) -> tuple[object, ...]:
    """Accept one value or several; strings become paths, sections stay."""
    if isinstance(values, str | Path) or not isinstance(values, list | tuple):
        values = (values,)
    return tuple(Path(v) if isinstance(v, str) else v for v in values)
