"""How the fields of an options dataclass describe themselves to the command line and widgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from napari_stenhance.errors import InputError
from napari_stenhance.running.device import DeviceName


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
    label : str
        What a dock calls it; by default the field's name in words.
    """

    text: str
    unit: str = ""
    positional: bool = False
    takes: tuple[str, ...] = ()
    choices: Callable[[], Mapping[str, str]] | None = None
    label: str = ""

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


Mpp = Annotated[
    float | None, Help("Scale of slides; overrides what the files say.", unit="µm per pixel")
]
Series = Annotated[
    str | None,
    Help(
        "Which image of the slide's file, where it holds others beside the slide: its name, as "
        "info lists them."
    ),
]
Icc = Annotated[bool, Help("Convert colours to sRGB by the profile that the slide's file holds.")]
Sample = Annotated[
    str | None,
    Help("Which sample of a file or folder that holds several, each on a slide of its own."),
]
Image = Annotated[
    Path | None,
    Help(
        "The slide, where it does not lie beside the counts; hires or lowres, the picture that an "
        "AnnData keeps; for one section."
    ),
]
RegistrationFile = Annotated[
    Path | None,
    Help(
        "Where spots belong on the slide, if not where the files say: landmark pairs (CSV: x, y, "
        "x_slide, y_slide, in full-resolution pixels) or a registration that was saved; for one "
        "section.",
        takes=("Registration",),
        label="Placed by",
    ),
]
Learned = Annotated[
    tuple[Path, ...],
    Help(
        "Sections to learn from: a folder or an .h5ad with its image.",
        positional=True,
        takes=SECTION,
    ),
]
Outs = Annotated[
    Path | None,
    Help(
        "The result folder (C2.stenhance.zarr); of several sections or slides, a folder of "
        "results; by default NAME.stenhance.zarr in the working folder."
    ),
]
RegionFile = Annotated[
    Path | None,
    Help("Predict only inside these polygons (GeoJSON).", unit="µm", takes=("Region",)),
]
TissueMask = Annotated[
    Path | None,
    Help(
        "A mask of the tissue of one slide, where 0 is none (PNG, TIFF, OME-Zarr labels, at any "
        "scale), or polygons (GeoJSON, µm); by default tissue is found.",
        takes=("ndarray",),
    ),
]
Epochs = Annotated[
    int | None,
    Help(
        "Train so long, robust at most; by default as the method and its preset say.",
        label="Training rounds",
    ),
]
Device = Annotated[DeviceName, Help("What computes.")]
Seed = Annotated[int, Help("Fixes every random choice.", label="Random seed")]
ClearDeadLocks = Annotated[
    bool,
    Help(
        "Write even if the result is locked by a process on another host: say so only if that "
        "process has died.",
        label="Write despite a lock",
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
    choices : tuple of str
        The values that there are; empty if its kind says all of it.
    label : str
        What a dock calls it.
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
    choices: tuple[str, ...]
    label: str


def options_of(options: type[Any]) -> Iterator[Option]:
    """Describe the fields of an options dataclass, which are annotated with `Help`."""
    hints = get_type_hints(options, include_extras=True)
    # What several tasks share comes last.
    for field in sorted(dataclasses.fields(options), key=lambda field: field.kw_only is True):
        hint = hints[field.name]
        kind, told = get_args(hint)[0], next(a for a in hint.__metadata__ if isinstance(a, Help))
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
            text=told.whole(),
            unit=told.unit,
            positional=told.positional,
            takes=told.takes,
            choices=() if told.choices is None else tuple(told.choices()),
            label=told.label or field.name.replace("_", " ").capitalize(),
        )


class Options:
    """Base of tasks' options: strings are accepted for paths, single values for several.

    Of several, any iterable is taken; an empty string names none of them. What is registered is
    chosen from what there is.

    Raises
    ------
    InputError
        If there is no such choice, or the seed cannot be.
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
            if option.choices and value not in option.choices:
                msg = f"{option.name.capitalize()} {value}: there is no such choice; there are "
                raise InputError(f"{msg}{', '.join(option.choices)}.", option=option.name)
            object.__setattr__(self, option.name, value)


OPENING = ("mpp", "series", "icc", "sample", "registration")
"""What says how a section is opened, beside its image."""


@dataclass(frozen=True, kw_only=True)
class SlideOptions(Options):
    """Base of the options of what opens slides: how each is opened."""

    mpp: Mpp = None
    series: Series = None
    icc: Icc = True
    sample: Sample = None
    registration: RegistrationFile = None

    def opening(self) -> dict[str, Any]:
        """Return the keywords of `open_section` that say it."""
        return {name: getattr(self, name) for name in OPENING}

    def check_alone(self, sections: Sequence[Any], image: Path | None = None) -> None:
        """Refuse to open several sections with what belongs to one.

        Raises
        ------
        InputError
            If an image or a registration is given for several.
        """
        if len(sections) < 2:
            return
        if image is not None:
            msg = "One image is the slide of one section; put those of several beside their counts."
            raise InputError(msg, option="image")
        if self.registration is not None:
            msg = "One registration places the spots of one section; in Python, read each with its "
            msg += "own."
            raise InputError(msg, option="registration")


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
