"""Unfamiliar tissue: how much of it there is on which slide, and whether errors grow with it.

Pixel2Gene `robust`, `stain`, seed 0. Beyond 1: which share of the tissue lies beyond what 95 % of
the training tissue stays within. |error| and r in quarters of the distance, nearest first: of
sections C2 to C4, each left out, of spots, the 250 genes that vary most where it learned; of the
hidden fifth of a phantom of 4 mm, of superpixels against the truth, its 200 genes. Given depth: the
rank correlation of distance and |error| with the log total count of the spots held constant.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from belief import CPU, MM, SCORED, settings_of
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from napari_stenhance.features.opening import open_features
from napari_stenhance.features.source import FeatureSettings, FeatureSource
from napari_stenhance.methods.genes import choose_genes
from napari_stenhance.methods.pixel2gene.ensemble import Pixel2GeneEnsemble
from napari_stenhance.methods.pixel2gene.model import Pixel2GeneModel
from napari_stenhance.methods.protocol import Latent
from napari_stenhance.phantoms.phantom import Phantom
from napari_stenhance.phantoms.write import write_phantom
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.section.spots import log1p_cp10k
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.tiles import Tile, tiles_of
from napari_stenhance.tasks.gene_evaluation import hide_blocks, predict_spots
from napari_stenhance.tasks.training import take_sample

Array = NDArray[np.float32]
UNDER_UM = 60.0
"""Superpixels of a phantom that lie so near to a hidden spot are scored."""


def learn(sections: list[Section], settings: FeatureSettings) -> tuple[Pixel2GeneModel, list[int]]:
    """Learn, and return the columns of the genes that vary most."""
    method, job = Pixel2GeneEnsemble("stain", 0, CPU), Job()
    samples = [take_sample(one, settings, method, job) for one in sections]
    genes = choose_genes(method.genes, samples)
    variance = np.concatenate([s.log1p_cp10k(genes).toarray() for s in samples]).var(axis=0)
    order = np.argsort(-variance, kind="stable")
    return method.fit(samples, genes, job), [int(n) for n in order[:SCORED]]


def looked_at(
    fitted: Pixel2GeneModel, section: Section, settings: FeatureSettings
) -> Iterator[tuple[FeatureSource, Tile, Latent]]:
    features = open_features(section.need_slide(), settings, Job())
    features.extract()
    halo = int(np.ceil(fitted.halo_um / features.grid.pitch_um))
    for tile in tiles_of(features.grid.shape, 128):
        if features.tissue[tile.rows, tile.columns].any():
            yield features, tile, fitted.latent(features.tile(tile.rows, tile.columns, halo))


def distances(fitted: Pixel2GeneModel, section: Section, settings: FeatureSettings) -> Array:
    raster = None
    for features, tile, latent in looked_at(fitted, section, settings):
        if raster is None:
            raster = np.full(features.grid.shape, np.nan, np.float32)
        raster[tile.rows, tile.columns] = latent.distance
    assert raster is not None
    return raster


def beyond(distance: Array) -> float:
    return float((distance[np.isfinite(distance)] > 1).mean())


def by_quarter(
    distance: NDArray[np.float64], error: Array, predicted: Array, measured: Array
) -> tuple[str, str]:
    quarter = (rankdata(distance, "ordinal") - 1).astype(int) * 4 // len(distance)
    parts = [quarter == n for n in range(4)]
    r = [np.nan_to_num(pearson(predicted[p], measured[p])).mean() for p in parts]
    errors = " / ".join(f"{error[p].mean():.2f}" for p in parts)
    return errors, " / ".join(f"{one:.2f}" for one in r)


def rank_r(one: Array, other: Array, held: Array | None = None) -> float:
    ranks = [rankdata(values) for values in (one, other)]
    if held is not None:
        line = np.polynomial.polynomial.polyvander(rankdata(held), 1)
        ranks = [v - line @ np.linalg.lstsq(line, v, rcond=None)[0] for v in ranks]
    return float(np.corrcoef(*ranks)[0, 1])


def of_section(left: Section, others: list[Section], settings: FeatureSettings) -> str:
    fitted, columns = learn(others, settings)
    names = set(left.need_spots().var_names)
    columns = [n for n in columns if fitted.decoder.genes[n] in names]
    raster = distances(fitted, left, settings)
    sample = take_sample(left, settings, Pixel2GeneEnsemble("stain", 0, CPU), Job())
    under = sample.footprints
    total = np.bincount(under.spot, raster[under.row, under.column])
    distance = total / np.bincount(under.spot)
    predicted = predict_spots(left, fitted, settings, Job(), np.array(columns))
    at = cKDTree(left.spots_um()).query(sample.xy_um)[1]
    genes = [fitted.decoder.genes[n] for n in columns]
    measured = log1p_cp10k(sp.csr_array(sample.counts_of(genes)), sample.library).toarray()
    error = np.abs(predicted[at] - measured).mean(axis=1)
    errors, r = by_quarter(distance, error, predicted[at], measured)
    plain, given = rank_r(distance, error), rank_r(distance, error, sample.library)
    return f"{beyond(raster):.3f} | {errors} | {r} | {plain:.2f} | {given:.2f}"


def of_phantom(phantom: Phantom, settings: FeatureSettings) -> str:
    made = open_section(phantom.folder)
    part = next(iter(hide_blocks(made, 5, 200.0, 0)))
    fitted, _ = learn(list(part.learned), settings)
    near = cKDTree(part.section.spots_um()[part.hidden])
    genes = list(fitted.decoder.genes)
    found: list[tuple[Array, Array, Array]] = []
    for features, tile, latent in looked_at(fitted, made, settings):
        known = np.isfinite(latent.mean[..., 0]) & (phantom.domain[tile.rows, tile.columns] > 0)
        row, column = np.nonzero(known)
        at = features.grid.centres_um(row + tile.rows.start, column + tile.columns.start)
        here = near.query(at)[0] < UNDER_UM
        if here.any():
            truth = phantom.expression(genes, tile.rows, tile.columns)[:, row[here], column[here]]
            values = fitted.decoder.values(
                latent.mean[row[here], column[here]], np.arange(len(genes))
            )
            assert latent.distance is not None
            found.append((latent.distance[row[here], column[here]], values, truth.T))
    distance, predicted, truth = (np.concatenate(each) for each in zip(*found, strict=True))
    error = np.abs(predicted - truth).mean(axis=1)
    errors, r = by_quarter(distance, error, predicted, truth)
    return f"{beyond(distance):.3f} | {errors} | {r} | {rank_r(distance, error):.2f} | –"


def main() -> None:
    data = Path(os.environ.get("STENHANCE_TEST_DATA", "../shared/data"))
    settings = settings_of(Cache.default())
    her2 = {name: open_section(data / "her2st" / name) for name in ("C2", "C3", "C4")}
    print("| | beyond 1 | error, nearest to farthest | r | rank correlation | given depth |")
    print("|---|---|---|---|---|---|")
    for name, left in her2.items():
        others = [one for one in her2.values() if one is not left]
        where = " + ".join(one.name for one in others)
        print(f"| {where} → {name} |", of_section(left, others, settings), "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        phantom = write_phantom(Path(folder) / "phantom", MM, 0)
        print("| inside a phantom |", of_phantom(phantom, settings), "|\n", flush=True)
        fitted, _ = learn([her2["C2"], her2["C3"]], settings)
        print("| C2 + C3 applied to | beyond 1 |\n|---|---|")
        bulb = open_section(data / "mob" / "rep11_he.jpg", mpp=2.76)
        others = {"mouse olfactory bulb": bulb, "a phantom": open_section(phantom.folder)}
        for name, section in ({"C4": her2["C4"]} | others).items():
            print(f"| {name} | {beyond(distances(fitted, section, settings)):.3f} |", flush=True)
    print("done", file=sys.stderr)


if __name__ == "__main__":
    main()
