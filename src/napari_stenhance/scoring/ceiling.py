"""How well any predictor could do: what is counted in a spot is itself only a sample."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.scoring.metrics import GeneAccuracy, partial, pearson
from napari_stenhance.scoring.normalisation import normalised
from napari_stenhance.scoring.scales import Normalisation

_TIMES = 5


def noise_ceiling(
    counts: sp.csr_array[np.float32],
    genes: NDArray[np.integer],
    seed: int,
    normalise: Normalisation = "log1p-cp10k",
) -> GeneAccuracy:
    """Return the best r, and r given depth, that any prediction can reach.

    Counts of each spot are dealt to two halves at random, five times. What the halves have in
    common, Spearman's and Brown's formula takes to the depth that was measured: the reliability of
    a gene. Its square root is the correlation with what would be measured without noise.

    Parameters
    ----------
    counts : sparse array, shape (spots, all genes)
        Raw.
    genes : ndarray of int, shape (genes,)
        Columns of those that are looked at.
    seed : int
    normalise : str
        The scale in which it is compared: see `normalised`.

    Returns
    -------
    GeneAccuracy
        Of each gene; 0 where the halves have nothing in common, or it is not counted.

    References
    ----------
    Spearman, Correlation calculated from faulty data, British Journal of Psychology 3:271-295
    (1910); Brown, Some experimental results in the correlation of mental abilities, ibid. 296-322.
    """
    rng = np.random.default_rng(seed)
    whole = sp.csr_array(counts, dtype=np.float64)
    total = np.asarray(whole.sum(axis=1)).ravel()
    log_depth = np.log(np.maximum(total, 1.0))[:, None]
    found = np.zeros((2, len(genes)))
    for _ in range(_TIMES):
        half = whole.copy()
        half.data = rng.binomial(np.rint(whole.data).astype(np.int64), 0.5).astype(np.float64)
        halves = half, sp.csr_array(whole - half)
        one, other = (normalised(part, genes, normalise) for part in halves)
        r = pearson(one, other)
        found[0] += np.nan_to_num(r)
        left = partial(np.nan_to_num(r), pearson(one, log_depth), pearson(other, log_depth))
        found[1] += np.nan_to_num(left)
    common = np.maximum(found / _TIMES, 0)
    return GeneAccuracy(*np.sqrt(2 * common / (1 + common)))
