"""What STAMGC learns from: expression of the genes that vary, of one or more slices together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from napari_stenhance.errors import InputError
from napari_stenhance.methods.basis import fit_basis
from napari_stenhance.methods.drawing import WHOLE_MOST
from napari_stenhance.methods.genes import variance
from napari_stenhance.methods.hvg import seurat_v3_genes
from napari_stenhance.methods.stamgc.protocol import Slice
from napari_stenhance.running.numbers import counted
from napari_stenhance.section.spots import log1p_cp10k

_CLIP = 10.0
_LEAST_SHARE = 0.05
_NOT_GENES = ("ERCC-", "MT-")
"""Spike-ins and mitochondrial genes; "ERCC" alone would drop the genes ERCC1 to ERCC8 too."""


def published_features(
    slices: Sequence[Slice], genes: int, min_cells: int, min_counts: int
) -> NDArray[np.float32]:
    """Prepare expression as published: (spots of all slices, genes), dense.

    Genes in few spots, with few counts, spike-ins and mitochondrial ones are dropped; the `genes`
    most variable are chosen by `seurat_v3_genes` on raw counts; counts per 10,000 of all genes
    left, log1p, divided by each gene's standard deviation and cut at 10.
    """
    counts = sp.csr_array(sp.vstack([s.counts for s in slices]))
    columns = sp.csc_array(counts)
    seen = np.diff(columns.indptr) >= min_cells
    counted = np.asarray(counts.sum(axis=0)).ravel() >= min_counts
    kept = np.flatnonzero(
        seen
        & counted
        & np.array([not name.upper().startswith(_NOT_GENES) for name in slices[0].genes])
    )
    if not len(kept):
        msg = (
            f"{slices[0].name}: no gene was found in {min_cells} spots with {min_counts} counts, "
            "as this group of the reference asks; choose another group, or the preset robust."
        )
        raise InputError(msg, option="group")
    counts = sp.csr_array(counts[:, kept])
    chosen = seurat_v3_genes(counts, genes)
    library = np.asarray(counts.sum(axis=1), np.float64).ravel()
    values = log1p_cp10k(sp.csr_array(counts[:, np.sort(chosen)]), library).toarray()
    spread = values.std(axis=0, ddof=1, dtype=np.float64).astype(np.float32)
    values /= np.where(spread > 0, spread, 1)
    return np.minimum(values, _CLIP, out=values)


def has_counts(s: Slice) -> NDArray[np.bool_]:
    """Tell which spots have more than 5 % of the median count: others say nothing of their own."""
    if s.counts is None:
        return np.ones(len(s.xy), bool)
    library = np.asarray(s.counts.sum(axis=1), np.float64).ravel()
    return library > _LEAST_SHARE * np.median(library)


def principal_scores(
    slices: Sequence[Slice], genes: int, axes: int, seed: int
) -> NDArray[np.float32]:
    """Return scores on the principal axes of log1p CP10k of the genes that vary most.

    Sparse: no matrix of spots × genes is made. Each slice is centred on its own mean: what all of
    its spots share is the patient or the chip, and would make domains of the slices themselves.

    Returns
    -------
    ndarray of float32, shape (spots of all slices, at most `axes`)
        0 for spots nearly without counts; see `has_counts`.

    Raises
    ------
    InputError
        If no gene varies.
    """
    kept = [has_counts(s) for s in slices]
    found = _scores(_values(slices, kept, genes), axes, seed)
    every = []
    for part, k in zip(found, kept, strict=True):
        every.append(np.zeros((len(k), part.shape[1]), np.float32))
        every[-1][k] = part - part.mean(axis=0)
    return np.concatenate(every)


def _values(
    slices: Sequence[Slice], kept: Sequence[NDArray[np.bool_]], genes: int
) -> Sequence[sp.csr_array[np.float32] | NDArray[np.float32]]:
    """Return latents, or log1p CP10k of the genes that vary most, of the spots that are kept."""
    latents = [s.latent for s in slices if s.latent is not None]
    if latents:
        return latents
    logs = []
    for s, k in zip(slices, kept, strict=True):
        assert s.counts is not None
        counts = s.counts if k.all() else sp.csr_array(s.counts[np.flatnonzero(k)])
        logs.append(log1p_cp10k(counts, np.asarray(counts.sum(axis=1), np.float64).ravel()))
    spread = variance(logs)
    if not (spread > 0).any():
        msg = (
            f"{slices[0].name}: counts per 10,000 of its {counted(len(spread), 'gene')} do "
            "not differ between spots; domains need at least two genes that vary."
        )
        raise InputError(msg)
    chosen = np.sort(np.argsort(-spread, kind="stable")[:genes])
    return [sp.csr_array(log[:, chosen]) for log in logs]


def _scores(
    values: Sequence[sp.csr_array[np.float32] | NDArray[np.float32]], axes: int, seed: int
) -> list[NDArray[np.float32]]:
    """Return the scores of each slice on the principal axes of all.

    Of more than 20,000 spots their counts are not multiplied gene by gene: sparse as they are, that
    would take longer than all the rest.
    """
    sizes = [len(v) if isinstance(v, np.ndarray) else v.shape[0] for v in values]
    sparse = [v for v in values if not isinstance(v, np.ndarray)]
    if sum(sizes) > WHOLE_MOST and sparse:
        scores = fit_basis(sparse, axes, seed)[1]
    else:
        together = sp.csr_array(sp.vstack(sparse)) if sparse else np.concatenate(values)
        axes = min(axes, together.shape[1], together.shape[0] - 1)
        scores = PCA(axes, svd_solver="covariance_eigh").fit_transform(together)
    return np.split(scores, np.cumsum(sizes)[:-1])
