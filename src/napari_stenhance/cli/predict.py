"""`napari-stenhance predict`."""

from __future__ import annotations

from typing import Any

import typer

from napari_stenhance.cli.command import register_task
from napari_stenhance.tasks.predict import PredictOptions, predict


def _show(results: Any) -> None:
    for result in results:
        typer.echo(result.path)


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "predict", PredictOptions, predict, _show)
