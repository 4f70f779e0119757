"""Cluster an embedding: mixtures, K-means, Leiden; agree over runs; say how many clusters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from napari_stenhance.errors import InputError
from napari_stenhance.methods.stamgc.graph import neighbours

Clustering = Literal["mixture", "kmeans", "leiden"]
CLUSTERINGS: tuple[Clustering, ...] = get_args(Clustering)

# Few spots leave many solutions of like likelihood, and are quickly fitted.
_START_SPOTS, _LEAST_STARTS, _MOST_STARTS = 40_000, 20, 100
_SHORT_STEPS = 8
_FINISHED = 10
_FIT_MOST = 20_000
_LEIDEN_NEIGHBOURS = 15
_LEIDEN_STEPS = 25
_ALIGN_STEPS = 10


def fit_mixture(
    embedding: NDArray[np.float64], number: int, rng: np.random.Generator
) -> GaussianMixture:
    """Fit Gaussians that share one covariance: mclust's model EEE.

    20 to 100 short runs of EM, each from a K-means of its own, then the most likely tenth of them
    to their end: single runs end in solutions of very different likelihood. More than 20,000
    positions are fitted by as many drawn at random.

    References
    ----------
    Biernacki, Celeux and Govaert, Comput. Stat. Data Anal. 41:561-575 (2003), "em-EM".
    """
    if len(embedding) > _FIT_MOST:
        embedding = embedding[np.sort(rng.choice(len(embedding), _FIT_MOST, replace=False))]
    number_of_starts = min(max(_START_SPOTS // len(embedding), _LEAST_STARTS), _MOST_STARTS)
    ridge = 1e-6 * float(embedding.var(axis=0).mean()) + 1e-12

    def start() -> GaussianMixture:
        return GaussianMixture(
            number,
            covariance_type="tied",
            reg_covar=ridge,
            max_iter=_SHORT_STEPS,
            tol=0,
            random_state=int(rng.integers(2**31)),
        ).fit(embedding)

    with warnings.catch_warnings():
        # Short runs are meant to stop before they converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        starts = sorted((start() for _ in range(number_of_starts)), key=lambda m: -m.lower_bound_)
    finished = [
        GaussianMixture(
            number,
            covariance_type="tied",
            reg_covar=ridge,
            max_iter=500,
            tol=1e-5,
            weights_init=m.weights_,
            means_init=m.means_,
            precisions_init=m.precisions_,
        ).fit(embedding)
        for m in starts[: number_of_starts // _FINISHED]
    ]
    return max(finished, key=lambda m: m.lower_bound_)


def cluster(
    embedding: NDArray[np.float64], number: int, how: Clustering, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return how much each position belongs to each cluster, shape (n, number).

    Raises
    ------
    InputError
        If Leiden is not installed, or finds no resolution with that number of clusters.
    """
    # Small matrices: threads cost more than they bring, and other processes wait.
    with threadpool_limits(1):
        return _cluster(embedding, number, how, rng)


def _cluster(
    embedding: NDArray[np.float64], number: int, how: Clustering, rng: np.random.Generator
) -> NDArray[np.float32]:
    if how == "mixture":
        return fit_mixture(embedding, number, rng).predict_proba(embedding).astype(np.float32)
    if how == "kmeans":
        seed = int(rng.integers(2**31))
        label = KMeans(number, n_init=10, random_state=seed).fit_predict(embedding)
    else:
        label = _leiden(embedding, number, int(rng.integers(2**31)))
    return np.eye(number, dtype=np.float32)[label]


def _leiden(embedding: NDArray[np.float64], number: int, seed: int) -> NDArray[np.int64]:
    """Search the resolution at which Leiden on the neighbour graph finds that many clusters."""
    try:
        import igraph
        import leidenalg
    except ImportError:
        msg = (
            "Clustering leiden: leidenalg and igraph (GPL) are not installed; run "
            "pip install 'napari-stenhance[leiden]', or choose mixture."
        )
        raise InputError(msg, option="clustering") from None
    near = neighbours(embedding, _LEIDEN_NEIGHBOURS)
    first = np.repeat(np.arange(len(near)), near.shape[1])
    graph = igraph.Graph(n=len(near), edges=np.column_stack([first, near.ravel()])).simplify()
    low, high, tried = 0.0, 4.0, []
    for _ in range(_LEIDEN_STEPS):
        resolution = (low + high) / 2
        found = leidenalg.find_partition(
            graph,
            leidenalg.RBConfigurationVertexPartition,
            resolution_parameter=resolution,
            seed=seed % 2**31,
        )
        tried.append(len(found))
        if len(found) == number:
            return np.asarray(found.membership, np.int64)
        low, high = (resolution, high) if len(found) < number else (low, resolution)
    msg = (
        f"Clustering leiden, {number} domains: no resolution gives so many clusters (found "
        f"{min(tried)} to {max(tried)}); choose another number, or mixture."
    )
    raise InputError(msg, option="n_domains")


def consensus(
    parts: Sequence[NDArray[np.float32]],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Let several clusterings vote.

    The clustering that agrees best with the others (adjusted Rand index) gives the clusters their
    numbers; the others are matched to it, then to the mean of all, until nothing changes.

    Parameters
    ----------
    parts : sequence of ndarray of float32, each of shape (n, clusters)
        How much each position belongs to each cluster.

    Returns
    -------
    label : ndarray of int64, shape (n,)
        From 0.
    confidence : ndarray of float32, shape (n,)
        Share of the clusterings that agree; NaN of a single one, which has none to agree with.
    """
    hard = [part.argmax(axis=1) for part in parts]
    agreement = [np.mean([adjusted_rand_score(a, b) for b in hard]) for a in hard]
    mean = parts[int(np.argmax(agreement))]
    for _ in range(_ALIGN_STEPS):
        matched = [part[:, _match(mean, part)] for part in parts]
        before, mean = mean, np.mean(matched, axis=0, dtype=np.float32)
        if (before.argmax(axis=1) == mean.argmax(axis=1)).all():
            break
    label: NDArray[np.int64] = mean.argmax(axis=1)
    agree = np.stack([part.argmax(axis=1) == label for part in matched])
    share: NDArray[np.float32] = agree.mean(axis=0, dtype=np.float32)
    return label, share if len(parts) > 1 else np.full_like(share, np.nan)


def _match(target: NDArray[np.float32], part: NDArray[np.float32]) -> NDArray[np.intp]:
    """Order the columns of `part` so that they overlap those of `target` most."""
    order: NDArray[np.intp] = linear_sum_assignment(-(target.T @ part))[1]
    return order


def majority(label: NDArray[np.int64], near: NDArray[np.intp]) -> NDArray[np.int64]:
    """Give a position the label that more than half of it and its neighbours have."""
    around = np.column_stack([label, label[near]])
    n, seen = around.shape
    votes = np.zeros((n, label.max() + 1), np.int32)
    for column in range(seen):
        votes[np.arange(n), around[:, column]] += 1
    return np.where(2 * votes.max(axis=1) > seen, votes.argmax(axis=1), label)


def information(
    embedding: NDArray[np.float64], number: int, averaged: float, rng: np.random.Generator
) -> float:
    """Return the Bayesian information criterion of a tied mixture, for each spot; more is better.

    A smoothed embedding holds fewer independent spots than it has rows; counting every row would
    ask for ever more clusters.

    Parameters
    ----------
    embedding : ndarray of float64, shape (n, axes)
    number : int
        Clusters.
    averaged : float
        How many spots smoothing averages.
    """
    n, axes = embedding.shape
    independent = max(n / averaged, 2.0)
    parameters = number - 1 + number * axes + axes * (axes + 1) / 2
    with threadpool_limits(1):
        likelihood = float(fit_mixture(embedding, number, rng).lower_bound_)
    return 2 * likelihood - parameters * float(np.log(independent)) / independent
