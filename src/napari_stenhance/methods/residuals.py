"""What of log1p CP10k is counting alone, and how a gene is learned beside it.

log1p CP10k of a gene that is counted a few times grows with what a spot counts in all, and rare
genes follow little else: what learns it learns a map of depth. Pearson residuals of a Poisson model
whose offset is depth do not follow it, but say less of frequent genes. So members learn half of
both, in one unit, and beside them depth, as the image shows it: by what counting alone adds to it,
log1p CP10k of the genes gets back the half that residuals lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import poisson

from napari_stenhance.methods.basis import Trend
from napari_stenhance.methods.training_section import TrainingSection

_OFTEN = 100.0
_MOST = 200


@dataclass(frozen=True)
class DepthFree:
    """What is learned of the genes of some sections beside their depth, and the depth.

    Attributes
    ----------
    expressions : tuple of csr_array of float32, each (spots, genes)
        Of each section: log1p CP10k, and residuals in its unit, but for the trend.
    trends : tuple of Trend
        What is to be taken from them.
    depth : ndarray of float32, shape (spots of all sections,)
        Log of each spot's total count, less its section's mean.
    depth_weights : ndarray of float32, shape (genes,)
        What a unit of that depth adds to each gene.
    mean_log_depth : float
        Of the spots of all sections.

    References
    ----------
    Lause, Berens and Kobak, Analytic Pearson residuals for normalization of single-cell RNA-seq UMI
    data, Genome Biology 22:258 (2021).
    """

    expressions: tuple[sp.csr_array[np.float32], ...]
    trends: tuple[Trend, ...]
    depth: NDArray[np.float32]
    depth_weights: NDArray[np.float32]
    mean_log_depth: float

    @classmethod
    def of(
        cls, samples: Sequence[TrainingSection], genes: Sequence[str], share: float
    ) -> DepthFree:
        """Measure genes and depth of the spots that are learned from.

        Residuals have that share in what is learned, log1p CP10k has the rest. They are cut off at
        the root of the number of a section's spots.
        """
        depths = [np.maximum(s.library, 1) for s in samples]
        counted = [_counted(s, genes) for s in samples]
        logs = [np.log(depth) for depth in depths]
        mean_depth = float(np.exp(np.concatenate(logs).mean()))
        expected = np.sum(counted, axis=0) / sum(d.sum() for d in depths) * mean_depth
        slope, depth_slope = _slopes(expected, mean_depth)
        # From counts over the noise of a spot of mean depth to the unit of log1p CP10k.
        unit = np.where(expected > 0, slope / np.maximum(expected, 1e-12), 0.0)
        parts, trends = [], []
        for sample, depth, total in zip(samples, depths, counted, strict=True):
            root = np.sqrt(depth / mean_depth)
            log, counts = sample.log1p_cp10k(genes), sample.counts_of(genes)
            gene, row = counts.indices, np.repeat(root, np.diff(counts.indptr))
            most = np.sqrt(expected * counts.shape[0])[gene] + row * expected[gene]
            residual = unit[gene] * np.minimum(counts.data / row, most)
            data = ((1 - share) * log.data + share * residual).astype(np.float32)
            parts.append(sp.csr_array((data, log.indices, log.indptr), shape=log.shape))
            trends.append(Trend(root, share * unit * total / depth.sum() * mean_depth))
        centred = np.concatenate([log - log.mean() for log in logs])
        return cls(
            tuple(parts),
            tuple(trends),
            centred.astype(np.float32),
            (share * depth_slope).astype(np.float32),
            float(np.log(mean_depth)),
        )


def _counted(sample: TrainingSection, genes: Sequence[str]) -> NDArray[np.float64]:
    return np.asarray(sample.counts_of(genes).sum(axis=0, dtype=np.float64)).ravel()


def _slopes(
    expected: NDArray[np.float64], depth: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return by how much expected log1p CP10k grows with log share, and with log depth.

    Of Poisson counts with these means in a spot of that depth; above a hundred, to first order.
    """
    each = 1e4 / depth
    mean = expected * each
    slope, depth_slope = mean / (1 + mean), np.zeros_like(mean)
    counts = np.arange(_MOST + 1)[:, None]
    seldom = np.flatnonzero(expected <= _OFTEN)
    at_once = 2000
    for low in range(0, len(seldom), at_once):
        some = seldom[low : low + at_once]
        chance = poisson.pmf(counts, expected[some])
        moved = (counts - expected[some]) * np.log1p(counts * each)
        slope[some] = (chance * moved).sum(axis=0)
        less = (chance * (counts * each / (1 + counts * each))).sum(axis=0)
        depth_slope[some] = slope[some] - less
    return slope, depth_slope
