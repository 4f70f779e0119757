"""`napari-stenhance impute`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from napari_stenhance.cli.command import Verb
from napari_stenhance.running.numbers import counted
from napari_stenhance.tasks.impute import ImputeOptions, impute

_BEST = 5


def _show(run: Any) -> None:
    """Print how many genes were imputed, how well hidden ones were predicted, and where it lies."""
    from napari_stenhance.results.imputed import HOLDOUT_R, IMPUTED

    imputed, r = run.var[IMPUTED], run.var[HOLDOUT_R].dropna()
    typer.echo(
        f"{counted(int(imputed.sum()), 'gene')} imputed, {int((~imputed).sum())} as measured, for "
        f"{counted(run.attributes['spots'], 'spot')}."
    )
    if len(r):
        typer.echo(f"While hidden, {len(r)} measured genes: median r {r.median():.2f}.")
        shown = Table(title="Best predicted", title_justify="left", box=box.SIMPLE)
        shown.add_column("gene", no_wrap=True)
        shown.add_column("r", justify="right")
        for gene, value in r.sort_values(ascending=False, kind="stable").head(_BEST).items():
            shown.add_row(gene, f"{value:.2f}")
        Console(highlight=False).print(shown)
    typer.echo(f"{run.result.path}: {run.name}")


def _made(run: Any) -> list[Path]:
    return [run.result.path]


VERB = Verb(ImputeOptions, impute, _show, _made)
