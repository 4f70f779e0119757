"""`napari-stenhance train`."""

from __future__ import annotations

from typing import Any

import typer

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.train import TrainOptions, train


def _show(made: Any) -> None:
    typer.echo(made.folder)


VERB = Verb(TrainOptions, train, _show)
