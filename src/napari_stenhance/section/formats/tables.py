"""Counts as text: a line of gene names, then an id and its counts on each line."""

from __future__ import annotations

import csv
import gzip
import zlib
from itertools import islice
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError

_CELLS_AT_ONCE = 2**22


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
    opened = gzip.open if path.suffix == ".gz" else open
    ids: list[str] = []
    blocks = []
    try:
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file, delimiter="\t"), [])
            rows = max(1, _CELLS_AT_ONCE // max(1, len(header)))
            filled = (line.rstrip("\r\n").partition("\t") for line in file if line.strip())
            while lines := list(islice(filled, rows)):
                ids += [spot.strip('"') for spot, _, _ in lines]
                blocks.append(sp.csr_matrix(_numbers(lines)))
        if not blocks:
            msg = "there is no line below the header"
            raise ValueError(msg)
        counts = sp.vstack(blocks, format="csr")
    except (ValueError, OSError, EOFError, csv.Error, zlib.error) as error:
        msg = (
            f"{path}: the counts cannot be read ({error}); each line must be a spot id and counts."
        )
        raise InputError(msg) from error
    # The column of ids may go unnamed: R leaves its name out, pandas leaves it empty.
    genes = header if len(header) == counts.shape[1] and header[0] else header[1:]
    if len(genes) != counts.shape[1]:
        msg = (
            f"{path}: the header names {len(genes)} genes, but lines hold {counts.shape[1]} counts."
        )
        raise InputError(msg)
    return ids, genes, counts


def _numbers(lines: list[tuple[str, str, str]]) -> NDArray[np.float32]:
    cells = [cells or "nothing" for _, _, cells in lines]
    counted = [line.count("\t") + 1 for line in cells]
    for (spot, _, _), other in zip(lines, counted, strict=True):
        if other != counted[0]:
            msg = f"spot {spot} has {other} counts, but {lines[0][0]} has {counted[0]}"
            raise ValueError(msg)
    try:
        return np.loadtxt(cells, np.float32, comments=None, delimiter="\t", ndmin=2)
    except ValueError as error:
        msg = f"{str(error).rstrip('.')}, where row 0 is spot {lines[0][0]}"
        raise ValueError(msg) from error
