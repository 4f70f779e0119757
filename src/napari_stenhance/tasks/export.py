"""Export predictions of a result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.errors import InputError
from napari_stenhance.results.export_format import export_table, export_titles
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import SECTION, Help, SlideOptions

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class ExportOptions(SlideOptions):
    """Options of `export`; the section may also be a `Section` object."""

    result: Annotated[Path, Help("The result to export from.", positional=True, takes=("Result",))]
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
            "Genes: A,B,C or @FILE; needed for superpixels, by default all for spots and of a run "
            "of impute."
        ),
    ] = ()
    run: Annotated[str, Help("Which run; by default the newest that is complete.")] = ""


def export(options: ExportOptions, job: Job | None = None, cache: Cache | None = None) -> Path:
    """Write the predictions of a run as a table, or a table of the result.

    Without a run, genes or a section at whose spots, the newest run of `impute` if there is one.

    `napari_stenhance.export` says what comes of it, and what it raises.
    """
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.tables import open_table
    from napari_stenhance.storage.atomic import need_free
    from napari_stenhance.storage.cache import Cache

    job, cache = job or Job(), cache or Cache.default()
    need_free(options.out)
    result = ResultFolder.open(options.result)
    if not options.table:
        table = _of_run(options, result, job, cache)
    elif options.at_spots is not None or options.genes or options.run:
        msg = "A table is exported whole; leave out its spots' section, the genes and the run."
        raise InputError(msg, option="table")
    else:
        table = open_table(result, options.table)
    export_table(table, options.out, options.to)
    return options.out


def _of_run(options: ExportOptions, result: ResultFolder, job: Job, cache: Cache) -> ad.AnnData:
    """Make the table of a run: of an imputation its own, else one of predictions.

    Raises
    ------
    InputError
        If a section is named for an imputation, or no genes are for superpixels.
    """
    from napari_stenhance.methods.genes import genes_of, named_genes
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
        genes = named_genes(options.genes, run.genes, genes_of(run.name))
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
        job.note(f"{off} spots lie off the tissue mask and got the nearest prediction.")
    return table
