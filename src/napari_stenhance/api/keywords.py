"""Verbs of the front door, whose keywords are the fields of a task's options."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import operator
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, get_origin, runtime_checkable

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.options import Option, options_of

_WIDTH = 88
_SHARED = {
    "job": (
        "Job | None",
        "Receives progress and notes, and cancels; by default there is a bar, and Ctrl-C cancels.",
    ),
    "cache": ("Cache | None", "Where pyramids and features lie; by default the user's."),
}


def keywords(
    options: type[Any], *, each: tuple[str, ...] = (), may_omit: tuple[str, ...] = ()
) -> Callable[[Callable[[Any, Job, Cache], Any]], Callable[..., Any]]:
    """Make a verb of a function `body(options, job, cache)`.

    The verb takes the fields of the options as keywords, those that must be given also by their
    place, and `job` and `cache`. Its signature and the parameters in its docstring come of the
    options.

    Parameters
    ----------
    options : type
        A frozen dataclass whose fields are annotated with `Help`.
    each : tuple of str
        Fields of which the first that is given says what comes back: one thing for one, a list for
        a list. The body returns a sequence always.
    may_omit : tuple of str
        Fields that must be given elsewhere; here the body gets None.
    """

    def decorate(body: Callable[[Any, Job, Cache], Any]) -> Callable[..., Any]:
        fields = {option.name: option for option in options_of(options)}
        signature = _signature(fields, may_omit, _returns(body, each))

        @functools.wraps(body)
        def verb(*args: Any, **given: Any) -> Any:
            values = _bind(body.__name__, signature, args, given)
            job, cache = values.pop("job", None), values.pop("cache", None)
            check_shared(body.__name__, job, cache)
            made = {
                name: _plain(body.__name__, fields[name], value) for name, value in values.items()
            }
            if "run" in fields and "run" not in made:
                made.update(_run_of(values))
            for name in may_omit:
                made.setdefault(name, None)
            with working(job) as working_job:
                done = body(options(**made), working_job, cache or Cache.default())
            deciding = next((values[name] for name in each if name in values), None)
            if not each:
                return done
            return list(done) if isinstance(deciding, list | tuple) else done[0]

        verb.__signature__ = signature  # type: ignore[attr-defined]
        verb.each = each  # type: ignore[attr-defined]
        verb.__annotations__ = {n: p.annotation for n, p in signature.parameters.items()}
        verb.__doc__ = _document(inspect.getdoc(body) or "", fields, signature)
        return verb

    return decorate


def as_method(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of a verb: the object is what the verb takes first."""

    @functools.wraps(verb)
    def method(self: Any, *args: Any, **given: Any) -> Any:
        return verb(self, *args, **given)

    first, *others = inspect.signature(verb).parameters.values()
    receiver = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = inspect.signature(verb).replace(parameters=[receiver, *others])  # type: ignore[attr-defined]
    before, _, after = (verb.__doc__ or "").partition(f"{first.name} : ")
    method.__doc__ = before + after[after.index(f"{others[0].name} : ") :]
    return method


def check_shared(verb: str, job: Any, cache: Any) -> None:
    """Refuse another thing than a job or a cache.

    Raises
    ------
    InputError
        If one is none.
    """
    for name, value, kind in (("job", job, Job), ("cache", cache, Cache)):
        if not (value is None or isinstance(value, kind)):
            msg = f"{verb}: {name} is {value!r}, and must be a {kind.__name__}."
            raise InputError(msg)


@contextmanager
def working(job: Job | None) -> Iterator[Job]:
    """Give the user's job, or one with a bar that Ctrl-C cancels."""
    if job is not None:
        yield job
        return
    from napari_stenhance.running.bars import interruptible, progress_bars, stderr_console

    with progress_bars(stderr_console()) as own, interruptible(own):
        yield own


# What is given


@runtime_checkable
class _Stored(Protocol):
    """A `Result` or a `Model`: what a task takes by its path, and the name of a run."""

    @property
    def path(self) -> Path: ...
    @property
    def run_name(self) -> str: ...


def _bind(
    verb: str, signature: inspect.Signature, args: tuple[Any, ...], given: dict[str, Any]
) -> dict[str, Any]:
    """Return what was given, by name.

    Raises
    ------
    InputError
        If a keyword is unknown, or something is missing or given twice.
    """
    names = list(signature.parameters)
    for name in given:
        if name not in names:
            alike = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {alike[0]}?" if alike else f"there are {', '.join(names)}."
            msg = f"{verb} has no keyword {name!r}; {hint}"
            raise InputError(msg)
    try:
        return signature.bind(*args, **given).arguments
    except TypeError as error:
        msg = f"{verb}: {error}; it is called as {verb}{short(signature)}."
        raise InputError(msg) from None


def short(signature: inspect.Signature) -> str:
    """Write a signature without types, and without what has a default."""
    must = [p.name for p in signature.parameters.values() if p.default is inspect.Parameter.empty]
    return f"({', '.join(must)}, …)"


def _plain(verb: str, option: Option, value: Any) -> Any:
    """Turn what the front door takes into what the options dataclass does.

    Raises
    ------
    InputError
        If the value is of another kind than the option.
    """
    if option.several:
        texts = option.kind is str and isinstance(value, Iterable) and not isinstance(value, str)
        # Names may come in any container, as an index of genes.
        several = value if texts or isinstance(value, list | tuple) else (value,)
        return tuple(_plain(verb, _single(option), one) for one in several)
    if value is None and (option.optional or option.default is None):
        return None
    if any(kind.__name__ in option.takes for kind in type(value).__mro__):
        return value.path if isinstance(value, _Stored) else value
    kind, fitting = option.kind, True
    if get_origin(kind) is Literal:
        fitting = isinstance(value, str | int) and value in get_args(kind)
    elif kind is bool:
        fitting = isinstance(value, bool)
    elif kind in {int, float} and isinstance(value, bool):
        # True is 1 to Python, and not what anybody means.
        fitting = False
    elif kind in {int, float}:
        try:
            # NumPy's numbers too: what is recorded must be Python's.
            value = operator.index(value) if kind is int else float(value)
        except (TypeError, ValueError):
            fitting = False
    elif kind is str:
        fitting = isinstance(value, str)
    elif kind is Path:
        fitting = isinstance(value, str | Path)
    if not fitting:
        msg = f"{verb}: {option.name} is {value!r}, and must be {_in_words(option)}."
        raise InputError(msg)
    return value


def _single(option: Option) -> Option:
    return dataclasses.replace(option, several=False)


def _run_of(values: dict[str, Any]) -> dict[str, str]:
    """Name the run of a `Result` or a `Model`, if one was given that has it."""
    runs = [value.run_name for value in values.values() if isinstance(value, _Stored)]
    return {"run": runs[0]} if runs and runs[0] else {}


# What is said of it


def _in_words(option: Option) -> str:
    if get_origin(option.kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(option.kind)))}"
    words = {int: "a whole number", float: "a number", bool: "True or False"}
    return words.get(option.kind, describe(option))


def describe(option: Option) -> str:
    """Write the type of one value of an option, as in a signature."""
    kind = option.kind
    if get_origin(kind) is Literal:
        text = f"Literal[{', '.join(map(repr, get_args(kind)))}]"
    elif option.choices:
        # Editors offer what there is; another package may add some.
        text = f"Literal[{', '.join(map(repr, option.choices))}] | str"
    elif kind is Path:
        text = " | ".join(["str", "Path", *option.takes])
    else:
        text = kind.__name__
    return text


def annotation(option: Option, *, may_omit: bool = False) -> str:
    """Write the type of an option, as in a signature."""
    one = describe(option)
    text = f"{one} | Sequence[{one}]" if option.several else one
    return f"{text} | None" if option.optional or may_omit else text


def _signature(
    fields: dict[str, Option], may_omit: tuple[str, ...], returns: str
) -> inspect.Signature:
    """Write the signature: by place what must be given, and what is on the command line."""
    parameters = []
    for option in fields.values():
        omit, default = option.name in may_omit, option.default
        if omit or default is dataclasses.MISSING:
            default = None if omit else inspect.Parameter.empty
        by_place = option.positional or default is inspect.Parameter.empty
        parameters.append(
            inspect.Parameter(
                option.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD
                if by_place
                else inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=annotation(option, may_omit=omit),
            )
        )
    for name, (kind, _) in _SHARED.items():
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        )
    parameters.sort(key=lambda p: p.kind)
    return inspect.Signature(parameters, return_annotation=returns)


def _returns(body: Callable[..., Any], each: tuple[str, ...]) -> str:
    made = body.__annotations__.get("return", Any)
    made = made if isinstance(made, str) else inspect.formatannotation(made)
    one = made.removeprefix("tuple[").removesuffix(", ...]")
    return f"{one} | list[{one}]" if each else made


def _document(doc: str, fields: dict[str, Option], signature: inspect.Signature) -> str:
    """Write the parameters into a docstring, before what is returned."""
    texts = {
        **{option.name: option.text for option in fields.values()},
        **{name: text for name, (_, text) in _SHARED.items()},
    }
    lines = ["Parameters", "----------"]
    for name, parameter in signature.parameters.items():
        lines.append(f"{name} : {parameter.annotation}")
        lines += (f"    {line}" for line in textwrap.wrap(texts[name], _WIDTH))
    before, returns, after = doc.partition("Returns\n-------")
    return "\n".join([before.rstrip(), "", *lines, "", returns + after])
