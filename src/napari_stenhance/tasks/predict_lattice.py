"""Predict on the lattice of a section's spots, and between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.source import FeatureSource
from napari_stenhance.methods.protocol import Fitted, FittedCrops, Positions
from napari_stenhance.results.lattice import lattice_table, write_lattice
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.tables import check_size
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.distinct import DistinctPositions
from napari_stenhance.section.lattice import SpotLattice
from napari_stenhance.section.section import Section


def write_between(
    result: ResultFolder,
    run: str,
    section: Section,
    s: int,
    fitted: Fitted,
    features: FeatureSource,
    wanted: NDArray[np.bool_],
    job: Job,
) -> None:
    """Predict the spots and the points between them that lie on wanted superpixels, as a table.

    Every spot has its row, in the order of the section: NaN where nothing is predicted.

    Raises
    ------
    InputError
        If the spots have no lattice, the table is too large, or nothing is left of it.
    """
    assert isinstance(fitted, FittedCrops)  # `enhance` refuses a lattice otherwise
    points = SpotLattice.from_spots(section.need_spots(), section.where).finer(s)
    xy_um = points.xy * section.need_slide().scale()
    at = np.rint(features.grid.position(xy_um)).astype(np.int64)
    on_tissue = np.asarray(((at >= 0) & (at < wanted.shape)).all(axis=1))
    on_tissue[on_tissue] = wanted[tuple(at[on_tissue].T)]
    if not on_tissue.any():
        msg = f"{section.where}: no point of the lattice lies on the tissue that is predicted."
        raise InputError(msg)
    keep = on_tissue | points.is_measured
    check_size(int(keep.sum()), len(fitted.decoder.genes), job)
    left = int((points.is_measured & ~on_tissue).sum())
    if left:
        job.note(
            f"{section.name}: {counted(left, 'spot')} {agree(left, 'lies', 'lie')} off the tissue "
            f"that is predicted; {agree(left, 'its row', 'their rows')} in the table of the "
            f"lattice {agree(left, 'is', 'are')} empty (NaN)."
        )
    with job.stage(f"Predicting between the spots of {section.name}", 1) as stage:
        # Observations that share a position get what is predicted there, once.
        places = DistinctPositions.among(xy_um[on_tissue])
        some = np.flatnonzero(on_tissue)[places.first]
        latent = fitted.latent_at(features, Positions(xy_um[some], points.array_xy[some]), job)
        row = np.full(len(points.xy), -1)
        row[on_tissue] = places.of
        table = lattice_table(
            result, run, section, s, points, keep, latent.at_rows(row[keep]), fitted.decoder
        )
        write_lattice(result, run, s, table)
        stage.advance()
