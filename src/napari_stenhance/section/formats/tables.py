"""Counts as text: a line of gene names, then an id and its counts on each line."""

from __future__ import annotations

import csv
import gzip
from itertools import islice
from pathlib import Path

import numpy as np
import scipy.sparse as sp

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
            header = next(csv.reader(file, delimiter="\t"))
            rows = max(1, _CELLS_AT_ONCE // max(1, len(header)))
            filled = (line.rstrip("\r\n").partition("\t") for line in file if line.strip())
            while lines := list(islice(filled, rows)):
                ids += [spot.strip('"') for spot, _, _ in lines]
                cells = [cells or "missing" for _, _, cells in lines]
                block = np.loadtxt(cells, np.float32, comments=None, delimiter="\t", ndmin=2)
                blocks.append(sp.csr_matrix(block))
        counts = sp.vstack(blocks, format="csr")
    except (ValueError, OSError, EOFError, StopIteration) as error:
        msg = (
            f"{path}: the counts cannot be read ({error}); each line must be a spot id and counts."
        )
        raise InputError(msg) from error
    genes = header[-counts.shape[1] :]
    if len(genes) != counts.shape[1]:
        msg = (
            f"{path}: the header names {len(genes)} genes, but lines hold {counts.shape[1]} counts."
        )
        raise InputError(msg)
    return ids, genes, counts
