"""How well labels agree with the truth, or, where there is none, with what was clustered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError

SILHOUETTE_SPOTS = 10_000
"""The silhouette compares all pairs: of more spots than this, so many are drawn."""


def agreement(labels: NDArray[np.int64], truth: NDArray[np.object_]) -> dict[str, float]:
    """Compare labels with the truth, where it is known.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
    truth : ndarray of object, shape (n,)
        None where it is not known.

    Returns
    -------
    dict
        "ARI" (adjusted Rand index), "NMI" (mutual information over the arithmetic mean of the
        entropies) and "AMI" (that, adjusted for chance): 1 is perfect; for ARI and AMI, 0 is
        chance.

    Raises
    ------
    InputError
        If fewer than two different labels are known.
    """
    from sklearn import metrics

    known = np.array([one is not None for one in truth], dtype=bool)
    of = truth[known].astype(str)
    if len(np.unique(of)) < 2:
        msg = "The truth knows fewer than two different labels; choose another column."
        raise InputError(msg)
    found = labels[known]
    return {
        "ARI": float(metrics.adjusted_rand_score(of, found)),
        "NMI": float(metrics.normalized_mutual_info_score(of, found)),
        "AMI": float(metrics.adjusted_mutual_info_score(of, found)),
    }


def compactness(
    embedding: NDArray[np.float32], labels: NDArray[np.int64], seed: int
) -> dict[str, float]:
    """Tell how compact and how far apart groups are in the space that was clustered.

    Returns
    -------
    dict
        "silhouette" (-1 … 1, more is better; of at most 10,000 spots) and "Davies-Bouldin" (less
        is better); NaN where there is only one group.
    """
    from sklearn import metrics

    if len(np.unique(labels)) < 2:
        return {"silhouette": float("nan"), "Davies-Bouldin": float("nan")}
    sample = SILHOUETTE_SPOTS if len(labels) > SILHOUETTE_SPOTS else None
    return {
        "silhouette": float(
            metrics.silhouette_score(embedding, labels, sample_size=sample, random_state=seed)
        ),
        "Davies-Bouldin": float(metrics.davies_bouldin_score(embedding, labels)),
    }
