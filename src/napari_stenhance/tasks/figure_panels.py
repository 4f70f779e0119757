"""What the panels of a figure show: read at the resolution that the print needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.results.domains import DomainRun, domain_run, domain_runs
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.gene_sums import GeneNames
from napari_stenhance.results.imputed import imputed_runs
from napari_stenhance.results.inputs import find_section
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import field_runs, gene_run
from napari_stenhance.results.scale import gene_limits, limits
from napari_stenhance.running.job import Job
from napari_stenhance.section.gene_names import aliases_in
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.named_regions import NamedRegions
from napari_stenhance.section.region import Region
from napari_stenhance.section.section import Section
from napari_stenhance.section.slide import Box
from napari_stenhance.section.spots import SpotGeometry, counts_of, log1p_cp10k
from napari_stenhance.storage.levels import Levels
from napari_stenhance.tasks.figure_options import (
    OF_A_GENE,
    FigureOptions,
    box_in,
    limits_in,
    panels_of,
)

UNCERTAINTY = "cividis"
_LOG = "log1p CP10k"
_MARGIN_UM = 100.0
_OPAQUE, _OVER_SLIDE, _WASHED = 1.0, 0.75, 0.25
_MM_IN_INCH = 25.4
_RGBA = 4


@dataclass(frozen=True)
class FigureImage:
    """Pixels that lie somewhere.

    Attributes
    ----------
    values : ndarray
        (y, x) in a unit, NaN where there is nothing; or (y, x, 3 or 4) uint8.
    box : tuple of float
        (x0, y0, x1, y1): the outer corners.
    """

    values: NDArray[Any]
    box: Box


@dataclass(frozen=True)
class FigureSpots:
    """Measured spots, at their true size.

    Attributes
    ----------
    xy : ndarray of float64, shape (n, 2)
    values : ndarray of float32, shape (n,)
    diameter : float
    square : bool
    """

    xy: NDArray[np.float64]
    values: NDArray[np.float32]
    diameter: float
    square: bool


@dataclass(frozen=True)
class FigurePanel:
    """What one panel shows, and what is said of it.

    Attributes
    ----------
    title : str
        What it is: of a gene, whether it was measured or predicted.
    image : FigureImage or None
    under : FigureImage or None
        The slide below it.
    spots : FigureSpots or None
    colormap : str
    limits : tuple of float, or None
        What the first and the last colour stand for; None where there is no bar.
    unit : str
    opacity : float
    legend : tuple of (str, str)
        Colours, and what they stand for.
    """

    title: str
    image: FigureImage | None = None
    under: FigureImage | None = None
    spots: FigureSpots | None = None
    colormap: str = ""
    limits: tuple[float, float] | None = None
    unit: str = ""
    opacity: float = _OPAQUE
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FigureSource:
    """What a figure is drawn from.

    Attributes
    ----------
    result : ResultFolder
    options : FigureOptions
    kinds : tuple of str
        Of the panels.
    run : GeneSource or None
        Whose genes are drawn.
    found : DomainRun or None
        Whose domains are.
    section : Section or None
        The slide and the measured spots, as far as they are found.
    genes : tuple of str
    box : tuple of float
        What part is drawn.
    unit : {"micrometer", "pixel"}
    outlines : Region or None
    """

    result: ResultFolder
    options: FigureOptions
    kinds: tuple[str, ...]
    run: GeneSource | None
    found: DomainRun | None
    section: Section | None
    genes: tuple[str, ...]
    box: Box
    unit: str
    outlines: Region | None

    @classmethod
    def from_result(cls, result: ResultFolder, options: FigureOptions, job: Job) -> FigureSource:
        """Find what is asked for.

        Raises
        ------
        InputError
            If it is not there.
        """
        named, chosen = panels_of(options), {run.name for run in domain_runs(result)}
        # Of domains alone, the run that is named is one of domains.
        of_domains = options.run in chosen
        found = (
            domain_run(result, options.run if of_domains else "") if "domains" in named else None
        )
        has_genes = bool(field_runs(result) or imputed_runs(result))
        needs_genes = not named or {"predicted", "uncertainty", "together"} & set(named)
        run = None
        if has_genes or needs_genes:
            run = gene_run(result, "" if of_domains else options.run)
        lookup = find_section(result, job)
        section = lookup.section
        kinds = named or _usual(run, section)
        for kind, missing in (
            ("he", section is None or section.slide is None),
            ("measured", section is None or section.spots is None),
        ):
            if kind in kinds and missing:
                what = "slide" if kind == "he" else "measured spots"
                msg = f"{result.path}: its {what} cannot be drawn. {' '.join(lookup.said)}".strip()
                raise InputError(msg, option="panels")
        genes = _genes(run, section, kinds, options)
        first = run or found
        grid = None if first is None else first.grid
        unit = "micrometer" if grid is None else grid.unit
        # Before anything is read.
        limits_in(options.limits, genes)
        box = box_in(options.box) or _whole(result, run, section, grid)
        scaled = grid or section
        outlines = _outlines(options.outlines, result, None if scaled is None else scaled.mpp, job)
        return cls(result, options, kinds, run, found, section, genes, box, unit, outlines)

    # Panels

    def rows(self, job: Job) -> list[list[FigurePanel | None]]:
        """Read what the panels show: a row for each gene; what is of no gene is in the first."""
        rows: list[list[FigurePanel | None]] = []
        genes = self.genes or ("",)
        if not set(self.kinds) & set(OF_A_GENE):
            genes = genes[:1]
        with job.stage("Reading what is drawn", len(genes) * len(self.kinds)) as stage:
            for n, gene in enumerate(genes):
                row: list[FigurePanel | None] = []
                for kind in self.kinds:
                    row.append(self._panel(kind, gene) if n == 0 or kind in OF_A_GENE else None)
                    stage.advance()
                rows.append(row)
        return rows

    @property
    def panel_mm(self) -> float:
        """How wide a panel can be at most: what is read is no coarser than it needs."""
        return self.options.width_mm / columns_of(len(self.kinds), len(self.genes))

    @property
    def pixel_um(self) -> float:
        """How wide a pixel of the print is in the section."""
        return (self.box[2] - self.box[0]) / (self.panel_mm / _MM_IN_INCH * self.options.dpi)

    def _panel(self, kind: str, gene: str) -> FigurePanel:
        if kind == "he":
            return FigurePanel(f"{self.result.name}, H&E", image=self._slide())
        under = self._slide() if self.options.background == "he" else None
        of_a_gene = {
            "measured": self._measured,
            "predicted": self._predicted,
            "uncertainty": self._uncertainty,
        }
        if kind in of_a_gene:
            panel = of_a_gene[kind](gene)
        else:
            panel = self._domains() if kind == "domains" else self._together()
        if under is None or kind == "together":
            return panel
        return replace(panel, under=under, opacity=min(panel.opacity, _OVER_SLIDE))

    def _slide(self) -> FigureImage | None:
        if self.section is None or self.section.slide is None:
            return None
        return FigureImage(self.section.slide.read(self.box, self.pixel_um), self.box)

    def _scale(self, gene: str) -> tuple[float, float]:
        """Return the one scale on which a gene is drawn."""
        chosen = limits_in(self.options.limits, self.genes).get(gene)
        if chosen is not None:
            return chosen
        if self.run is not None:
            return gene_limits(self.run, gene)
        return limits(self._spots(gene).values)

    def _washed(self, gene: str) -> bool:
        assert self.run is not None
        return self.run.reliability(gene, self.options.reliable) == "not reliable"

    def _predicted(self, gene: str) -> FigurePanel:
        run = self.run
        assert run is not None
        washed = self._washed(gene)
        doubt = ", not reliable" if washed else ""
        # An imputation is of the spots: its image shows each where it is the nearest.
        where = ", nearest spot" if run.kind == "imputed" else ""
        return FigurePanel(
            f"{run.names.label(gene)} {run.origin(gene)}{where}{doubt}",
            image=self._raster(run.levels(gene), run.grid),
            colormap=self.options.colormap,
            limits=self._scale(gene),
            unit=run.unit,
            opacity=_WASHED if washed else _OPAQUE,
        )

    def _uncertainty(self, gene: str) -> FigurePanel:
        run = self.run
        assert run is not None
        doubt = ", not reliable" if self._washed(gene) else ""
        of = f"{run.names.label(gene)} {run.origin(gene)}{doubt}"
        return FigurePanel(
            f"uncertainty of {of} (sd of the ensemble)",
            image=self._raster(run.levels(gene, "spread"), run.grid),
            colormap=UNCERTAINTY,
            limits=gene_limits(run, gene, "spread"),
            unit=run.unit,
            opacity=_WASHED if doubt else _OPAQUE,
        )

    def _measured(self, gene: str) -> FigurePanel:
        spots = self._spots(gene)
        shared = self.run is None or self.run.unit == _LOG
        label = self._measured_names().label(gene)
        return FigurePanel(
            f"{label} measured",
            spots=spots,
            colormap=self.options.colormap,
            limits=self._scale(gene) if shared else limits(spots.values),
            unit=_LOG,
        )

    def _domains(self) -> FigurePanel:
        assert self.found is not None
        grid, arrays = self.found.grid, self.found.levels
        colours = np.zeros((256, _RGBA), np.uint8)
        shown = [one for one in self.found.domains if not one.hidden]
        for one in shown:
            parts = [int(one.colour[n : n + 2], 16) for n in (1, 3, 5)]
            colours[one.value] = (*parts, 255)
        level = self._level([array.shape for array in arrays], grid)
        rows, columns, box = self._window(arrays[level].shape, grid, level)
        labels = np.asarray(arrays[level][rows, columns])
        spots = self.found.attributes["spots"] is not None
        of = "nearest spot" if spots else "superpixels"
        return FigurePanel(
            f"domains, {self.found.name}, of the {of}",
            image=FigureImage(colours[labels], box),
            legend=tuple((one.colour, one.name) for one in shown),
        )

    def _together(self) -> FigurePanel:
        from napari_stenhance.results.channels import choose_channels, in_balance

        run = self.run
        assert run is not None
        channels = in_balance(
            replace(
                one,
                limits=self._scale(one.gene),
                doubtful=self._washed(one.gene),
            )
            for one in choose_channels(self.genes)
        )
        total, legend = None, []
        for one in channels:
            image = self._raster(run.levels(one.gene), run.grid)
            low, high = one.limits
            share = np.clip((image.values - low) / (high - low), 0, 1)
            lit = share[..., None] * np.array(one.rgb)
            total = lit if total is None else total + lit
            legend.append((_hex(one.rgb), one.said(run)))
        assert total is not None
        pixels = np.full((*total.shape[:2], _RGBA), 255, np.uint8)
        inside = np.isfinite(total[..., 0])
        pixels[inside, :3] = np.clip(total[inside] * 255, 0, 255)
        # Outside there is nothing, and not black, which is a low value.
        pixels[~inside, 3] = 0
        origins = " or ".join(dict.fromkeys(run.origin(one.gene) for one in channels))
        return FigurePanel(
            f"{origins}, {run.unit}", image=FigureImage(pixels, image.box), legend=tuple(legend)
        )

    # What is read

    def _level(self, shapes: Sequence[tuple[int, ...]], grid: Grid) -> int:
        """Choose the coarsest level whose pixels are no wider than those of the print."""
        fits = [n for n in range(len(shapes)) if grid.scale_um(n) <= self.pixel_um]
        return max(fits, default=0)

    def _window(self, shape: tuple[int, ...], grid: Grid, level: int) -> tuple[slice, slice, Box]:
        """Find the rows and columns of a level that the box meets, and what these cover."""
        at_level = replace(grid, pitch_um=grid.scale_um(level), shape=(shape[0], shape[1]))
        x0, y0, x1, y1 = self.box
        (top, left), (bottom, right) = at_level.position(np.array([[x0, y0], [x1, y1]])) + 0.5
        rows, columns = (
            slice(max(int(np.floor(low)), 0), min(int(np.ceil(high)), size))
            for low, high, size in ((top, bottom, shape[0]), (left, right, shape[1]))
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            msg = f"Box {self.options.box}: nothing of the result lies there."
            raise InputError(msg, option="box")
        return rows, columns, at_level.box_um(rows, columns)

    def _raster(self, levels: Levels, grid: Grid) -> FigureImage:
        level = self._level(levels.shapes, grid)
        rows, columns, box = self._window(levels.shapes[level], grid, level)
        return FigureImage(levels.part(level, rows, columns), box)

    def _measured_names(self) -> GeneNames:
        assert self.section is not None
        spots = self.section.need_spots()
        return GeneNames(tuple(map(str, spots.var_names)), aliases_in(spots.var))

    def _spots(self, gene: str) -> FigureSpots:
        assert self.section is not None
        spots, names = self.section.need_spots(), self._measured_names()
        if gene not in names:
            msg = f"{gene}: the spots of {self.section.name} did not measure it."
            raise InputError(msg, option="genes")
        weights = names.find(gene).weights
        counts = counts_of(spots, tuple(weights))
        library = np.asarray(spots.X.sum(axis=1), np.float64).ravel()
        logs = log1p_cp10k(counts, library)
        values = np.asarray(logs @ np.array(list(weights.values())), np.float32).ravel()
        xy, _ = self.section.positions()
        geometry: SpotGeometry = self.section.geometry()
        in_um = geometry.unit == "micrometer" and self.section.mpp is None
        # Spots may state their size where nobody knows the scale: then they are points.
        diameter = 0.0 if in_um else geometry.spot_diameter_um
        return FigureSpots(xy, values, diameter, geometry.spot_shape == "square")


def columns_of(kinds: int, genes: int) -> int:
    """Return how many panels lie beside each other: of one gene they may be in several rows."""
    one_row = 3
    if genes > 1 or kinds <= one_row:
        return kinds
    return int(np.ceil(np.sqrt(kinds)))


def _outlines(
    given: Path | Region | None, result: ResultFolder, mpp: float | None, job: Job
) -> Region | None:
    if given is None or isinstance(given, Region):
        return given
    of = result.attributes.get("slide")
    regions = NamedRegions.read(given, mpp, None if of is None else tuple(of["shape"]))
    for doubt in regions.doubts:
        job.note(doubt)
    return regions.united()


def _usual(run: GeneSource | None, section: Section | None) -> tuple[str, ...]:
    measured = ("measured",) if section is not None and section.spots is not None else ()
    return (*measured, *(("predicted",) if run is not None else ()))


def _genes(
    run: GeneSource | None,
    section: Section | None,
    kinds: tuple[str, ...],
    options: FigureOptions,
) -> tuple[str, ...]:
    """Resolve the genes that are drawn."""
    if not {*OF_A_GENE, "together"} & set(kinds):
        return ()
    if run is not None:
        return run.named(options.genes) if options.genes else (run.shown_first,)
    assert section is not None
    if not options.genes:
        msg = "Name the genes: the result predicts none that could be chosen."
        raise InputError(msg, option="genes")
    from napari_stenhance.methods.genes import EVERYWHERE, named_genes

    spots = section.need_spots()
    measured = tuple(map(str, spots.var_names))
    return named_genes(options.genes, measured, EVERYWHERE, aliases=aliases_in(spots.var))


def _whole(
    result: ResultFolder, run: GeneSource | None, section: Section | None, grid: Grid | None
) -> Box:
    """Return the box around all tissue that is predicted or measured, with a margin."""
    boxes: list[Box] = []
    if run is not None and run.kind == "fields":
        inside = np.argwhere(result.tissue(run.name))
        if len(inside):
            low, high = inside.min(axis=0), inside.max(axis=0) + 1
            rows, columns = slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))
            boxes.append(run.grid.box_um(rows, columns))
    if section is not None and section.spots is not None:
        xy, pitch = section.positions()
        (x0, y0), (x1, y1) = xy.min(axis=0) - pitch, xy.max(axis=0) + pitch
        boxes.append((float(x0), float(y0), float(x1), float(y1)))
    if not boxes and grid is not None:
        boxes.append(grid.box_um(slice(0, grid.shape[0]), slice(0, grid.shape[1])))
    if not boxes:
        assert section is not None
        return section.need_slide().extent_um()
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    whole = min(x0) - _MARGIN_UM, min(y0) - _MARGIN_UM, max(x1) + _MARGIN_UM, max(y1) + _MARGIN_UM
    if section is None or section.slide is None:
        return whole
    left, top, right, bottom = section.slide.extent_um()
    return max(whole[0], left), max(whole[1], top), min(whole[2], right), min(whole[3], bottom)


def _hex(rgb: Sequence[float]) -> str:
    return "#" + "".join(f"{round(part * 255):02X}" for part in rgb)
