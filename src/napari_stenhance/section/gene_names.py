"""What genes are called: by their symbols where a table has them, and by their ids as well."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.matching import NAME_COLUMNS

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

GENE_ID = "gene_id"
"""The column of `var` that keeps the ids of genes that are called by their symbols."""
_ENSEMBL = re.compile(r"(ENS[A-Z]*G\d{6,})(\.\d+)?(_PAR_Y)?")
_ID_COLUMNS = (GENE_ID, "gene_ids", "ensembl_id", "ensembl_ids")
_MOSTLY = 0.5
# What a table calls genes that have no symbol, once it was written.
_NO_SYMBOL = {"", "nan", "None", "<NA>"}


def _texts(column: pd.Series[str]) -> list[str]:
    return [str(v).strip() for v in column.astype(object).where(column.notna().to_numpy(), "")]


def _are_ids(names: Sequence[str]) -> bool:
    some = [name for name in names if name]
    return bool(some) and sum(map(bool, map(_ENSEMBL.fullmatch, some))) > _MOSTLY * len(some)


def unique_symbols(symbols: Sequence[str], ids: Sequence[str]) -> tuple[list[str], int]:
    """Call each gene by its symbol, or by `SYMBOL-ID` where others share it, or else by its id.

    Returns
    -------
    names : list of str
        The same in any order of the genes.
    shared : int
        How many share their symbol.
    """
    values, number = np.unique(np.asarray(symbols, dtype=object).astype(str), return_counts=True)
    twice = {str(value) for value in values[number > 1]} - {""}
    names = [
        (f"{symbol}-{gene}" if symbol in twice else symbol) or gene
        for symbol, gene in zip(symbols, ids, strict=True)
    ]
    return names, sum(symbol in twice for symbol in symbols)


def by_symbols(spots: ad.AnnData) -> tuple[ad.AnnData, tuple[str, ...]]:
    """Call genes by their symbols: where they are called by Ensembl's ids and have them.

    Where genes share a symbol already, or lack one, the ids beside these tell them apart.

    Returns
    -------
    spots : AnnData
        The same, with another `var`, where `gene_id` keeps the ids.
    doubts : tuple of str
    """
    ids = list(map(str, spots.var_names))
    if not _are_ids(ids):
        return _told_apart(spots, ids)
    for column in NAME_COLUMNS:
        if column not in spots.var:
            continue
        symbols = _texts(spots.var[column])
        if _are_ids(symbols) or sum(map(bool, symbols)) <= _MOSTLY * len(symbols):
            continue
        names, shared = unique_symbols(symbols, ids)
        _rename(spots, names, ids)
        more = (
            f"; {shared} that {agree(shared, 'shares one is', 'share one are')} called SYMBOL-ID"
            if shared
            else ""
        )
        doubt = f'Genes are called by var["{column}"]{more}; their ids are understood, too.'
        return spots, (doubt,)
    return spots, ()


def _told_apart(spots: ad.AnnData, symbols: list[str]) -> tuple[ad.AnnData, tuple[str, ...]]:
    """Call genes that share a symbol by their ids as well, where a column has these."""
    if spots.var_names.is_unique:
        return spots, ()
    for column in (name for name in _ID_COLUMNS if name in spots.var):
        ids = _texts(spots.var[column])
        if "" in ids or len(set(ids)) < len(ids):
            continue
        known = ["" if symbol in _NO_SYMBOL else symbol for symbol in symbols]
        names, shared = unique_symbols(known, ids)
        _rename(spots, names, ids)
        lost = known.count("")
        said = f"{counted(shared, 'gene')} {agree(shared, 'shares its', 'share their')} symbol "
        said += f"with another and {agree(shared, 'is', 'are')} called SYMBOL-ID"
        if lost:
            id_of = agree(
                lost, "has none and is called by its", "have none and are called by their"
            )
            said += f", {lost} {id_of} id"
        return spots, (f'{said}, by var["{column}"].',)
    return spots, ()


def _rename(spots: ad.AnnData, names: list[str], ids: list[str]) -> None:
    var = spots.var.copy()
    var[GENE_ID] = ids
    var.index = type(var.index)(names)
    spots.var = var


def other_names(var: pd.DataFrame) -> tuple[str, ...]:
    """Return another name of each gene, its id or its symbol; "" where there is none.

    Nothing at all where no column of `var` says any.
    """
    names = list(map(str, var.index))
    for column in (GENE_ID, *NAME_COLUMNS):
        if column in var and (others := _texts(var[column])) != names:
            return tuple(others)
    return ()


def aliases_of(genes: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return which gene each other name means: where it means one alone, and is none itself.

    Of Ensembl's ids, those without their version as well.

    Parameters
    ----------
    genes, others : sequence of str
        As `other_names` returns them: as many, or none.
    """
    known = set(genes)
    meant: dict[str, set[str]] = {}
    for gene, other in zip(genes, others, strict=False):
        for name in {other, without_version(other)} - known - {""}:
            meant.setdefault(name, set()).add(gene)
    return {name: found.pop() for name, found in meant.items() if len(found) == 1}


def aliases_in(var: pd.DataFrame) -> dict[str, str]:
    """Return which gene each other name means that a table has; see `aliases_of`."""
    return aliases_of(list(map(str, var.index)), other_names(var))


def gene_meant(name: str, known: Collection[str], aliases: Mapping[str, str]) -> str:
    """Return the gene that a name means, or the name itself if none is called so."""
    if name in known or not aliases:
        return name
    return aliases.get(name) or aliases.get(without_version(name), name)


def without_version(name: str) -> str:
    """Return an id of Ensembl's without its version; anything else as it is."""
    match = _ENSEMBL.fullmatch(name)
    return match[1] if match and not match[3] else name
