"""Leave one of three HER2-positive sections out: Pixel2Gene `robust`, its ablation, and ridge.

Then the published recipe beside `robust`, from one section to another.

Mean Pearson r over the 250 genes that vary most on the training sections (variance of log1p
CP10k), across all spots of the section left out; a gene that does not vary there counts as 0.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import FeatureSettings
from napari_stenhance.methods.basis import fit_basis
from napari_stenhance.methods.genes import choose_genes, common_genes, variance
from napari_stenhance.methods.pixel2gene import ensemble as ensemble_module
from napari_stenhance.methods.pixel2gene import model as model_module
from napari_stenhance.methods.pixel2gene.ensemble import Pixel2GeneEnsemble
from napari_stenhance.methods.pixel2gene.inputs import inputs_of, training_inputs
from napari_stenhance.methods.pixel2gene.reference.method import Pixel2GeneReference
from napari_stenhance.methods.pixel2gene.reference.recipe import (
    PIXEL2GENE,
    Pixel2GeneReferenceRecipe,
)
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Event, Job, Note
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.cache import Cache

SECTIONS = ("C4", "C3", "C2")
SEEDS = range(5)
HVG = 250
CPU = torch.device("cpu")
EVERY = 10**6
Predict = Callable[
    [list[TrainingSection], TrainingSection, tuple[str, ...], int], NDArray[np.float32]
]


def load(
    name: str, folder: Path, encoder: str = "stain"
) -> tuple[TrainingSection, TrainingSection]:
    """Return a section to learn from, and one to be judged on, with all of its spots."""
    section = open_section(folder / name)
    settings = FeatureSettings(find_encoder(encoder), CPU, Cache.default())
    features = open_features(section.need_slide(), settings, Job())
    features.extract()
    under = Footprints.under(features.grid, section.spots_um(), section.geometry(), features.tissue)
    return TrainingSection.from_section(
        section, features, under, 0.05
    ), TrainingSection.from_section(section, features, under, 0.0)


def spot_means(inputs: NDArray[np.float32], spot: NDArray[np.int64]) -> NDArray[np.float32]:
    total = np.zeros((spot.max() + 1, inputs.shape[1]))
    np.add.at(total, spot, inputs)
    return (total / np.bincount(spot)[:, None]).astype(np.float32)


def robust() -> Predict:
    def predict(
        training: list[TrainingSection], test: TrainingSection, genes: tuple[str, ...], seed: int
    ) -> NDArray[np.float32]:
        fitted = Pixel2GeneEnsemble("stain", seed, CPU).fit(training, genes, Job())
        inputs, spot = ensemble_module.training_inputs(
            [test], EVERY, np.random.default_rng(0), Job()
        )
        scores = fitted.scores(inputs).mean(axis=0)
        return spot_means(scores, spot) @ fitted.decoder.weights + fitted.decoder.bias

    return predict


def ridge(columns: slice) -> Predict:
    """Ridge from spot averages to the scores of eight axes: the anchor of every comparison."""

    def predict(
        training: list[TrainingSection], test: TrainingSection, genes: tuple[str, ...], _seed: int
    ) -> NDArray[np.float32]:
        rng = np.random.default_rng(0)
        means = [
            spot_means(*training_inputs([s], EVERY, rng, Job()))[:, columns]
            for s in (*training, test)
        ]
        basis, scores = fit_basis([s.log1p_cp10k(genes) for s in training], 8, 0)
        learned = np.concatenate(means[:-1])
        shift, scale = learned.mean(axis=0), learned.std(axis=0)
        model = Ridge(alpha=300.0).fit((learned - shift) / scale, scores)
        return model.predict((means[-1] - shift) / scale) @ basis.axes + basis.mean

    return predict


@contextmanager
def without_context(kept: int = 1) -> Iterator[None]:
    """Blank what the network sees around a superpixel, but for so many fifths of its inputs."""

    def blank(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        inputs[:, kept * inputs.shape[1] // 5 :] = 0
        return inputs

    def training(*arguments: object) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        inputs, spot = training_inputs(*arguments)  # type: ignore[arg-type]
        return blank(inputs), spot

    with (
        mock.patch.object(ensemble_module, "training_inputs", training),
        mock.patch.object(model_module, "inputs_of", lambda *a: blank(inputs_of(*a))),
    ):
        yield


def predicted_and_measured(
    predict: Predict,
    samples: dict[str, tuple[TrainingSection, TrainingSection]],
    left_out: str,
    seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return both of the most variable genes in the spots of the section left out."""
    training = [samples[name][0] for name in sorted(SECTIONS) if name != left_out]
    test = samples[left_out][1]
    genes = common_genes([(s.name, s.genes) for s in training])
    spread = variance([s.log1p_cp10k(genes) for s in training])
    shared = set(test.genes)
    chosen = [g for g in np.argsort(-spread)[:HVG] if genes[g] in shared]
    measured = test.log1p_cp10k([genes[g] for g in chosen]).toarray()
    return predict(training, test, genes, seed)[:, chosen], measured


def score(
    predict: Predict,
    samples: dict[str, tuple[TrainingSection, TrainingSection]],
    left_out: str,
    seed: int,
) -> float:
    predicted, measured = predicted_and_measured(predict, samples, left_out, seed)
    return float(np.nan_to_num(pearson(predicted, measured)).sum() / HVG)


def row(
    name: str,
    predict: Predict,
    samples: dict[str, tuple[TrainingSection, TrainingSection]],
    seeds: range,
) -> None:
    r = np.array(
        [[score(predict, samples, left_out, seed) for left_out in SECTIONS] for seed in seeds]
    )
    cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(r.mean(axis=0), r.std(axis=0), strict=True)]
    print(f"| {name} | {' | '.join(cells)} | {r.mean():.3f} | {len(seeds)} |", flush=True)


def published(recipe: Pixel2GeneReferenceRecipe) -> Predict:
    """Return the published recipe; every spot goes to its filter, and it models few genes."""

    def say(event: Event) -> None:
        if isinstance(event, Note):
            print(event.text, flush=True)

    def predict(
        training: list[TrainingSection], test: TrainingSection, genes: tuple[str, ...], seed: int
    ) -> NDArray[np.float32]:
        fitted = Pixel2GeneReference("stain", seed, CPU, recipe).fit(training, genes, Job(say))
        under = test.footprints
        inputs = test.features.raw_at(under.row, under.column).astype(np.float32)
        # In parts: members × superpixels × genes are many.
        parts = [fitted.counts(some).mean(axis=0) for some in np.array_split(inputs, 16)]
        return spot_means(np.concatenate(parts), under.spot)

    return predict


def from_one_section(
    samples: dict[str, tuple[TrainingSection, TrainingSection]],
    cases: dict[str, tuple[Predict, int]],
) -> None:
    """Learn from C2, predict C3; which of the two samples, and how long, is the case's."""
    test = samples["C3"][1]
    chosen = choose_genes(f"hvg:{HVG}", [samples["C2"][0]])
    there = [gene for gene in chosen if gene in set(test.genes)]
    position = [chosen.index(gene) for gene in there]
    counts = test.counts_of(there).toarray()
    print("| model | r with log1p CP10k | r with counts | seconds |")
    print("|---|---|---|---|", flush=True)
    for name, (predict, which) in cases.items():
        started = time.monotonic()
        predicted = predict([samples["C2"][which]], test, chosen, 0)[:, position]
        seconds = time.monotonic() - started
        r = [
            np.nan_to_num(pearson(predicted, measured)).sum() / HVG
            for measured in (test.log1p_cp10k(there).toarray(), counts)
        ]
        print(f"| {name} | {r[0]:.3f} | {r[1]:.3f} | {seconds:.0f} |", flush=True)


def main() -> None:
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default)) / "her2st"
    samples = {name: load(name, folder) for name in SECTIONS}
    dim = 144
    print("| model | C2+C3 → C4 | C2+C4 → C3 | C3+C4 → C2 | mean | seeds |")
    print("|---|---|---|---|---|---|", flush=True)
    row("ridge on spot means", ridge(slice(0, dim)), samples, range(1))
    row("ridge on spot means with context", ridge(slice(0, 5 * dim)), samples, range(1))
    row("`robust`", robust(), samples, SEEDS)
    with without_context():
        row("`robust` without context", robust(), samples, SEEDS)
    from_one_section(
        samples,
        {
            "ridge on spot means": (ridge(slice(0, dim)), 0),
            "`robust`": (robust(), 0),
            "`reference`, 100 epochs": (published(replace(PIXEL2GENE, epochs=100)), 1),
            "`reference`, 600 epochs": (published(PIXEL2GENE), 1),
            "one network on every spot, no filter, 100 epochs": (
                published(replace(PIXEL2GENE, epochs=100, folds=0, clusters=0)),
                1,
            ),
        },
    )


if __name__ == "__main__":
    main()
