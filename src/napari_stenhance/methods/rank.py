"""How many axes of the gene basis the features can predict, judged on held-out blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from napari_stenhance.methods.basis import GeneBasis
from napari_stenhance.methods.drawing import JUDGED_MOST, of_each, some_of
from napari_stenhance.methods.genes import variance
from napari_stenhance.scoring.metrics import pearson

CHOICES = (4, 8, 16, 32, 64, 128, 256)
TOLERANCE = 0.02
_RIDGES = (300.0, 3000.0)
_JUDGED_GENES = 1000
# Of the question whether anything is predicted at all: no more of each than it needs.
_ASKED_GENES = 100
_ASKED_SPOTS = 2000
_SHUFFLES = 12
_DEVIATIONS = 4.0

NO_SIGNAL = (
    "Held-out blocks: the image predicts nothing of these genes; it does no better than with the "
    "spots shuffled."
)


class Rank(NamedTuple):
    """How many axes, and what there is to say against trusting what they predict."""

    axes: int
    doubts: tuple[str, ...]


def choose_rank(
    inputs: NDArray[np.float32],
    scores: NDArray[np.float32],
    basis: GeneBasis,
    expressions: Sequence[sp.csr_array],
    folds: NDArray[np.int64],
    seed: int,
) -> Rank:
    """Choose the rank with ridge regression from spot averages to scores.

    Where the image predicts nothing, the smallest. Else the largest rank whose mean correlation
    over the 1,000 most variable genes, on held-out blocks, is within 2 % of the best: where more
    axes cost nothing, genes differ more from each other.

    Parameters
    ----------
    inputs : ndarray of float32, shape (spots, channels)
        Standardised means over each spot.
    scores : ndarray of float32, shape (spots, r)
    basis : GeneBasis
    expressions : sequence of csr_array, each (spots, genes)
        log1p CP10k of each section.
    folds : ndarray of int64, shape (spots,)
        Which block fold each spot belongs to.
    seed : int
        Shuffles spots, and draws those that judge where there are very many.
    """
    ranks = [rank for rank in CHOICES if rank < scores.shape[1]] + [scores.shape[1]]
    if not image_predicts(inputs, expressions, folds, seed):
        return Rank(ranks[0], (NO_SIGNAL,))
    drawn = some_of(len(inputs), JUDGED_MOST, np.random.default_rng(seed))
    if len(drawn) < len(inputs):
        inputs, scores, folds = inputs[drawn], scores[drawn], folds[drawn]
        parts = of_each(drawn, [e.shape[0] for e in expressions])
        expressions = [e[part] for e, part in zip(expressions, parts, strict=True)]
    judged = np.argsort(-variance(expressions), kind="stable")[:_JUDGED_GENES]
    measured = [sp.csc_array(e)[:, judged].toarray() for e in expressions]
    best = np.zeros(len(ranks))
    for ridge in _RIDGES:
        predicted = _held_out(inputs, scores, folds, ridge)
        for n, rank in enumerate(ranks):
            genes = predicted[:, :rank] @ basis.axes[:rank, judged]
            best[n] = max(best[n], _mean_correlation(genes, measured))
    good = np.flatnonzero(best >= (1 - TOLERANCE) * best.max())
    return Rank(ranks[good[-1]], ())


def image_predicts(
    inputs: NDArray[np.float32],
    expressions: Sequence[sp.csr_array],
    folds: NDArray[np.int64],
    seed: int,
) -> bool:
    """Tell whether ridge regression predicts held-out blocks better than of shuffled spots.

    Judged is the mean over the 100 most variable genes of r·|r|, in which few genes that are
    predicted well weigh as much as many that are predicted a little; it must be positive, and more
    than four standard deviations above its mean over a dozen shuffles of each section's spots.
    On held-out blocks chance gives less than 0, so 0 alone is no measure.

    Parameters
    ----------
    inputs, expressions, folds, seed
        As in `choose_rank`. Of more than 2,000 spots, so many are drawn.
    """
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.permutation(len(inputs))[:_ASKED_SPOTS])
    section = np.repeat(np.arange(len(expressions)), [e.shape[0] for e in expressions])[drawn]
    asked = np.argsort(-variance(expressions), kind="stable")[:_ASKED_GENES]
    # By columns first: a section may have many spots, and no more is dense than is asked.
    some = [sp.csr_array(sp.csc_array(e)[:, asked]) for e in expressions]
    measured = sp.csr_array(sp.vstack(some))[drawn].toarray()
    inputs, folds = inputs[drawn], folds[drawn]
    orders = [np.arange(len(drawn))]
    for _ in range(_SHUFFLES):
        order = np.empty_like(orders[0])
        for number in np.unique(section):
            here = np.flatnonzero(section == number)
            order[here] = rng.permutation(here)
        orders.append(order)
    targets = np.concatenate([measured[order] for order in orders], axis=1)
    predicted = _held_out(inputs, targets, folds, _RIDGES[-1])
    r = np.mean(
        [
            np.nan_to_num(pearson(predicted[here], targets[here]))
            for here in (section == number for number in np.unique(section))
        ],
        axis=0,
    )
    found, *chance = (r * np.abs(r)).reshape(len(orders), -1).mean(axis=1)
    least = np.mean(chance) + _DEVIATIONS * np.std(chance, ddof=1)
    return bool(found > max(least, 0.0))


def _held_out(
    inputs: NDArray[np.float32],
    targets: NDArray[np.float32],
    folds: NDArray[np.int64],
    penalty: float,
) -> NDArray[np.float32]:
    """Predict each fold by ridge regression on the others."""
    predicted = np.empty_like(targets)
    for fold in np.unique(folds):
        held = folds == fold
        model = Ridge(alpha=penalty).fit(inputs[~held], targets[~held])
        predicted[held] = model.predict(inputs[held]).reshape(-1, targets.shape[1])
    return predicted


def _mean_correlation(predicted: NDArray[np.float32], measured: list[NDArray[np.float32]]) -> float:
    """Average Pearson's r over sections and genes; a gene that does not vary counts as 0."""
    total, offset = 0.0, 0
    for section in measured:
        r = pearson(predicted[offset : offset + len(section)], section)
        total += float(np.nan_to_num(r).mean())
        offset += len(section)
    return total / len(measured)
