"""`napari-stenhance downsample`."""

from __future__ import annotations

import typer

from napari_stenhance.cli.command import register_task
from napari_stenhance.tasks.downsample import DownsampleOptions, downsample


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "downsample", DownsampleOptions, downsample, typer.echo)
