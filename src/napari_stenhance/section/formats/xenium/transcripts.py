"""Transcripts summed in squares of 8 µm: those that were decoded with a quality of 20 or more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.spots import UNS_KEY, SpotGeometry
from napari_stenhance.section.tables.binned import BinnedCounts
from napari_stenhance.section.tables.features import is_control
from napari_stenhance.section.tables.parquet import numbers_of, open_parquet, texts_of
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad

BIN_UM = 8.0
QUALITY_LEAST = 20.0
_COLUMNS = ("feature_name", "x_location", "y_location", "qv")
_GENE_CATEGORIES = ("predesigned_gene", "custom_gene")
_AT_ONCE = 2**20


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
        binned, names, (every, poor, other) = _summed(path)
    genes = sorted(names)
    down, across, counts = binned.matrix(genes)
    if not len(down):
        msg = f"{path}: of its {every} transcripts none is of a gene with a quality of 20 or more."
        raise InputError(msg)
    # Genes are numbered as they came.
    counts = counts[:, [names[gene] for gene in genes]]
    ids = [f"b_008um_{y:05d}_{x:05d}" for y, x in zip(down, across, strict=True)]
    centres = np.column_stack([across, down]).astype(np.float64) + 0.5
    table = ad.AnnData(
        X=counts,
        obs=pd.DataFrame({"array_row": down, "array_col": across}, index=ids),
        var=pd.DataFrame(index=pd.Index(genes)),
        obsm={"spatial": place(centres * BIN_UM)},
        uns={UNS_KEY: asdict(SpotGeometry(BIN_UM, "square", BIN_UM, "micrometer"))},
    )
    doubt = (
        f"{every - poor - other} of {every} transcripts are summed in bins of {BIN_UM:g} µm: "
        f"{poor} of a quality below {QUALITY_LEAST:g} and {other} of controls were left out."
    )
    return table, (doubt,)


def _summed(path: Path) -> tuple[BinnedCounts, dict[str, int], tuple[int, int, int]]:
    """Count transcripts by bin and gene, some of the table at once.

    Returns
    -------
    binned : BinnedCounts
    genes : dict of str to int
        The number of each gene.
    numbers : tuple of int
        Transcripts in all, of poor quality, and of no genes.
    """
    every = poor = other = 0
    binned, genes = BinnedCounts(), dict[str, int]()
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
            words = [str(word) for word in names.dictionary.to_pylist()]
            word = names.indices.to_numpy(zero_copy_only=False)
            good = quality >= QUALITY_LEAST
            gene = np.array([not is_control(w) for w in words], bool)[word]
            if kind == "is_gene":
                gene = numbers_of(batch[kind]) == 1
            elif kind:
                gene = np.isin(texts_of(batch[kind]).to_numpy(False), _GENE_CATEGORIES)
            every, poor = every + len(word), poor + int((~good).sum())
            other += int((good & ~gene).sum())
            good &= gene
            xy, used = np.column_stack([x, y])[good], word[good]
            if not np.isfinite(xy).all():
                msg = "a transcript has no x_location or y_location"
                raise ValueError(msg)
            column, row = np.clip(xy // BIN_UM, -1, 2**31).astype(np.int64).T
            number = np.full(len(words), -1)
            for at in np.unique(used):
                number[at] = genes.setdefault(words[at], len(genes))
            binned.add(row, column, number[used], np.ones(len(used), np.int64))
    return binned, genes, (every, poor, other)
