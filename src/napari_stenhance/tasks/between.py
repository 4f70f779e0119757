"""Predict on the lattice of a section's spots, and between them."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.crops import CropMap
from napari_stenhance.features.extract import FeatureMap
from napari_stenhance.methods.protocol import Fitted, FittedCrops, Positions
from napari_stenhance.results.lattice import check_size, lattice_table, write_lattice
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Job
from napari_stenhance.section.lattice import SpotLattice
from napari_stenhance.section.section import Section


def write_between(
    result: ResultFolder,
    run: str,
    section: Section,
    s: int,
    fitted: Fitted,
    features: FeatureMap | CropMap,
    wanted: NDArray[np.bool_],
    job: Job,
) -> None:
    """Predict the spots and the points between them that lie on wanted superpixels, as a table.

    Raises
    ------
    InputError
        If the spots have no lattice, the table is too large, or nothing is left of it.
    """
    fitted, features = cast(FittedCrops, fitted), cast(CropMap, features)
    points = SpotLattice.of(section.need_spots(), section.where).finer(s)
    xy_um = points.xy * section.need_slide().scale()
    at = np.rint(features.grid.position(xy_um)).astype(np.int64)
    keep = np.asarray(((at >= 0) & (at < wanted.shape)).all(axis=1))
    keep[keep] = wanted[tuple(at[keep].T)]
    if not keep.any():
        msg = f"{section.where}: no point of the lattice lies on the tissue that is predicted."
        raise InputError(msg)
    check_size(int(keep.sum()), len(fitted.decoder.genes), job)
    with job.stage(f"Predicting between the spots of {section.name}", 1) as stage:
        latent = fitted.latent_at(features, Positions(xy_um[keep], points.array_xy[keep]), job)
        table = lattice_table(result, run, section, s, points, keep, latent, fitted.decoder)
        write_lattice(result, run, s, table)
        stage.advance()
