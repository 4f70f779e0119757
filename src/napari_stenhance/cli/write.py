"""`napari-stenhance write`."""

from __future__ import annotations

from typing import Any

import typer

from napari_stenhance.cli.command import register_task
from napari_stenhance.tasks.write import WriteOptions, write


def _show(result: Any) -> None:
    typer.echo(result.path)


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "write", WriteOptions, write, _show)
