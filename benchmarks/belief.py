"""What can be believed: coverage of prediction intervals, and how many of the marked are wrong.

Inside C4 (five folds of blocks of 1 mm, never used, with a buffer of 200 µm), on C4 learned
from C2 and C3, and inside a phantom, whose truth is known: there, too, whether errors grow with the
*expression sd*. Pixel2Gene `robust`, `stain`, the 250 genes that vary most where it learned (200
of the phantom). `STENHANCE_SEEDS`, by default 1, says how many seeds, from 0 on.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from scipy.stats import spearmanr

from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import FeatureSettings
from napari_stenhance.methods.genes import choose_genes
from napari_stenhance.methods.pixel2gene.ensemble import Pixel2GeneEnsemble
from napari_stenhance.phantoms.phantom import Phantom
from napari_stenhance.phantoms.write import write_phantom
from napari_stenhance.running.job import Job
from napari_stenhance.section.section import open_section
from napari_stenhance.section.spots import counts_of, log1p_cp10k
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.tiles import tiles_of
from napari_stenhance.tasks.believed import believed
from napari_stenhance.tasks.gene_evaluation import (
    HiddenSpots,
    hide_blocks,
    hide_sections,
    predict_spots,
)
from napari_stenhance.tasks.training import take_sample

SCORED, MM = 250, 4.0
CPU = torch.device("cpu")
COVERAGE = ("coverage", "interval width")
QUARTILES = "lowest", "second", "third", "highest"


def settings_of(cache: Cache) -> FeatureSettings:
    return FeatureSettings(find_encoder("stain"), CPU, cache)


def judged(part: HiddenSpots, settings: FeatureSettings, seed: int) -> dict[str, float]:
    method, job = Pixel2GeneEnsemble("stain", seed, CPU), Job()
    samples = [take_sample(one, settings, method, job) for one in part.learned]
    genes = choose_genes(method.genes, samples)
    fitted = method.fit(samples, genes, job)
    spots, hidden = part.section.need_spots(), part.hidden
    variance = np.concatenate([s.log1p_cp10k(genes).toarray() for s in samples]).var(axis=0)
    there = np.isin(genes, spots.var_names)
    columns = np.argsort(-np.where(there, variance, -1), kind="stable")[:SCORED]
    counts = sp.csr_array(spots.X)
    depth = np.asarray(counts.sum(axis=1), np.float64).ravel()
    measured = log1p_cp10k(counts_of(spots, [genes[n] for n in columns]), depth).toarray()
    predicted = predict_spots(part.section, fitted, settings, job, columns)
    at = part.section.spots_um()[hidden]
    return believed(fitted.decoder, columns, predicted[hidden], measured[hidden], at)


def cases(data: Path, phantom: Phantom, seed: int) -> Iterator[tuple[str, HiddenSpots]]:
    c2, c3, c4 = (open_section(data / "her2st" / name) for name in ("C2", "C3", "C4"))
    yield from (("inside C4", part) for part in hide_blocks(c4, 5, 200.0, seed))
    yield from (("C2 + C3 → C4", part) for part in hide_sections([c2, c3], [c4]))
    made = open_section(phantom.folder)
    yield from (("inside a phantom", part) for part in hide_blocks(made, 5, 200.0, seed))


def errors_by_sd(phantom: Phantom, settings: FeatureSettings, seed: int) -> tuple[float, ...]:
    """Return |error| against the truth in fifths of the expression sd, their rank correlation, and
    the share of superpixels whose error is within 1.64 sd, each over all genes and superpixels."""
    section, method, job = (
        open_section(phantom.folder),
        Pixel2GeneEnsemble("stain", seed, CPU),
        Job(),
    )
    sample = take_sample(section, settings, method, job)
    fitted = method.fit([sample], sample.genes, job)
    features = open_features(section.need_slide(), settings, job)
    features.extract()
    halo = int(np.ceil(fitted.halo_um / features.grid.pitch_um))
    genes, errors, sds = list(sample.genes), [], []
    for tile in tiles_of(features.grid.shape, 128):
        seen = features.tile(tile.rows, tile.columns, halo)
        latent = fitted.latent(seen)
        known = np.isfinite(latent.mean[..., 0]) & (phantom.domain[tile.rows, tile.columns] > 0)
        if not known.any():
            continue
        truth = phantom.expression(genes, tile.rows, tile.columns)[:, known].T
        columns = np.arange(len(genes))
        errors.append(np.abs(fitted.decoder.values(latent.mean[known], columns) - truth))
        sds.append(
            np.stack([fitted.decoder.spread(latent.variance[known], n) for n in columns], axis=1)
        )
    error, sd = np.concatenate(errors), np.concatenate(sds)
    rank = np.mean([spearmanr(sd[:, n], error[:, n]).statistic for n in range(error.shape[1])])
    fifth = np.argsort(np.argsort(sd, axis=0), axis=0) * 5 // len(sd)
    return (*(error[fifth == n].mean() for n in range(5)), rank, (error <= 1.64 * sd).mean())


def main() -> None:
    data = Path(os.environ.get("STENHANCE_TEST_DATA", "../shared/data"))
    seeds = range(int(os.environ.get("STENHANCE_SEEDS", "1")))
    settings = settings_of(Cache.default())
    rows: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        phantom = write_phantom(Path(folder) / "phantom", MM, 0)
        for seed in seeds:
            for name, part in cases(data, phantom, seed):
                found = judged(part, settings, seed) | {"spots": float(part.hidden.sum())}
                rows.setdefault(name, []).append(found)
                said = f"{name}, seed {seed}: {found['coverage']:.3f} covered"
                print(said, file=sys.stderr, flush=True)
        grown = np.mean([errors_by_sd(phantom, settings, seed) for seed in seeds], axis=0)
    print_tables(rows)
    print(f"\nSeeds: {len(seeds)}. Phantom: |error| by fifth of the expression sd, lowest first: ")
    print(", ".join(f"{one:.3f}" for one in grown[:5]), end="; ")
    print(f"rank correlation {grown[5]:.2f}; errors within 1.64 sd: {grown[6]:.0%} of superpixels.")


def print_tables(rows: dict[str, list[dict[str, float]]]) -> None:
    def mean(found: list[dict[str, float]], key: str) -> float:
        values = np.array([(one[key], one["spots"]) for one in found])
        values = values[np.isfinite(values[:, 0])]
        return float(np.average(values[:, 0], weights=values[:, 1])) if len(values) else np.nan

    by = ("genes", "predicted", "measured")
    print("| | all |", *(f"by {one}, lowest to highest |" for one in by), "mean width |")
    print("|---|---|---|---|---|---|")
    for name, found in rows.items():
        cells = [
            " / ".join(f"{mean(found, f'coverage, {one} {q}'):.3f}" for q in QUARTILES)
            for one in by
        ]
        print(f"| {name} | {mean(found, 'coverage'):.3f} |", " | ".join(cells), end=" | ")
        print(f"{mean(found, 'interval width'):.2f} |")
    print("\n| | scale | above | genes with a cut | wrong of marked | of genes marked | found |")
    print("|---|---|---|---|---|---|---|")
    for name, found in rows.items():
        for scale in ("spot", "8 spots", "region"):
            for above in ("0", "lower quartile", "median"):
                cells = [
                    f"{mean(found, f'{what}, above {above}, {scale}'):.3f}"
                    for what in ("cut", "wrong", "wrong if marked", "found")
                ]
                print(f"| {name} | {scale} | {above} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
