"""Panels laid out on a page, in millimetres, and written: with matplotlib, and no state of its."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.tasks.figure_options import FigureOptions
from napari_stenhance.tasks.figure_panels import FigurePanel, FigureSource, columns_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MM_IN_INCH, _PT_IN_MM = 25.4, 72 / 25.4
_EDGE_MM, _BESIDE_MM, _BELOW_MM = 2.0, 3.0, 6.0
_TEXT_PT, _SMALL_PT = 7.0, 6.0
_LINE_MM = 3.0
_LETTER_MM = 0.53 * _TEXT_PT / _PT_IN_MM
"""How wide a letter of DejaVu Sans is in the mean, at that size."""
_BAR_MM, _BAR_GAP_MM, _BAR_SPACE_MM = 2.5, 1.5, 16.0
_LEGEND_LEAST_MM, _LEGEND_MOST_MM = 16.0, 45.0
_PANEL_LEAST_MM = 8.0
_MANY = 5000
"""Spots beyond which a file of vectors would be slow to open: they are drawn as pixels."""
_PIXELS_MOST = 200_000_000
_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": _TEXT_PT,
    "axes.linewidth": 0.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "napari-stenhance",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
"""Text stays text in SVG and PDF, also a name with a $; a file has the same bytes each time."""
_UNDATED = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


@dataclass(frozen=True)
class _Layout:
    """Where panels lie on the page, in millimetres from its lower left corner."""

    width: float
    height: float
    panel: tuple[float, float]
    beside: tuple[float, ...]
    """Room for the legends of each column."""
    step: float
    """From row to row."""
    top: float

    def place(self, row: int, column: int) -> tuple[float, float]:
        """Return the lower left corner of a panel."""
        before = sum(self.beside[:column]) + column * (self.panel[0] + _BESIDE_MM)
        return _EDGE_MM + before, self.height - self.top - row * self.step - self.panel[1]

    def inside(self, x: float, y: float, width: float, height: float) -> Any:
        """Return a rectangle as matplotlib takes it: in parts of the page."""
        return x / self.width, y / self.height, width / self.width, height / self.height


@contextmanager
def drawn_as_ours() -> Iterator[None]:
    """Draw as everywhere, whatever a user's matplotlibrc says."""
    import matplotlib

    settings: Any = dict(matplotlib.rcParamsDefault.items())
    # Which backend a window is drawn by is not ours.
    settings = {key: value for key, value in settings.items() if "backend" not in key}
    with matplotlib.rc_context(settings | _SETTINGS):
        yield


def draw_page(
    rows: Sequence[Sequence[FigurePanel | None]], source: FigureSource, options: FigureOptions
) -> Figure:
    """Lay panels out on a page.

    Parameters
    ----------
    rows : sequence of rows of FigurePanel or None
        One row for each gene; None leaves a place empty.
    source : FigureSource
    options : FigureOptions

    Raises
    ------
    InputError
        If the panels do not fit in the width, or the page has too many pixels.
    """
    from matplotlib.figure import Figure

    columns = columns_of(len(source.kinds), len(rows))
    if len(rows) == 1 and columns < len(rows[0]):
        rows = [rows[0][n : n + columns] for n in range(0, len(rows[0]), columns)]
    footer = _footer(source, options)
    layout = _lay_out(rows, columns, source, options, len(footer))
    inches = layout.width / _MM_IN_INCH, layout.height / _MM_IN_INCH
    if inches[0] * inches[1] * options.dpi**2 > _PIXELS_MOST:
        msg = f"{options.dpi} pixels per inch on {options.width_mm:g} mm: the figure would have "
        msg += f"more than {_PIXELS_MOST // 10**6} million pixels; choose less of one of them."
        raise InputError(msg, option="dpi")
    with drawn_as_ours():
        page = Figure(figsize=inches, dpi=options.dpi, facecolor="white")
        for r, row in enumerate(rows):
            for c, panel in enumerate(row):
                if panel is not None:
                    title = _wrapped(panel.title, layout.panel[0] + layout.beside[c])
                    _draw(page, panel, title, layout, layout.place(r, c), source)
        for n, line in enumerate(reversed(footer)):
            y = (_EDGE_MM + n * _LINE_MM) / layout.height
            page.text(_EDGE_MM / layout.width, y, line, fontsize=_SMALL_PT, color="0.3")
    return page


def save_page(page: Figure, path: Path, suffix: str, dpi: int) -> None:
    """Write a page as its suffix says."""
    with drawn_as_ours():
        page.savefig(path, format=suffix[1:], dpi=dpi, metadata=_UNDATED[suffix])


def _lay_out(
    rows: Sequence[Sequence[FigurePanel | None]],
    columns: int,
    source: FigureSource,
    options: FigureOptions,
    footer: int,
) -> _Layout:
    places = [(c, panel) for row in rows for c, panel in enumerate(row) if panel is not None]
    beside = tuple(max(_beside_mm(p) for c, p in places if c == n) for n in range(columns))
    between = (columns - 1) * _BESIDE_MM
    panel_width = (options.width_mm - 2 * _EDGE_MM - between - sum(beside)) / columns
    if panel_width < _PANEL_LEAST_MM:
        msg = f"{options.width_mm:g} mm are too narrow for {columns} panels beside each other and "
        msg += "their legends; make the figure wider, or draw fewer."
        raise InputError(msg, option="width_mm")
    x0, y0, x1, y1 = source.box
    panel_height = panel_width * (y1 - y0) / (x1 - x0)
    titles = max(len(_wrapped(panel.title, panel_width + beside[c])) for c, panel in places)
    above = titles * _LINE_MM + 1
    step = above + panel_height + _BELOW_MM
    height = 2 * _EDGE_MM + len(rows) * step + footer * _LINE_MM
    size = panel_width, panel_height
    return _Layout(options.width_mm, height, size, beside, step, _EDGE_MM + above)


def _beside_mm(panel: FigurePanel) -> float:
    """Return how much room the legend of a panel takes."""
    if panel.limits is not None:
        return _BAR_SPACE_MM
    if not panel.legend:
        return 0.0
    longest = max(len(name) for _, name in panel.legend) + 1
    room = _BAR_MM + 2 * _BAR_GAP_MM + longest * _LETTER_MM * _SMALL_PT / _TEXT_PT
    return min(max(room, _LEGEND_LEAST_MM), _LEGEND_MOST_MM)


def _wrapped(text: str, width_mm: float) -> list[str]:
    return textwrap.wrap(text, max(int(width_mm / _LETTER_MM), 8)) or [""]


def _footer(source: FigureSource, options: FigureOptions) -> list[str]:
    """Say what all of it is of, and how far it can be trusted."""
    run, said = source.run, []
    of = source.result.name
    predicted = run is not None and {"predicted", "uncertainty", "together"} & set(source.kinds)
    if run is not None and predicted:
        said.append(f"{of}, {run.name}.")
        said += [_ended(run.trust(gene)) for gene in source.genes]
    else:
        said.append(f"{of}.")
    return textwrap.wrap(
        " ".join(said), int((options.width_mm - 2 * _EDGE_MM) / (_LETTER_MM * _SMALL_PT / _TEXT_PT))
    )


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith(".") else f"{sentence}."


# One panel


def _draw(
    page: Figure,
    panel: FigurePanel,
    title: Sequence[str],
    layout: _Layout,
    corner: tuple[float, float],
    source: FigureSource,
) -> None:
    (x, y), (width, height) = corner, layout.panel
    axes = page.add_axes(layout.inside(x, y, width, height))
    x0, y0, x1, y1 = source.box
    axes.set(xlim=(x0, x1), ylim=(y1, y0), xticks=(), yticks=(), facecolor="white")
    for image, opacity in ((panel.under, 1.0), (panel.image, panel.opacity)):
        if image is not None:
            left, top, right, bottom = image.box
            shown: dict[str, Any] = {}
            if panel.limits is not None and image is panel.image:
                low, high = panel.limits
                shown = {"cmap": panel.colormap, "vmin": low, "vmax": high}
            axes.imshow(
                image.values,
                extent=(left, right, bottom, top),
                interpolation="nearest",
                alpha=opacity,
                aspect="auto",
                **shown,
            )
    axes.set(xlim=(x0, x1), ylim=(y1, y0))
    if panel.spots is not None:
        _draw_spots(axes, panel)
    if source.outlines is not None:
        _draw_outlines(axes, source)
    for n, line in enumerate(reversed(title)):
        at = (y + height + 1 + n * _LINE_MM) / layout.height
        page.text(x / layout.width, at, line, fontsize=_TEXT_PT)
    _draw_scale_bar(page, layout, corner, source)
    if panel.limits is not None:
        _draw_bar(page, panel, layout, corner)
    elif panel.legend:
        _draw_legend(page, panel, layout, corner)


def _draw_spots(axes: Axes, panel: FigurePanel) -> None:
    """Draw spots at their true size, in the colours of the bar."""
    from matplotlib import colormaps
    from matplotlib.collections import EllipseCollection, PolyCollection

    spots, limits = panel.spots, panel.limits
    assert spots is not None
    assert limits is not None
    share = np.clip((spots.values - limits[0]) / (limits[1] - limits[0]), 0, 1)
    colours = colormaps[panel.colormap](share)
    colours[:, 3] = panel.opacity
    look: dict[str, Any] = {
        "facecolors": colours,
        "linewidths": 0,
        "rasterized": len(spots.xy) > _MANY,
    }
    size = spots.diameter or _nearest(spots.xy) / 2
    if spots.square:
        half = size / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        axes.add_collection(PolyCollection(list(spots.xy[:, None, :] + half), **look))
        return
    sizes = np.full(len(spots.xy), size)
    axes.add_collection(
        EllipseCollection(
            sizes,
            sizes,
            np.zeros(len(sizes)),
            units="xy",
            offsets=spots.xy,
            offset_transform=axes.transData,
            **look,
        )
    )


def _nearest(xy: NDArray[np.float64]) -> float:
    from napari_stenhance.section.spots import nearest_distance

    return nearest_distance(xy)


def _draw_outlines(axes: Axes, source: FigureSource) -> None:
    """Draw the outlines of polygons: white below black, to be seen on everything."""
    import shapely
    from matplotlib.collections import LineCollection

    assert source.outlines is not None
    lines = shapely.get_parts(shapely.boundary(source.outlines.area))
    paths = [shapely.get_coordinates(line) for line in lines]
    for width, colour in ((1.6, "white"), (0.8, "black")):
        axes.add_collection(LineCollection(paths, colors=colour, linewidths=width))


def _draw_scale_bar(
    page: Figure, layout: _Layout, corner: tuple[float, float], source: FigureSource
) -> None:
    """Draw a bar of a round length below the panel, about a quarter of it long."""
    x0, _, x1, _ = source.box
    length = round_length((x1 - x0) / 4)
    x, y = corner
    mm = length / (x1 - x0) * layout.panel[0]
    axes = page.add_axes(layout.inside(x, y - 2.0, mm, 0.6))
    axes.set(xticks=(), yticks=(), facecolor="black")
    page.text(
        (x + mm + 1) / layout.width, (y - 2.0 - 0.5) / layout.height,
        said_length(length, source.unit), fontsize=_SMALL_PT,
    )  # fmt: skip


def round_length(most: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20 … that is no longer."""
    power = 10.0 ** np.floor(np.log10(most))
    return float(max(step * power for step in (1, 2, 5) if step * power <= most))


def said_length(length: float, unit: str) -> str:
    """Write a length as the label of a scale bar, in µm, mm, or pixels."""
    if unit == "pixel":
        return f"{length:g} px"
    thousand = 1000
    return f"{length / thousand:g} mm" if length >= thousand else f"{length:g} µm"


def _draw_bar(
    page: Figure, panel: FigurePanel, layout: _Layout, corner: tuple[float, float]
) -> None:
    """Draw the colours of a gene with their values; arrows say that there are values beyond."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    assert panel.limits is not None
    (x, y), (width, height) = corner, layout.panel
    place = layout.inside(x + width + _BAR_GAP_MM, y, _BAR_MM, height)
    axes = page.add_axes(place)
    shown = ScalarMappable(Normalize(*panel.limits), panel.colormap)
    bar = page.colorbar(shown, cax=axes, extend="both", alpha=panel.opacity)
    bar.ax.tick_params(labelsize=_SMALL_PT, length=2, width=0.5, pad=1)
    bar.set_label(panel.unit, fontsize=_SMALL_PT, labelpad=2)


def _draw_legend(
    page: Figure, panel: FigurePanel, layout: _Layout, corner: tuple[float, float]
) -> None:
    """Draw what each colour stands for."""
    from matplotlib.patches import Rectangle

    (x, y), (width, height) = corner, layout.panel
    left = x + width + _BAR_GAP_MM
    room = _beside_mm(panel) - _BAR_MM - 2 * _BAR_GAP_MM
    letters = max(int(room / (_LETTER_MM * _SMALL_PT / _TEXT_PT)), 4)
    at = y + height
    for colour, name in panel.legend:
        lines = textwrap.wrap(name, letters) or [""]
        at -= _LINE_MM
        page.add_artist(
            Rectangle(
                (left / layout.width, at / layout.height),
                _BAR_MM / layout.width,
                (_LINE_MM - 0.6) / layout.height,
                transform=page.transFigure,
                facecolor=colour,
                edgecolor="black",
                linewidth=0.3,
            )
        )
        for n, line in enumerate(lines):
            at -= _LINE_MM if n else 0
            place = (left + _BAR_MM + _BAR_GAP_MM) / layout.width, (at + 0.4) / layout.height
            page.text(*place, line, fontsize=_SMALL_PT)
