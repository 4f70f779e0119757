"""`napari-stenhance evaluate`."""

from __future__ import annotations

import statistics
from typing import Any

from rich import box
from rich.table import Table

from napari_stenhance.cli.command import Verb, print_table
from napari_stenhance.tasks.evaluate import EvaluateOptions, evaluate

_NOTES = {
    "constant": "constant: genes that do not vary, measured or predicted, count as PCC 0",
    "Spearman beyond library": "beyond library: with the library size of the spots held constant",
    "PCC all": "all: of all spots, also learned from, without constant genes, as published",
}

_PUBLISHED = " (published)"


def _show(scores: Any) -> None:
    names = list(scores[0].values)
    as_published = [name for name in names if name.endswith(_PUBLISHED)]
    measured = [name for name in names if name not in as_published]
    print_table(_table(scores, measured))
    if as_published:
        said = "The published program's figures, by what they are:"
        print_table(said, _table(scores, as_published))


def _table(scores: Any, names: list[str]) -> Table:
    kinds = list(dict.fromkeys(score.what for score in scores))
    of_domains = scores[0].n_domains is not None
    notes = [text for name, text in _NOTES.items() if name in names]
    table = Table(
        box=box.SIMPLE, padding=0, caption="\n".join(notes) or None, caption_justify="left"
    )
    table.add_column("")
    headings = [name.removesuffix(_PUBLISHED).replace(" ", "\n") for name in names]
    for column in ("seed", *(["domains"] if of_domains else []), *headings):
        table.add_column(column, justify="right", no_wrap=True)
    for kind in kinds:
        measured = [score for score in scores if score.what == kind]
        for score in measured:
            domains = [str(score.n_domains)] if of_domains else []
            values = [
                _written(v, whole=isinstance(v, int))
                for v in (score.values[name] for name in names)
            ]
            table.add_row(kind, str(score.seed), *domains, *values)
        if len(measured) > 1:
            columns = [[score.values[name] for score in measured] for name in names]
            blank = [""] if of_domains else []
            for what, summary in (("median", statistics.median), ("sd", statistics.stdev)):
                values = [_written(summary(c), whole=isinstance(c[0], int)) for c in columns]
                table.add_row(kind, what, *blank, *values, style="bold")
    return table


def _written(value: float, *, whole: bool) -> str:
    return f"{value:.4g}" if whole else f"{value:.3f}"


VERB = Verb(EvaluateOptions, evaluate, _show)
