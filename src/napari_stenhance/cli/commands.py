"""All commands, one module each."""

from __future__ import annotations

from importlib.metadata import version

import typer

from napari_stenhance.cli import (
    compare,
    convert,
    demo,
    domains,
    downsample,
    edit_domains,
    enhance,
    evaluate,
    export,
    impute,
    info,
    phantom,
    predict,
    train,
    view,
    write,
)

app = typer.Typer(
    name="napari-stenhance",
    help="Spatial gene expression predicted from H&E slides.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (
    enhance,
    train,
    predict,
    impute,
    domains,
    edit_domains,
    evaluate,
    write,
    export,
    convert,
    downsample,
    compare,
    info,
    view,
    phantom,
    demo,
):
    _command.register(app)


@app.callback(invoke_without_command=True)
def _root(
    *,
    show_version: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    if show_version:
        typer.echo(version("napari-stenhance"))
        raise typer.Exit
