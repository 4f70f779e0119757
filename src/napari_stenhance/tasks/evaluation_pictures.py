"""Pictures of an evaluation's report, as SVG that stands in a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.tasks.figure_page import drawn_as_ours, round_length, said_length
from napari_stenhance.tasks.scored_part import SpotMaps

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_stenhance.tasks.evaluation import Evaluation

_INCH = 5.3
_BINS = 20
_LEAST_IN_BIN = 10
_MANY = 5000
"""Spots beyond which they are drawn as pixels: a page of vectors would be slow to open."""
_BLUE, _GREY, _PALE, _TISSUE = "#2b6cb0", "0.45", "0.78", "#f5eaf0"
_TEXT_PT = 9.0
_DPI = 100


def by_section(maps: Sequence[SpotMaps]) -> list[SpotMaps]:
    """Join what was hidden of one section in turn, for the genes that were scored each time."""
    joined = []
    for name in dict.fromkeys(one.section for one in maps):
        parts = [one for one in maps if one.section == name]
        if len(parts) == 1:
            joined += parts
            continue
        shared = set.intersection(*(set(part.genes) for part in parts))
        genes = tuple(gene for gene in parts[0].genes if gene in shared)
        values = [
            np.concatenate([_of(getattr(part, what), part, genes) for part in parts])
            for what in ("predicted", "measured")
        ]
        xy_um = np.concatenate([part.xy_um for part in parts])
        # Each was hidden once, and none is left.
        none = np.empty((0, 2))
        predicted, measured = values
        joined.append(
            replace(
                parts[0], xy_um=xy_um, others_um=none, genes=genes, predicted=predicted,
                measured=measured,
            )
        )  # fmt: skip
    return joined


def _of(values: NDArray[np.float32], part: SpotMaps, genes: Sequence[str]) -> NDArray[np.float32]:
    at = {gene: n for n, gene in enumerate(part.genes)}
    return values[:, [at[gene] for gene in genes]]


def draw_maps(maps: SpotMaps, unit: str) -> str:
    """Draw the genes with the best, the median and the worst r, measured beside predicted."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    r = np.nan_to_num(pearson(maps.predicted, maps.measured))
    order = np.argsort(-r, kind="stable")
    chosen = dict.fromkeys((order[0], order[len(order) // 2], order[-1]))
    words = ("best", "worst") if len(chosen) == 2 else ("best", "median", "worst")
    (x0, y0), (x1, y1) = _around(maps)
    height = _INCH * (y1 - y0) / (x1 - x0)
    with drawn_as_ours():
        page, axes = _page(len(chosen), 2, (_INCH, height + 0.35))
        for row, (gene, word) in enumerate(zip(chosen, words, strict=False)):
            both = maps.measured[:, gene], maps.predicted[:, gene]
            # One scale for both.
            low, high = np.percentile(np.concatenate(both), (1, 99))
            ends = (low, high if high > low else low + 1)
            norm = Normalize(*ends)
            for ax, values, what in zip(axes[row], both, ("measured", "predicted"), strict=True):
                ax.set(xlim=(x0, x1), ylim=(y1, y0), xticks=(), yticks=(), aspect="equal")
                ax.spines[:].set_visible(False)
                _draw_tissue(ax, maps)
                _draw_discs(ax, maps, maps.others_um, _PALE)
                _draw_discs(ax, maps, maps.xy_um, norm(values))
                title = f"{maps.genes[gene]}, {what}"
                if what == "predicted":
                    title += f" ({word} of {len(r)}: r {r[gene]:.2f})"
                ax.set_title(title, loc="left")
            bar = page.colorbar(
                ScalarMappable(norm, "viridis"), ax=list(axes[row]), extend=_beyond(ends, both),
                pad=0.02,
            )  # fmt: skip
            bar.set_label(unit)
            _scale_bar(axes[row][0], maps, (x0, y0, x1, y1))
        return _svg(page)


def _beyond(ends: tuple[float, float], values: Sequence[NDArray[np.float32]]) -> str:
    """Say at which ends of a scale values lie beyond it: only there the bar has an arrow."""
    below = min(float(one.min()) for one in values) < ends[0]
    above = max(float(one.max()) for one in values) > ends[1]
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(
        (below, above), "both"
    )


def _around(maps: SpotMaps) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners of what is drawn: spots and tissue, a pitch around."""
    places = [maps.xy_um, maps.others_um]
    rows, columns = maps.tissue.nonzero()
    if len(rows):
        corner, end = np.reshape(maps.tissue_box, (2, 2))
        steps = (end - corner) / maps.tissue.shape[::-1]
        places.append(corner + (np.column_stack([columns, rows]) + 0.5) * steps)
    every = np.concatenate(places)
    margin = maps.geometry.pitch_um
    return every.min(axis=0) - margin, every.max(axis=0) + margin


def _draw_tissue(ax: Axes, maps: SpotMaps) -> None:
    """Draw the shape of the section."""
    from matplotlib.colors import ListedColormap

    left, top, right, bottom = maps.tissue_box
    shape = np.ma.masked_where(~maps.tissue, maps.tissue)
    limits = ax.axis()
    ax.imshow(
        shape, extent=(left, right, bottom, top), cmap=ListedColormap([_TISSUE]), aspect="equal"
    )
    ax.axis(limits)


def _draw_discs(ax: Axes, maps: SpotMaps, xy_um: NDArray[np.float64], colour: Any) -> None:
    """Draw spots at their true size, in one colour or in those of a scale."""
    from matplotlib import colormaps
    from matplotlib.collections import EllipseCollection, PolyCollection

    if not len(xy_um):
        return
    look: dict[str, Any] = {
        "facecolors": colour if isinstance(colour, str) else colormaps["viridis"](colour),
        "linewidths": 0,
        "rasterized": len(xy_um) > _MANY,
    }
    size = maps.geometry.spot_diameter_um or maps.geometry.pitch_um / 2
    if maps.geometry.spot_shape == "square":
        half = size / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        ax.add_collection(PolyCollection(list(xy_um[:, None, :] + half), **look))
        return
    sizes = np.full(len(xy_um), size)
    ax.add_collection(
        EllipseCollection(
            sizes, sizes, np.zeros(len(sizes)), units="xy", offsets=xy_um,
            offset_transform=ax.transData, **look,
        )
    )  # fmt: skip


def _scale_bar(ax: Axes, maps: SpotMaps, box: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = box
    length = round_length((x1 - x0) / 4)
    y = y1 - 0.03 * (y1 - y0)
    left = x0 + 0.03 * (x1 - x0)
    ax.plot([left, left + length], [y, y], color="black", linewidth=2, solid_capstyle="butt")
    said = said_length(length, maps.geometry.unit)
    ax.text(left + length + 0.02 * (x1 - x0), y, said, va="center")


def draw_genes(of_genes: pd.DataFrame, ceiling: pd.DataFrame | None, unit: str) -> str:
    """Draw r of each gene against r given depth, and against mean expression."""
    with drawn_as_ours():
        page, (axes,) = _page(1, 2, (_INCH, 0.85 * _INCH))
        r, mean = (of_genes[name].to_numpy(np.float64) for name in ("r", "mean"))
        left, right = axes
        given = of_genes["r given depth"].to_numpy(np.float64)
        left.axline((0, 0), slope=1, color=_GREY, linewidth=0.8, linestyle="--")
        left.scatter(r, given, s=12, color=_BLUE, alpha=0.6, linewidths=0)
        left.set(xlabel="r over hidden spots (no unit)", ylabel="r given depth (no unit)")
        left.set_title(f"{len(r)} genes; dashed: as if depth made no difference", loc="left")
        for ax in axes:
            ax.axhline(0, color=_GREY, linewidth=0.6)
        if ceiling is not None:
            best = ceiling["r"].reindex(of_genes.index)
            right.scatter(mean, best, s=12, color="0.7", linewidths=0, label="noise ceiling")
        right.scatter(mean, r, s=12, color=_BLUE, alpha=0.6, linewidths=0, label="predicted")
        right.legend(frameon=False, loc="lower right")
        right.set(xlabel=f"mean that was measured [{unit}]", ylabel="r over hidden spots (no unit)")
        right.set_title("r against expression", loc="left")
        return _svg(page)


def draw_calibration(maps: Sequence[SpotMaps], unit: str) -> str:
    """Draw what was measured in bins of what was predicted, of all genes, and about their means."""
    with drawn_as_ours():
        page, (axes,) = _page(1, 2, (_INCH, 0.8 * _INCH))
        pairs = [
            (one.predicted.astype(np.float64), one.measured.astype(np.float64)) for one in maps
        ]
        about = [tuple(v - v.mean(axis=0) for v in pair) for pair in pairs]
        words = (
            ("all genes together", f"[{unit}]"),
            ("each about its gene's mean in the section", f"less the gene's mean [{unit}]"),
        )
        for ax, of, (title, what) in zip(axes, (pairs, about), words, strict=True):
            predicted, measured = (np.concatenate([one[n].ravel() for one in of]) for n in (0, 1))
            at, mean, low, high = _in_bins(predicted, measured)
            ax.fill_between(at, low, high, color=_BLUE, alpha=0.15, linewidth=0)
            ax.plot(at, mean, "o-", color=_BLUE, markersize=3, linewidth=1)
            ax.axline((float(at.mean()),) * 2, slope=1, color=_GREY, linewidth=0.8, linestyle="--")
            ax.set(xlabel=f"predicted {what}", ylabel=f"measured {what}")
            ax.set_title(f"Calibration, {title}", loc="left")
        return _svg(page)


def _in_bins(
    predicted: NDArray[np.float64], measured: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Return means of both in bins of equally many, and the quartiles of what was measured."""
    order = np.argsort(predicted, kind="stable")
    bins = np.array_split(order, max(min(_BINS, len(order) // _LEAST_IN_BIN), 1))
    rows = [
        (predicted[one].mean(), measured[one].mean(), *np.percentile(measured[one], (25, 75)))
        for one in bins
    ]
    return tuple(np.array(rows).T)


def draw_seeds(found: Evaluation, measure: str) -> str:
    """Draw a measure of each thing that was scored: a point for each seed and part."""
    whats = [one.what for one in found.summaries if measure in one.mean]
    with drawn_as_ours():
        page, ((ax,),) = _page(1, 1, (2 * _INCH + 1.2, 0.32 * len(whats) + 0.7))
        for n, what in enumerate(whats):
            values = [s.values[measure] for s in found if s.what == what and measure in s.values]
            ax.scatter(values, np.full(len(values), n), s=18, color=_BLUE, alpha=0.6, linewidths=0)
        ax.set(yticks=range(len(whats)), yticklabels=whats, xlabel=f"{measure} (no unit)")
        ax.set_ylim(len(whats) - 0.5, -0.5)
        ax.set_title("A point for each seed and each thing hidden", loc="left")
        return _svg(page)


def _page(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Figure, Any]:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["font.size"] = _TEXT_PT
    page = Figure(
        figsize=(columns * inches[0] + 0.4, rows * inches[1]), facecolor="white", dpi=_DPI,
        layout="constrained",
    )  # fmt: skip
    axes = page.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    return page, axes


def _svg(page: Figure) -> str:
    """Write a picture as an element that a page can hold."""
    file = io.StringIO()
    page.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
