"""Methods by name: what command line, docks and `evaluate` offer, and who loads what was saved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from napari_stenhance.errors import InputError
from napari_stenhance.running.extensions import extensions

if TYPE_CHECKING:
    import torch

    from napari_stenhance.methods.protocol import Fitted

Kind = Literal["genes", "imputation", "domains"]
_R = TypeVar("_R")
_PLAIN = (str, int, float, tuple, Path, NoneType)


@dataclass(frozen=True)
class MethodEntry:
    """One method: the attribute `METHOD` of its package, or an entry point of another.

    Attributes
    ----------
    name : str
        What it is called among the options.
    title : str
        What its authors call it: so layers name it.
    kind : {"genes", "imputation", "domains"}
        Which task it is for: `enhance` and `train`, `impute`, or `domains`.
    text : str
        What it works on, for the help.
    make : callable
        `make(options, seed, device)`: the `Method`, `ImputationMethod` or `DomainMethod` that the
        options of a task name, which have been checked.
    load : callable, optional
        `load(folder, device)`: what a method of genes saved, as a `Fitted`.
    presets : tuple of str
        How it can be trained.
    own_section : tuple of str
        Presets that predict nothing but the one section that was learned from.
    options : tuple of str
        Options that not every method of its kind has: others refuse them.
    published : callable, optional
        `published(options, device)`: of an imputation, what predicts hidden genes with a preset
        that `evaluate` alone has, all but the first; see `HiddenGenes`.
    """

    name: str
    title: str
    kind: Kind
    text: str
    make: Callable[[Any, int, torch.device], Any]
    load: Callable[[Path, torch.device], Fitted] | None = None
    presets: tuple[str, ...] = ("robust",)
    own_section: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    published: Callable[[Any, torch.device], Any] | None = None

    def check(self, options: Any) -> None:
        """Refuse options that are those of other methods, a preset that it lacks, and no epochs.

        Raises
        ------
        InputError
            Names the first.
        """
        for field in dataclasses.fields(options):
            of = [method.name for method in methods() if field.name in method.options]
            if of and self.name not in of:
                refuse_given(options, field, of)
        preset, epochs = getattr(options, "preset", self.presets[0]), options.epochs
        if preset not in self.presets:
            pairs = "; ".join(f"{m.name}: {', '.join(m.presets)}" for m in methods(self.kind))
            msg = f"Method {self.name} with preset {preset}: there is no such pair; there are "
            raise InputError(f"{msg}{pairs}.", option="preset")
        several = len(getattr(options, "sections", ())) > 1
        if preset in self.own_section and (several or getattr(options, "predict", None)):
            msg = (
                f"Preset {preset}: it takes the counts of the section that it predicts; give one "
                f"section and no other slides, or choose {self.presets[0]}."
            )
            raise InputError(msg, option="preset")
        if epochs is not None and epochs < 1:
            msg = f"{epochs} epochs: a method must train for at least one epoch."
            raise InputError(msg, option="epochs")


def methods(*kinds: Kind) -> list[MethodEntry]:
    """Return all methods there are, or those of some kinds."""
    every = extensions("napari_stenhance.methods", "METHOD", packages=True)
    return [method for method in every if not kinds or method.kind in kinds]


def method_choices(*kinds: Kind) -> dict[str, str]:
    """Return the names of methods, and what they work on."""
    return {method.name: method.text for method in methods(*kinds)}


def preset_choices(*kinds: Kind) -> dict[str, str]:
    """Return the presets that any method of some kinds has, without a word on them."""
    return {preset: "" for method in methods(*kinds) for preset in method.presets}


def method_entry(name: str) -> MethodEntry:
    """Return a method by its name.

    Raises
    ------
    InputError
        If there is none.
    """
    for method in methods():
        if method.name == name:
            return method
    msg = f"Method {name}: there is no such method; there are {', '.join(method_choices())}."
    raise InputError(msg, option="method")


def make_method(options: Any, seed: int, device: torch.device) -> Any:
    """Make the method that options name, after what they say of it; see `MethodEntry.make`.

    Raises
    ------
    InputError
        If there is no such method, or an option is not one of its own.
    """
    entry = method_entry(options.method)
    entry.check(options)
    return entry.make(options, seed, device)


def refuse_given(options: Any, field: dataclasses.Field[Any], of: list[str]) -> None:
    """Refuse an option of other methods, unless it was left as it is by default.

    Raises
    ------
    InputError
        If it was given.
    """
    given = getattr(options, field.name)
    # Tables and arrays refuse to be compared: they were given.
    plain = isinstance(given, _PLAIN)
    if given != field.default if plain else given is not field.default:
        name = field.name.replace("_", " ").capitalize()
        msg = f"{name}: an option of {', '.join(of)}, not of {options.method}; leave it out."
        raise InputError(msg, option=field.name)


def with_epochs(recipe: _R, epochs: int | None) -> _R:
    """Return a recipe that trains for so long; by default as long as it does."""
    return recipe if epochs is None else dataclasses.replace(recipe, epochs=epochs)  # type: ignore[type-var]


def load_fitted(folder: Path, device: torch.device) -> Fitted:
    """Load a saved model.

    Raises
    ------
    InputError
        If the folder holds none, or one that this version does not know.
    """
    from napari_stenhance.methods.saved import read_config

    config = read_config(folder)
    for method in methods("genes"):
        if (method.name, True) == (config.get("method"), config.get("preset") in method.presets):
            assert method.load is not None
            return method.load(folder, device)
    msg = (
        f"{folder}: a model of {config.get('method')} {config.get('preset')}; update "
        "napari-stenhance, or install the package that brings this method, to use it."
    )
    raise InputError(msg)
