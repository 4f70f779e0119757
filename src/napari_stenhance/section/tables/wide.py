"""Counts as text with a column for each gene (or each bead), read some lines at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from napari_stenhance.section.tables.claims import LINE_MOST, opened_text
from napari_stenhance.section.tables.counts import checked_counts

_BLOCK = 2**24


@dataclass(frozen=True, eq=False)
class WideCounts:
    """A table of counts.

    Attributes
    ----------
    ids : dict of str to list of str
        The columns that are no counts, by name.
    columns : list of str
        What each column counts.
    counts : csr_matrix of float32, shape (lines, columns)
    """

    ids: dict[str, list[str]]
    columns: list[str]
    counts: sp.csr_matrix


def read_wide_counts(path: Path, is_id: Callable[[int, str], bool]) -> WideCounts:
    """Read a table of counts with a header.

    Parameters
    ----------
    path : Path
        With commas, or with tabs where its first line holds one; gzipped or not. Lines with a #
        before the header are left out.
    is_id : callable
        Tells of a column, by its place and its name in small letters, whether it holds ids.

    Raises
    ------
    ValueError
        If lines differ in length, a count is no number, or there is nothing in it.
    """
    import pyarrow as pa
    from pyarrow import csv

    with opened_text(path) as file:
        while (line := file.readline(LINE_MOST)).startswith(b"#"):
            pass
        head = line.decode("utf-8-sig").strip("\r\n")
        separator = "\t" if "\t" in head else ","
        names = [name.strip('"') for name in head.split(separator)]
        ids = [n for n, name in enumerate(names) if is_id(n, name.lower())]
        wide = [n for n in range(len(names)) if n not in set(ids)]
        if not ids or not wide:
            msg = f"its header names no ids or no counts: {', '.join(names[:12])}"
            raise ValueError(msg)
        # By number: names may occur twice.
        keys = [str(n) for n in range(len(names))]
        kinds: dict[str, Any] = {keys[n]: pa.float32() for n in wide}
        kinds |= {keys[n]: pa.string() for n in ids}
        reader = csv.open_csv(
            file,
            read_options=csv.ReadOptions(column_names=keys, block_size=max(_BLOCK, 8 * len(line))),
            parse_options=csv.ParseOptions(delimiter=separator),
            convert_options=csv.ConvertOptions(column_types=kinds, strings_can_be_null=False),
        )
        said: dict[str, list[str]] = {names[n]: [] for n in ids}
        blocks = []
        for batch in reader:
            columns = [batch.column(n).to_numpy(zero_copy_only=False) for n in wide]
            blocks.append(sp.csr_matrix(np.column_stack(columns)))
            for n in ids:
                said[names[n]] += batch.column(n).to_pylist()
    counts = checked_counts(sp.vstack(blocks, format="csr"))
    return WideCounts(said, [names[n] for n in wide], counts)
