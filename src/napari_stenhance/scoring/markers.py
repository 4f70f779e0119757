"""Genes that mark groups of spots: Wilcoxon's rank-sum test of each group against all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import stats


def rank_sums(
    values: sp.csc_array[np.float32], groups: NDArray[np.int64], number: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare the ranks of each group with those of all other spots, gene by gene.

    Only what is not zero is sorted: all zeros share one rank.

    Parameters
    ----------
    values : csc_array, shape (spots, genes)
        Not negative.
    groups : ndarray of int64, shape (spots,)
        0 … number - 1.
    number : int

    Returns
    -------
    excess : ndarray of float64, shape (number, genes)
        By how much the Mann-Whitney U of a group is more than expected.
    variance : ndarray of float64, shape (number, genes)
        Of U, corrected for ties.
    """
    spots, genes = values.shape
    size = np.bincount(groups, minlength=number).astype(np.float64)
    rest = spots - size
    excess, ties = np.zeros((number, genes)), np.zeros(genes)
    for gene in range(genes):
        here = slice(values.indptr[gene], values.indptr[gene + 1])
        there, zeros = values.data[here] > 0, spots
        of = groups[values.indices[here][there]]
        zeros -= len(of)
        _, rank_of, times = np.unique(
            values.data[here][there], return_inverse=True, return_counts=True
        )
        ranks = (zeros + np.cumsum(times) - (times - 1) / 2)[rank_of]
        # Of no ranks at all, bincount makes integers.
        total = np.bincount(of, ranks, minlength=number).astype(np.float64)
        total += (size - np.bincount(of, minlength=number)) * (zeros + 1) / 2
        excess[:, gene] = total - size * (spots + 1) / 2
        ties[gene] = (times.astype(np.float64) ** 3 - times).sum() + float(zeros) ** 3 - zeros
    spread = (spots + 1) - ties / max(spots * (spots - 1.0), 1.0)
    return excess, np.outer(size * rest / 12, np.maximum(spread, 0))


def marker_scores(
    sections: Sequence[tuple[sp.csc_array[np.float32], NDArray[np.int64]]], number: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Test each gene in each group against all other spots, within each section.

    Ranks are taken within a section, and the sections' statistics are added (van Elteren): what
    differs between sections marks nothing.

    Parameters
    ----------
    sections : sequence of tuple
        Values (spots, genes) and the group of each spot.
    number : int
        Of groups.

    Returns
    -------
    z : ndarray of float32, shape (number, genes)
        Standard score; 0 where a gene does not vary or the group is empty.
    p : ndarray of float32, shape (number, genes)
        Two-sided, adjusted over the genes of each group by Benjamini and Hochberg.
    """
    parts = [rank_sums(values, groups, number) for values, groups in sections]
    excess = np.sum([part[0] for part in parts], axis=0)
    variance = np.sum([part[1] for part in parts], axis=0)
    z = np.divide(excess, np.sqrt(variance), out=np.zeros_like(excess), where=variance > 0)
    p = np.stack([stats.false_discovery_control(row) for row in 2 * stats.norm.sf(np.abs(z))])
    return z.astype(np.float32), p.astype(np.float32)
