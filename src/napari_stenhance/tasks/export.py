"""Export predictions of a result, or a slide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.results.export_format import (
    ExportImage,
    export_image,
    export_table,
    export_titles,
    export_whole,
    holds_both,
    holds_images,
    need_own_name,
)
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.tasks.options import SECTION, Help, SlideOptions

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.storage.cache import Cache

_OF_NO_GENE = ("depth", "unfamiliar")


@dataclass(frozen=True)
class ExportOptions(SlideOptions):
    """Options of `export`; a section may also be a `Section` object."""

    result: Annotated[
        Path,
        Help(
            "The result to export from; as OME-TIFF also a section, of which the slide is written.",
            positional=True,
            takes=("Result", *SECTION),
        ),
    ]
    out: Annotated[Path, Help("The file to write; nothing is overwritten.")]
    to: Annotated[str, Help("Format", choices=export_titles)] = "h5ad"
    at_spots: Annotated[
        Path | None,
        Help(
            "Average predictions over the spots of this section; else, tissue superpixels.",
            takes=SECTION,
        ),
    ] = None
    table: Annotated[
        str,
        Help("Export this table of the result as it is, such as that of a lattice: its name."),
    ] = ""
    genes: Annotated[
        tuple[str, ...],
        Help(
            "Genes: names with commas, or @ and a file of them; needed for superpixels and images, "
            "by default all for spots and of a run of impute. As an image, also a sum of genes, "
            "such as A + B - C."
        ),
    ] = ()
    run: Annotated[str, Help("Which run; by default the newest of the whole slide.")] = ""
    what: Annotated[
        Literal["expression", "spread", "interval", "depth", "unfamiliar"],
        Help(
            "What the images show of each gene: its expression; its spread, the sd over the "
            "ensemble; its interval, between which two values 9 in 10 spots would be measured; of "
            "no gene: depth, the total counts of a spot; unfamiliar, how far the tissue lies from "
            "the training sections."
        ),
    ] = "expression"
    above: Annotated[
        float | None,
        Help(
            "Images of where each gene is above this value instead, cut so that at most 1 in 10 of "
            "what is marked is wrong, or nothing is marked.",
            unit="log1p CP10k",
        ),
    ] = None
    scale: Annotated[
        Literal["spot", "8 spots", "region"],
        Help("What is above it: a spot, the mean of the 8 nearest spots, or a region of 1 mm."),
    ] = "spot"


def export(options: ExportOptions, job: Job | None = None, cache: Cache | None = None) -> Path:
    """Write the predictions of a run as a table or as images, a table of the result, or a slide.

    Without a run, genes or a section at whose spots, the newest run of `impute` if there is one.

    `napari_stenhance.export` says what comes of it, and what it raises.
    """
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.tables import open_table
    from napari_stenhance.storage.atomic import need_free
    from napari_stenhance.storage.cache import Cache

    job, cache = job or Job(), cache or Cache.default()
    need_free(options.out)
    images = holds_images(options.to)
    need_own_name(options.out, options.to)
    _check_what(options, images=images)
    if images:
        export_image(_image(options, job, cache), options.out, options.to, job)
        return options.out
    if holds_both(options.to):
        export_whole(*_whole(options, job, cache), options.out, options.to, job)
        return options.out
    given: object = options.result
    if not isinstance(given, Path) or given.is_file():
        msg = f"{options.to} is written of a result; of a section, ome-tiff is."
        raise InputError(msg, option="to")
    result = ResultFolder.open(given)
    if not options.table:
        table = _of_run(options, result, job, cache)
    elif options.at_spots is not None or options.genes or options.run:
        msg = "A table is exported whole; leave out its spots' section, the genes and the run."
        raise InputError(msg, option="table")
    else:
        table = open_table(result, options.table)
    export_table(table, options.out, options.to)
    return options.out


def _image(options: ExportOptions, job: Job, cache: Cache) -> ExportImage:
    """Make images of genes of a run, or one of a section's slide.

    Raises
    ------
    InputError
        If no genes are named for a result, or what is only for tables or results is.
    """
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.runs import gene_run
    from napari_stenhance.section.section import Section, open_section

    result: object = options.result
    if options.at_spots is not None or options.table:
        msg = f"{options.to} holds images; spots and tables are exported as h5ad."
        raise InputError(msg, option="at_spots" if options.at_spots is not None else "table")
    if isinstance(result, Path) and ResultFolder.is_result(result):
        run = gene_run(ResultFolder.open(result), options.run)
        if not options.genes and options.what not in _OF_NO_GENE:
            msg = f"{options.to} of a result needs genes, whose images are written."
            raise InputError(msg, option="genes")
        return _of_genes(options, run, job)
    if options.what != "expression" or options.above is not None:
        msg = "That is of a result; of a section, the slide is written: leave it out."
        raise InputError(msg, option="what" if options.above is None else "above")
    if options.genes or options.run:
        msg = "Genes and runs are of a result; of a section, the slide is written: leave them out."
        raise InputError(msg, option="genes" if options.genes else "run")
    section = result
    if not isinstance(section, Section):
        section = open_section(
            options.result, **options.opening(), spots=False, cache=cache, job=job
        )
    for doubt in section.doubts:
        job.note(f"{section.name}: {doubt}")
    return ExportImage.from_slide(section.need_slide())


def _whole(
    options: ExportOptions, job: Job, cache: Cache
) -> tuple[ExportImage | None, ad.AnnData | None, float | None]:
    """Make image and table of a section, or genes' images and the table at spots of a run.

    Raises
    ------
    InputError
        If a run is to be written without genes and without spots.
    """
    from napari_stenhance.results.imputed import ImputedRun
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.runs import gene_run
    from napari_stenhance.section.section import Section, open_section

    given: object = options.result
    if not isinstance(given, Path) or not ResultFolder.is_result(given):
        of_result = options.genes or options.run or options.table or options.at_spots is not None
        if of_result or options.what != "expression" or options.above is not None:
            msg = (
                "Genes, runs, tables and their spots are of a result; of a section all is written."
            )
            raise InputError(msg, option="genes" if options.genes else "run")
        if isinstance(given, Section):
            section = given
        else:
            section = open_section(options.result, **options.opening(), cache=cache, job=job)
        for doubt in section.doubts:
            job.note(f"{section.name}: {doubt}")
        image = None if section.slide is None else ExportImage.from_slide(section.slide)
        return image, section.spots, section.mpp
    result = ResultFolder.open(given)
    run = gene_run(result, options.run)
    imputed = isinstance(run, ImputedRun)
    image = None
    if options.genes or options.what in _OF_NO_GENE:
        image = _of_genes(options, run, job)
    if options.at_spots is None and not imputed:
        if image is None:
            msg = f"{options.to} of a run needs genes, whose images are written, or spots."
            raise InputError(msg, option="genes")
        return image, None, None
    table = _of_run(options, result, job, cache)
    of = result.attributes.get("slide") or result.attributes["spots"]
    return image, table, of["mpp"]


def _check_what(options: ExportOptions, *, images: bool) -> None:
    """Refuse what does not say which images, or says it of a table.

    Raises
    ------
    InputError
        Names the option.
    """
    from napari_stenhance.results.belief import need_value

    marks = options.above is not None
    if options.scale != "spot" and not marks:
        msg = f"{options.scale} says what is above a value, and no value is named."
        raise InputError(msg, option="scale")
    if marks:
        need_value(options.above)
    if marks and options.what != "expression":
        msg = f"Either where genes are above a value, or their {options.what}: leave one out."
        raise InputError(msg, option="what")
    if (marks or options.what != "expression") and not (images or holds_both(options.to)):
        msg = f"{options.to} holds a table; this is an image, which ome-tiff and spatialdata hold."
        if options.what in _OF_NO_GENE:
            msg += " Tables have it in obs, where the run knows it."
        raise InputError(msg, option="to")
    if options.what in _OF_NO_GENE and options.genes:
        msg = f"{options.what.capitalize()} is of no gene: leave the genes out."
        raise InputError(msg, option="genes")


def _of_genes(options: ExportOptions, run: GeneSource, job: Job) -> ExportImage:
    """Make the images that are asked for, and say what they promise."""
    from napari_stenhance.results.exported import exported_image, exported_marks

    genes = run.named(options.genes) if options.genes else ()
    if options.above is None:
        return exported_image(run, genes, options.what)
    image, said = exported_marks(run, genes, options.above, options.scale)
    for line in said:
        job.note(line)
    return image


def _of_run(options: ExportOptions, result: ResultFolder, job: Job, cache: Cache) -> ad.AnnData:
    """Make the table of a run: of an imputation its own, else one of predictions.

    Raises
    ------
    InputError
        If a section is named for an imputation, or no genes are for superpixels.
    """
    from napari_stenhance.results.imputed import ImputedRun, imputed_runs
    from napari_stenhance.results.imputed_table import only_genes
    from napari_stenhance.results.predictions import at_spots, at_superpixels
    from napari_stenhance.results.runs import gene_run
    from napari_stenhance.tasks.inference import open_for

    run = gene_run(result, options.run)
    if not (options.run or options.genes or options.at_spots):
        # Superpixels would need genes.
        run = next(iter(reversed(imputed_runs(result))), run)
    genes = None
    if options.genes:
        genes = run.named(options.genes)
    if isinstance(run, ImputedRun):
        if options.at_spots is not None:
            msg = "A run of impute holds its own spots already; leave their section out."
            raise InputError(msg, option="at_spots")
        return run.table() if genes is None else only_genes(run.table(), genes)
    if options.at_spots is None:
        if genes is None:
            msg = "A table of superpixels needs genes; for one of spots, name their section."
            raise InputError(msg, option="genes")
        return at_superpixels(result, run.name, genes, job)
    section = open_for(options.at_spots, options, spots=True, slide=False, cache=cache, job=job)
    table = at_spots(result, run.name, section, genes)
    off = int((table.obs["superpixels"] == 0).sum())
    if off:
        job.note(
            f"{counted(off, 'spot')} {agree(off, 'lies', 'lie')} off the tissue mask and got the "
            "nearest prediction."
        )
    return table
