"""The Matrix Market file of counts: 10x software writes it, and R.

SciPy's reader follows the numbers of a damaged one out of its memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import scipy.sparse as sp

from napari_stenhance.section.tables.claims import opened_text

_BANNER = ("%%matrixmarket", "matrix", "coordinate")
_KINDS = {"integer", "real"}
_AT_ONCE = 2**24
_LINE_MOST = 2**12
_HEAD_MOST = 2**20
_COLUMNS = ("row", "column", "count", "more")


def read_matrix_market(path: Path, shape: tuple[int, int]) -> sp.csr_matrix:
    """Read counts, transposed.

    Parameters
    ----------
    path : Path
        Plain or gzipped.
    shape : tuple of int
        Features and barcodes, as the files beside it name them.

    Returns
    -------
    csr_matrix of float64, shape (barcodes, features)

    Raises
    ------
    ValueError
        If it is no such file, counts another number of features, barcodes or entries, or a line
        is none.
    InputError
        If it unpacks to more than a text can.
    """
    import pandas as pd

    rows, columns, counts = [], [], []
    with opened_text(path) as file:
        stated, entries = _read_head(file)
        if stated != shape:
            msg = (
                f"it counts {stated[0]} features in {stated[1]} barcodes, but names {shape[0]} "
                f"and {shape[1]}"
            )
            raise ValueError(msg)
        for block in _blocks(file) if entries else ():
            part = pd.read_csv(
                block,
                sep=r"\s+",
                header=None,
                names=list(_COLUMNS),
                dtype={"row": np.int64, "column": np.int64, "count": np.float64},
            )
            if part.empty:
                continue
            row, column, count = (part[name].to_numpy() for name in _COLUMNS[:3])
            if part["more"].notna().any() or np.isnan(count).any():
                msg = "a line holds more or less than a row, a column and a count"
                raise ValueError(msg)
            for index, most in ((row, shape[0]), (column, shape[1])):
                if not 1 <= index.min() <= index.max() <= most:
                    msg = f"an index is not among 1 to {most}"
                    raise ValueError(msg)
            rows.append((column - 1).astype(np.int32))
            columns.append((row - 1).astype(np.int32))
            counts.append(count)
    found = sum(map(len, counts))
    if found != entries:
        msg = f"it holds {found} entries, but states {entries}"
        raise ValueError(msg)
    if not found:
        return sp.csr_matrix(shape[::-1], dtype=np.float64)
    place = (np.concatenate(rows), np.concatenate(columns))
    return sp.csr_matrix((np.concatenate(counts), place), shape=shape[::-1])


def _blocks(file: BinaryIO) -> Iterator[io.BytesIO]:
    """Cut into whole lines of some megabytes, so that none is believed to go on for ever."""
    while block := file.read(_AT_ONCE):
        rest = file.readline(_LINE_MOST)
        if len(rest) == _LINE_MOST:
            msg = f"a line is longer than {_LINE_MOST} bytes"
            raise ValueError(msg)
        if not (block + rest).isspace():
            yield io.BytesIO(block + rest)


def _read_head(file: BinaryIO) -> tuple[tuple[int, int], int]:
    """Return features and barcodes, and the number of entries."""
    words = file.readline(_HEAD_MOST).decode("ascii", "replace").lower().split()
    if tuple(words[:3]) != _BANNER or len(words) != 5 or words[3] not in _KINDS:
        msg = "it does not begin with '%%MatrixMarket matrix coordinate integer general'"
        raise ValueError(msg)
    if words[4] != "general":
        msg = f"it is a {words[4]} matrix, which counts never are"
        raise ValueError(msg)
    while (line := file.readline(_HEAD_MOST)).startswith(b"%") or line.isspace():
        pass
    numbers = [int(word) for word in line.split()]
    if len(numbers) != 3 or min(numbers) < 0:
        msg = "it does not state its rows, columns and entries"
        raise ValueError(msg)
    return (numbers[0], numbers[1]), numbers[2]
