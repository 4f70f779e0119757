"""Which genes of single cells are which of the spots, however either file calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import agree, counted

if TYPE_CHECKING:
    import pandas as pd

NAME_COLUMNS = (
    "gene_symbol",
    "gene_symbols",
    "gene_name",
    "gene_names",
    "feature_name",
    "symbol",
    "gene_ids",
    "gene_id",
    "ensembl_id",
)
"""Columns of `var` that may say what the ids do not: symbols beside Ensembl's ids, or these."""
LEAST_SHARED = 20
_NAMES = ""
_VERSION = r"^(ENS[A-Z]*G\d+)\.\d+$"
# Ids are what a file means; another way to match must find clearly more.
_BETTER = 1.5


@dataclass(frozen=True)
class Matched:
    """How the genes of cells are called in the result.

    Attributes
    ----------
    names : tuple of str
        One for each gene of the cells: that of the spots where they have it, else its own; empty
        where an earlier gene has the name.
    report : str
        What matched, in a sentence.
    doubts : tuple of str
    """

    names: tuple[str, ...]
    report: str
    doubts: tuple[str, ...]


def match_genes(spots: pd.DataFrame, cells: pd.DataFrame, where: str) -> Matched:
    """Match genes by their ids, else by a column of symbols or ids, else in other letters.

    Parameters
    ----------
    spots, cells : DataFrame
        `var` of both.
    where : str
        The file of the cells, which errors name.

    Raises
    ------
    InputError
        If they share fewer than `LEAST_SHARED` genes.
    """
    of_spots, of_cells = _keys(spots), _keys(cells)
    best, how, fold = 0, (_NAMES, _NAMES), False
    for folded in (False, True):
        sets = [
            {name: {_fold(k, folded) for k in keys} - {""} for name, keys in of.items()}
            for of in (of_spots, of_cells)
        ]
        for one, ours in sets[0].items():
            for other, theirs in sets[1].items():
                number = len(ours & theirs)
                if number > _BETTER * best:
                    best, how, fold = number, (one, other), folded
    if best < LEAST_SHARED:
        msg = (
            f"{where}: only {best} of its {counted(len(cells), 'gene')} ({_some(cells.index)}) "
            f"{agree(best, 'is', 'are')} among the "
            f"{len(spots)} of the spots ({_some(spots.index)}), and at least {LEAST_SHARED} are "
            "needed; give cells of the same species, with the same kind of gene ids or symbols."
        )
        raise InputError(msg)
    keys = [_fold(key, fold) for key in of_spots[how[0]]]
    known: dict[str, str] = {}
    for key, name in zip(keys, map(str, spots.index), strict=True):
        known.setdefault(key, name)
    known.pop("", None)
    taken: set[str] = set()
    names = []
    for key, gene in zip(of_cells[how[1]], map(str, cells.index), strict=True):
        name = known.get(_fold(key, fold), key or gene)
        names.append("" if name in taken else name)
        taken.add(name)
    measured = set(known.values())
    only = [name for name in dict.fromkeys(names) if name and name not in measured]
    report = (
        f"{best} of the {len(spots)} genes of the spots are among the {len(cells)} of the cells, "
        f"matched {_say(how)}{' in other letters' * fold}; "
        + (
            f"{len(only)} {agree(len(only), 'is', 'are')} only in the cells ({_some(only)})."
            if only
            else "no others are."
        )
    )
    return Matched(tuple(names), report, tuple(_doubts(keys, names, fold=fold)))


def _doubts(keys: list[str], names: list[str], *, fold: bool) -> list[str]:
    doubts = []
    if fold:
        doubts.append(
            "Genes of spots and cells match only without regard to upper and lower case, as those "
            "of different species do: check that they are of one."
        )
    twice = len([key for key in keys if key]) - len(set(keys) - {""})
    for number, of in ((twice, "spots"), (names.count(""), "cells")):
        if number:
            genes, share = ("gene", "shares its") if number == 1 else ("genes", "share their")
            doubts.append(
                f"{number} {genes} of the {of} {share} name with an earlier one, which was taken."
            )
    return doubts


def _keys(var: pd.DataFrame) -> dict[str, list[str]]:
    """Return what each gene is called, by its id and by every column that may say it."""
    named = {_NAMES: var.index.to_series()}
    named |= {column: var[column] for column in NAME_COLUMNS if column in var}
    return {
        name: [
            str(text)
            for text in keys.astype(object).where(keys.notna().to_numpy(), "").astype(str)
            .str.strip().str.replace(_VERSION, r"\1", regex=True)
        ]
        for name, keys in named.items()
    }  # fmt: skip


def _fold(key: str, folded: bool) -> str:
    return key.casefold() if folded else key


def _say(how: tuple[str, str]) -> str:
    spots, cells = ("ids" if column == _NAMES else f'var["{column}"]' for column in how)
    if how == (_NAMES, _NAMES):
        return "by their ids"
    return f"by {spots} of the spots and {cells} of the cells"


def _some(names: object) -> str:
    """Name three."""
    listed = [str(name) for name in names]  # type: ignore[attr-defined]
    return ", ".join(listed[:3]) + (" …" if len(listed) > 3 else "")
