"""`napari-stenhance train`."""

from __future__ import annotations

from typing import Any

import typer

from napari_stenhance.cli.command import register_task
from napari_stenhance.tasks.train import TrainOptions, train


def _show(trained: Any) -> None:
    typer.echo(trained.folder)


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "train", TrainOptions, train, _show)
