"""Transcripts summed in squares of 8 µm: those that were decoded with a quality of 20 or more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.spots import UNS_KEY, SpotGeometry
from napari_stenhance.section.tables.parquet import numbers_of, open_parquet, texts_of
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad

BIN_UM = 8.0
QUALITY_LEAST = 20.0
_COLUMNS = ("feature_name", "x_location", "y_location", "qv")
_GENE_CATEGORIES = ("predesigned_gene", "custom_gene")
_CONTROLS = (
    "NegControl",
    "antisense_",
    "BLANK_",
    "UnassignedCodeword_",
    "DeprecatedCodeword_",
    "Intergenic_Region_",
)
_AT_ONCE = 2**20
_BINS_MOST = 2**20
"""Along one side: 8 m of tissue."""


def read_transcripts(
    path: Path, place: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[ad.AnnData, tuple[str, ...]]:
    """Sum transcripts of genes in bins; only bins that count something are kept.

    Parameters
    ----------
    path : Path
    place : callable
        Takes (x, y) in µm to full-resolution pixels.

    Raises
    ------
    InputError
        If the table cannot be read, or holds no transcript that counts.
    """
    import anndata as ad
    import pandas as pd

    with reading(path, "the transcripts", "copy the bundle again"):
        place_of, gene_of, counts, genes, (every, poor, other) = _summed(path)
    if not len(place_of):
        msg = f"{path}: of its {every} transcripts none is of a gene with a quality of 20 or more."
        raise InputError(msg)
    bins, row = np.unique(place_of, return_inverse=True)
    across, down = bins % _BINS_MOST, bins // _BINS_MOST
    order = np.argsort(genes)
    column = np.argsort(order)[gene_of]
    matrix = sp.csr_matrix((counts, (row, column)), shape=(len(bins), len(genes)), dtype=np.float32)
    seen = matrix.getnnz(axis=0) > 0
    names = [f"b_008um_{y:05d}_{x:05d}" for y, x in zip(down, across, strict=True)]
    centres = np.column_stack([across, down]).astype(np.float64) + 0.5
    table = ad.AnnData(
        X=matrix[:, seen],
        obs=pd.DataFrame({"array_row": down, "array_col": across}, index=names),
        var=pd.DataFrame(index=pd.Index(np.array(genes, dtype=object)[order][seen])),
        obsm={"spatial": place(centres * BIN_UM)},
        uns={UNS_KEY: asdict(SpotGeometry(BIN_UM, "square", BIN_UM, "micrometer"))},
    )
    doubt = (
        f"{every - poor - other} of {every} transcripts are summed in bins of {BIN_UM:g} µm: "
        f"{poor} of a quality below {QUALITY_LEAST:g} and {other} of controls were left out."
    )
    return table, (doubt,)


def _summed(
    path: Path,
) -> tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], list[str], tuple[int, int, int]
]:
    """Count transcripts by bin and gene, some of the table at once.

    Returns
    -------
    place : ndarray of int64
        row · `_BINS_MOST` + column of each bin and gene that was counted, ascending.
    gene : ndarray of int64
    counts : ndarray of int64
    genes : list of str
    numbers : tuple of int
        Transcripts in all, of poor quality, and of no genes.
    """
    every = poor = other = 0
    gene_of: dict[str, int] = {}
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    with open_parquet(path) as file:
        there = file.schema_arrow.names
        lacking = [name for name in _COLUMNS if name not in there]
        if lacking:
            msg = f"there is no column {lacking[0]}, only {', '.join(there[:12])}"
            raise ValueError(msg)
        kind = next((n for n in ("is_gene", "codeword_category") if n in there), "")
        for batch in file.iter_batches(_AT_ONCE, columns=[*_COLUMNS, *filter(None, [kind])]):
            x, y, quality = (numbers_of(batch[name]) for name in _COLUMNS[1:])
            names = texts_of(batch["feature_name"]).dictionary_encode()
            words = names.dictionary.to_pylist()
            word = names.indices.to_numpy(zero_copy_only=False)
            good = quality >= QUALITY_LEAST
            gene = np.array([not str(w).startswith(_CONTROLS) for w in words], bool)[word]
            if kind == "is_gene":
                gene = numbers_of(batch[kind]) == 1
            elif kind:
                gene = np.isin(texts_of(batch[kind]).to_numpy(False), _GENE_CATEGORIES)
            every, poor = every + len(word), poor + int((~good).sum())
            other += int((good & ~gene).sum())
            xy = np.column_stack([x, y])[good & gene]
            # NaN is neither.
            if not ((xy >= 0) & (xy < _BINS_MOST * BIN_UM)).all():
                msg = f"x_location or y_location is not between 0 and {_BINS_MOST * BIN_UM:g} µm"
                raise ValueError(msg)
            number = np.array([gene_of.setdefault(str(w), len(gene_of)) for w in words], np.int64)
            column, row = (xy // BIN_UM).astype(np.int64).T
            place, which = row * _BINS_MOST + column, number[word[good & gene]]
            parts.append(_added([(place, which, np.ones(len(place), np.int64))]))
            if len(parts) > 16:
                parts = [_added(parts)]
    return *_added(parts), list(gene_of), (every, poor, other)


def _added(
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Add up counts of the same bin and gene."""
    if not parts:
        return (np.zeros(0, np.int64),) * 3
    place, gene, count = (np.concatenate(one) for one in zip(*parts, strict=True))
    if not len(place):
        return place, gene, count
    order = np.lexsort((gene, place))
    place, gene, count = place[order], gene[order], count[order]
    first = np.flatnonzero(np.r_[True, (np.diff(place) != 0) | (np.diff(gene) != 0)])
    return place[first], gene[first], np.add.reduceat(count, first)
