"""Say in numbers what is in regions, cells or domains of a result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.tasks.options import OPENING, SECTION, Help, SlideOptions

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.results.region_numbers import MeasuredSpots, RegionGroups
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.named_regions import NamedRegions
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class SummariseOptions(SlideOptions):
    """Options of `summarise`; regions may also be `NamedRegions`, the section a `Section`."""

    result: Annotated[Path, Help("The result to summarise.", positional=True, takes=("Result",))]
    regions: Annotated[
        Path | None,
        Help(
            "Regions: GeoJSON in µm, or as QuPath writes it, in pixels of the slide.",
            takes=("NamedRegions", "Region"),
        ),
    ] = None
    cells: Annotated[
        Path | None,
        Help(
            "Cells: outlines (GeoJSON of QuPath, StarDist or CellViT), or labels of the whole "
            "slide at any scale (PNG, TIFF, OME-Zarr).",
            takes=("NamedRegions",),
        ),
    ] = None
    domains: Annotated[str, Help("Domains: the name of their run in this result.")] = ""
    genes: Annotated[
        tuple[str, ...],
        Help("Genes: names with commas, or @ and a file of them; or a sum, such as A + B - C."),
    ] = ()
    top: Annotated[
        int,
        Help("Instead of genes: so many that are predicted most above the rest in each region."),
    ] = 0
    against: Annotated[
        str,
        Help(
            "Compare with the region, cell or domain of this name, or with rest: all of the tissue "
            "that is not in it."
        ),
    ] = ""
    section: Annotated[
        Path | None,
        Help(
            "The section with the measured spots, if it lies no longer where it lay.", takes=SECTION
        ),
    ] = None
    csv: Annotated[Path | None, Help("The table to write; nothing is overwritten.")] = None
    qupath: Annotated[
        Path | None,
        Help(
            "Write the regions for QuPath, too, with these numbers as measurements (GeoJSON); "
            "nothing is overwritten."
        ),
    ] = None
    run: Annotated[str, Help("Which run; by default the newest of the whole slide.")] = ""


def summarise(
    options: SummariseOptions, job: Job | None = None, cache: Cache | None = None
) -> pd.DataFrame:
    """Say in numbers what is in regions, cells or domains of a result.

    `napari_stenhance.summarise` says what comes of it, and what it raises.
    """
    from napari_stenhance.results.region_numbers import (
        REST,
        as_measurements,
        compared_numbers,
        group_numbers,
    )
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.runs import gene_run
    from napari_stenhance.storage.atomic import atomic_path, need_free
    from napari_stenhance.storage.cache import Cache

    job, cache = job or Job(), cache or Cache.default()
    _check(options)
    for out in (options.csv, options.qupath):
        if out is not None:
            need_free(out)
    result = ResultFolder.open(options.result)
    run = gene_run(result, options.run)
    if not options.run and run.in_region:
        job.note(f"{run.name} predicted in a region alone; no run here did in the whole slide.")
    # Each by itself, for among several a sum is not looked for.
    genes = tuple(dict.fromkeys(gene for text in options.genes for gene in run.named(text)))
    measured = _measured(options, result, job, cache)
    groups, regions = _groups(options, run, measured, job)
    if not options.top and not options.against:
        table = group_numbers(run, groups, genes, measured, job)
    else:
        against = None
        if options.against == REST and REST in groups.names:
            msg = f"A {groups.what} is called {REST}, too: name it otherwise, so that it is clear "
            msg += "what is compared with."
            raise InputError(msg, option="against")
        if options.against not in ("", REST):
            against = groups.number_of(options.against)
        chosen = _chosen(options, run, groups, against, genes, job)
        if options.top:
            _note_unlisted([genes for _, genes in chosen], groups.what, options.against, job)
        table = compared_numbers(run, groups, chosen, against, measured, job)
    if options.top and len(table):
        # Found by what is not clipped at 0, listed by what is shown.
        ways = [True, False]
        table = table.sort_values(
            ["number", "difference"], ascending=ways, kind="stable", ignore_index=True
        )
    if regions is not None:
        _note_lost(table, groups.what, len(regions), job)
    if options.csv is not None:
        with atomic_path(options.csv) as aside:
            table.to_csv(aside, index=False)
        table.attrs["csv"] = str(options.csv)
    if options.qupath is not None and regions is not None:
        numbers = as_measurements(table, len(regions))
        regions.with_measurements(numbers).write(options.qupath, run.grid.mpp)
    return table


def _check(options: SummariseOptions) -> None:
    """Refuse what does not say of what, or of which genes.

    Raises
    ------
    InputError
        If not one of regions, cells and domains is named, or neither genes nor how many.
    """
    named = [options.regions is not None, options.cells is not None, bool(options.domains)]
    if sum(named) != 1:
        msg = "Name one of these: a file of regions, a file of cells, or a run of domains."
        raise InputError(msg, option="regions")
    if bool(options.genes) == bool(options.top):
        msg = "Name the genes, or say how many that are highest in each region; not both."
        raise InputError(msg, option="genes")
    if options.top < 0:
        msg = f"There can be no {options.top} genes; say how many."
        raise InputError(msg, option="top")
    if options.section is None:
        for name in OPENING:
            if getattr(options, name) != getattr(SlideOptions, name):
                msg = "That says how a section is opened, and none is named; the result keeps how "
                msg += "its own was."
                raise InputError(msg, option=name)
    if options.qupath is not None and options.domains:
        msg = "Domains are no outlines; only regions and cells are written for QuPath."
        raise InputError(msg, option="qupath")


def _note_lost(table: pd.DataFrame, what: str, number: int, job: Job) -> None:
    """Say how many lie where nothing is predicted: their numbers are empty, which looks like 0."""
    lost = int((table.groupby("number")["superpixels"].max() == 0).sum())
    if lost:
        lie = agree(lost, "lies", "lie")
        note = f"{counted(lost, what, number)} {lie} where nothing is predicted."
        if lost == number:
            note += " Are its coordinates those of this slide, in µm or in pixels?"
        job.note(note)


def _note_unlisted(found: list[tuple[str, ...]], what: str, against: str, job: Job) -> None:
    """Say how many have no row, as no gene is predicted higher in them."""
    lost = sum(not genes for genes in found)
    if lost:
        has, lie = agree(lost, "has", "have"), agree(lost, "it lies", "they lie")
        note = f"{counted(lost, what, len(found))} {has} no row: no gene is predicted higher there "
        job.note(f"{note}than in {against or 'the rest'}, or {lie} where nothing is predicted.")


def _measured(
    options: SummariseOptions, result: ResultFolder, job: Job, cache: Cache
) -> MeasuredSpots | None:
    """Open the spots that were measured on this slide, or say why there are none.

    Raises
    ------
    InputError
        If a section is named that is another.
    """
    from napari_stenhance.results.inputs import find_section, is_of, spots_made_of
    from napari_stenhance.results.region_numbers import MeasuredSpots
    from napari_stenhance.results.runs import every_run
    from napari_stenhance.tasks.inference import open_for

    if options.section is not None:
        section = open_for(options.section, options, spots=True, slide=False, cache=cache, job=job)
        if not is_of(section, result.attributes, job):
            what = "its slide is not the one" if section.slide is not None else "it is not that"
            msg = f"{section.name}: {what} of this result ({result.name})."
            # Where its image was left behind, its spots tell.
            known = {sha for run in every_run(result) for sha in spots_made_of(run)}
            if section.slide is not None or section.counts_sha256 not in known:
                raise InputError(msg, option="section")
        return MeasuredSpots(section)
    found = find_section(result, job)
    for said in found.said:
        job.note(f"{result.name}: {said}")
    if found.section is None or found.section.spots is None:
        job.note(f"{result.name}: without measured spots, only predicted numbers are given.")
        return None
    return MeasuredSpots(found.section)


def _groups(
    options: SummariseOptions, run: GeneSource, measured: MeasuredSpots | None, job: Job
) -> tuple[RegionGroups, NamedRegions | None]:
    from napari_stenhance.results.domains import domain_run
    from napari_stenhance.results.region_groups import lay_domains, lay_regions
    from napari_stenhance.section.cell_labels import cells_of_file
    from napari_stenhance.section.named_regions import NamedRegions
    from napari_stenhance.section.region import Region

    if options.domains:
        return lay_domains(run, domain_run(run.result, options.domains), measured, job), None
    given: object = options.regions if options.cells is None else options.cells
    if isinstance(given, Region):
        given = NamedRegions.from_region(given)
    if not isinstance(given, NamedRegions):
        path, mpp, of = Path(str(given)), run.grid.mpp, run.result.attributes.get("slide")
        shape = None if of is None else tuple(of["shape"])
        if options.cells is None:
            given = NamedRegions.read(path, mpp, shape)
        else:
            given = cells_of_file(path, shape, mpp, job)
    for doubt in given.doubts:
        job.note(doubt)
    what = "region" if options.cells is None else "cell"
    return lay_regions(run, given, measured, what, job), given


def _chosen(
    options: SummariseOptions,
    run: GeneSource,
    groups: RegionGroups,
    against: int | None,
    genes: tuple[str, ...],
    job: Job,
) -> list[tuple[int, tuple[str, ...]]]:
    """Choose groups, all but the one that others are compared with, and the genes of each."""
    from napari_stenhance.results.region_genes import top_genes

    compared = [n for n in range(len(groups.names)) if n != against]
    if not options.top:
        return [(n, genes) for n in compared]
    return [(n, top_genes(run, groups, n, against, options.top, job)) for n in compared]
