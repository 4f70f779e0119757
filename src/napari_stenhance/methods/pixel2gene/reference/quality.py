"""Which spots are learned from: a superpixel of their own, and enough counts for their tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from napari_stenhance.features.source import FeatureSource
from napari_stenhance.running.job import Job

_STARTS = 10


def alone(at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which spots share their superpixel, (spots, 2), with no other."""
    _, place, times = np.unique(at, axis=0, return_inverse=True, return_counts=True)
    own: NDArray[np.bool_] = times[place.ravel()] == 1
    return own


def enough_counts(
    total: NDArray[np.float64], cluster: NDArray[np.int64], percentile: float
) -> NDArray[np.bool_]:
    """Tell which spots have more counts than a percentile of those of their cluster.

    Parameters
    ----------
    total : ndarray of float64, shape (spots,)
        Counts over all genes; the percentile is over those above 0.
    cluster : ndarray of int64, shape (spots,)
    percentile : float
    """
    enough = np.zeros(len(total), bool)
    for number in np.unique(cluster):
        here = cluster == number
        some = total[here & (total > 0)]
        if len(some):
            enough[here] = total[here] > np.percentile(some, percentile)
    return enough


def find_clusters(values: NDArray[np.float32], clusters: int, name: str, job: Job) -> KMeans:
    """Cluster feature vectors, (superpixels, dim): the best of ten starts of k-means.

    The same as ten starts inside scikit-learn from random state 0, as published; but a cancel is
    heard between them.
    """
    draws = np.random.RandomState(0)
    best = None
    with job.stage(f"Clustering the tissue of {name}", _STARTS) as stage:
        for _ in range(_STARTS):
            # In one thread the sums of centres, and so the labels, are always the same.
            with threadpool_limits(limits=1):
                found = KMeans(min(clusters, len(values)), n_init=1, random_state=draws).fit(values)
            if best is None or found.inertia_ < best.inertia_:
                best = found
            stage.advance()
    assert best is not None
    return best


def tissue_clusters(
    features: FeatureSource,
    at: NDArray[np.int64],
    clusters: int,
    most: int,
    name: str,
    job: Job,
) -> NDArray[np.int64]:
    """Cluster the tissue of a slide by its features; return the cluster at superpixels (n, 2).

    The features are raw, as the encoder made them. The published program smooths HIPT's channels
    for this alone, which is defined for HIPT only.
    """
    row, column = np.nonzero(features.tissue)
    if len(row) > most:
        drawn = np.sort(np.random.default_rng(0).choice(len(row), most, replace=False))
        job.note(f"{name}: kinds of tissue are found on {most} of {len(row)} superpixels.")
        row, column = row[drawn], column[drawn]
    values = features.superpixels(row, column, raw=True)
    found = find_clusters(values, clusters, name, job)
    under = features.superpixels(at[:, 0], at[:, 1], raw=True)
    with threadpool_limits(limits=1):
        labels: NDArray[np.int64] = found.predict(under).astype(np.int64)
    return labels
