"""`napari-stenhance script`."""

from __future__ import annotations

import typer

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.script import ScriptOptions, script


def _show(text: str) -> None:
    typer.echo(text, nl=False)


VERB = Verb(ScriptOptions, script, _show)
