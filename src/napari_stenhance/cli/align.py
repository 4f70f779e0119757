"""`napari-stenhance align`."""

from __future__ import annotations

from typing import Any

import typer
from rich import box
from rich.table import Table

from napari_stenhance.cli.command import Verb, print_table
from napari_stenhance.tasks.align import AlignOptions, align


def _show(found: Any) -> None:
    if found.as_json:
        typer.echo(found.to_json())
        return
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column in (
        "section",
        "mirrored",
        "turned °",
        "moved x µm",
        "y µm",
        "area shared",
        "r of stain",
        "r of spots",
        "as they lie",
    ):
        table.add_column(column, justify="left" if column == "section" else "right")
    for one in found.sections:
        best = one.alignment.best
        table.add_row(
            one.section,
            "yes" if best.mirrored else "no",
            # A zero has no sign.
            f"{round(best.turned_deg, 1) + 0.0:+.1f}",
            *(f"{round(by) + 0.0:+.0f}" for by in best.moved_um),
            f"{best.overlap:.0%}",
            f"{best.r:.2f}",
            *(_r(likeness) for likeness in (one.aligned, one.as_they_lie)),
        )
    print_table(table)
    for one in found.sections:
        typer.echo(one.said)


def _r(likeness: Any) -> str:
    return f"{likeness.r:.2f}" if likeness is not None and likeness.spots else "–"


VERB = Verb(
    AlignOptions, align, _show, code=lambda found: int(not all(o.is_clear for o in found.sections))
)
