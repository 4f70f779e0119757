"""All commands, one module each."""

from __future__ import annotations

from importlib.metadata import version

import typer

from napari_stenhance.running.extensions import extensions


def make_app() -> typer.Typer:
    """Put all commands together: ours, and those that other packages add."""
    app = typer.Typer(
        name="napari-stenhance",
        help="Spatial gene expression predicted from H&E slides.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(_root)
    for verb in extensions("napari_stenhance.cli", "VERB"):
        app.command(verb.name)(verb.command())
    return app


def _root(
    *,
    show_version: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    if show_version:
        typer.echo(version("napari-stenhance"))
        raise typer.Exit
