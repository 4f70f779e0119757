"""`napari-stenhance demo`."""

from __future__ import annotations

from pathlib import Path

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from napari_stenhance.cli.command import Verb
from napari_stenhance.tasks.demo import DemoDone, DemoOptions, demo


def _show(done: DemoDone) -> None:
    table = Table(
        title="Median over genes of Pearson's r with the known truth, on the 8 µm grid",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("genes that\nfollow", no_wrap=True)
    for name in (
        "genes",
        "measured\ntissue",
        "inter-\npolated",
        "unseen\ntissue",
        "inter-\npolated",
    ):
        table.add_column(name, justify="right")
    for score in done.scores:
        values = (
            score.measured,
            score.measured_interpolation,
            score.unmeasured,
            score.unmeasured_interpolation,
        )
        table.add_row(score.follows, str(score.genes), *(f"{v:.2f}" for v in values))
    Console(highlight=False).print(table)
    typer.echo(
        "The image shows cells and compartments. It does not show the smooth field, which only\n"
        "spots nearby can tell; and nobody can predict genes that follow nothing."
    )
    typer.echo(f"Look at it: napari-stenhance view {done.section} {done.result}")


def _made(done: DemoDone) -> list[Path]:
    return [done.section, done.result]


VERB = Verb(DemoOptions, demo, _show, _made)
