"""`napari-stenhance phantom`."""

from __future__ import annotations

from typing import Any

import typer

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.phantom import PhantomOptions, phantom


def _show(made: Any) -> None:
    typer.echo(made.folder)


VERB = Verb(PhantomOptions, phantom, _show)
