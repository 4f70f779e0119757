"""`napari-stenhance convert`."""

from __future__ import annotations

import typer

from napari_stenhance.cli.command import register_task
from napari_stenhance.tasks.convert import ConvertOptions, convert


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "convert", ConvertOptions, convert, typer.echo)
