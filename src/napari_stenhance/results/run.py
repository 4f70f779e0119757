"""What runs of every kind share: a name, and what they say of themselves."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import zarr

from napari_stenhance.errors import InputError
from napari_stenhance.results.attributes import ADVICE, read_run_attributes, write_attributes
from napari_stenhance.results.proof import Kind, record_files
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.checked import folder_of, open_node
from napari_stenhance.storage.reading import reading


@dataclass(frozen=True)
class Run(ABC):
    """One application of a method, with its options; each is read once, when it is first asked for.

    Attributes
    ----------
    result : ResultFolder
    name : str
        `<method>-…-<preset>`, "-2" … if other options took it.
    """

    result: ResultFolder
    name: str
    kind: ClassVar[Kind]
    """The group of the result that holds such runs."""

    @property
    def key(self) -> tuple[Path, Kind, str]:
        """What tells it from all others."""
        return self.result.path, self.kind, self.name

    @property
    def how_well(self) -> str:
        """How well it predicts what was held out, in words; empty where that is not known."""
        return ""

    @cached_property
    def group(self) -> zarr.Group:
        """Where its rasters lie."""
        return open_node(self.result.group, f"{self.kind}/{self.name}", zarr.Group)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Provenance: options, inputs with hashes, seed, versions, grid …

        Raises
        ------
        InputError
            If it is damaged.
        """
        attributes = read_run_attributes(self.group, proven=self.result.proven)
        with reading(folder_of(self.group) / "zarr.json", "what the run says of itself", ADVICE):
            self._check(attributes)
        return attributes

    def read_again(self) -> None:
        """Forget what the run said of itself when it was not complete: doubts come last."""
        for name in ("group", "attributes"):
            vars(self).pop(name, None)

    def _check(self, attributes: Mapping[str, Any]) -> None:  # noqa: B027 - most have no more
        """Check what is used of them beside that, which format 1 does not prove; raise if wrong."""

    @property
    def identity(self) -> dict[str, Any]:
        """Options and inputs: runs are the same if it is."""
        identity: dict[str, Any] = self.attributes["identity"]
        return identity

    @property
    def in_region(self) -> bool:
        """Whether it predicted inside a region alone."""
        return bool(self.identity.get("region"))

    @property
    def doubts(self) -> tuple[str, ...]:
        """What was guessed or left out, or makes it less to be trusted."""
        return tuple(self.attributes.get("doubts", ()))

    @property
    def complete(self) -> bool:
        """Whether all of it is there."""
        return bool(self.attributes["complete"])

    @cached_property
    def grid(self) -> Grid:
        """Where its images lie."""
        return Grid.from_dict(self.attributes["grid"])

    def finish(
        self, parts: Sequence[str], identity: Mapping[str, Any], grid: Grid, **more: Any
    ) -> Self:
        """Record what the run is made of, and last what it says: without that it is not there."""
        record_files(self.result.path, self.kind, self.name, parts, Job())
        plain = json.loads(json.dumps(identity))
        attributes = {"identity": plain, **more, "grid": grid.to_json(), "complete": True}
        write_attributes(self.group, attributes)
        self.result.log("complete", run=self.name)
        return type(self)(self.result, self.name)

    @abstractmethod
    def describe(self) -> list[str]:
        """Say what it is, one fact in each line."""


R = TypeVar("R", bound=Run)


def run_of(result: ResultFolder, runs: Sequence[R], name: str, what: str, maker: str) -> R:
    """Return a complete run by its name, by default the last.

    Parameters
    ----------
    result : ResultFolder
    runs : sequence of runs
        As a rule oldest first.
    name : str
        Empty for the last.
    what, maker : str
        What such a run is called, and the command that makes one.

    Raises
    ------
    InputError
        If there is none, none of that name, or it is not complete: what is missing would be NaN.
    """
    named_so = [run for run in runs if name in {"", run.name}]
    for run in reversed(named_so):
        if run.complete:
            return run
    if named_so:
        what_run = f"the run {name!r} is not" if name else "no run in this result is"
        msg = f"{result.path}: {what_run} complete; run the same command again."
        raise InputError(msg)
    named = f" {name!r}" if name else ""
    names = ", ".join(run.name for run in runs)
    listed = f"there are: {names}" if runs else f"make one with {maker}"
    msg = f"{result.path}: there is no {what}{named}; {listed}."
    raise InputError(msg)


def made_alike(runs: Sequence[R], identity: Mapping[str, Any]) -> R | None:
    """Find the run that these options and inputs made."""
    plain = json.loads(json.dumps(identity))
    return next((run for run in runs if run.identity == plain), None)
