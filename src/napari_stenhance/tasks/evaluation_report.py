"""An evaluation as one page to read: no script, and nothing from elsewhere."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.tasks.evaluation import SEEDS_LEAST
from napari_stenhance.tasks.evaluation_pictures import (
    by_section,
    draw_calibration,
    draw_genes,
    draw_maps,
    draw_seeds,
)
from napari_stenhance.tasks.protocol import in_words

if TYPE_CHECKING:
    from napari_stenhance.tasks.evaluation import Evaluation, Score

_CEILING, _SHARE = "noise ceiling", "share of ceiling"
_OF_A_PART = ", "
_ENDS = ", from", ", to"
_WAYS = "over spots", "over genes"
_WHOLE = "genes", "constant"
_QUARTERS = "lowest", "second", "third", "highest"
_QUARTERED = {
    "genes": "genes, by their mean in the learned tissue",
    "predicted": "spots, by what is predicted of the gene",
    "measured": "spots, by what was measured of the gene",
}
"""By what coverage is quartered, and what that is called."""
_MARKED = {
    "cut": "genes that have a cut",
    "wrong": "wrong of the marked, over all genes",
    "wrong if marked": "over genes with marks",
    "found": "found",
}
_FIRST = {"genes": "r", "imputation": "Spearman", "domains": "ARI"}
"""The measure whose spread is drawn."""

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #1a202c;
  background: #fff; max-width: 1180px; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid #e2e8f0; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, li { max-width: 80ch; } p.note { color: #4a5568; font-size: .87rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .45rem; text-align: right; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; border-bottom: 1.5px solid #2d3748; }
th:first-child, td:first-child { text-align: left; }
tbody tr:nth-child(even) { background: #f7fafc; } tr.own { font-weight: 600; }
tr.own td, tr.own th { border-bottom: 1px solid #cbd5e0; }
td small { color: #4a5568; font-weight: 400; }
img { max-width: 100%; height: auto; display: block; margin: .6rem 0; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2 { break-after: avoid; }
  img, table { break-inside: avoid; } th, td { padding: .1rem .3rem; font-size: 8.5px; } }
"""


def write_report(found: Evaluation, path: Path) -> None:
    """Write a page with the protocol, tables, pictures and doubts of an evaluation.

    Raises
    ------
    InputError
        If something lies there, or it cannot be written.
    """
    content = "\n".join(_page(found))
    with atomic_path(path) as aside:
        aside.write_text(content, "utf-8")


def _page(found: Evaluation) -> Iterator[str]:
    of = found.protocol
    on = of.get("tested") if of["split"] == "sections" else of["sections"][0]["name"]
    title = f"{of['method']} ({of['preset']}) on {on}"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
    yield '</title><meta name="viewport" content="width=device-width, initial-scale=1">'
    # Whatever a name holds, the page asks for nothing from elsewhere.
    yield (
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    )
    yield f"<style>{_STYLE}</style></head><body>"
    yield f"<h1>{escape(title)}</h1>"
    yield '<p class="note">An evaluation by napari-stenhance. Measured values are counts of the '
    yield "assay; predicted ones are of a method that did not see them.</p>"
    yield "<h2>Protocol</h2><ul>"
    yield from (f"<li>{escape(said)}</li>" for said in in_words(of))
    yield "</ul>"
    yield from _summary(found)
    if len(found.hidden) == 1:
        yield from _each(found)
    if of["kind"] == "genes":
        yield from _of_genes(found)
    elif _FIRST[of["kind"]] in found.measures:
        yield "<h2>Spread</h2>" + _image(draw_seeds(found, _FIRST[of["kind"]]), "Spread over seeds")
    if len(found.hidden) > 1:
        yield from _each(found)
    yield "<h2>Doubts</h2>"
    if found.doubts:
        yield "<ul>" + "".join(f"<li>{escape(doubt)}</li>" for doubt in found.doubts) + "</ul>"
    else:
        yield "<p>None was found.</p>"
    yield "</body></html>"


def _measures(found: Evaluation) -> list[str]:
    """Return the names of measures that are of all that was scored, not of a part of it."""
    names = [name for name in found.measures if _OF_A_PART not in name]
    if "RMSE" in names:
        # In the files of scores alone, beside its square.
        names = [name for name in names if name not in ("MSE", "MAE")]
    # Beside what it is a share of.
    return sorted(names, key=lambda n: names.index("r") + 0.5 if n == _SHARE else names.index(n))


def _summary(found: Evaluation) -> Iterator[str]:
    """Write means, where there are several seeds or parts."""
    names = _measures(found)
    summaries = found.summaries
    own = summaries[0].what
    if len(found.hidden) > 1 or max(one.seeds for one in summaries) > 1:
        yield "<h2>Scores</h2>"
        rows = []
        for one in summaries:
            cells = []
            for name in names:
                mean, sd = one.mean.get(name, math.nan), one.sd.get(name, math.nan)
                low = one.low.get(name, math.nan)
                no_sd = math.isnan(sd) or name in _WHOLE
                more = "" if no_sd else f"<br><small>± {_written(name, sd)}</small>"
                more += "" if math.isnan(low) else f"<br><small>5 %: {_written(name, low)}</small>"
                cells.append(_written(name, mean) + more)
            rows.append((one.what, cells))
        parts = f"Means over {', '.join(found.hidden)}. " if len(found.hidden) > 1 else ""
        seeds = max(one.seeds for one in summaries)
        over = f"± is the standard deviation over {seeds} seeds. " if seeds > 1 else ""
        if 1 < seeds < SEEDS_LEAST:
            over += f"A 5th percentile would take {SEEDS_LEAST} seeds. "
        yield from _table(names, rows, own, parts + over + _said(found))


def _each(found: Evaluation) -> Iterator[str]:
    """Write the scores of each part with the first seed; of domains, of each seed."""
    names, own = _measures(found), found[0].what
    if found.protocol["kind"] == "domains":
        rows = [
            (f"seed {one.seed}", [str(one.n_domains), *_cells(one.values, names)]) for one in found
        ]
        yield "<h2>Each seed</h2>"
        yield from _table(["domains found", *names], rows, "", "")
        return
    first = found[0].seed
    for hidden in found.hidden:
        scores = [s for s in found if s.hidden == hidden and s.seed in _of(found[0])]
        what = hidden or found.protocol["parts"][0]["name"] if "parts" in found.protocol else ""
        yield f"<h2>{escape(what or 'Scores')}, seed {first}</h2>"
        # As published, they would make the table wider than a page.
        main = [name for name in names if not name.endswith(_PUBLISHED)]
        rows = [(one.what, _cells(one.values, main)) for one in scores]
        yield from _table(main, rows, own, _said(found))
        published = [name for name in names if name not in main]
        if published and main:
            yield "<h3>The published program's figures</h3>"
            rows = [(one.what, _cells(one.values, published)) for one in scores]
            rows = [row for row in rows if any(cell != _UNKNOWN for cell in row[1])]
            yield from _table(published, rows, own, "")
        yield from _intervals(scores)
        yield from _coverage(scores[0], found.protocol["normalisation"]["unit"])
        yield from _marks(scores[0])
        yield from _parts(scores[0])


def _coverage(own: Score, unit: str) -> Iterator[str]:
    """Write how many hidden spots lie within prediction intervals, in quarters."""
    if "coverage" not in own.values:
        return
    rows = [
        (what, _cells(own.values, [f"coverage, {by} {quarter}" for quarter in _QUARTERS]))
        for by, what in _QUARTERED.items()
    ]
    width = own.values["interval width"]
    wide = f"Their mean width is {width:.3f} {unit}"
    if math.isinf(width):
        wide = "Some have no end, for too few spots were held out, and so hold all that is measured"
    said = (
        "Share of what was measured at hidden spots that lies within intervals meant to hold nine "
        f"in ten: {own.values['coverage']:.3f} of all. {wide}. They were calibrated with spots of "
        "the learned tissue, which were held out in turn there; the hidden spots calibrated "
        "nothing. By what was measured, no interval that knows predictions alone can cover alike."
    )
    yield "<h3>Prediction intervals of spots</h3>"
    yield from _table(_QUARTERS, rows, "", said)


def _marks(own: Score) -> Iterator[str]:
    """Write how much is wrong of what is marked as above a value."""
    wheres = [n.removeprefix("cut, ") for n in own.values if n.startswith("cut, ")]
    if not wheres:
        return
    rows = []
    for where in wheres:
        cells = _cells(own.values, [f"{what}, {where}" for what in _MARKED])
        # Where nothing is marked, nothing is wrong: that says nothing.
        some = own.values[f"cut, {where}"] > 0
        rows.append((where, cells if some else [cells[0], *[_UNKNOWN] * (len(_MARKED) - 1)]))
    said = (
        "Where genes are above 0, or above their lower quartile or median in the learned tissue, "
        "marked so that at most 1 in 10 is wrong: the cuts were made with held-out spots of that "
        "tissue, and are counted here at hidden spots, means of the 8 nearest, and regions of "
        "1 mm. Of a gene that has no cut, nothing is marked. Found: the share of what is above "
        "that is marked."
    )
    yield "<h3>Marks of where genes are above a value</h3>"
    yield from _table(list(_MARKED.values()), rows, "", said)


def _parts(own: Score) -> Iterator[str]:
    """Write what else is known of parts of the predictions of the method."""
    written = (*_MARKED, "coverage")
    rows = [
        (name, [_written(name, value)])
        for name, value in own.values.items()
        if _OF_A_PART in name and not name.endswith(_ENDS) and not math.isnan(value)
        if name.split(_OF_A_PART)[0] not in written
    ]
    if rows:
        yield "<h3>In parts</h3>"
        yield from _table([own.what], rows, "", "")


def _intervals(scores: Sequence[Score]) -> Iterator[str]:
    """Write between which ends the means of two measures lie."""
    columns = [
        f"{measure} {way}"
        for measure in ("r", "r given depth")
        for way in _WAYS
        if f"{measure} {way}{_ENDS[0]}" in scores[0].values
    ]
    if not columns:
        return
    rows = [
        (
            one.what,
            [
                " to ".join(f"{one.values[f'{column}{end}']:.3f}" for end in _ENDS)
                for column in columns
            ],
        )
        for one in scores
        if f"{columns[0]}{_ENDS[0]}" in one.values
    ]
    said = (
        "5th and 95th percentile of the mean over genes in 200 bootstrap samples: of the hidden "
        "spots, with the same genes; and of the genes, with the same spots."
    )
    yield "<h3>Bootstrap intervals</h3>"
    yield from _table(columns, rows, scores[0].what, said)


def _of_genes(found: Evaluation) -> Iterator[str]:
    unit = found.protocol["normalisation"]["unit"]
    first = found[0]
    yield "<h2>Maps: the best, the median and the worst gene</h2>"
    joined = by_section(found.maps)
    others = any(len(maps.others_um) for maps in joined)
    shown = "pale spots were not hidden, and count in no r" if others else "all spots were hidden"
    yield (
        '<p class="note">Each gene on one scale, measured beside predicted, by the method with '
        f"seed {first.seed}; {shown}. Pale red is tissue.</p>"
    )
    for maps in joined:
        yield f"<h3>{escape(maps.section)}</h3>"
        yield _image(draw_maps(maps, unit), f"Maps of three genes of {maps.section}")
    yield "<h2>Each gene</h2>"
    for hidden in found.hidden:
        (own,) = (
            s for s in found if (s.hidden, s.what, s.seed) == (hidden, first.what, first.seed)
        )
        best = [s.of_genes for s in found if (s.hidden, s.what) == (hidden, _CEILING)]
        if own.of_genes is not None:
            if hidden:
                yield f"<h3>{escape(hidden)}</h3>"
            yield _image(
                draw_genes(own.of_genes, best[0] if best else None, unit), "r of each gene"
            )
    yield "<h2>Predicted against measured</h2>"
    yield (
        '<p class="note">Means of what was measured, in bins of equally many predicted values; the '
        "band holds the middle half of what was measured; on the dashed line both are equal.</p>"
    )
    yield _image(draw_calibration(joined, unit), "Calibration curves")


def _of(first: Score) -> set[int | None]:
    """Return the seed that is looked at, and that of what has none."""
    return {first.seed, None}


def _said(found: Evaluation) -> str:
    scale = found.protocol["normalisation"]
    said = f"In {scale['unit']} ({scale['name']}). " if scale["unit"] else ""
    if _SHARE in found.measures:
        said += (
            "Means over genes; a – is not defined, or not asked of a baseline. Noise ceiling: the "
            "best r that the noise of counting leaves to any prediction, from counts dealt to two "
            "halves (Spearman, Brown); share of ceiling: r over that. r given depth: with the log "
            "of total counts held constant; r with depth: of the prediction with that log. A gene "
            "that does not vary counts as 0. I agreement: r over genes of measured with predicted "
            "Moran's I; coexpression agreement: the same of correlations, over pairs of genes. "
            "RMSE and interval width are in the unit above; AUROC: of whether the gene was counted "
            "in a spot; SSIM: of the maps; "
            "coverage: of prediction intervals of nine in ten."
        )
    return said


def _table(
    names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], own: str, said: str
) -> Iterator[str]:
    """Write a table without the columns of which nothing is known."""
    kept = [n for n in range(len(names)) if any(cells[n] != _UNKNOWN for _, cells in rows)]
    yield '<div class="wide"><table>'
    heads = "".join(f'<th scope="col">{escape(names[n])}</th>' for n in kept)
    yield f"<thead><tr><th></th>{heads}</tr></thead><tbody>"
    for what, cells in rows:
        style = ' class="own"' if what == own else ""
        row = "".join(f"<td>{cells[n]}</td>" for n in kept)
        yield f'<tr{style}><th scope="row">{escape(what)}</th>{row}</tr>'
    yield "</tbody></table></div>"
    # Outside, where it is not as wide as the table.
    yield f'<p class="note">{escape(said)}</p>' if said else ""


_UNKNOWN = "–"
_PUBLISHED = " (published)"


def _cells(values: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [_written(name, values.get(name, math.nan)) for name in names]


def _written(name: str, value: float) -> str:
    if not math.isfinite(value):
        return _UNKNOWN if math.isnan(value) else "∞"
    return f"{value:.4g}" if name in _WHOLE else f"{value:.3f}"


def _image(svg: str, what: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{escape(what)}" src="data:image/svg+xml;base64,{data}">'
