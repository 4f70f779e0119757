"""What ensembles of every method share: targets, spots held out, and how members differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.basis import GeneBasis, fit_basis
from napari_stenhance.methods.decoder import Decoder, DepthChannel
from napari_stenhance.methods.rank import CHOICES, choose_rank
from napari_stenhance.methods.squares import Squares
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.scoring.metrics import GeneAccuracy, gene_accuracy, over_sections
from napari_stenhance.scoring.splits import block_folds

_GENES_AT_ONCE = 1000
_VALUES_AT_ONCE = 2**24


def require_spots(samples: Sequence[TrainingSection], folds: int) -> int:
    """Return how many spots there are to learn from, over all sections.

    Raises
    ------
    InputError
        If there are too few to train and to hold out.
    """
    spots = sum(len(s.xy_um) for s in samples)
    if spots < 2 * folds:
        msg = (
            f"{', '.join(s.name for s in samples)}: only {counted(spots, 'spot')} "
            f"{agree(spots, 'lies on tissue and has', 'lie on tissue and have')} counts; at least "
            f"{2 * folds} are needed to train and to hold out."
        )
        raise InputError(msg)
    return spots


@dataclass(frozen=True)
class Targets:
    """What members learn: scores on a gene basis, and what brings their outputs to it.

    Attributes
    ----------
    basis : GeneBasis
        With as many axes as features can predict.
    whole : GeneBasis
        With all axes that were looked at.
    outputs : ndarray of float32, shape (spots of all sections, channels)
        Scores of unit mean square length: learning rates then suit any data. Where depth is
        learned apart, it is the last channel, as large as an axis on average.
    scale : float
        What outputs are multiplied with to be latents: scores, and depth.
    weights : ndarray of float32, shape (channels, genes)
        What latents are multiplied with to be genes.
    doubts : tuple of str
        What held-out blocks say against trusting what is predicted.
    depth : DepthChannel or None
        How the last channel is read, where depth is learned apart.
    """

    basis: GeneBasis
    whole: GeneBasis
    outputs: NDArray[np.float32]
    scale: float
    weights: NDArray[np.float32]
    doubts: tuple[str, ...]
    depth: DepthChannel | None = None

    @classmethod
    def of(
        cls,
        expressions: Sequence[sp.csr_array],
        means: NDArray[np.float32],
        fold: NDArray[np.int64],
        seed: int,
        squares: Squares | None = None,
        precision: Sequence[NDArray[np.float64]] | None = None,
        depths: Sequence[NDArray[np.float64]] | None = None,
    ) -> Targets:
        """Fit the basis of expression, and choose its rank by the standardised mean inputs.

        Parameters
        ----------
        expressions : sequence of csr_array, each (spots, genes)
        means : ndarray of float32, shape (spots of all sections, channels)
        fold : ndarray of int64, shape (spots of all sections,)
            Which spatial fold each spot belongs to.
        seed : int
        squares : Squares, optional
            Of shallow spots, whose expressions are proportions: the rank is chosen over squares.
        precision : sequence of ndarray of float64, each (spots,), optional
            What each spot counts for, 1 on average.
        depths : sequence of ndarray of float64, each (spots,), optional
            Total count of each spot, to be learned beside genes.
        """
        basis, scores = fit_basis(expressions, CHOICES[-1], seed, precision)
        if squares is None:
            rank = choose_rank(means, scores, basis, expressions, fold, seed)
        else:
            rank = choose_rank(
                squares.mean_of(means),
                squares.mean_of(scores),
                basis,
                squares.of_sections(expressions),
                squares.apart,
                seed,
            )
        whole, basis = basis, replace(basis, axes=basis.axes[: rank.axes])
        scores = scores[:, : rank.axes]
        scale = float(np.sqrt(np.square(scores, dtype=np.float64).sum(axis=1).mean())) or 1.0
        outputs, weights, depth = scores / np.float32(scale), basis.axes, None
        if depths is not None:
            logs = [np.log(np.maximum(each, 1)) for each in depths]
            log_depth = np.concatenate([log - log.mean() for log in logs])
            # As large as an axis is on average.
            unit = float(log_depth.std()) * math.sqrt(rank.axes) or 1.0
            outputs = np.column_stack([outputs, (log_depth / unit).astype(np.float32)])
            weights = np.vstack([weights, np.zeros_like(weights[:1])])
            depth = DepthChannel(float(np.concatenate(logs).mean()), unit / scale)
        return cls(basis, whole, outputs, scale, weights, rank.doubts, depth)

    def decoder(
        self,
        genes: Sequence[str],
        predicted: NDArray[np.float32],
        expressions: Sequence[sp.csr_array],
        depths: Sequence[NDArray[np.float64]],
    ) -> Decoder:
        """Make the decoder of members that learned; its spread is yet to be scaled.

        Parameters
        ----------
        genes : sequence of str
        predicted : ndarray of float32, shape (spots of all sections, r)
            Outputs for spots by members that held them out; NaN where none did.
        expressions : sequence of csr_array, each (spots, genes)
        depths : sequence of ndarray of float64, each (spots,)
            Total count of each spot, over all genes that were measured.
        """
        accuracy = held_out_accuracy(predicted, self.weights, expressions, depths)
        return Decoder(
            genes=tuple(genes),
            weights=self.weights,
            bias=self.basis.mean,
            unit="log1p CP10k",
            held_out_r=accuracy.r.astype(np.float32),
            held_out_r_given_depth=accuracy.r_given_depth.astype(np.float32),
            spread_scale=np.ones(len(genes), np.float32),
            doubts=self.doubts,
            depth=self.depth,
        )


def draw_held_out(
    samples: Sequence[TrainingSection],
    members: int,
    folds: int,
    block_um: float,
    rng: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Draw, for each member, the spots that it holds out: spatial blocks, new ones each round.

    Spots are numbered through all samples; of each round of `folds` members, one holds each out.
    """
    held_out: list[NDArray[np.int64]] = []
    while len(held_out) < members:
        fold = np.concatenate([block_folds(s.xy_um, block_um, folds, rng) for s in samples])
        held_out += [np.flatnonzero(fold == k) for k in range(folds)]
    return held_out[:members]


def fold_of(held_out: Sequence[NDArray[np.int64]], spots: int) -> NDArray[np.int64]:
    """Return the fold of each spot, of one round."""
    fold = np.empty(spots, dtype=np.int64)
    for number, held in enumerate(held_out):
        fold[held] = number
    return fold


def held_out_accuracy(
    predicted: NDArray[np.float32],
    weights: NDArray[np.float32],
    expressions: Sequence[sp.csr_array[np.float32]],
    depths: Sequence[NDArray[np.float64]],
) -> GeneAccuracy:
    """Compare held-out predictions of each gene with what was measured, section by section.

    Parameters
    ----------
    predicted : ndarray of float32, shape (spots of all sections, channels)
        NaN where no member held a spot out.
    weights : ndarray of float32, shape (channels, genes)
        What these are multiplied with to be genes.
    expressions : sequence of csr_array, each (spots, genes)
        log1p CP10k of each section.
    depths : sequence of ndarray of float64, each (spots,)

    Returns
    -------
    GeneAccuracy
        Each gene's mean over the sections where it varies.
    """
    genes = weights.shape[1]
    sections = []
    offset = 0
    for expression, depth in zip(expressions, depths, strict=True):
        scores = predicted[offset : offset + expression.shape[0]]
        seen = np.isfinite(scores).all(axis=1)
        offset += expression.shape[0]
        columns = sp.csc_array(expression[np.flatnonzero(seen)])
        at_once = min(_GENES_AT_ONCE, max(_VALUES_AT_ONCE // max(seen.sum(), 1), 1))
        parts = []
        for low in range(0, genes, at_once):
            some = slice(low, low + at_once)
            measured = columns[:, some].toarray()
            parts.append(gene_accuracy(scores[seen] @ weights[:, some], measured, depth[seen]))
        sections.append(GeneAccuracy(*map(np.concatenate, zip(*parts, strict=True))))
    return over_sections(sections)


def standardise(
    inputs: NDArray[np.float32],
    shift: NDArray[np.float32],
    scale: NDArray[np.float32],
    clip: float,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Subtract, divide, cut off; into an array that may be the inputs' own."""
    standard: NDArray[np.float32] = np.subtract(inputs, shift, out=out)
    standard /= scale
    return np.clip(standard, -clip, clip, out=standard)


def spread_scales(scores: NDArray[np.float32], decoder: Decoder) -> NDArray[np.float32]:
    """Return, for each gene, exact over approximate standard deviation of the members.

    Parameters
    ----------
    scores : ndarray of float32, shape (members, superpixels, r)
    decoder : Decoder

    Returns
    -------
    ndarray of float32, shape (genes,)
    """
    assert decoder.weights is not None
    centred = scores - scores.mean(axis=0)
    covariance = np.einsum("mnr,mns->rs", centred, centred, dtype=np.float64)
    weights = decoder.weights.astype(np.float64)
    exact = np.einsum("rg,rs,sg->g", weights, covariance, weights, optimize=True)
    approximate = np.diag(covariance) @ weights**2
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt(np.maximum(exact, 0) / approximate)
    return np.where(np.isfinite(scale), scale, 1).astype(np.float32)
