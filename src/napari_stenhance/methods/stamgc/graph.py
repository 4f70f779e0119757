"""Graphs and smoothing over the positions of a slice, sparse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

# Pairs that are found take twelve times as much as the weights that are kept of them.
_ROWS_AT_ONCE = 20_000


def neighbours(xy: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    """Return the k nearest other positions of each, nearest first, shape (n, k)."""
    n = len(xy)
    k = min(k, n - 1)
    found = cKDTree(xy).query(xy, k=k + 1)[1]
    # Of several spots at one place, any may come first: the spot itself is not always there.
    other = found != np.arange(n)[:, None]
    other[other.all(axis=1), -1] = False
    near: NDArray[np.intp] = found[other].reshape(n, k)
    return near


def union_graph(near: NDArray[np.intp]) -> sp.csr_array[np.float32]:
    """Join two spots if either lists the other: a symmetric 0/1 matrix, its diagonal empty."""
    n, k = near.shape
    ends = np.repeat(np.arange(n), k), near.ravel()
    listed = sp.csr_array((np.ones(n * k, np.float32), ends), shape=(n, n))
    return sp.csr_array(((listed + listed.T) > 0).astype(np.float32))


def prune(near: NDArray[np.intp], smooth: NDArray[np.float32], times: int) -> NDArray[np.intp]:
    """Drop from each spot's list, `times` times, the neighbour least like it.

    Parameters
    ----------
    near : ndarray of int, shape (n, k)
    smooth : ndarray of float32, shape (n, genes)
        Smoothed expression; likeness is the cosine between rows. At least one neighbour stays.

    Returns
    -------
    ndarray of int, shape (n, max(k − times, 1))
    """
    n, k = near.shape
    times = min(times, k - 1)
    length = np.linalg.norm(smooth, axis=1)
    unit = smooth / np.maximum(length, 1e-12)[:, None]
    distance = np.empty((n, k), np.float32)
    for column in range(k):
        distance[:, column] = 1 - np.einsum("nc,nc->n", unit, unit[near[:, column]])
    # The first of equals goes first, as published.
    for _ in range(times):
        keep = np.ones(distance.shape, bool)
        keep[np.arange(n), distance.argmax(axis=1)] = False
        near, distance = near[keep].reshape(n, -1), distance[keep].reshape(n, -1)
    return near


def gaussian_smoother(
    xy: NDArray[np.float64],
    sigma: float,
    reach: float = 4.0,
    knows: NDArray[np.bool_] | None = None,
) -> sp.csr_array[np.float32]:
    """Return row-normalised Gaussian weights within `reach` σ, the spot itself included.

    Beyond 4 σ a weight is below 4e-4 of the spot's own. A spot that does not know anything, where
    `knows` is False, only takes from others; if there are none it keeps what it has.
    """
    tree, n = cKDTree(xy), len(xy)
    parts = []
    for low in range(0, n, _ROWS_AT_ONCE):
        some = tree if n <= _ROWS_AT_ONCE else cKDTree(xy[low : low + _ROWS_AT_ONCE])
        pairs = some.sparse_distance_matrix(tree, reach * sigma, output_type="coo_matrix")
        weights = np.exp(-0.5 * (pairs.data / sigma) ** 2).astype(np.float32)
        if knows is not None:
            own = pairs.row + low == pairs.col
            weights *= np.where(knows[pairs.col], 1, np.where(own, 1e-6, 0))
        near = sp.csr_array((weights, (pairs.row, pairs.col)), shape=(some.n, n))
        total = np.asarray(near.sum(axis=1)).ravel()
        near.data /= np.repeat(total, np.diff(near.indptr))
        parts.append(near)
    return parts[0] if len(parts) == 1 else sp.csr_array(sp.vstack(parts))


def best_width(
    xy: NDArray[np.float64],
    pitch: float,
    scores: NDArray[np.float32],
    widths: Sequence[float],
    most: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return, for each width, how badly a spot's neighbours predict it.

    Leave-one-out: the Gaussian mean of the others within 3 σ against the spot itself, summed over
    `scores`. Where single cells of many kinds lie side by side, far neighbours help; where each
    spot holds many cells, near ones do.

    Parameters
    ----------
    xy : ndarray of float64, shape (n, 2)
    pitch : float
        Unit of the widths, in the unit of `xy`.
    scores : ndarray of float32, shape (n, axes)
    widths : sequence of float
        σ in pitches.
    most : int
        At most so many spots are predicted, drawn at random.
    """
    tree = cKDTree(xy)
    n = len(xy)
    drawn = np.sort(rng.choice(n, most, replace=False)) if n > most else np.arange(n)
    pairs = cKDTree(xy[drawn]).sparse_distance_matrix(
        tree, 3 * max(widths) * pitch, output_type="coo_matrix"
    )
    other = drawn[pairs.row] != pairs.col
    row, column, distance = pairs.row[other], pairs.col[other], pairs.data[other]
    errors = []
    for width in widths:
        inside = distance <= 3 * width * pitch
        weights = np.exp(-0.5 * (distance[inside] / (width * pitch)) ** 2)
        near = sp.csr_array((weights, (row[inside], column[inside])), shape=(len(drawn), n))
        total = np.asarray(near.sum(axis=1)).ravel()
        alone = total == 0
        guess = (near @ scores) / np.where(alone, 1, total)[:, None]
        errors.append(float(((guess - scores[drawn]) ** 2).sum()))
    return np.array(errors)


def normalised_adjacency(graph: sp.csr_array[np.float32]) -> sp.csr_array[np.float32]:
    """Return D^(−1/2) (A + I) D^(−1/2), what a graph convolution spreads with.

    References
    ----------
    Kipf and Welling, ICLR 2017.
    """
    with_self = sp.csr_array(graph + sp.eye_array(graph.shape[0], dtype=np.float32))
    scale = (1 / np.sqrt(np.asarray(with_self.sum(axis=1)).ravel())).astype(np.float32)
    row = np.repeat(np.arange(len(scale)), np.diff(with_self.indptr))
    with_self.data = with_self.data * scale[row] * scale[with_self.indices]
    return with_self


def blocks(parts: Sequence[sp.csr_array[np.float32]]) -> sp.csr_array[np.float32]:
    """Put the graphs of several slices into one: no edge runs between slices."""
    return sp.csr_array(sp.block_diag(parts, format="csr", dtype=np.float32))


def to_torch(matrix: sp.csr_array[np.float32], device: torch.device) -> torch.Tensor:
    """Turn a sparse matrix into one of torch."""
    entries = sp.coo_array(matrix)
    # Copied into torch's own memory: sums depend, in the last bit, on how arrays are aligned.
    return torch.sparse_coo_tensor(
        torch.tensor(np.stack([entries.row, entries.col]), dtype=torch.int64),
        torch.tensor(entries.data, dtype=torch.float32),
        matrix.shape,
        device=device,
        is_coalesced=True,
        check_invariants=False,
    )
