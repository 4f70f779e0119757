"""`napari-stenhance domains`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from napari_stenhance.cli.command import Verb
from napari_stenhance.running.numbers import counted
from napari_stenhance.tasks.domains import DomainsOptions, domains


def show_runs(runs: Any) -> None:
    """Print the domains of each run, and how their number was chosen."""
    for run in runs:
        table = run.summary()
        what = "spots" if "spots" in table else "superpixels"
        shown = Table(title=f"{run.result.path}: {run.name}", title_justify="left", box=box.SIMPLE)
        shown.add_column("domain", no_wrap=True)
        shown.add_column(what, justify="right", no_wrap=True)
        scaled = bool(table["area_mm2"].notna().all())
        if scaled:
            shown.add_column("mm²", justify="right", no_wrap=True)
        shown.add_column("markers")
        for name, row in table.iterrows():
            area = [f"{row['area_mm2']:.2f}"] if scaled else []
            shown.add_row(str(name), str(row[what]), *area, row["markers"])
        Console(highlight=False).print(shown)
    if runs and runs[0].scores:
        scores = Table(
            title=f"{counted(runs[0].chosen, 'domain')}, by {runs[0].criterion}",
            title_justify="left",
            box=box.SIMPLE,
        )
        scores.add_column("domains", justify="right")
        scores.add_column(runs[0].criterion, justify="right")
        for number, score in runs[0].scores:
            chosen = "bold" if number == runs[0].chosen else ""
            scores.add_row(str(number), f"{score:.4g}", style=chosen)
        Console(highlight=False).print(scores)


def _made(runs: Any) -> list[Path]:
    return [run.result.path for run in runs]


VERB = Verb(DomainsOptions, domains, show_runs, _made)
