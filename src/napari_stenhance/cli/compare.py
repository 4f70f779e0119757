"""`napari-stenhance compare`."""

from __future__ import annotations

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from napari_stenhance.cli.command import register_task
from napari_stenhance.tasks.compare import Compared, CompareOptions, compare


def _show(done: tuple[Compared, ...]) -> None:
    table = Table(
        title=f"Agreement with the full counts, median over {len(done[0].genes)} genes",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("", no_wrap=True)
    for name in done[0].scores:
        table.add_column(name, justify="right")
    for one in done:
        table.add_row(one.what, *(f"{value:.3g}" for value in one.medians().values()))
    Console(highlight=False).print(table)


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "compare", CompareOptions, compare, _show)
