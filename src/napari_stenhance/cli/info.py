"""`napari-stenhance info`."""

from __future__ import annotations

from typing import Any

import typer

from napari_stenhance.cli.command import register_task
from napari_stenhance.tasks.info import InfoOptions, info


def _show(lines: Any) -> None:
    for line in lines:
        typer.echo(line)


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "info", InfoOptions, info, _show)
