"""Write genes of a field, or imputed ones, as images: what the Pin button does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import ClearDeadLocks, Help, Options

if TYPE_CHECKING:
    from napari_stenhance.results.result import ResultFolder


@dataclass(frozen=True)
class WriteOptions(Options):
    """Options of `write`."""

    result: Annotated[Path, Help("The result to write into.", positional=True, takes=("Result",))]
    genes: Annotated[
        tuple[str, ...],
        Help(
            "Genes to write as images: names with commas, or @ and a file; or a sum, as A + B - C."
        ),
    ]
    run: Annotated[str, Help("Which run; by default the newest of the whole slide.")] = ""
    clear_dead_locks: ClearDeadLocks = False


def write(options: WriteOptions, job: Job | None = None) -> ResultFolder:
    """Write genes of a result as OME-Zarr images, which other viewers open too.

    `napari_stenhance.write` says what comes of it, and what it raises.
    """
    from napari_stenhance.results.genes import write_gene
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.runs import gene_run
    from napari_stenhance.tasks.recorded import log_command, recorded

    job = job or Job()
    with ResultFolder.adding(
        options.result, "write", clear_dead_locks=options.clear_dead_locks
    ) as result:
        run = gene_run(result, options.run)
        for gene in run.named(options.genes):
            write_gene(run, gene, job)
        log_command(result, recorded("write", options), result.name)
    return ResultFolder.open(options.result)
