"""Splits of spots: spatial blocks, so that held-out spots are no neighbours, or a random part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree


def block_folds(
    xy_um: NDArray[np.float64], block_um: float, folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Cut positions into square blocks, and deal the blocks to folds of about equal size.

    Parameters
    ----------
    xy_um : ndarray of float64, shape (n, 2)
    block_um : float
        Side of a block in micrometres; halved until there are at least two blocks for each fold.
    folds : int
    rng : numpy Generator
        Draws where the lattice of blocks lies, and ties.

    Returns
    -------
    ndarray of int64, shape (n,)
        The fold of each position.
    """
    if len(xy_um) < folds:
        return rng.permutation(len(xy_um)) % folds
    while True:
        block = np.floor((xy_um + rng.random(2) * block_um) / block_um).astype(np.int64)
        _, member, size = np.unique(block, axis=0, return_inverse=True, return_counts=True)
        if len(size) >= min(2 * folds, len(xy_um)):
            break
        block_um /= 2
    order = rng.permutation(len(size))
    order = order[np.argsort(-size[order], kind="stable")]
    filled = np.zeros(folds, dtype=np.int64)
    fold_of_block = np.empty(len(size), dtype=np.int64)
    for b in order:
        fold_of_block[b] = filled.argmin()
        filled[fold_of_block[b]] += size[b]
    fold: NDArray[np.int64] = fold_of_block[member.ravel()]
    return fold


def beyond(
    xy_um: NDArray[np.float64], held_out: NDArray[np.bool_], buffer_um: float
) -> NDArray[np.bool_]:
    """Mark positions that are not held out, nor nearer than a buffer to any that is.

    Parameters
    ----------
    xy_um : ndarray of float64, shape (n, 2)
    held_out : ndarray of bool, shape (n,)
    buffer_um : float
        In micrometres; 0 leaves every other position.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    if not held_out.any():
        return ~held_out
    away, _ = cKDTree(xy_um[held_out]).query(xy_um)
    far: NDArray[np.bool_] = ~held_out & (away >= buffer_um)
    return far


def random_part(number: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Mark a random part of some spots, as the published evaluation of HisToSGE draws it.

    NumPy's legacy generator draws round(share · number) of them without replacement.

    Returns
    -------
    ndarray of bool, shape (number,)
    """
    drawn = np.random.RandomState(seed).choice(number, round(share * number), replace=False)
    marked = np.zeros(number, dtype=bool)
    marked[drawn] = True
    return marked
