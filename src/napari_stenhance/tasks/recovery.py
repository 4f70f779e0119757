"""Hide a part of a section's spots, learn from the others, and compare what is recovered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.opening import open_features
from napari_stenhance.features.source import FeatureSettings, FeatureSource
from napari_stenhance.features.superpixels import TILE
from napari_stenhance.methods.genes import choose_genes
from napari_stenhance.methods.protocol import Fitted, FittedCrops, Method, Positions
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.baselines import Interpolation
from napari_stenhance.scoring.recovery import recovered
from napari_stenhance.scoring.splits import random_part
from napari_stenhance.section.distinct import DistinctPositions
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.lattice import array_numbers
from napari_stenhance.section.section import Section
from napari_stenhance.section.spots import counts_of, log1p_cp10k
from napari_stenhance.storage.tiles import tiles_of
from napari_stenhance.tasks.inference import note_doubts
from napari_stenhance.tasks.training import take_sample


def recover(
    section: Section,
    method: Method,
    settings: FeatureSettings,
    genes: str | Sequence[str],
    share: float,
    seed: int,
    job: Job,
) -> dict[str, dict[str, float]]:
    """Learn from a random share of the spots, and score what is predicted of the others.

    Genes are chosen on the spots that are learned from, too.

    Returns
    -------
    dict
        Of "method", "nearest spot" and "inverse distance", the measures of `recovered`, and how
        many genes there were.

    Raises
    ------
    InputError
        If there are too few spots, or genes cannot be chosen.
    InferenceError
        If the device fails.
    """
    spots = section.need_spots()
    # Whole places: what is hidden is nowhere learned from.
    places = DistinctPositions.among(section.spots_um())
    learned = random_part(len(places.first), share, seed)[places.of]
    training = replace(section, spots=spots[learned].copy())
    sample = take_sample(training, settings, method, job)
    chosen = choose_genes(genes, [sample])
    fitted = method.fit([sample], chosen, job)
    note_doubts(fitted, job)
    library = np.asarray(spots.X.sum(axis=1), np.float64).ravel()
    measured = log1p_cp10k(counts_of(spots, fitted.decoder.genes), library).toarray()
    xy_um = section.spots_um()
    by: dict[str, NDArray[Any]] = {
        "method": predict_spots(section, fitted, settings, job),
        "nearest spot": Interpolation(xy_um[learned], measured[learned], 1)(xy_um),
        "inverse distance": Interpolation(xy_um[learned], measured[learned])(xy_um),
    }
    number = {"genes": len(fitted.decoder.genes)}
    return {what: recovered(values, measured, learned) | number for what, values in by.items()}


def predict_spots(
    section: Section, fitted: Fitted, settings: FeatureSettings, job: Job
) -> NDArray[np.float32]:
    """Predict every spot of a section, (spots, genes), on tissue or not."""
    xy_um, geometry = section.spots_um(), section.geometry()
    features = open_features(section.need_slide(), settings, job)
    grid = features.grid
    halo = math.ceil(fitted.halo_um / grid.pitch_um)
    genes = np.arange(len(fitted.decoder.genes))
    if isinstance(fitted, FittedCrops):
        anywhere = Footprints.under(grid, xy_um, geometry, np.ones(grid.shape, dtype=bool))
        features.extract(anywhere.mask(grid.shape, halo))
        positions = Positions(xy_um, array_numbers(section.need_spots()))
        latent = fitted.latent_at(features, positions, job)
        return fitted.decoder.values(latent.mean, genes)
    mask = features.tissue
    under = Footprints.under(grid, xy_um, geometry, mask).with_nearest(grid, xy_um, mask)
    features.extract(under.mask(grid.shape, halo))
    pairs = _latents(features, fitted, under, halo, job)
    return fitted.decoder.values(under.mean(pairs).astype(np.float32), genes)


def _latents(
    features: FeatureSource, fitted: Fitted, under: Footprints, halo: int, job: Job
) -> NDArray[np.float32]:
    """Predict single superpixels, tile by tile: (pairs, r)."""
    latents = np.empty((len(under.row), fitted.decoder.channels), np.float32)
    for tile in tiles_of(features.grid.shape, TILE):
        row, column = under.row - tile.rows.start, under.column - tile.columns.start
        here = (row >= 0) & (row < tile.shape[0]) & (column >= 0) & (column < tile.shape[1])
        if here.any():
            seen = features.tile(tile.rows, tile.columns, halo, raw=fitted.raw)
            latents[here] = fitted.latent(seen).mean[row[here], column[here]]
        job.check()
    return latents
