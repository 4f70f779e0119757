"""Make a command from a task's options, and run it with progress, notes and exit codes."""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from napari_stenhance.cli.interrupt import CANCELLED, last_words
from napari_stenhance.errors import Cancelled, InputError, StenhanceError
from napari_stenhance.plugin.desktop import look, need_display
from napari_stenhance.running.bars import interruptible, progress_bars, stderr_console
from napari_stenhance.running.job import Job
from napari_stenhance.running.memory import peak_gb
from napari_stenhance.tasks.options import Option, options_of

_EXIT_FAILED = 1
_EXIT_INPUT = 2

_VIEW = inspect.Parameter(
    "view",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--view", help="Open it in napari when it is done.")],
)

console = stderr_console()
_WIDE, _WIDEST = 120, 10_000


def show_paths(done: Any) -> None:
    """Print where what was made lies: one thing or several, or paths."""
    for one in done if isinstance(done, tuple) else (done,):
        typer.echo(getattr(one, "path", one))


def print_table(*parts: Any) -> None:
    """Print tables and texts; where nobody's terminal folds lines, they are as long as they are.

    In a terminal that is narrower than a table can be, it folds them: no number is cut short.
    """
    out = Console(highlight=False)
    for part in parts:
        least, whole = Console(width=_WIDEST).measure(part)
        wide = max(out.width, least) if out.is_terminal else max(_WIDE, whole)
        Console(highlight=False, width=wide).print(part)


@dataclass(frozen=True)
class Verb:
    """A command: the attribute `VERB` of a module of `cli`, or an entry point of another package.

    Attributes
    ----------
    options : type
        A frozen dataclass whose fields are annotated with `Help`: the command's arguments.
    task : callable
        `task(options, job)`; its name is the command's, the first line of its docstring the help.
    show : callable
        Prints what the task returned.
    made : callable, optional
        Returns which paths the flag --view opens when the task is done; without it, no such flag.
    code : callable
        Returns the exit code for what the task returned; by default 0.
    """

    options: type[Any]
    task: Callable[[Any, Job], Any]
    show: Callable[[Any], None] = show_paths
    made: Callable[[Any], list[Path]] | None = None
    code: Callable[[Any], int] = lambda _done: 0

    @property
    def name(self) -> str:
        """Name of the command."""
        return self.task.__name__.replace("_", "-")

    def command(self) -> Callable[..., None]:
        """Make the function that typer reads."""
        flags = {o.name: _flag(o.name) for o in options_of(self.options) if not o.positional}

        def command(*, view: bool = False, **given: Any) -> None:
            with exit_codes(flags):
                if view:
                    need_display()
                with _job() as job:
                    done = self.task(self.options(**given), job)
                self.show(done)
                if view and self.made is not None:
                    look(self.made(done))
            if code := self.code(done):
                raise typer.Exit(code)

        parameters = [_parameter(option) for option in options_of(self.options)]
        if self.made is not None:
            parameters.append(_VIEW)
        # An argument without a default must come first in a signature.
        parameters.sort(key=lambda p: p.default is not inspect.Parameter.empty)
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        command.__doc__ = (inspect.getdoc(self.task) or "").splitlines()[0]
        return command


def _parameter(option: Option) -> inspect.Parameter:
    """Turn a field into a typer parameter."""
    kind = option.kind
    if option.several:
        kind = list[kind]  # type: ignore[valid-type]
    elif option.optional:
        kind = kind | None
    default = option.default
    if default is dataclasses.MISSING:
        default = inspect.Parameter.empty
    elif default == ():
        default = []
    info = (
        typer.Argument(help=option.text, show_default=False)
        if option.positional
        else typer.Option(_switch(option), help=option.text, show_default=bool(default))
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, info],
    )


def _switch(option: Option) -> str:
    """Write the flag of a field; of what holds by default, that which turns it off too."""
    flag = _flag(option.name)
    return f"{flag}/--no-{flag[2:]}" if option.default is True else flag


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@contextmanager
def exit_codes(flags: Mapping[str, str]) -> Iterator[None]:
    """Say an error in one sentence: exit code 2 for bad input, 1 for a failure, 130 for Ctrl-C.

    Parameters
    ----------
    flags : mapping
        The command's flags by the fields that errors name: the sentence says that which mends it.
    """
    try:
        yield
    except Cancelled as error:
        with last_words():
            console.print(str(error), style="yellow", markup=False)
        raise typer.Exit(CANCELLED) from None
    except StenhanceError as error:
        said = error.naming(flags.get(error.option, ""))
        console.print(f"Error: {said}", style="red", markup=False)
        code = _EXIT_INPUT if isinstance(error, InputError) else _EXIT_FAILED
        raise typer.Exit(code) from None


@contextmanager
def _job() -> Iterator[Job]:
    """Run a job with progress bars on a terminal, plain lines elsewhere.

    Ctrl-C cancels it; pressed again, it ends the process at once.
    """
    started = time.monotonic()
    with progress_bars(console) as job, interruptible(job):
        yield job
    seconds = time.monotonic() - started
    console.print(f"Took {seconds:.1f} s, peak memory {peak_gb():.2f} GB.", style="dim")
