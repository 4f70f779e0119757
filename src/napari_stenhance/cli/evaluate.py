"""`napari-stenhance evaluate`."""

from __future__ import annotations

import math
import statistics
from typing import Any

from rich import box
from rich.table import Table

from napari_stenhance.cli.command import Verb, print_table
from napari_stenhance.tasks.evaluate import EvaluateOptions, evaluate

_NOTES = {
    "r": "r: 0 for genes that do not vary; given depth: with the spots' total counts held constant",
    "constant": "constant: genes that do not vary, measured or predicted",
    "share of ceiling": "ceiling: the best r that the noise of counting leaves to any prediction",
    "Spearman beyond library": "beyond library: with the library size of the spots held constant",
}

_PUBLISHED = " (published)"
_LEFT_TO_CSV = "MSE", "MAE"
_OF_A_PART = ", "
"""In names of ends of intervals, and of quartiles and cuts, which are left to it too."""


def _show(scores: Any) -> None:
    names = [
        name for name in scores[0].values if name not in _LEFT_TO_CSV and _OF_A_PART not in name
    ]
    if "constant" in names and not scores[0].values["constant"]:
        names.remove("constant")
    as_published = [name for name in names if name.endswith(_PUBLISHED)]
    measured = [name for name in names if name not in as_published]
    print_table(_table(scores, measured))
    if as_published:
        said = "The published program's figures, by what they are:"
        print_table(said, _table(scores, as_published))


def _table(scores: Any, names: list[str]) -> Table:
    kinds = list(dict.fromkeys(score.what for score in scores))
    of_domains = scores[0].n_domains is not None
    # Where several things were hidden, each by itself is in the table that is written.
    hidden = list(dict.fromkeys(score.hidden for score in scores))
    notes = [text for name, text in _NOTES.items() if name in names]
    if len(hidden) > 1:
        notes.append(f"over {', '.join(hidden)}, and seeds; --csv writes each")
    table = Table(
        box=box.SIMPLE, padding=0, caption="\n".join(notes) or None, caption_justify="left"
    )
    table.add_column("", no_wrap=True)
    headings = [name.removesuffix(_PUBLISHED).replace(" ", "\n") for name in names]
    for column in ("seed", *(["domains"] if of_domains else []), *headings):
        table.add_column(column, justify="right", no_wrap=True)
    for kind in kinds:
        measured = [score for score in scores if score.what == kind]
        if all(math.isnan(score.values[name]) for score in measured for name in names):
            continue
        for score in measured if len(hidden) == 1 else ():
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
                values = [
                    # Of what is not known, nothing is.
                    _written(
                        math.nan if any(map(math.isnan, column)) else summary(column),
                        whole=isinstance(column[0], int),
                    )
                    for column in columns
                ]
                table.add_row(kind, what, *blank, *values, style="bold")
    return table


def _written(value: float, *, whole: bool) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.4g}" if whole else f"{value:.3f}"


VERB = Verb(EvaluateOptions, evaluate, _show)
