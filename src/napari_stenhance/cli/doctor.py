"""`napari-stenhance doctor`."""

from __future__ import annotations

from typing import Any

import typer
from rich import box
from rich.table import Table

from napari_stenhance.cli.command import Verb, print_table
from napari_stenhance.tasks.doctor import DoctorOptions, doctor

_SHOWN = 6


def _show(found: Any) -> None:
    if found.as_json:
        typer.echo(found.to_json())
        return
    table = Table(box=box.SIMPLE, padding=0)
    for column in ("spots", "on tissue", "r"):
        table.add_column(column, justify="left" if column == "spots" else "right")
    best = found.placement.best
    for fit in found.placement.ranked(_SHOWN):
        values = fit.way.name, f"{fit.on_tissue:.0%}", f"{fit.r:.2f}"
        table.add_row(*values, style="bold" if fit is best else "")
    print_table(table)
    typer.echo(found.said)


VERB = Verb(DoctorOptions, doctor, _show, code=lambda found: int(not found.is_well))
