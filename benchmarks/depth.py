"""What could be learned of genes beside depth: kernel ridge on spot means, whole sections left out.

Mean r and mean r given depth over the 250 genes that vary most on the training sections, and r of
the prediction with log depth, over the sections C2, C3 and C4, each left out in turn. No seed: so
many ways are tried in a minute, and those that gain are tried in `robust` (`evidence`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from accuracy import EVERY, HVG, SECTIONS, load, spot_means
from numpy.typing import NDArray
from scipy.stats import poisson
from sklearn.metrics.pairwise import rbf_kernel

from napari_stenhance.methods.genes import common_genes, variance
from napari_stenhance.methods.pixel2gene.inputs import training_inputs
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.metrics import gene_accuracy, pearson

GENES, AXES, PENALTY, CLIP = 2000, 8, 0.3, 5.0
OVERDISPERSION, SHRINK, STEPS = 2.0, 5.0, 300
OFTEN, MOST = 100.0, 200
Array = NDArray[np.float64]


@dataclass(frozen=True)
class LeftOut:
    """One section to predict, and what is learned from."""

    training: tuple[TrainingSection, ...]
    test: TrainingSection
    genes: tuple[str, ...]
    inputs: tuple[Array, ...]

    @cached_property
    def kernel(self) -> tuple[Array, Array]:
        """Of what is learned from with itself, and of the section left out with it."""
        known = np.concatenate(self.inputs[:-1])
        shift, scale = known.mean(axis=0), known.std(axis=0) + 1e-6
        one, other = (
            np.clip((part - shift) / scale, -CLIP, CLIP) for part in (known, self.inputs[-1])
        )
        gamma = 0.3 / known.shape[1]
        return rbf_kernel(one, one, gamma), rbf_kernel(other, one, gamma)

    @cached_property
    def log(self) -> Array:
        """log1p CP10k, each section less its mean."""
        return self.centred([s.log1p_cp10k(self.genes).toarray() for s in self.training])

    @cached_property
    def depth(self) -> Array:
        return self.centred([np.log(s.library)[:, None] for s in self.training])[:, 0]

    @staticmethod
    def centred(parts: Sequence[Array]) -> Array:
        return np.concatenate([part - part.mean(axis=0) for part in parts]).astype(np.float64)

    @cached_property
    def slopes(self) -> tuple[Array, Array, Array]:
        """Counts in a spot of mean depth; what log1p CP10k gains with log share, and log depth."""
        depths = np.concatenate([s.library for s in self.training])
        counted = np.sum([s.counts_of(self.genes).sum(axis=0) for s in self.training], axis=0)
        mean = float(np.exp(np.log(depths).mean()))
        expected = counted / depths.sum() * mean
        return expected, *count_slopes(expected, mean)

    @cached_property
    def residuals(self) -> Array:
        """Pearson residuals of a Poisson model whose offset is depth, in the unit of log1p."""
        expected, slope, _ = self.slopes
        parts = []
        for sample in self.training:
            counts = sample.counts_of(self.genes).toarray()
            mean = np.outer(sample.library, counts.sum(axis=0) / sample.library.sum())
            residual = (counts - mean) / np.sqrt(np.maximum(mean, 1e-12))
            most = np.sqrt(len(counts))
            parts.append(np.clip(residual, -most, most) * slope / np.sqrt(expected))
        return self.centred(parts)

    def learn(self, values: Array, weight: Array | None = None) -> Array:
        known, new = self.kernel
        weight = np.ones(len(known)) if weight is None else weight / weight.mean()
        return new @ np.linalg.solve(known + PENALTY * np.diag(1 / weight), values)

    def through_axes(
        self, values: Array, axes: int = AXES, weight: Array | None = None, by: Array | float = 1.0
    ) -> Array:
        """Predict genes through a basis of these values, each gene times `by` in it."""
        root = 1.0 if weight is None else np.sqrt(weight / weight.mean())[:, None]
        _, _, found = np.linalg.svd(values * by * root, full_matrices=False)
        return self.learn(values * by @ found[:axes].T, weight) @ found[:axes] / by

    def from_counts(self) -> Array:
        """Predict log rates: a negative binomial of counts whose offset is log depth."""
        known, new = self.kernel
        size, turned = np.linalg.eigh(known)
        kept = size > 1e-8 * size.max()
        size, turned = size[kept], turned[:, kept]
        seen, unseen = turned * np.sqrt(size), new @ turned / np.sqrt(size)
        _, _, axes = np.linalg.svd(self.log, full_matrices=False)
        axes = axes[:AXES]
        scores = np.linalg.solve(
            seen.T @ seen + 0.5 * np.eye(len(size)), seen.T @ self.log @ axes.T
        )
        length = np.linalg.norm(scores, axis=0)
        counts = np.concatenate([s.counts_of(self.genes).toarray() for s in self.training])
        section = np.repeat(np.arange(2), [len(s.xy_um) for s in self.training])
        offset = np.log(np.concatenate([s.library for s in self.training]) / 1e4)
        x, inputs, offset, chosen = map(torch.tensor, (counts, seen, offset[:, None], section))
        start = [
            torch.log((x[chosen == n].sum(dim=0) + 0.5) / offset[chosen == n].exp().sum())
            for n in range(2)
        ]
        mean = torch.stack(start).requires_grad_()
        left = torch.tensor(scores / np.sqrt(length)).requires_grad_()
        right = torch.tensor(axes * np.sqrt(length)[:, None]).requires_grad_()
        optimiser = torch.optim.Adam([mean, left, right], lr=0.02)
        for _ in range(STEPS):
            log = mean[chosen] + inputs @ left @ right + offset
            loss = ((x + OVERDISPERSION) * torch.log(log.exp() + OVERDISPERSION) - x * log).sum()
            loss = loss + SHRINK * (left.square().sum() + right.square().sum())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return unseen @ (left @ right).detach().numpy()


def count_slopes(
    expected: NDArray[np.float64], depth: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return by how much expected log1p CP10k grows with log share, and with log depth.

    Of Poisson counts with these means in a spot of that depth; above a hundred, to first order.
    """
    each = 1e4 / depth
    mean = expected * each
    slope, depth_slope = mean / (1 + mean), np.zeros_like(mean)
    counts = np.arange(MOST + 1)[:, None]
    seldom = np.flatnonzero(expected <= OFTEN)
    at_once = 2000
    for low in range(0, len(seldom), at_once):
        some = seldom[low : low + at_once]
        chance = poisson.pmf(counts, expected[some])
        moved = (counts - expected[some]) * np.log1p(counts * each)
        slope[some] = (chance * moved).sum(axis=0)
        less = (chance * (counts * each / (1 + counts * each))).sum(axis=0)
        depth_slope[some] = slope[some] - less
    return slope, depth_slope


def ways(one: LeftOut) -> Iterator[tuple[str, Array]]:
    log, depth = one.log, one.depth
    slope = depth @ log / (depth @ depth)
    _, rate_slope, depth_slope = one.slopes
    predicted_depth = np.outer(one.learn(depth), np.ones(log.shape[1]))
    yield "log1p CP10k", one.through_axes(log)
    for part in (0.25, 0.5, 1.0):
        yield (
            f"log1p CP10k, {part:g} of its slope on log depth taken",
            one.through_axes(log - part * np.outer(depth, slope)),
        )
    for by, power in (("the root of depth", 0.5), ("depth", 1.0)):
        weight = np.exp(power * depth)
        yield f"log1p CP10k, spots weighed by {by}", one.through_axes(log, weight=weight)
    yield (
        "log1p CP10k, genes of equal variance in the basis",
        one.through_axes(log, by=1 / (log.std(axis=0) + 1e-3)),
    )
    yield "log1p CP10k, 20 axes", one.through_axes(log, 20)
    root = np.exp(depth / 2)
    for share in (0.25, 0.5):
        values = share * one.residuals + (1 - share) * log
        deep = np.outer(one.learn(depth, root), share * depth_slope)
        named = f"residuals, share {share:g}, and depth, spots weighed by the root of depth"
        yield named, one.through_axes(values, weight=root) + deep
    for share in (0.25, 0.5, 0.75, 1.0):
        values = share * one.residuals + (1 - share) * log
        found, named = one.through_axes(values), f"residuals, share {share:g}"
        yield f"{named}, without depth", found
        yield f"{named}, and depth", found + predicted_depth * share * depth_slope
    rates = one.from_counts()
    yield "negative binomial with offset, log rates", rates
    yield (
        "the same in the unit of log1p CP10k, and depth",
        (rates * rate_slope + predicted_depth * depth_slope),
    )


def main() -> None:
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default)) / "her2st"
    samples = {name: load(name, folder) for name in SECTIONS}
    rng, means = np.random.default_rng(0), {}
    for name, both in samples.items():
        means[name] = [
            spot_means(*training_inputs([one], EVERY, rng, Job())).astype(np.float64)
            for one in both
        ]
    rows: dict[str, list[tuple[float, ...]]] = {}
    for left_out in SECTIONS:
        others = sorted(set(SECTIONS) - {left_out})
        training = tuple(samples[name][0] for name in others)
        test = samples[left_out][1]
        shared = common_genes([(s.name, s.genes) for s in training])
        spread = np.argsort(-variance([s.log1p_cp10k(shared) for s in training]), kind="stable")
        genes = tuple(shared[n] for n in spread[:GENES])
        inputs = (*(means[name][0] for name in others), means[left_out][1])
        one = LeftOut(training, test, genes, inputs)
        there = [n for n, gene in enumerate(genes) if gene in set(test.genes)][:HVG]
        measured = test.log1p_cp10k([genes[n] for n in there]).toarray()
        log_depth = np.log(np.maximum(test.library, 1))[:, None]
        for name, predicted in ways(one):
            found = gene_accuracy(predicted[:, there], measured, test.library)
            follows = np.nan_to_num(pearson(predicted[:, there], log_depth)).mean()
            both = (float(np.nan_to_num(part).mean()) for part in found)
            rows.setdefault(name, []).append((*both, float(follows)))
    print("| learned | r | r given depth | r with depth |")
    print("|---|---|---|---|")
    for name, found in rows.items():
        print(f"| {name} | {' | '.join(f'{v:.3f}' for v in np.mean(found, axis=0))} |")
