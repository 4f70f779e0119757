"""Preset `robust` of every method of genes: an ensemble that predicts tissue it has not seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stenhance.methods.basis import GeneBasis
from napari_stenhance.methods.calibration import with_held_out
from napari_stenhance.methods.drawing import of_each, some_of
from napari_stenhance.methods.familiar import FamiliarTissue, drawn_rows
from napari_stenhance.methods.genes import ALL
from napari_stenhance.methods.held_out import HeldOutSpots
from napari_stenhance.methods.members import (
    Targets,
    draw_held_out,
    fold_of,
    require_spots,
    spread_scales,
)
from napari_stenhance.methods.saved import GeneModel, learned_through
from napari_stenhance.methods.shallow import Proportions
from napari_stenhance.methods.squares import Squares
from napari_stenhance.methods.training import Learner, Schedule, train_ensemble
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded

L = TypeVar("L", bound=Learner)
M = TypeVar("M", bound=GeneModel)


@dataclass(frozen=True)
class RobustRecipe:
    """Hyperparameters of `robust`; those of networks that see crops stand with these.

    Attributes
    ----------
    members : int
        Networks in the ensemble.
    folds : int
        Member m holds out the blocks of fold m mod `folds`.
    block_um : float
        Side of the spatial blocks that are held out.
    clip : float
        Standardised inputs beyond this many standard deviations are cut to it.
    depth_power : float
        A spot counts for this power of its total count: log1p of few counts is mostly noise. Of
        shallow spots it is 1.
    schedule : Schedule
    """

    members: int = 10
    folds: int = 5
    block_um: float = 1000.0
    clip: float = 5.0
    depth_power: float = 0.5
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True)
class SeenSpots(Generic[L, M]):
    """What an ensemble sees of its spots, and what it makes of it.

    Attributes
    ----------
    means : ndarray of float32, shape (spots of all sections, channels)
        Standardised, of each spot.
    learner : callable
        Makes members that learn targets, (spots, r).
    model : callable
        `model(learner, **shared)` makes the model of members that learned; shared are the
        attributes of `GeneModel`, and `score_scale`.
    scores : callable
        Returns what each member of a model says of some inputs, (members, n, r).
    schedule : Schedule
        How they are trained on these.
    superpixels : tuple of ndarray, or None
        Standardised inputs of some single superpixels, (n, channels), as the model is given them
        to predict, and the spot of each, (n,); None where a position is seen as a spot is.
    """

    means: NDArray[np.float32]
    learner: Callable[[torch.Tensor], L]
    model: Callable[..., M]
    scores: Callable[[M], NDArray[np.float32]]
    schedule: Schedule
    superpixels: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None


@dataclass(frozen=True)
class Learned(Generic[M]):
    """What an ensemble learned, for what builds on it.

    Attributes
    ----------
    model : GeneModel
    basis : GeneBasis
        With as many axes as features can predict.
    whole : GeneBasis
        The same, and the axes after them.
    held_out : ndarray of float32, shape (spots of all sections, r)
        Scores of spots by members that held them out; NaN where none did, or was asked.
    mean_depth : float
        Counts of a spot, on average.
    proportions : Proportions or None
        None where log1p CP10k is what was learned.
    """

    model: M
    basis: GeneBasis
    whole: GeneBasis
    held_out: NDArray[np.float32]
    mean_depth: float
    proportions: Proportions | None


@dataclass(frozen=True)
class RobustEnsemble(ABC, Generic[M]):
    """Base of methods with preset `robust`: `Method`.

    A gene basis instead of single genes, standardised inputs, weight decay, early stopping on
    spatial blocks, and an ensemble.

    Attributes
    ----------
    encoder : str
    seed : int
    device : torch.device
    recipe : RobustRecipe
    """

    encoder: str
    seed: int
    device: torch.device
    recipe: RobustRecipe = field(default_factory=RobustRecipe)

    @property
    def least_share(self) -> float:
        """A spot with less than a twentieth of the median count: its proportions are noise."""
        return 0.05

    @property
    def genes(self) -> str:
        """Which genes it models where none are chosen: all."""
        return ALL

    @property
    def most_spots(self) -> int | None:
        """How many spots it learns from; None for all."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        return asdict(self.recipe)

    @abstractmethod
    def see(
        self, samples: Sequence[TrainingSection], rng: np.random.Generator, job: Job
    ) -> SeenSpots[Any, M]:
        """Gather what members see of the spots of sections."""

    def fit(self, samples: Sequence[TrainingSection], genes: Sequence[str], job: Job) -> M:
        """Learn from the spots of one or more sections.

        Raises
        ------
        InputError
            If there are fewer than ten spots.
        InferenceError
            If the device fails.
        """
        return self.learn(samples, genes, job).model

    def learn(
        self,
        samples: Sequence[TrainingSection],
        genes: Sequence[str],
        job: Job,
        *,
        proportional: bool = False,
    ) -> Learned[M]:
        """Do as `fit` does, and return all that was learned; proportions, if these are wanted."""
        recipe = self.recipe
        if self.most_spots is not None:
            samples = _drawn(samples, self.most_spots, self.seed, job)
        spots = require_spots(samples, recipe.folds)
        rng = np.random.default_rng(self.seed)
        make = Proportions.of if proportional else Proportions.among
        proportions = make(samples, genes)
        expressions = [
            s.log1p_cp10k(genes) if proportions is None else proportions.of_section(s, genes)
            for s in samples
        ]
        seen = self.see(samples, rng, job)
        held_out = draw_held_out(samples, recipe.members, recipe.folds, recipe.block_um, rng)
        fold = fold_of(held_out[: recipe.folds], spots)
        squares = None if proportions is None else Squares.of(samples, fold)
        depths = [s.library for s in samples]
        weights = _precision(samples, recipe.depth_power if proportions is None else 1.0)
        learned = depths if proportions is None else None
        targets = Targets.of(expressions, seen.means, fold, self.seed, squares, weights, learned)
        with inference_errors("Training"), seeded(self.seed, self.device):
            learner = seen.learner(torch.tensor(targets.outputs).to(self.device))
            precision = np.concatenate(weights)
            predicted = train_ensemble(learner, held_out, seen.schedule, rng, job, precision)
        if proportions is None:
            decoder = targets.decoder(genes, predicted, expressions, depths)
            scores = predicted * np.float32(targets.scale)
            decoder = with_held_out(decoder, HeldOutSpots.of(scores, samples, genes), job)
        else:
            known = np.all(np.isfinite(predicted), axis=1)
            held = Squares.of(samples, fold, known)
            judged = held.mean_of(predicted), held.of_sections(expressions), held.depths
            decoder = proportions.decoded(targets.decoder(genes, *judged))
        drawn = drawn_rows(spots)
        inputs, spot = seen.superpixels or (seen.means[drawn], drawn)
        fitted = seen.model(
            learner,
            decoder=decoder,
            score_scale=targets.scale,
            familiar=FamiliarTissue.of(inputs, fold[spot]),
            **learned_through(self.encoder, samples[0].features.grid.pitch_um),
        )
        spread_scale = spread_scales(seen.scores(fitted), decoder)
        return Learned(
            replace(fitted, decoder=replace(decoder, spread_scale=spread_scale)),
            targets.basis,
            targets.whole,
            predicted * np.float32(targets.scale),
            float(np.concatenate(depths).mean()),
            proportions,
        )


def _precision(samples: Sequence[TrainingSection], power: float) -> list[NDArray[np.float64]]:
    """Return what each spot of each section counts for, 1 on average over all."""
    counted = [s.library**power for s in samples]
    mean = float(np.concatenate(counted).mean())
    return [each / mean for each in counted]


def _drawn(
    samples: Sequence[TrainingSection], most: int, seed: int, job: Job
) -> Sequence[TrainingSection]:
    """Draw at most so many spots of several sections together, and say so."""
    sizes = [len(s.xy_um) for s in samples]
    if sum(sizes) <= most:
        return samples
    weights = None
    if all(s.shallow for s in samples):
        # Those that count more say more.
        weights = np.concatenate([s.library for s in samples])
    chosen = some_of(sum(sizes), most, np.random.default_rng(seed), weights)
    job.note(f"Of {sum(sizes)} spots, {most} were drawn to learn from.")
    return [s.only(part) for s, part in zip(samples, of_each(chosen, sizes), strict=True)]
