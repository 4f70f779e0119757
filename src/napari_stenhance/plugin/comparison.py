"""One gene twice, side by side on one scale: measured and predicted, two runs, or two sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.colours import TOTAL, Colours
from napari_stenhance.plugin.genes import gene_title
from napari_stenhance.plugin.images import image_layer, run_title
from napari_stenhance.plugin.layer_info import (
    LayerData,
    LayerInfo,
    Place,
    Role,
    layers_of,
    pixel_space,
)
from napari_stenhance.plugin.levels import slide_levels
from napari_stenhance.plugin.places import open_places
from napari_stenhance.plugin.section_runs import runs_of, section_at
from napari_stenhance.plugin.spots import points_layer, raster_layer
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.predictions import at_spots
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.results.scale import gene_limits, limits, said_ends, sampled_level
from napari_stenhance.storage.levels import Levels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.colormaps import Colormap

    from napari_stenhance.plugin.bins import BinRaster
    from napari_stenhance.plugin.cells import CellRaster
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section

COMPARED = "stenhance_compared"
"""In the metadata of layers that are there only while something is compared."""
_SIDE = Role("compared", 0, covers=False)
_DIVERGING = ((0.13, 0.4, 0.95, 1.0), (0.97, 0.97, 0.97, 1.0), (0.9, 0.15, 0.15, 1.0))
_DRAWN = 4000
"""Superpixels of two runs that a chart shows."""
_FAR = 95
"""The percentile of what both are apart by, from which on the difference has its last colour."""
_ON_SLIDE = 2


@dataclass(frozen=True, eq=False)
class ComparedSide:
    """What can be seen on one side.

    Attributes
    ----------
    title : str
    place : Place
    section : Section or None
    run : GeneSource or None
        None for what the spots measured.
    colours : Colours or None
        Of the spots.
    raster : BinRaster, CellRaster or None
        Of bins and cells that are an image.
    """

    title: str
    place: Place
    section: Section | None
    run: GeneSource | None = None
    colours: Colours | None = None
    raster: BinRaster | CellRaster | None = None

    @property
    def unit(self) -> str:
        """Unit of its values."""
        return self.run.unit if self.run is not None else _colours(self).unit

    def has(self, gene: str) -> bool:
        """Tell whether it can show a gene."""
        return gene in self.run.names if self.run is not None else gene in _colours(self)

    def is_same(self, other: ComparedSide | None) -> bool:
        """Tell whether another shows the same."""
        if other is None or self.place is not other.place:
            return False
        keys = [None if one.run is None else one.run.key for one in (self, other)]
        return keys[0] == keys[1]

    def said(self, gene: str, least_r: float, place: str = "") -> str:
        """Say what is seen, and where, if that is to be told."""
        if self.run is None:
            title, run = _colours(self).said(gene), ""
        else:
            reliability = self.run.reliability(gene, least_r)
            title = gene_title(self.run, gene, "expression", reliability, over=False)
            run = run_title(self.run)
        # Views are narrow: that in which they differ comes early.
        what, _, unit = title.partition(", ")
        return f"{' · '.join(filter(None, (what, run, place)))}, {unit}"

    def scale(self, gene: str) -> tuple[float, float]:
        """Return the scale that it has by itself."""
        if self.run is not None:
            return gene_limits(self.run, gene)
        values = _colours(self).values(gene)
        return limits(values[np.isfinite(values)])


def _colours(side: ComparedSide) -> Colours:
    assert side.colours is not None
    return side.colours


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was read of a comparison.

    Attributes
    ----------
    left, right : ComparedSide
    gene : str
    limits : tuple of float
        Of both.
    x, y : ndarray of float32, shape (n,)
        Their values at the same places; empty where there are none.
    r : float
        Pearson's, of these.
    of : str
        What these places are.
    difference : ndarray, Levels or None
        Left less right: at the spots, or as an image; None where places differ.
    far : float
        The value of the last colour of the difference; minus that is the first.
    """

    left: ComparedSide
    right: ComparedSide
    gene: str
    limits: tuple[float, float]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    r: float
    of: str
    difference: NDArray[np.float32] | Levels | None
    far: float

    @classmethod
    def read(cls, left: ComparedSide, right: ComparedSide, gene: str, job: Job) -> Comparison:
        """Read both sides; a thread does.

        Raises
        ------
        InputError
            If one does not have the gene, they are the same, or in different units.
        """
        _check(left, right, gene)
        with job.stage("Comparing", 1) as stage:
            scales = [side.scale(gene) for side in (left, right)]
            # What was predicted has the scale that it has everywhere, and spots follow it.
            ruled = [s for side, s in zip((left, right), scales, strict=True) if side.run]
            low, high = zip(*(ruled or scales), strict=True)
            x, y, of, difference = _paired(left, right, gene)
            known = np.isfinite(x) & np.isfinite(y)
            x, y = x[known], y[known]
            stage.advance()
        varies = len(x) > 1 and min(np.ptp(x), np.ptp(y)) > 0
        r = float(np.corrcoef(x, y)[0, 1]) if varies else float("nan")
        far = float(np.percentile(np.abs(x - y), _FAR)) if len(x) else 1.0
        both = min(low), max(high)
        return cls(left, right, gene, both, x, y, r, of, difference, far or 1.0)

    @property
    def said(self) -> str:
        """Say how alike both are."""
        if not len(self.x):
            return self.of
        known = "r is not known" if np.isnan(self.r) else f"r = {self.r:.2f}"
        return f"{known} over {self.of}"


def sides_of(viewer: ViewerModel, place: Place | None) -> list[ComparedSide]:
    """List what can be compared: of the section that is looked at first, then of others."""
    places = open_places(viewer)
    if place in places:
        places = [place, *(one for one in places if one is not place)]
    found = []
    for one in places:
        section, named = section_at(viewer, one), f" · {one.name}" if len(places) > 1 else ""
        for _, info in layers_of(viewer, "spots"):
            if info.place is one and info.colours is not None:
                title = f"measured{named}"
                found.append(ComparedSide(title, one, section, None, info.colours, info.raster))
        runs = (run for run in runs_of(viewer, one) if isinstance(run, GeneSource))
        found += [ComparedSide(f"{run_title(run)}{named}", one, section, run) for run in runs]
    return found


def _check(left: ComparedSide, right: ComparedSide, gene: str) -> None:
    if left.is_same(right):
        msg = f"{left.title}: it is on both sides; choose another for one of them."
        raise InputError(msg)
    for side in (left, right):
        if not side.has(gene):
            msg = f"{gene}: not to be had of {side.title}; choose another gene."
            if gene == TOTAL:
                msg = "Total counts are not compared; choose a gene in the panel Genes."
            raise InputError(msg)
    if left.unit != right.unit:
        msg = (
            f"{left.title} is in {left.unit}, {right.title} in {right.unit}: there is no scale on "
            "which both could be compared."
        )
        raise InputError(msg)


def _paired(
    left: ComparedSide, right: ComparedSide, gene: str
) -> tuple[NDArray[np.float32], NDArray[np.float32], str, Any]:
    """Return the values of both at the same places, what these are, and the difference."""
    nothing = np.zeros(0, np.float32)
    if left.place is not right.place:
        return nothing, nothing, "Two sections have no places in common.", None
    runs = [side.run for side in (left, right)]
    if runs[0] is not None and runs[1] is not None:
        return _paired_runs(runs[0], runs[1], gene)
    measured, predicted = (left, right) if runs[0] is None else (right, left)
    run, section = predicted.run, measured.section
    if run is None or section is None or not isinstance(run, FieldRun) or section.slide is None:
        return nothing, nothing, "What was imputed lies on the spots themselves.", None
    values = _colours(measured).values(gene)
    of_run = np.zeros(len(values), np.float32)
    for one, weight in run.names.find(gene).weights.items():
        table = at_spots(run.result, run.name, section, [one])
        of_run += np.float32(weight) * np.asarray(table.X, np.float32).ravel()
    seen = {one.get("spots_sha256") for one in run.identity["learned_from"]}
    learned = section.counts_sha256 in seen
    of = f"{len(values)} spots, {'which it learned from' if learned else 'which it did not see'}"
    x, y = (values, of_run) if measured is left else (of_run, values)
    return x, y, of, x - y


def _paired_runs(one: GeneSource, other: GeneSource, gene: str) -> Any:
    nothing = np.zeros(0, np.float32)
    first, second = one.levels(gene), other.levels(gene)
    if one.grid != other.grid or first.tile != second.tile:
        return nothing, nothing, "Their superpixels are not the same.", None
    level = sampled_level(first.shapes)
    x, y = (levels.part(level).ravel() for levels in (first, second))
    both = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    chosen = both[:: max(len(both) // _DRAWN, 1)]
    of = f"{len(chosen)} superpixels of {one.grid.scale_um(level):g} µm"

    def read(level: int, i: int, j: int) -> NDArray[np.float32]:
        return first.read(level, i, j) - second.read(level, i, j)

    return x[chosen], y[chosen], of, Levels(first.shapes, first.tile, read)


# Layers


def comparison_layers(
    comparison: Comparison,
    colormap: Colormap,
    least_r: float,
    *,
    difference: bool,
    shift: NDArray[np.float64],
) -> tuple[list[list[LayerData]], int]:
    """Make the layers of a comparison.

    Parameters
    ----------
    comparison : Comparison
    colormap : Colormap
    least_r : float
        Of a gene that is taken to be reliable.
    difference : bool
        Whether there is a view of it, where there is one.
    shift : ndarray of float64, shape (2,)
        By which the right lies elsewhere than in its own coordinates.

    Returns
    -------
    views : list of list of tuple
        Those of each view, from left to right, from the bottom up.
    number : int
        How many each has.
    """
    sides = [comparison.left, comparison.right]
    slides = [side.section.slide if side.section is not None else None for side in sides]
    under = all(slide is not None for slide in slides)
    views = []
    for side in sides:
        layer = side_layer(side, comparison, colormap, least_r)
        views.append([*([slide_under(side)] if under else []), layer])
    if difference and comparison.difference is not None:
        layer = _difference_layer(comparison)
        # White, where both are the same, would not be told from glass.
        hidden = [_hidden(slide_under(sides[0]))] if under else []
        views.append([*hidden, layer])
    at = np.array(comparison.left.place.origin)
    laid = [
        [_laid_at(layer, at + shift * (n == 1)) for layer in view] for n, view in enumerate(views)
    ]
    return laid, _ON_SLIDE if under else 1


def _laid_at(layer: LayerData, origin: NDArray[np.float64]) -> LayerData:
    """Lay a layer over the left section, whichever it is of: one camera sees all."""
    data, attributes, kind = layer
    translate = np.add(attributes.get("translate", (0.0, 0.0)), origin)
    return data, {**attributes, "translate": tuple(translate), "metadata": {COMPARED: True}}, kind


def why_little(viewer: ViewerModel, sides: Sequence[ComparedSide]) -> str:
    """Say why there is nothing to compare, or of which section little; empty if of none."""
    if not sides:
        return "There is nothing to compare: open a section with spots, or a result."
    if len(sides) == 1:
        return (
            f"There is only one side: {sides[0].title}. Predict its genes, or open a result or "
            "another section, to compare it with."
        )
    said = []
    for place in open_places(viewer):
        mine = [side for side in sides if side.place is place]
        if not mine:
            said.append(f"{place.name}: nothing was measured or predicted there, to be compared.")
        elif not any(side.run for side in mine) and any(side.run for side in sides):
            said.append(f"{place.name}: nothing is predicted there, only its spots are compared.")
    return "\n".join(said)


def _hidden(layer: LayerData) -> LayerData:
    return layer[0], {**layer[1], "visible": False}, layer[2]


def slide_under(side: ComparedSide) -> LayerData:
    """Make the layer of the slide that lies under a side, in coordinates of its section."""
    assert side.section is not None
    slide = side.section.need_slide()
    attributes = {"name": side.section.name, "rgb": True, "multiscale": True}
    return slide_levels(slide), {**attributes, **pixel_space(side.section.mpp)}, "image"


def side_layer(
    side: ComparedSide, comparison: Comparison, colormap: Colormap, least_r: float
) -> LayerData:
    """Make the layer of the gene on one side, in coordinates of its section."""
    gene, ends = comparison.gene, comparison.limits
    info = LayerInfo(_SIDE, side.place.name, gene=gene, colours=side.colours, raster=side.raster)
    apart = comparison.left.place is not comparison.right.place
    title = side.said(gene, least_r, side.place.name if apart else "")
    if side.run is not None:
        data, attributes, kind = image_layer(
            side.run.levels(gene), side.run.grid, title, info, "gray", visible=True, limits=ends
        )
        return data, {**attributes, "colormap": colormap}, kind
    assert side.section is not None
    said = f"{title}: {' – '.join(said_ends(ends))}"
    if side.raster is not None:
        data, attributes, kind = raster_layer(gene, said, side.section.mpp, info)
        return data, {**attributes, "contrast_limits": ends, "colormap": colormap}, kind
    return points_layer(
        side.section.need_spots().obsm["spatial"],
        said,
        side.section.geometry(),
        side.section.mpp,
        info,
        face_color=_colours(side).paint(gene, ends, colormap=colormap)[0],
    )


def _difference_layer(comparison: Comparison) -> LayerData:
    """Make the layer of left less right, white where both are the same."""
    from napari.utils.colormaps import Colormap

    left, right, far = comparison.left, comparison.right, comparison.far
    colours = Colormap(_DIVERGING, name="stenhance difference")
    what = f"{comparison.gene}: {left.title} − {right.title}, {left.unit}"
    low, high = said_ends((-far, far))
    info = LayerInfo(_SIDE, left.place.name, gene=comparison.gene)
    if isinstance(comparison.difference, Levels):
        run = left.run
        assert run is not None
        data, attributes, kind = image_layer(
            comparison.difference, run.grid, what, info, "gray", visible=True, limits=(-far, far)
        )
        return data, {**attributes, "colormap": colours, "opacity": 1.0}, kind
    side = left if left.run is None else right
    assert side.section is not None
    assert comparison.difference is not None
    share = np.clip((comparison.difference + far) / (2 * far), 0, 1)
    painted = np.asarray(colours.map(np.nan_to_num(share, nan=0.5)), np.float32)
    painted[~np.isfinite(share)] = 0
    return points_layer(
        side.section.need_spots().obsm["spatial"],
        f"{what}: {low} (blue) – {high} (red)",
        side.section.geometry(),
        side.section.mpp,
        info,
        face_color=painted,
    )
