"""The published recipe: its numbers, how expression is normalised, which genes are held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from napari_stenhance.errors import InputError

Normalise = Literal["log1p", "standardize", "none"]
FOLDS, FOLD_SEED = 10, 42
_TINY = 1e-8

Genes = NDArray[np.int64]


@dataclass(frozen=True)
class SincaReferenceRecipe:
    """The published network and how it is trained.

    Attributes
    ----------
    width, heads, layers, feed_forward : int
        Of the network; `width` is even, and a multiple of `heads`.
    dropout : float
    epochs : int
    batch : int
        Spots that are seen together, on one raster, in training and in prediction.
    learning_rate, weight_decay : float
        Of AdamW.
    clip : float
        Largest norm of a gradient.
    known_weight : float
        Weight of the known genes' error in the loss.
    normalise : {"log1p", "standardize", "none"}
    """

    width: int = 256
    heads: int = 8
    layers: int = 2
    feed_forward: int = 2048
    dropout: float = 0.1
    epochs: int = 100
    batch: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    clip: float = 1.0
    known_weight: float = 0.1
    normalise: Normalise = "log1p"

    def __post_init__(self) -> None:
        require_heads(self.width, self.heads, 2)


def require_heads(width: int, heads: int, parts: int) -> None:
    """Check that a width can be dealt to heads, and cut into parts.

    Raises
    ------
    InputError
        If it cannot.
    """
    if width % heads or width % parts:
        msg = f"A width of {width} is no multiple of {heads} heads and of {parts}; choose one."
        raise InputError(msg)


def normalised_counts(counts: sp.csr_array[np.float32], how: Normalise) -> NDArray[np.float32]:
    """Return expression as the network sees it, (rows, genes), dense.

    log(1 + count) without regard to the size of a library, or the standard scores of each gene over
    the rows, or the counts.
    """
    values: NDArray[np.float32] = counts.toarray().astype(np.float32)
    if how == "log1p":
        return np.log1p(values, out=values)
    if how == "standardize":
        values -= values.mean(axis=0)
        values /= values.std(axis=0) + np.float32(_TINY)
    return values


def gene_folds(genes: int) -> list[tuple[Genes, Genes]]:
    """Return the known and the unknown genes of each of ten folds, ascending.

    Raises
    ------
    InputError
        If there are fewer genes than folds.
    """
    if genes < FOLDS:
        msg = f"The published protocol deals genes to {FOLDS} folds; spots and cells share {genes}."
        raise InputError(msg)
    folds = KFold(FOLDS, shuffle=True, random_state=FOLD_SEED)
    return [
        (known.astype(np.int64), unknown.astype(np.int64))
        for known, unknown in folds.split(np.empty((genes, 1)))
    ]
