"""Write down what repeats the runs of a result: commands for a shell, or Python."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import Help, Option, Options

if TYPE_CHECKING:
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.repeating import Repeating, SectionAgain, Step

_AGAIN = Path("again")
_COMMAND, _FLAG, _MARK = "napari-stenhance", "--", "# "
_INDENT = "    "
_MAY_DIFFER = (
    "The same versions, on the same kind of processor with as many threads (OMP_NUM_THREADS), make "
    "the same bytes, but for the log; a GPU, or other versions, may change the last digits."
)
_ONLY_PYTHON = (
    "Sections were opened each in its own way, which options of one command cannot say; Python can."
)


@dataclass(frozen=True)
class ScriptOptions(Options):
    """Options of `script`."""

    result: Annotated[
        Path,
        Help("The result whose runs are to be repeated.", positional=True, takes=("Result",)),
    ]
    out: Annotated[
        Path, Help("The folder in which the script makes the result anew, under its name.")
    ] = _AGAIN
    python: Annotated[bool, Help("Write Python; by default, commands for a shell.")] = False


def script(options: ScriptOptions, job: Job | None = None, cache: Cache | None = None) -> str:
    """Write down the commands, or the Python, that repeat the runs of a result.

    `napari_stenhance.script` says what comes of it, and what it raises.
    """
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.repeating import Repeating

    job, cache = job or Job(), cache or Cache.default()
    result = ResultFolder.open(options.result)
    repeating = Repeating.from_result(result, options.out, cache, job)
    write = _in_python if options.python else _in_shell
    return "\n".join([*write(repeating), ""])


def _in_shell(repeating: Repeating) -> Iterator[str]:
    yield "#!/bin/sh"
    yield from _comments(_about(repeating))
    yield "set -e"
    for step in repeating.steps:
        yield ""
        command, lacking = _shell_command(step)
        yield from _said(step, [*step.lacking, *lacking], [command])


def _in_python(repeating: Repeating) -> Iterator[str]:
    yield from _comments(_about(repeating))
    yield "import napari_stenhance as st"
    for step in repeating.steps:
        yield ""
        yield from _said(step, step.lacking, _python_call(step))


def _about(repeating: Repeating) -> Iterator[str]:
    """Say what this is, where it was read, and what it does not repeat."""
    from napari_stenhance.results.runs import every_run
    from napari_stenhance.tasks.repeating import said_inputs, said_versions

    result = repeating.result
    yield f"Repeats what was done to {result.path.absolute()}, the result of {result.name}."
    yield f"It makes {repeating.out}; where that is complete already, nothing is done."
    yield _MAY_DIFFER
    runs = every_run(result)
    for said in dict.fromkeys(said for run in runs for said in said_inputs(run)):
        yield f"Made of {said}"
    for said in dict.fromkeys(filter(None, map(said_versions, runs))):
        yield f"Made with {said}"
    for lacking in repeating.lacking:
        yield f"Not repeated: {lacking}"
    if not repeating.steps:
        yield "There is nothing to repeat."


def _said(step: Step, lacking: list[str], lines: list[str]) -> Iterator[str]:
    """Write a step; one that cannot be repeated, as a comment."""
    yield from _comments(step.said)
    if lacking:
        yield from _comments(f"Cannot be repeated: {why}" for why in lacking)
        lines = list(_comments(line for text in lines for line in text.splitlines()))
    yield from lines


def _comments(texts: Any) -> Iterator[str]:
    # A name may hold what ends a line, and what follows would be run.
    return (_MARK + " ".join(text.splitlines()) for text in texts)


# Commands


def _shell_command(step: Step) -> tuple[str, list[str]]:
    """Write a step as a command, and say what options cannot."""
    opening, lacking = _one_opening(step)
    values = {**opening, **step.values}
    words = [_COMMAND, step.verb.replace("_", "-")]
    ordered = sorted(step.options.values(), key=lambda option: not option.positional)
    for option in ordered:
        if option.name in values:
            words += _shell_words(option, values[option.name])
    return " ".join(words), lacking


def _shell_words(option: Option, value: Any) -> Iterator[str]:
    flag = _FLAG + option.name.replace("_", "-")
    if isinstance(value, bool):
        yield flag if value else _FLAG + "no-" + flag.removeprefix(_FLAG)
        return
    for one in value if isinstance(value, list) else [value]:
        text = str(_path_of(one))
        word = shlex.quote(text)
        if option.positional:
            yield word
        elif text.startswith("-"):
            # What looks like another option.
            yield f"{flag}={word}"
        else:
            yield from (flag, word)


def _one_opening(step: Step) -> tuple[dict[str, Any], list[str]]:
    """Say with options how sections were opened, if that is possible; else why it is not."""
    from napari_stenhance.section.registration import Registration
    from napari_stenhance.tasks.repeating import SectionAgain

    every = [one for value in step.values.values() for one in _several(value)]
    again = [one for one in every if isinstance(one, SectionAgain)]
    opening = dict(again[0].opening) if again else {}
    if again and again[0].tissue is not None:
        opening["tissue"] = again[0].tissue
    alike = all(one.opening == again[0].opening and one.tissue == again[0].tissue for one in again)
    of_one = len(again) == 1 or not {"image", "tissue", "registration"} & set(opening)
    known = set(opening) <= set(step.options)
    lacking = [] if alike and of_one and known else [_ONLY_PYTHON]
    lacking += [f"{one.name}: only Python can name it so." for one in again if one.name]
    placing = opening.get("registration", step.values.get("registration"))
    if isinstance(placing, Registration):
        lacking.append(f"Its spots are placed by {placing.made}: only Python can say where.")
    return opening, lacking


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _path_of(value: Any) -> Any:
    from napari_stenhance.tasks.repeating import SectionAgain

    return value.source.path if isinstance(value, SectionAgain) else value


# Python


def _python_call(step: Step) -> list[str]:
    """Write a step as a call, one argument in each line."""
    lines = [f"st.{step.verb}("]
    for option in sorted(step.options.values(), key=lambda option: not option.positional):
        if option.name in step.values:
            value = step.values[option.name]
            several = isinstance(value, list) and len(value) > 1
            ones = [_python_value(one) for one in _several(value)]
            text = f"[{', '.join(ones)}]" if several else ones[0]
            lines.append(f"{_INDENT}{option.name}={text},")
    return [*lines, ")"]


def _python_value(value: Any) -> str:
    from napari_stenhance.section.registration import Registration
    from napari_stenhance.tasks.repeating import SectionAgain

    if isinstance(value, SectionAgain):
        return _python_section(value)
    if isinstance(value, Registration):
        return f"st.{value!r}"
    return repr(str(value)) if isinstance(value, Path) else repr(value)


def _python_section(section: SectionAgain) -> str:
    """Write a section: its path, or how it is opened."""
    how: dict[str, Any] = dict(section.opening)
    if section.tissue is not None:
        how["tissue"] = section.tissue
    if section.name:
        how["name"] = section.name
    path = _python_value(section.source.path)
    if not how:
        return path
    given = "".join(f", {name}={_python_value(value)}" for name, value in how.items())
    return f"st.read({path}{given})"
