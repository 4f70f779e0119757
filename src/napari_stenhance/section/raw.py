"""Raw counts: where an AnnData keeps them, and what whole numbers show that they are none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from napari_stenhance.errors import InputError
from napari_stenhance.section.spots import are_whole
from napari_stenhance.section.tables.counts import checked_counts
from napari_stenhance.section.tables.layers import named_layers
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad

_LAYERS = ("counts", "raw_counts", "raw", "count", "counts_raw", "umi", "umis", "umi_counts")
NOT_WHOLE = "no whole numbers"
TRUTH = "True and False alone"
_ROWS = 2000
# Of spots: of fewer nothing is concluded.
_ROWS_LEAST = 20
# Entries that would be 2 or more, if genes were counted as often as they are found.
_TWICE_LEAST = 20
# Of the mean: totals of what is counted vary by as much as they are, at least.
_VARIES_LEAST, _TOTAL_LEAST = 0.2, 100
# Logarithms of counts, of any base and normalisation in use, are no larger.
_LOG_MOST = 20
# Of counts, as many as that many of one gene: of fewer nothing is concluded.
_OFTEN_LEAST, _OFTEN_COUNTS = 1.0, 200
# Of genes found often, variance ÷ mean: 1 and more of what is counted.
_SPREAD_LEAST = 0.6
# How much more often one number may come than those beside it allow: 1 of what is counted.
_PEAK_MOST = 1.3
_LISTED_MOST = 8


def layers_to_ask(names: Iterable[str]) -> list[str]:
    """Order layers: first those that are called as raw counts are."""
    by_name = sorted(names)
    called = [n for wanted in _LAYERS for n in by_name if n.lower() == wanted]
    return [*called, *(n for n in by_name if n not in called)]


def no_counts(matrix: Any) -> str:
    """Say what a matrix holds if it is no raw counts; nothing if it may be.

    Whole numbers are looked at in some rows: those of single molecules are neither 0 and 1 alone,
    where genes are found often, nor the same in sum everywhere, and they are spread at least as
    widely as by chance.

    Parameters
    ----------
    matrix : ndarray or sparse matrix, shape (spots, genes)
        Finite numbers.
    """
    if matrix.dtype == bool:
        return TRUTH
    if not are_whole(matrix):
        return NOT_WHOLE
    values = matrix.data if sp.issparse(matrix) else np.asarray(matrix)
    if values.size and values.min() < 0:
        return "negative numbers"
    rows = matrix.shape[0]
    if rows < _ROWS_LEAST:
        return ""
    some = sp.csr_array(matrix[:: -(-rows // _ROWS)], dtype=np.float64)
    if not some.nnz:
        return ""
    number = some.shape[0]
    if some.data.max() == 1:
        found = np.bincount(some.indices[some.data > 0], minlength=some.shape[1]) / number
        rate = -np.log1p(-np.minimum(found, 1 - 0.5 / number))
        if (number * (1 - np.exp(-rate) * (1 + rate))).sum() >= _TWICE_LEAST:
            return "0 and 1 alone"
    total = some.sum(axis=1)
    total = total[total > 0]
    mean = float(total.mean()) if len(total) >= _ROWS_LEAST else 0.0
    if (
        mean >= _TOTAL_LEAST
        and total.var() < _VARIES_LEAST * mean
        and len(np.unique(some.data)) > 2
    ):
        return f"about the same total, {float(f'{mean:.3g}'):,.0f}, in every row"
    if some.data.max() <= _LOG_MOST and _too_even(some):
        return "whole numbers more alike than counts are, such as rounded logarithms"
    return ""


def _too_even(some: sp.csr_array[np.float64]) -> bool:
    """Tell whether numbers vary by less than what is counted does, whatever is there to count.

    Counts of molecules are Poisson's, of rates that differ as they like. So each gene varies by its
    mean or more, and of the numbers of times h[k] that k is found, k h[k]² is at most
    (k + 1) h[k-1] h[k+1]. Rounded logarithms vary by less where they are large, and lack small
    numbers where they begin at a larger one.
    """
    rows, genes = some.shape
    mean = some.sum(axis=0) / rows
    square = np.bincount(some.indices, weights=some.data**2, minlength=genes) / rows
    often = mean >= _OFTEN_LEAST
    if rows * int(often.sum()) >= _OFTEN_COUNTS:
        spread = (square - mean**2)[often].sum() / mean[often].sum()
        if spread < _SPREAD_LEAST:
            return True
    found = np.bincount(some.data.astype(np.int64), minlength=int(some.data.max()) + 2)
    found[0] += rows * genes - len(some.data)
    # As many as there may be, but for chance.
    most = found + 4 * np.sqrt(found) + 8
    k = np.arange(1, len(found) - 1)
    return bool((k * found[1:-1] ** 2.0 > _PEAK_MOST * (k + 1) * most[:-2] * most[2:]).any())


def with_raw_counts(spots: ad.AnnData, where: str) -> tuple[ad.AnnData, tuple[str, ...]]:
    """Put raw counts into X, if it has none and they lie where others keep them; say so."""
    import anndata as ad

    held = "nothing"
    if spots.X is not None:
        if spots.X.dtype != bool:
            with reading(where, "X", "write it again"):
                spots.X = checked_counts(spots.X)
        held = no_counts(spots.X)
    if not held:
        return spots, ()
    said = f"X holds {held}: the raw counts of {{}} are used."
    layers = named_layers(spots)
    for name in layers_to_ask(layers):
        place = f'layers["{name}"]'
        with reading(where, place, "write it again"):
            if not _is_numbers(layers[name]):
                continue
            counts = checked_counts(layers[name])
        if not no_counts(counts):
            spots.X = counts
            return spots, (said.format(place),)
    if spots.raw is not None:
        counts = spots.raw.X
        if counts.dtype != bool:
            with reading(where, "raw", "write it again"):
                counts = checked_counts(counts)
        if not no_counts(counts):
            kept = {"obs": spots.obs, "obsm": dict(spots.obsm), "obsp": dict(spots.obsp)}
            raw = ad.AnnData(X=counts, var=spots.raw.var, uns=spots.uns, **kept)
            return raw, (said.format("raw"),)
    if held == TRUTH:
        others = other_tables(layers, spots.raw is not None)
        msg = f"{where}: X holds {held}, which are no counts{others}; put the raw counts into X."
        raise InputError(msg)
    return spots, ()


def _is_numbers(matrix: Any) -> bool:
    values = matrix.data if sp.issparse(matrix) else np.asarray(matrix)
    return bool(values.dtype.kind in "iuf")


def count_doubts(spots: ad.AnnData) -> tuple[str, ...]:
    """Say that X holds no raw counts, and which other tables there are."""
    if spots.X is None or not (held := no_counts(spots.X)):
        return ()
    doubt = (
        f"X holds {held}, so these are no raw counts, which enhance, impute and domains need"
        f"{other_tables(named_layers(spots), spots.raw is not None)}."
    )
    return (doubt,)


def other_tables(layers: Sequence[str] | Any, has_raw: bool) -> str:
    """Name what else a table holds, in which no counts were found."""
    there = [*(f'layers["{name}"]' for name in sorted(layers)), *(["raw"] if has_raw else [])]
    if not there:
        return ""
    return f"; neither are {', '.join(there[:_LISTED_MOST])}"
