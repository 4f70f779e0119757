"""`napari-stenhance evaluate`."""

from __future__ import annotations

import statistics
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from napari_stenhance.cli.command import register_task
from napari_stenhance.tasks.evaluate import EvaluateOptions, evaluate


def _show(scores: Any) -> None:
    names = list(scores[0].values)
    table = Table(box=box.SIMPLE)
    for column in ("seed", "domains", *names):
        table.add_column(column, justify="right")
    for score in scores:
        values = [f"{score.values[name]:.3f}" for name in names]
        table.add_row(str(score.seed), str(score.n_domains), *values)
    if len(scores) > 1:
        columns = [[score.values[name] for score in scores] for name in names]
        for what, summary in (("median", statistics.median), ("sd", statistics.stdev)):
            table.add_row(what, "", *(f"{summary(c):.3f}" for c in columns), style="bold")
    Console(highlight=False).print(table)


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "evaluate", EvaluateOptions, evaluate, _show)
