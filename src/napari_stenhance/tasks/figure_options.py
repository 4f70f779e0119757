"""The options of a figure, and what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.scoring.metrics import RELIABLE_R
from napari_stenhance.section.formats.format import shares_stem
from napari_stenhance.tasks.options import Help, Options

if TYPE_CHECKING:
    from napari_stenhance.section.slide import Box

PANELS = {
    "he": "the slide",
    "measured": "a gene at the spots",
    "predicted": "its image",
    "uncertainty": "how far the ensemble is apart about it",
    "domains": "the newest domains",
    "together": "up to four genes at once, each in a colour of its own",
}
"""What a panel can show, and what that is."""
OF_A_GENE = ("measured", "predicted", "uncertainty")
SUFFIXES = (".png", ".svg", ".pdf")
_DPI_MOST, _WIDTH_LEAST_MM, _WIDTH_MOST_MM = 1200, 20.0, 1000.0
_CORNERS = 4


@dataclass(frozen=True)
class FigureOptions(Options):
    """Options of `figure`."""

    result: Annotated[Path, Help("The result that is drawn.", positional=True, takes=("Result",))]
    out: Annotated[
        Path, Help("The file: .png, .svg or .pdf, as its name says; nothing is overwritten.")
    ]
    genes: Annotated[
        tuple[str, ...],
        Help(
            "Genes, names with commas, each a row of panels; or a sum, as A + B - C; by default "
            "the one that was predicted best."
        ),
    ] = ()
    panels: Annotated[
        tuple[str, ...],
        Help(
            "What the panels show, from left to right, with commas: he, measured, predicted, "
            "uncertainty, domains, together; by default measured and predicted, as far as they are "
            "there."
        ),
    ] = ()
    run: Annotated[
        str, Help("Whose genes, or domains; by default the newest of the whole slide.")
    ] = ""
    box: Annotated[
        str,
        Help(
            "Draw only this part, from corner to corner: X0,Y0,X1,Y1; by default all tissue.",
            unit="µm",
        ),
    ] = ""
    outlines: Annotated[
        Path | None,
        Help("Draw the outlines of these polygons (GeoJSON).", unit="µm", takes=("Region",)),
    ] = None
    limits: Annotated[
        tuple[str, ...],
        Help(
            "What the first and the last colour of a gene stand for: LOW,HIGH, once for all genes "
            "or once for each; by default the 1st and 99th percentile of its image over the tissue."
        ),
    ] = ()
    colormap: Annotated[str, Help("Colours of genes, by their name in matplotlib.")] = "magma"
    background: Annotated[
        Literal["white", "he"], Help("What lies under spots, images and domains.")
    ] = "white"
    reliable: Annotated[
        float,
        Help(
            "The least r given depth, on what was held out, of a gene that is not marked as "
            "unreliable."
        ),
    ] = RELIABLE_R
    dpi: Annotated[int, Help("Resolution of images.", unit="pixels per inch")] = 300
    width_mm: Annotated[float, Help("How wide the figure is.", unit="mm")] = 180.0


def check_figure(options: FigureOptions) -> None:
    """Refuse what no figure can be.

    Raises
    ------
    InputError
        Names the option.
    """
    from matplotlib import colormaps

    if options.out.suffix.lower() not in SUFFIXES:
        msg = f"{options.out}: a figure is a file that ends in {', '.join(SUFFIXES)}."
        raise InputError(msg, option="out")
    for spots in _spots_beside(options.out):
        msg = (
            f"{options.out}: beside {spots.name} it would be taken for the slide of these spots; "
            "choose another name, or another folder."
        )
        raise InputError(msg, option="out")
    if not 1 <= options.dpi <= _DPI_MOST:
        msg = f"{options.dpi} pixels per inch: choose 1 to {_DPI_MOST}."
        raise InputError(msg, option="dpi")
    if not _WIDTH_LEAST_MM <= options.width_mm <= _WIDTH_MOST_MM:
        msg = f"{options.width_mm:g} mm wide: choose {_WIDTH_LEAST_MM:g} to {_WIDTH_MOST_MM:g}."
        raise InputError(msg, option="width_mm")
    if options.colormap not in colormaps:
        msg = f"Colormap {options.colormap}: matplotlib has none of that name; viridis is one."
        raise InputError(msg, option="colormap")


def _spots_beside(out: Path) -> list[Path]:
    """List the tables beside a picture that are known to take it for their slide, by its name."""
    if out.suffix.lower() != ".png" or not out.parent.is_dir():
        return []
    tables = (one for one in out.parent.iterdir() if one.suffix.lower() in {".h5ad", ".zarr"})
    return [one for one in tables if shares_stem(out.name, one.stem)]


def panels_of(options: FigureOptions) -> tuple[str, ...]:
    """Return what the panels show; empty if nothing was said.

    Raises
    ------
    InputError
        If there is no such panel.
    """
    given = [one.strip().lower() for text in options.panels for one in text.split(",")]
    named = tuple("he" if one == "h&e" else one for one in given if one)
    for one in named:
        if one not in PANELS:
            listed = ", ".join(f"{name} ({what})" for name, what in PANELS.items())
            msg = f"Panel {one}: there is no such panel; there are {listed}."
            raise InputError(msg, option="panels")
    return named


def read_numbers(text: str, count: int, option: str) -> tuple[float, ...] | None:
    """Read numbers with commas; None of an empty text.

    Raises
    ------
    InputError
        If they are none, or others than so many that ascend.
    """
    if not text.strip():
        return None
    try:
        numbers = tuple(float(one) for one in text.split(","))
    except ValueError:
        numbers = ()
    half = count // 2
    ascending = all(low < high for low, high in zip(numbers, numbers[half:], strict=False))
    if len(numbers) != count or not ascending or not all(map(math.isfinite, numbers)):
        names = "X0,Y0,X1,Y1" if count == _CORNERS else "LOW,HIGH"
        msg = f"{option.capitalize()} {text}: write {names}, where the first is less than the last."
        raise InputError(msg, option=option)
    return numbers


def limits_in(texts: tuple[str, ...], genes: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Read the scales that were given for genes; of those that are not in it none was.

    Raises
    ------
    InputError
        If one is none, or they are others than one for all genes or one for each.
    """
    if len(texts) > 1 and len(texts) != len(genes):
        msg = f"{len(texts)} pairs of limits for {len(genes)} genes: give one for all, or one for "
        raise InputError(f"{msg}each.", option="limits")
    pairs = [read_numbers(text, 2, "limits") for text in texts]
    each = pairs * len(genes) if len(pairs) == 1 else pairs
    return {
        gene: (pair[0], pair[1])
        for gene, pair in zip(genes, each, strict=False)
        if pair is not None
    }


def box_in(text: str) -> Box | None:
    """Read a part of the section, in micrometres; None of an empty text."""
    numbers = read_numbers(text, _CORNERS, "box")
    if numbers is None:
        return None
    x0, y0, x1, y1 = numbers
    return x0, y0, x1, y1
