"""Counts as text: a line of gene names, then an id and its counts on each line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import counted
from napari_stenhance.section.tables.claims import lines, opened_text
from napari_stenhance.section.tables.counts import checked_counts
from napari_stenhance.storage.reading import reading

_TEXT_AT_ONCE = 2**23


def read_counts(path: Path) -> tuple[list[str], list[str], sp.csr_matrix]:
    """Parse a spots × genes table, gzipped or not; column-wise parsers choke on tables this wide.

    Returns
    -------
    ids, genes : list of str
    counts : sparse matrix of float32, shape (spots, genes)
        Only a block of rows is ever dense.

    Raises
    ------
    InputError
        If a line is no id and numbers, lines differ in length, or there are none.
    """
    ids: list[str] = []
    blocks = []
    with reading(path, "the counts", "each line must be a spot id and counts"):
        with opened_text(path) as file:
            text = lines(file)
            names = next(text, "")
            separator = _separator(names)
            header = next(csv.reader([names], delimiter=separator), [])
            for block in _blocks(text, separator):
                ids += [spot.strip('"') for spot, _, _ in block]
                blocks.append(sp.csr_matrix(_numbers(block, separator)))
        if not blocks:
            msg = "there is no line below the header"
            raise ValueError(msg)
        counts = checked_counts(sp.vstack(blocks, format="csr"))
    # The column of ids may go unnamed: R leaves its name out, pandas leaves it empty.
    genes = header if len(header) == counts.shape[1] and header[0] else header[1:]
    if len(genes) != counts.shape[1]:
        msg = (
            f"{path}: the header names {counted(len(genes), 'gene')}, but lines hold "
            f"{counted(counts.shape[1], 'count')}."
        )
        raise InputError(msg)
    return ids, genes, counts


def _separator(names: str) -> str:
    """Tell by the line of names what separates cells: a tab, or as Excel and others write."""
    return "\t" if "\t" in names else max(",;", key=names.count)


def _blocks(text: Iterator[str], separator: str) -> Iterator[list[tuple[str, str, str]]]:
    """Cut lines at their first separator, some megabytes at once, whatever is said of them."""
    block: list[tuple[str, str, str]] = []
    held = 0
    for line in text:
        if not line.strip():
            continue
        block.append(line.partition(separator))
        held += len(line)
        if held > _TEXT_AT_ONCE:
            yield block
            block, held = [], 0
    if block:
        yield block


def _numbers(lines: list[tuple[str, str, str]], separator: str) -> NDArray[np.float32]:
    cells = [cells or "nothing" for _, _, cells in lines]
    counted = [line.count(separator) + 1 for line in cells]
    for (spot, _, _), other in zip(lines, counted, strict=True):
        if other != counted[0]:
            msg = f"spot {spot} has {other} counts, but {lines[0][0]} has {counted[0]}"
            raise ValueError(msg)
    try:
        return np.loadtxt(cells, np.float32, comments=None, delimiter=separator, ndmin=2)
    except ValueError as error:
        msg = f"{str(error).rstrip('.')}, where row 0 is spot {lines[0][0]}"
        raise ValueError(msg) from error
