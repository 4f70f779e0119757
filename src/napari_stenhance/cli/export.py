"""`napari-stenhance export`."""

from __future__ import annotations

import typer

from napari_stenhance.cli.command import register_task
from napari_stenhance.tasks.export import ExportOptions, export


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "export", ExportOptions, export, typer.echo)
