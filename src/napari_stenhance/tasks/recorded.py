"""What tasks were asked for: kept in the log of each result, from which `script` repeats it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.results.inputs import logged_events
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.section.registration import Registration
from napari_stenhance.section.section import Section
from napari_stenhance.tasks.given_tissue import given_mask
from napari_stenhance.tasks.options import Option, options_of

if TYPE_CHECKING:
    from napari_stenhance.section.region import Region

_EVENT = "command"
_NOT_KEPT = ("clear_dead_locks",)
"""A word on what other processes did then: of no meaning later."""
_FILES = ("@", "?weights=")
"""What stands before the name of a file in a text."""

Command = dict[str, Any]
"""A verb, and those of its options that are not as by default, as JSON."""


@dataclass(frozen=True)
class RecordedCommand:
    """What a task was asked for, as the log of a result says it.

    Attributes
    ----------
    verb : str
        Name of the task.
    options : dict
        Those that were given, as `recorded` writes them.
    result : str
        Where the result lay then, absolute.
    name : str
        Of the section that the result is of.
    runs : tuple of str
        Runs of this result that it made, or found complete; empty if it makes none.
    """

    verb: str
    options: dict[str, Any]
    result: str
    name: str
    runs: tuple[str, ...]


def recorded(verb: str, options: Any, region: Region | None = None) -> Command:
    """Write down what a task is asked for, as JSON.

    Paths are absolute. An open section is how it was opened; what was
    made in Python and lies nowhere is the name of its type. A region or a mask is one that the
    result itself keeps.

    Parameters
    ----------
    verb : str
        Name of the task.
    options : dataclass
    region : Region, optional
        What the options' region was read as.
    """
    given: dict[str, Any] = {}
    for option in options_of(type(options)):
        value = getattr(options, option.name)
        if option.name in _NOT_KEPT:
            continue
        if option.name == "region":
            if region is not None:
                kept = {"kept": "region", "sha256": _hash(region.to_json().encode())}
                given[option.name] = kept
        elif option.several:
            if len(value):
                given[option.name] = [_plain(option, one) for one in value]
        elif not _is_default(value, option):
            given[option.name] = _plain(option, value)
    return {"verb": verb, "options": given}


def _is_default(value: Any, option: Option) -> bool:
    # Tables and arrays refuse to be compared: they were given.
    comparable = isinstance(value, str | int | float | Path | None)
    return comparable and value == option.default


def _plain(option: Option, value: Any) -> Any:
    if option.name == "tissue":
        mask = given_mask(value)
        if mask is None:
            return str(value)
        return {"kept": "tissue", "sha256": _hash(_state_of(mask))}
    if isinstance(value, Section):
        tissue = None if value.slide is None else value.slide.tissue
        return {
            "section": value.name,
            "source": None if value.source is None else value.source.to_json(),
            "tissue_sha256": None if tissue is None else tissue.sha256,
        }
    if isinstance(value, Registration):
        return {"registration": value.to_json()}
    if isinstance(value, Path):
        if option.name == "image" and not value.exists():
            # The name of a picture that an AnnData keeps.
            return str(value)
        path = str(value.absolute())
        return {"result": path} if ResultFolder.is_result(value) else path
    if isinstance(value, str):
        return _with_absolute(value)
    return value if isinstance(value, int | float) else {"made_in_python": type(value).__name__}


def _hash(content: bytes) -> str:
    """Tell one region, or mask, from another: they are kept, but not here."""
    return hashlib.sha256(content).hexdigest()


def _state_of(mask: Any) -> bytes:
    if not isinstance(mask, Path):
        return np.asarray(mask).tobytes()
    state = mask.stat() if mask.exists() else None
    return f"{mask.absolute()} {state and (state.st_size, state.st_mtime_ns)}".encode()


def _with_absolute(text: str) -> str:
    """Name a file that a text names so that it is found from everywhere."""
    for mark in _FILES:
        before, found, file = text.partition(mark)
        if found and (mark != "@" or not before) and Path(file).is_file():
            return f"{before}{mark}{Path(file).absolute()}"
    return text


def log_command(result: ResultFolder, command: Command, name: str, run: str = "") -> None:
    """Write into the log of a result what was asked for.

    Parameters
    ----------
    result : ResultFolder
    command : dict
        As `recorded` returns it.
    name : str
        Of the section that the result is of: so its folder is called among several.
    run : str
        What was made, or found complete; empty if no run was.
    """
    result.log(_EVENT, **command, run=run, name=name, result=result.path.absolute())


def recorded_commands(result: ResultFolder) -> tuple[RecordedCommand, ...]:
    """Read what tasks were asked for, the oldest first; what was asked for again once."""
    commands: dict[str, RecordedCommand] = {}
    for event in reversed(list(logged_events(result, _EVENT))):
        read = _read(event)
        if read is None:
            continue
        key = json.dumps([read.verb, read.options], sort_keys=True)
        before = commands.get(key)
        runs = () if before is None else before.runs
        commands[key] = RecordedCommand(
            read.verb,
            read.options,
            read.result,
            read.name,
            tuple(dict.fromkeys([*runs, *read.runs])),
        )
    return tuple(commands.values())


def _read(event: Mapping[str, Any]) -> RecordedCommand | None:
    """Read a line of the log; None if it is not what was written."""
    texts = [event.get(key) for key in ("verb", "result", "name", "run")]
    options = event.get("options")
    if not isinstance(options, dict) or not all(isinstance(text, str) for text in texts):
        return None
    verb, result, name, run = map(str, texts)
    return RecordedCommand(verb, options, result, name, (run,) if run else ())
