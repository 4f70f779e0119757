"""Predict genes that the assay did not measure, from single cells of the same kind of tissue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.methods.registry import method_choices
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import (
    SECTION,
    ClearDeadLocks,
    Device,
    Epochs,
    Help,
    Image,
    Outs,
    Seed,
    SlideOptions,
)
from napari_stenhance.tasks.training import Written

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from napari_stenhance.methods.sinca.protocol import ImputationMethod, SpotCounts
    from napari_stenhance.results.imputed import ImputedRun
    from napari_stenhance.results.imputed_table import Wanted
    from napari_stenhance.section.cells import CellReference, OpenedCells
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.recorded import Command

_PIXELS_IN_PITCH = 8
# What five members predict of a gene that is worked on, and what is made of it.
_BYTES_EACH = 48

Attended = Annotated[
    Literal["cells", "centroids"],
    Help(
        "What spots attend to: cells, of many those that are alike put together, or centroids, "
        "one for each cluster.",
        label="Compare spots with",
    ),
]


@dataclass(frozen=True)
class ImputeOptions(SlideOptions):
    """Options of `impute`; spots may also be a `Section` object, the reference an AnnData."""

    spots: Annotated[
        Path,
        Help(
            "A section with spots, or a folder of the published layout.",
            positional=True,
            takes=SECTION,
        ),
    ]
    reference: Annotated[
        Path,
        Help(
            "Single cells of the same kind of tissue, raw counts: an .h5ad, or the same folder.",
            positional=True,
            takes=("AnnData",),
        ),
    ]
    out: Outs = None
    method: Annotated[str, Help("What learns", choices=partial(method_choices, "imputation"))] = (
        "sinca"
    )
    genes: Annotated[
        tuple[str, ...],
        Help(
            "Genes of the table: names with commas, or @ and a file with one on each line; by "
            "default all that the "
            "spots measured, and all that only the cells have."
        ),
    ] = ()
    cluster_key: Annotated[
        str,
        Help(
            "Column of the cells that says their cluster; by default cluster, if it is there.",
            label="Cell types",
        ),
    ] = ""
    attended: Attended = "cells"
    then: Annotated[
        Literal["pixel2gene"] | None,
        Help(
            "Enhance the imputed genes (or those that were named) from the slide, to 8 µm, with "
            "this method, which trains as long.",
            label="Enhance them with",
        ),
    ] = None
    write: Written = ()
    epochs: Epochs = None
    image: Image = None
    device: Device = "auto"
    seed: Seed = 0
    clear_dead_locks: ClearDeadLocks = False


def impute(
    options: ImputeOptions, job: Job | None = None, cache: Cache | None = None
) -> ImputedRun:
    """Predict genes that the spots did not measure, from a single-cell reference.

    `napari_stenhance.impute` says what comes of it, and what it raises.
    """
    from napari_stenhance.methods.genes import named_genes
    from napari_stenhance.methods.registry import make_method
    from napari_stenhance.methods.sinca.protocol import genes_at_once
    from napari_stenhance.results.genes import write_gene
    from napari_stenhance.results.imputed import ImputedRun, imputed_runs
    from napari_stenhance.results.imputed_table import Wanted
    from napari_stenhance.results.inputs import log_section
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.run import made_alike
    from napari_stenhance.results.tables import check_size, check_storable
    from napari_stenhance.running.device import resolve_device
    from napari_stenhance.section.cells import open_cells
    from napari_stenhance.section.gene_names import aliases_in
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.domain_options import open_spots
    from napari_stenhance.tasks.inference import name_outputs
    from napari_stenhance.tasks.recorded import log_command, recorded

    job, cache = job or Job(), cache or Cache.default()
    command, device = recorded("impute", options), resolve_device(options.device)
    method = make_method(options, options.seed, device)
    section = open_spots(options.spots, options, options.image, cache, job)
    spots = section.need_spots()
    check_storable(spots, section.where)
    if options.then is not None:
        section.need_slide().scale()
    (out,) = name_outputs(options.out, [section])
    opened = open_cells(options.reference, spots, options.cluster_key, job)
    for said in (opened.report, *opened.doubts):
        job.note(said)
    if options.attended == "centroids" and not opened.cells.groups:
        msg = (
            f"{opened.cells.name}: no column says the cluster of the cells, so they have no "
            "centroids; name one, or attend to the cells."
        )
        raise InputError(msg, option="cluster_key")
    wanted = Wanted.from_genes(options.genes, spots, opened.cells)
    write: tuple[str, ...] = ()
    if options.write:
        write = named_genes(
            options.write, wanted.genes, "the genes of the table", "write", aliases_in(spots.var)
        )
    at_once = min(len(wanted.imputed), genes_at_once(spots.n_obs))
    check_size(spots.n_obs, at_once, job, "spots", bytes_each=_BYTES_EACH)
    identity = _identity(options, method, section, opened.cells, wanted)
    with ResultFolder.writing(
        out, section, f"{options.method}-robust", clear_dead_locks=options.clear_dead_locks
    ) as result:
        log_section(result, section)
        run = made_alike(imputed_runs(result), identity)
        if run is None:
            run = _run(result, identity, method, section, opened, wanted, device, job)
        else:
            job.note(f"{result.path}: the run {run.name} is already complete.")
        log_command(result, command, section.name, run.name)
        for gene in write:
            write_gene(run, gene, job)
    if options.then is not None:
        genes = wanted.genes if options.genes else wanted.imputed
        written = [g for g in write if g in set(genes)]
        _enhance(options, out, section, run, genes, written, command, job, cache)
    return ImputedRun(ResultFolder.open(out), run.name)


def _identity(
    options: ImputeOptions,
    method: ImputationMethod,
    section: Section,
    cells: CellReference,
    wanted: Wanted,
) -> dict[str, Any]:
    """Return what decides the table: runs are the same if it is."""
    from napari_stenhance.methods.training_section import input_identity

    return {
        "method": options.method,
        "preset": "robust",
        "recipe": method.describe(),
        "genes": list(wanted.genes) if options.genes else "all",
        "seed": options.seed,
        "spots": input_identity(section),
        "cells": {"name": cells.name, "sha256": cells.sha256(), "clusters": len(cells.groups)},
    }


def _run(
    result: Any,
    identity: dict[str, Any],
    method: ImputationMethod,
    section: Section,
    opened: OpenedCells,
    wanted: Wanted,
    device: torch.device,
    job: Job,
) -> ImputedRun:
    """Learn, fill the table, and write it."""
    from napari_stenhance.results.imputed_table import imputed_table
    from napari_stenhance.results.imputed_writing import write_imputation
    from napari_stenhance.results.label_map import pixel_um, reach_um
    from napari_stenhance.running.device import describe_device, inference_errors
    from napari_stenhance.section.grid import Grid
    from napari_stenhance.tasks.inference import versions

    cells, seen = opened.cells, see_shared(section, opened.cells)
    description = {
        "method": identity["method"],
        "preset": "robust",
        "reference": cells.name,
        "matched": opened.report,
        "seed": identity["seed"],
    }
    slide, mpp = section.slide, section.mpp
    grid = (
        Grid.around(seen.xy, seen.pitch / _PIXELS_IN_PITCH, reach_um(seen.xy), mpp)
        if slide is None or mpp is None
        else Grid.over(slide, pixel_um(seen.pitch))
    )
    provenance = {
        "seed": identity["seed"],
        "device": describe_device(device),
        "versions": versions(),
        "matched": opened.report,
        "doubts": [*(f"{section.name}: {d}" for d in section.doubts), *opened.doubts],
    }
    name = f"{identity['method']}-robust"
    with inference_errors("Imputing genes"):
        fitted = method.fit(seen, cells, job)
        table = imputed_table(section.need_spots(), seen, cells, fitted, wanted, description, job)
        return write_imputation(result, name, identity, provenance, table, seen.xy, grid)


def see_shared(section: Section, cells: CellReference) -> SpotCounts:
    """Return what the method sees of the spots: the genes that the cells have too."""
    import numpy as np

    from napari_stenhance.methods.sinca.protocol import SpotCounts
    from napari_stenhance.section.spots import counts_of

    spots = section.need_spots()
    xy, pitch = section.positions()
    position = {gene: n for n, gene in enumerate(cells.genes)}
    shared = [gene for gene in map(str, spots.var_names) if gene in position]
    return SpotCounts(
        name=section.name,
        xy=xy,
        pitch=pitch,
        counts=counts_of(spots, shared),
        library=np.asarray(spots.X.sum(axis=1), np.float64).ravel(),
        columns=np.array([position[gene] for gene in shared], np.int64),
    )


def _enhance(
    options: ImputeOptions,
    out: Path,
    section: Section,
    run: ImputedRun,
    genes: Sequence[str],
    write: Sequence[str],
    command: Command,
    job: Job,
    cache: Cache,
) -> None:
    """Learn genes of the table from the slide, as if they had been measured."""
    import anndata as ad
    import numpy as np
    import scipy.sparse as sp

    from napari_stenhance.results.imputed_table import only_genes
    from napari_stenhance.section.section import Section
    from napari_stenhance.tasks.enhance import EnhanceOptions, enhance_runs

    spots, table = section.need_spots(), only_genes(run.table(), genes)
    expected = Section(
        slide=section.slide,
        spots=ad.AnnData(
            X=sp.csr_matrix(table.X),
            obs=spots.obs,
            var=table.var[[]],
            obsm={"spatial": spots.obsm["spatial"]},
            uns=spots.uns,
        ),
        name=section.name,
        doubts=(
            f"These genes were learned from the run {run.name}: what it imputed was not measured.",
        ),
        library=np.asarray(spots.X.sum(axis=1), np.float64).ravel(),
    )
    enhance_runs(
        EnhanceOptions(
            sections=(expected,),  # type: ignore[arg-type]
            out=out,
            write=tuple(write),
            epochs=options.epochs,
            device=options.device,
            seed=options.seed,
            clear_dead_locks=options.clear_dead_locks,
        ),
        job,
        cache,
        command,
    )
