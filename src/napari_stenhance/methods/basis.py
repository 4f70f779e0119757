"""The gene basis: few axes that carry what the spots of the training sections share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, svds

# Spots from which on it is found by powers.
_MANY = 50_000
_POWERS, _BESIDE = 3, 16


@dataclass(frozen=True)
class GeneBasis:
    """Orthonormal axes of centred log1p CP10k.

    Attributes
    ----------
    axes : ndarray of float32, shape (r, genes)
        Rows are orthonormal, so squared error on scores is squared error over all genes, up to a
        constant.
    mean : ndarray of float32, shape (genes,)
        Over all spots: what a score of zero stands for.
    """

    axes: NDArray[np.float32]
    mean: NDArray[np.float32]


def fit_basis(
    expressions: Sequence[sp.csr_array[np.float32]],
    most: int,
    seed: int,
    precision: Sequence[NDArray[np.float64]] | None = None,
) -> tuple[GeneBasis, NDArray[np.float32]]:
    """Fit the truncated SVD of several sections, each centred on its own mean.

    Centring each section keeps what sets sections apart (depth, batch) out of the axes. Of very
    many spots it is found by block power iterations from random axes (Halko, Martinsson and Tropp
    2011), in single precision: what lies beneath the noise of single counts may differ.

    Parameters
    ----------
    expressions : sequence of csr_array, each (spots, genes)
        log1p CP10k, or proportions.
    most : int
        The largest rank; also kept below the number of spots and of genes.
    seed : int
    precision : sequence of ndarray of float64, each (spots,), optional
        What each spot counts for, 1 on average: over its variance. By default all count the same.

    Returns
    -------
    basis : GeneBasis
    scores : ndarray of float32, shape (spots of all sections, r)
    """
    many = sum(e.shape[0] for e in expressions) > _MANY
    kind = np.float32 if many else np.float64
    one = expressions[0] if len(expressions) == 1 else sp.vstack(expressions)
    stacked = sp.csr_array(one, dtype=kind)
    spots, genes = stacked.shape
    if precision is None:
        weight: NDArray[np.float64] = np.ones(spots)
        each = [np.asarray(e.mean(axis=0, dtype=np.float64)).ravel() for e in expressions]
        mean = np.asarray(stacked.mean(axis=0, dtype=np.float64)).ravel()
    else:
        weight = np.concatenate(precision)
        each = [p @ e / p.sum() for e, p in zip(expressions, precision, strict=True)]
        mean = weight @ stacked / weight.sum()
    means: NDArray[np.floating] = np.stack(each).astype(kind)
    root: NDArray[np.floating] = np.sqrt(weight).astype(kind)
    section = np.repeat(np.arange(len(expressions)), [e.shape[0] for e in expressions])
    chosen = sp.csr_array(
        (np.ones(spots, kind), (np.arange(spots), section)), shape=(spots, len(expressions))
    )

    def scored(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
        found: NDArray[np.floating] = stacked @ vectors
        for number, centre in enumerate(means @ vectors):
            found[slice(*np.searchsorted(section, (number, number + 1)))] -= centre
        return found

    def weighed(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
        if precision is None:
            return vectors
        return vectors * root.reshape(-1, *[1] * (vectors.ndim - 1))

    def product(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
        return weighed(scored(vectors))

    def transposed(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
        vectors = weighed(vectors)
        found: NDArray[np.floating] = stacked.T @ vectors
        found -= means.T @ (chosen.T @ vectors)
        return found

    centred = LinearOperator(
        stacked.shape,
        matvec=product,
        rmatvec=transposed,
        matmat=product,
        rmatmat=transposed,
        dtype=kind,
    )
    rank = min(most, spots - len(expressions), genes - 1)
    if rank < 1:
        axes = np.eye(1, genes)
    else:
        axes = _by_powers(centred, rank, seed) if many else _exactly(centred, rank, seed)
        # A sign for each axis, which SVD leaves open.
        axes *= np.sign(axes[np.arange(rank), np.abs(axes).argmax(axis=1)])[:, None]
        # A gene that is nowhere has no part in them; rounding would leave 1e-17, never the same.
        axes[:, np.bincount(stacked.indices[stacked.data != 0], minlength=genes) == 0] = 0
    scores = scored(axes.T)
    return GeneBasis(axes.astype(np.float32), mean.astype(np.float32)), scores.astype(np.float32)


def _exactly(matrix: LinearOperator, rank: int, seed: int) -> NDArray[np.float64]:
    """Return the right singular vectors of the largest singular values, (rank, columns)."""
    start = np.random.default_rng(seed).standard_normal(min(matrix.shape))
    _, values, axes = svds(matrix, k=rank, v0=start)
    found: NDArray[np.float64] = axes[np.argsort(-values)]
    return found


def _by_powers(matrix: LinearOperator, rank: int, seed: int) -> NDArray[np.float64]:
    """Return about the same as `_exactly`, with few products of the matrix with many vectors."""
    wide = min(rank + _BESIDE, *matrix.shape)
    start = np.random.default_rng(seed).standard_normal((matrix.shape[1], wide))
    across = start.astype(matrix.dtype)
    for _ in range(_POWERS):
        across = np.linalg.qr(matrix.rmatmat(matrix.matmat(across)))[0]
    along = matrix.matmat(across)
    # Ascending, as the squares of singular values.
    turned = np.linalg.eigh((along.T @ along).astype(np.float64))[1][:, ::-1]
    axes: NDArray[np.float64] = (across @ turned).T[:rank]
    return axes
