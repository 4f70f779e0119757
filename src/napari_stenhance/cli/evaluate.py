"""`napari-stenhance evaluate`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich import box
from rich.table import Table

from napari_stenhance.cli.command import Verb, print_table
from napari_stenhance.tasks.evaluate import evaluate
from napari_stenhance.tasks.evaluate_options import EvaluateOptions
from napari_stenhance.tasks.evaluation import SEEDS_LEAST, Evaluation

_NOTES = {
    "r": "r: 0 for genes that do not vary; given depth: with the spots' total counts held constant",
    "constant": "constant: genes that do not vary, measured or predicted",
    "share of ceiling": "ceiling: the best r that the noise of counting leaves to any prediction",
    "Spearman beyond library": "beyond library: with the library size of the spots held constant",
}

_PUBLISHED = " (published)"
_DIGITS = 6
_LEFT_TO_CSV = "MSE", "MAE"
_WHOLE = "genes", "constant"
_OF_A_PART = ", "
"""In names of ends of intervals, and of quartiles and cuts, which are left to it too."""


def _show(found: Evaluation) -> None:
    left = {name for name in found.measures if name in _LEFT_TO_CSV or _OF_A_PART in name}
    if not any(score.values.get("constant", 0) > 0 for score in found):
        left.add("constant")
    names = [name for name in found.measures if name not in left]
    as_published = [name for name in names if name.endswith(_PUBLISHED)]
    measured = [name for name in names if name not in as_published]
    print_table(_table(found, measured))
    if as_published:
        said = "The published program's figures, by what they are:"
        print_table(said, _table(found, as_published))


def _table(found: Evaluation, names: list[str]) -> Table:
    of_domains = found[0].n_domains is not None
    # Where several things were hidden, each by itself is in the table that is written.
    apart = len(found.hidden) == 1
    summaries = found.summaries
    notes = [text for name, text in _NOTES.items() if name in names]
    unit = found.protocol["normalisation"]["unit"]
    if unit:
        notes.insert(0, f"of {unit} ({found.protocol['normalisation']['name']})")
    if not apart:
        notes.append(f"means over {', '.join(found.hidden)}; --csv writes each")
    if 1 < max(one.seeds for one in summaries) < SEEDS_LEAST:
        notes.append(f"sd: over seeds; a 5th percentile takes {SEEDS_LEAST} of them")
    table = Table(
        box=box.SIMPLE, padding=0, caption="\n".join(notes) or None, caption_justify="left"
    )
    table.add_column("", no_wrap=True)
    headings = [name.removesuffix(_PUBLISHED).replace(" ", "\n") for name in names]
    for column in ("seed", *(["domains"] if of_domains else []), *headings):
        # Rather a heading in pieces than a number cut short.
        table.add_column(column, justify="right", overflow="fold", min_width=_DIGITS)

    def add(what: str, which: str, domains: str, values: Mapping[str, float], style: str) -> None:
        cells = [_written(values.get(n, math.nan), whole=n in _WHOLE) for n in names]
        table.add_row(what, which, *([domains] if of_domains else []), *cells, style=style)

    for one in summaries:
        if all(math.isnan(one.mean.get(name, math.nan)) for name in names):
            continue
        scores = [score for score in found if score.what == one.what]
        for score in scores if apart else ():
            seed = "" if score.seed is None else str(score.seed)
            add(one.what, seed, str(score.n_domains), score.values, "")
        if len(scores) > 1:
            add(one.what, "mean", "", one.mean, "bold")
        if one.seeds > 1:
            add(one.what, "sd", "", one.sd, "bold")
        if one.seeds >= SEEDS_LEAST:
            add(one.what, "5 %", "", one.low, "bold")
    return table


def _written(value: float, *, whole: bool) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.4g}" if whole else f"{value:.3f}"


VERB = Verb(EvaluateOptions, evaluate, _show)
