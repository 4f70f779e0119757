"""Runs of one kind in a result, by name and by what made them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from napari_stenhance.errors import InputError
from napari_stenhance.results.result import ResultFolder


class Run(Protocol):
    """What a run of any kind says of itself."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Run)


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
