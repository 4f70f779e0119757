"""Bins that count so few transcripts that log1p says how many were counted, and not of what.

Of a gene that a bin counts once or not at all, log1p CP10k is expected to be about its share of all
transcripts times their number: where cells lie densely, every rare gene seems high. Proportions are
not biased so; they are modelled instead, each in units of the noise of counting it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.squares import SQUARE_UM
from napari_stenhance.methods.training_section import TrainingSection

SAID = (
    "So few genes are counted in each of these spots that their proportions are modelled: what is "
    "shown is log1p CP10k to first order about each gene's mean, and held-out r compares squares "
    f"of {SQUARE_UM:g} µm."
)


@dataclass(frozen=True)
class Proportions:
    """How proportions of shallow spots are brought to one scale.

    Attributes
    ----------
    noise : ndarray of float64, shape (genes,)
        Standard deviation, in CP10k, of a gene's counts in a spot of mean depth and expression.
    """

    noise: NDArray[np.float64]

    @classmethod
    def among(cls, samples: Sequence[TrainingSection], genes: Sequence[str]) -> Proportions | None:
        """Do as `of` does; None if not all sections are shallow."""
        if not all(sample.shallow for sample in samples):
            return None
        return cls.of(samples, genes)

    @classmethod
    def of(cls, samples: Sequence[TrainingSection], genes: Sequence[str]) -> Proportions:
        """Measure the noise of genes."""
        counted = np.sum(
            [s.counts_of(genes).sum(axis=0, dtype=np.float64) for s in samples], axis=0
        )
        depths = np.concatenate([s.library for s in samples])
        mean = 1e4 * counted / depths.sum()
        noise = np.sqrt(1e4 * mean / depths.mean())
        return cls(np.where(noise > 0, noise, 1.0))

    def of_section(self, sample: TrainingSection, genes: Sequence[str]) -> sp.csr_array[np.float32]:
        """Return counts per 10,000 of the spot over each gene's noise, (spots, genes), sparse."""
        counts = sample.counts_of(genes)
        row = np.repeat(1e4 / np.maximum(sample.library, 1), np.diff(counts.indptr))
        data = (counts.data * row / self.noise[counts.indices]).astype(np.float32)
        return sp.csr_array((data, counts.indices, counts.indptr), shape=counts.shape)

    def decoded(self, decoder: Decoder) -> Decoder:
        """Return a decoder of log1p CP10k, to first order about each gene's mean, given ours."""
        assert decoder.weights is not None
        mean = decoder.bias * self.noise
        weights: NDArray[Any] = decoder.weights * (self.noise / (1 + mean))
        return replace(
            decoder,
            weights=weights.astype(np.float32),
            bias=np.log1p(mean).astype(np.float32),
            doubts=(*decoder.doubts, SAID),
        )
