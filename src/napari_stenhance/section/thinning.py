"""Fewer counts than were measured: what a shallower experiment would have given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from napari_stenhance.errors import InputError

if TYPE_CHECKING:
    import anndata as ad

# The mean over the sd, or the sd over the mean: beyond it a gamma distribution cannot be drawn.
_WIDEST = 1e6


def thin(spots: ad.AnnData, mean: float, sd: float, seed: int) -> ad.AnnData:
    """Keep a random share of each spot's counts; spots left without any stay, and count 0.

    Each spot keeps a share of its own, from a gamma distribution, and so many counts are drawn from
    a multinomial distribution with the proportions that were measured.

    Parameters
    ----------
    spots : AnnData
        Raw counts.
    mean, sd : float
        Of the share; `sd` may be 0.
    seed : int

    Returns
    -------
    AnnData
        All of `spots`, with fewer counts; without layers.

    Raises
    ------
    InputError
        If the share is not above 0 and at most 1, its `sd` is negative, or nothing is left.

    References
    ----------
    Down-sampling experiment of Pixel2Gene: https://doi.org/10.64898/2026.02.21.707168
    """
    import anndata as ad

    if not 0 < mean <= 1 or not (sd == 0 or mean / _WIDEST <= sd <= mean * _WIDEST):
        msg = (
            f"A mean share of {mean:g} ± {sd:g}: give a mean above 0, at most 1, and an sd of 0 "
            f"or from {mean / _WIDEST:g} to {mean * _WIDEST:g}."
        )
        raise InputError(msg)
    rng = np.random.default_rng(seed)
    counts = sp.csr_array(spots.X, dtype=np.float64, copy=True)
    counts.sum_duplicates()
    total = np.asarray(counts.sum(axis=1)).ravel()
    share = rng.gamma((mean / sd) ** 2, sd**2 / mean, spots.n_obs) if sd else mean
    library = np.rint(share * total).astype(np.int64)
    kept = np.zeros(len(counts.data), np.float32)
    for spot in np.flatnonzero(library):
        entries = slice(counts.indptr[spot], counts.indptr[spot + 1])
        kept[entries] = rng.multinomial(library[spot], counts.data[entries] / total[spot])
    thinned = sp.csr_array((kept, counts.indices, counts.indptr), counts.shape)
    thinned.eliminate_zeros()
    if not library.any():
        msg = f"A mean share of {mean:g} leaves no counts at all; give a larger one."
        raise InputError(msg)
    return ad.AnnData(
        X=sp.csr_matrix(thinned),
        obs=spots.obs.copy(),
        var=spots.var.copy(),
        obsm={"spatial": np.array(spots.obsm["spatial"])},
        uns={"downsampled": {"mean": mean, "sd": sd, "seed": seed}},
    )
