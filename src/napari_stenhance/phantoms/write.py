"""Make a phantom: anatomy, cells, slide, truth and what assays count of it."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import zarr

from napari_stenhance.errors import InputError
from napari_stenhance.phantoms.anatomy import DOMAINS, MPP, PITCH_UM, Anatomy
from napari_stenhance.phantoms.bins import BinsFile, MeasuredBins
from napari_stenhance.phantoms.cells import PhantomNuclei
from napari_stenhance.phantoms.counts import (
    SpotSums,
    measured_columns,
)
from napari_stenhance.phantoms.genes import NAMED, Program
from napari_stenhance.phantoms.paint import Painter
from napari_stenhance.phantoms.phantom import CELLS, REFERENCE, TRUTH, VISIUM_HD, Phantom
from napari_stenhance.phantoms.rare import RareGenes
from napari_stenhance.phantoms.slide import write_slide
from napari_stenhance.phantoms.tables import cells_table, reference_table, spots_table
from napari_stenhance.phantoms.truth import TILE, Truth
from napari_stenhance.phantoms.visium_hd import VisiumHDFolder
from napari_stenhance.running.job import Job
from napari_stenhance.section.formats.phantom import BINS, MANIFEST, SLIDE, SPOTS
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.storage.hdf5 import new_hdf5, save_h5ad
from napari_stenhance.storage.tiles import create_array, tiles_of

SIZES_MM = (1.0, 20.0)
GENES_MOST = 40_000
_GENES_IN_CHUNK = 8


def write_phantom(
    out: str | Path,
    size_mm: float,
    seed: int,
    job: Job | None = None,
    *,
    genes: int = NAMED,
) -> Phantom:
    """Write a phantom whole or not at all; one that is there already is opened.

    Parameters
    ----------
    out : str or Path
        A folder that does not exist, or holds the same phantom.
    size_mm : float
        Side of the slide, 1 to 20 mm; rounded to whole superpixels of 8 µm.
    seed : int
        Not negative. Decides anatomy, stain and counts; the genes' programme is always the same.
    job : Job, optional
        Receives progress; cancels.
    genes : int
        How many spots and bins measure, 200 to 40,000. Those beyond the 200 named ones are as rare
        as in a transcriptome, and then bins are written as a Visium HD folder too.

    Raises
    ------
    InputError
        If an argument is out of range, something else lies at `out`, or it cannot be written.
    Cancelled
        If the job was cancelled; nothing is left behind.
    """
    out, job = Path(out), job or Job()
    low, high = SIZES_MM
    if not low <= size_mm <= high:
        msg = f"A phantom of {size_mm:g} mm cannot be made; give a size of {low:g} to {high:g} mm."
        raise InputError(msg)
    if seed < 0:
        msg = f"The seed is {seed}; it must not be negative."
        raise InputError(msg)
    if not NAMED <= genes <= GENES_MOST:
        msg = f"A phantom of {genes} genes cannot be made; give {NAMED} to {GENES_MOST}."
        raise InputError(msg, option="genes")
    side = round(size_mm * 1000 / PITCH_UM)
    phantom = Phantom(out, seed, side * PITCH_UM / 1000, MPP, PITCH_UM, genes)
    if (out / MANIFEST).is_file() and Phantom.open(out) == phantom:
        return phantom
    with atomic_path(out, folder=True) as aside:
        _write(aside, phantom, job)
    return phantom


def _write(folder: Path, phantom: Phantom, job: Job) -> None:
    with job.stage("Growing the tissue", 2) as stage:
        anatomy = Anatomy.grow(phantom.size_mm * 1000, phantom.seed)
        stage.advance()
        cells = PhantomNuclei.grow(anatomy)
        stage.advance()
    program = Program()
    rare = RareGenes(phantom.measured_genes - NAMED, program)
    truth = Truth(anatomy, cells, program, rare)
    side_px = anatomy.shape[0] * round(PITCH_UM / MPP)
    grid = Grid(PITCH_UM, anatomy.shape, MPP)
    _measure(folder, truth, grid, job)
    with job.stage("Writing the cells", 2) as stage:
        save_h5ad(cells_table(cells), folder / CELLS)
        stage.advance()
        save_h5ad(reference_table(truth), folder / REFERENCE)
        stage.advance()
    write_slide(folder / SLIDE, Painter(anatomy, cells, MPP), side_px, job)
    (folder / MANIFEST).write_text(json.dumps(phantom.manifest(), indent=1) + "\n", "utf-8")


def _measure(folder: Path, truth: Truth, grid: Grid, job: Job) -> None:
    """Write the truth tile by tile, and count it at spots and in bins."""
    anatomy, program, rare = truth.anatomy, truth.program, truth.rare
    group = zarr.open_group(folder / TRUTH, mode="w")
    group.attrs.update(
        genes=program.genes,
        follows=program.follows,
        domains=DOMAINS,
        measured_columns=measured_columns(anatomy),
        pitch_um=grid.pitch_um,
        unit="log1p CP10k",
    )
    expression = create_array(
        group,
        "expression",
        shape=(len(program.genes), *grid.shape),
        chunks=(_GENES_IN_CHUNK, TILE, TILE),
        dtype="f2",
        dimension_names=("gene", "y", "x"),
        fill_value=np.nan,
    )
    domain = create_array(
        group,
        "domain",
        shape=grid.shape,
        chunks=(TILE, TILE),
        dtype="u1",
        dimension_names=("y", "x"),
    )
    domain[...] = anatomy.domain
    states = {}
    if rare.number:
        # Of each rare gene this is all that is true: it is computed when it is asked for.
        for name, shape in (("amounts", (*grid.shape, program.states)), ("library", grid.shape)):
            states[name] = create_array(
                group,
                name,
                shape=shape,
                chunks=(TILE, TILE, *shape[2:]),
                dtype="f4",
                dimension_names=("y", "x", "state")[: len(shape)],
                fill_value=np.nan,
            )
    tiles = list(tiles_of(grid.shape, TILE))
    spots = SpotSums.over(anatomy, grid, program)
    bins = MeasuredBins(truth, grid)
    with (
        job.stage("Counting transcripts", len(tiles)) as stage,
        new_hdf5(folder / BINS) as file,
        VisiumHDFolder.writing(folder / VISIUM_HD, bins) if rare.number else nullcontext() as hd,
    ):
        table = BinsFile(file, bins)
        for tile in tiles:
            true = truth.tile(tile)
            values = np.full((*tile.shape, len(program.genes)), np.nan, np.float16)
            values[true.tissue] = true.log1p_cp10k()
            expression[:, tile.rows, tile.columns] = np.moveaxis(values, -1, 0)
            for name, array in states.items():
                of_tissue = getattr(true, name)
                values = np.full((*tile.shape, *of_tissue.shape[1:]), np.nan, np.float32)
                values[true.tissue] = of_tissue
                array[tile.rows, tile.columns] = values
            spots.add(true, tile)
            counts = bins.counts(true, tile)
            table.add(bins.of(tile), counts)
            if hd is not None:
                hd.add(counts)
            stage.advance()
    save_h5ad(spots_table(spots, truth), folder / SPOTS)
