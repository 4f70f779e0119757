"""`napari-stenhance summarise`."""

from __future__ import annotations

from typing import Any

import typer

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.summarise import SummariseOptions, summarise


def _show(table: Any) -> None:
    """Print where the table lies, or the table itself, as comma-separated text."""
    written = table.attrs.get("csv")
    typer.echo(written or table.to_csv(index=False), nl=bool(written))


VERB = Verb(SummariseOptions, summarise, _show)
