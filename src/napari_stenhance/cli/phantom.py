"""`napari-stenhance phantom`."""

from __future__ import annotations

from typing import Any

import typer

from napari_stenhance.cli.command import register_task
from napari_stenhance.tasks.phantom import PhantomOptions, phantom


def _show(made: Any) -> None:
    typer.echo(made.folder)


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "phantom", PhantomOptions, phantom, _show)
