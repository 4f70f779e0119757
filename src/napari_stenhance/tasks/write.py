"""Write genes of a field as images: what the Pin button does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import Help, Options

if TYPE_CHECKING:
    from napari_stenhance.results.result import Result
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class WriteOptions(Options):
    """Options of `write`."""

    result: Annotated[Path, Help("The result to write into.", positional=True)]
    genes: Annotated[str, Help("Genes to write as images: A,B,C or a file.")]
    run: Annotated[str, Help("Which run; by default the newest that is complete.")] = ""


def write(options: WriteOptions, job: Job | None = None, cache: Cache | None = None) -> Result:
    """Write genes of a result as OME-Zarr images, which other viewers open too.

    Parameters
    ----------
    options : WriteOptions
    job : Job, optional
        Receives progress; cancels.
    cache : Cache, optional
        Where locks lie; by default the user's.

    Raises
    ------
    InputError
        If a gene is not in the field, or another process is writing this result.
    Cancelled
        If the job was cancelled; finished tiles are kept.
    """
    from napari_stenhance.methods.genes import named_genes
    from napari_stenhance.results.genes import write_gene
    from napari_stenhance.results.result import Result
    from napari_stenhance.storage.cache import Cache

    job, cache = job or Job(), cache or Cache.default()
    with Result.adding(options.result, cache) as result:
        run = options.run or result.latest_run()
        field = result.field(run)
        genes = named_genes(options.genes)
        for gene in genes:
            field.decoder.index_of(gene)
        for gene in genes:
            write_gene(result, run, field, gene, job)
    return Result.open(options.result)
