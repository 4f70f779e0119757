"""Runs of one kind in a result, by name and by what made them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from napari_stenhance.errors import InputError
from napari_stenhance.results.result import ResultFolder

if TYPE_CHECKING:
    from napari_stenhance.methods.field import GeneField


class Run(Protocol):
    """What a run of any kind says of itself."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Run)


@dataclass(frozen=True)
class FieldRun:
    """A run that predicted a gene field.

    Attributes
    ----------
    result : ResultFolder
    name : str
        `<method>-<encoder>-<preset>`, "-2" … if other options took it.
    """

    result: ResultFolder
    name: str

    @property
    def about(self) -> dict[str, Any]:
        """Provenance: options, inputs with hashes, seed, versions, grid."""
        return self.result.run_attributes(self.name)

    @cached_property
    def field(self) -> GeneField:
        """What was predicted."""
        return self.result.field(self.name)


def field_runs(result: ResultFolder) -> tuple[FieldRun, ...]:
    """List the gene fields of a result that are complete, oldest first."""
    runs = (FieldRun(result, name) for name in result.runs)
    return tuple(run for run in runs if run.about["complete"])


def run_of(result: ResultFolder, runs: Sequence[R], name: str, kind: str, maker: str) -> R:
    """Return a run by its name, by default the newest.

    Parameters
    ----------
    result : ResultFolder
    runs : sequence of runs
        Oldest first.
    name : str
        Empty for the newest.
    kind, maker : str
        What such a run is called, and the command that makes one.

    Raises
    ------
    InputError
        If there is none, or none of that name.
    """
    for run in reversed(runs):
        if name in {"", run.name}:
            return run
    there = ", ".join(run.name for run in runs) or f"none; make one with {maker}"
    msg = f"{result.path}: there is no {kind} {name!r}; there are: {there}."
    raise InputError(msg)


def made_alike(runs: Sequence[R], identity: Mapping[str, Any]) -> R | None:
    """Find the run that these options and inputs made."""
    plain = json.loads(json.dumps(identity))
    return next((run for run in runs if run.about["identity"] == plain), None)
