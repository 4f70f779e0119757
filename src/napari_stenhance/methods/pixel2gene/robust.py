"""Pixel2Gene, preset `robust`: trained so that it predicts tissue it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.extract import FeatureMap
from napari_stenhance.features.registry import encoder_identity
from napari_stenhance.methods.basis import GeneBasis, fit_basis
from napari_stenhance.methods.ensemble import Ensemble
from napari_stenhance.methods.field import Decoder
from napari_stenhance.methods.genes import ALL
from napari_stenhance.methods.pixel2gene.fitted import FittedRobust, spread_scales, standardise
from napari_stenhance.methods.pixel2gene.inputs import FAR_UM, training_inputs
from napari_stenhance.methods.rank import CHOICES, choose_rank
from napari_stenhance.methods.sample import Sample
from napari_stenhance.methods.training import Schedule, SpotData, train
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.scoring.splits import block_folds

_GENES_AT_ONCE = 1000
_CALIBRATED_ON = 2048


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of `robust`.

    Attributes
    ----------
    members : int
        MLPs in the ensemble.
    folds : int
        Member m holds out the blocks of fold m mod `folds`.
    block_um : float
        Side of the spatial blocks that are held out.
    hidden : tuple of int
        Widths; the published network has four layers of 256.
    dropout : float
    clip : float
        Standardised inputs beyond this many standard deviations are cut to it.
    most_pairs : int
        Superpixels kept for training, over all spots.
    schedule : Schedule
    """

    members: int = 10
    folds: int = 5
    block_um: float = 1000.0
    hidden: tuple[int, ...] = (128, 128, 128, 128)
    dropout: float = 0.4
    clip: float = 5.0
    most_pairs: int = 400_000
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True)
class Robust:
    """Pixel2Gene with preset `robust`: `Method`.

    Weak supervision as published (the mean over a spot's superpixels must match the spot), with
    log1p CP10k instead of min–max counts, a gene basis instead of single genes, standardised
    features with their context, dropout, weight decay, and early stopping on spatial blocks.

    Attributes
    ----------
    encoder : str
    seed : int
    device : torch.device
    recipe : Recipe
    """

    encoder: str
    seed: int
    device: torch.device
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def crops_um(self) -> tuple[float, ...]:
        """None: it sees superpixels."""
        return ()

    @property
    def halo_um(self) -> float:
        """How far around a spot's superpixels features are needed, in micrometres."""
        return FAR_UM / 2

    @property
    def least_share(self) -> float:
        """A spot with less than a twentieth of the median count: its proportions are noise."""
        return 0.05

    @property
    def genes(self) -> str:
        """Which genes it models where none are chosen: all."""
        return ALL

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        return asdict(self.recipe)

    def fit(
        self, samples: Sequence[Sample[FeatureMap]], genes: Sequence[str], job: Job
    ) -> FittedRobust:
        """Learn from the spots of one or more sections.

        Raises
        ------
        InputError
            If there are fewer than ten spots.
        InferenceError
            If the device fails.
        """
        spots = sum(len(s.xy_um) for s in samples)
        if spots < 2 * self.recipe.folds:
            msg = (
                f"{', '.join(s.name for s in samples)}: only {spots} spots lie on tissue and have "
                f"counts; at least {2 * self.recipe.folds} are needed to train and to hold out."
            )
            raise InputError(msg)
        rng = np.random.default_rng(self.seed)
        expressions = [s.log1p_cp10k(genes) for s in samples]
        most_each = max(self.recipe.most_pairs // spots, self.recipe.schedule.superpixels_per_spot)
        inputs, spot = training_inputs(samples, most_each, rng, job)
        shift, scale = _moments(inputs, samples[0].features.dim)
        standard = standardise(inputs, shift, scale, self.recipe.clip)
        held_out = self._held_out(samples, rng)
        basis, scores = fit_basis(expressions, CHOICES[-1], self.seed)
        rank = self._rank(standard, spot, scores, basis, expressions, held_out)
        basis, scores = replace(basis, axes=basis.axes[:rank]), scores[:, :rank]
        # Scores of unit mean square length: learning rates then suit any data.
        score_scale = float(np.sqrt(np.square(scores, dtype=np.float64).sum(axis=1).mean())) or 1.0
        with torch.random.fork_rng(), inference_errors("Training"):
            torch.manual_seed(self.seed)
            network = Ensemble(
                self.recipe.members, inputs.shape[1], rank, self.recipe.hidden, self.recipe.dropout
            ).to(self.device)
            data = SpotData(
                inputs=torch.from_numpy(standard).to(self.device),
                first=torch.from_numpy(np.searchsorted(spot, np.arange(spots))).to(self.device),
                count=torch.from_numpy(np.bincount(spot, minlength=spots)).to(self.device),
                target=torch.from_numpy(scores / np.float32(score_scale)).to(self.device),
            )
            predicted = train(network, data, held_out, self.recipe.schedule, rng, job)
        decoder = Decoder(
            genes=tuple(genes),
            weights=basis.axes,
            bias=basis.mean,
            unit="log1p CP10k",
            held_out_r=_held_out_r(predicted, basis, expressions),
            spread_scale=np.ones(len(genes), np.float32),
        )
        fitted = FittedRobust(
            decoder=decoder,
            network=network,
            shift=shift,
            scale=scale,
            clip=self.recipe.clip,
            pitch_um=samples[0].features.grid.pitch_um,
            encoder=self.encoder,
            encoder_identity=encoder_identity(self.encoder),
            score_scale=score_scale,
        )
        some = rng.choice(len(inputs), min(_CALIBRATED_ON, len(inputs)), replace=False)
        spread_scale = spread_scales(fitted.scores(inputs[np.sort(some)]), decoder)
        return replace(fitted, decoder=replace(decoder, spread_scale=spread_scale))

    def _rank(
        self,
        standard: NDArray[np.float32],
        spot: NDArray[np.int64],
        scores: NDArray[np.float32],
        basis: GeneBasis,
        expressions: Sequence[sp.csr_array],
        held_out: list[NDArray[np.int64]],
    ) -> int:
        """Choose the rank on the blocks that the first round of members holds out."""
        pairs = np.arange(len(spot))
        average = sp.csr_array((np.ones(len(spot), np.float32), (spot, pairs)))
        means = (average @ standard) / np.bincount(spot)[:, None].astype(np.float32)
        fold = np.empty(len(scores), dtype=np.int64)
        for number, held in enumerate(held_out[: self.recipe.folds]):
            fold[held] = number
        return choose_rank(means, scores, basis, expressions, fold)

    def _held_out(
        self, samples: Sequence[Sample[FeatureMap]], rng: np.random.Generator
    ) -> list[NDArray[np.int64]]:
        """Draw, for each member, the spots that it holds out; each round has new blocks."""
        held_out: list[NDArray[np.int64]] = []
        while len(held_out) < self.recipe.members:
            fold = np.concatenate(
                [
                    block_folds(s.xy_um, self.recipe.block_um, self.recipe.folds, rng)
                    for s in samples
                ]
            )
            held_out += [np.flatnonzero(fold == k) for k in range(self.recipe.folds)]
        return held_out[: self.recipe.members]


def _moments(
    inputs: NDArray[np.float32], dim: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Standardise the context; the features themselves are standardised for each slide."""
    shift = inputs.mean(axis=0, dtype=np.float64)
    scale = inputs.std(axis=0, dtype=np.float64)
    shift[:dim], scale[:dim] = 0, 1
    return shift.astype(np.float32), np.where(scale > 0, scale, 1).astype(np.float32)


def _held_out_r(
    predicted: NDArray[np.float32],
    basis: GeneBasis,
    expressions: Sequence[sp.csr_array[np.float32]],
) -> NDArray[np.float32]:
    """Correlate held-out predictions of each gene with what was measured, section by section."""
    genes = basis.axes.shape[1]
    weights = basis.axes[: predicted.shape[1]]
    total = np.zeros(genes)
    offset = 0
    for expression in expressions:
        scores = predicted[offset : offset + expression.shape[0]]
        seen = np.isfinite(scores).all(axis=1)
        offset += expression.shape[0]
        columns = sp.csc_array(expression)
        for low in range(0, genes, _GENES_AT_ONCE):
            some = slice(low, low + _GENES_AT_ONCE)
            measured = columns[:, some].toarray()[seen]
            total[some] += pearson(scores[seen] @ weights[:, some], measured)
    return (total / len(expressions)).astype(np.float32)
