"""A table of spots as anyone writes one: positions, what is said of each, and counts of genes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from napari_stenhance.section.tables.claims import LINE_MOST, header_line, opened_text
from napari_stenhance.section.tables.counts import checked_counts
from napari_stenhance.section.tables.parquet import open_parquet

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 2**24
_CELLS_AT_ONCE = 2**22
_SEPARATORS = ("\t", ";", ",")
_LINES_ASKED = 64
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True, eq=False)
class PlainTable:
    """A table of spots.

    Attributes
    ----------
    said : DataFrame
        Columns that are no counts, as they are called.
    genes : list of str
    counts : csr_matrix of float32, shape (spots, genes)
    """

    said: pd.DataFrame
    genes: list[str]
    counts: sp.csr_matrix


def header_of(path: Path) -> list[str]:
    """Read the names of columns.

    Raises
    ------
    ValueError, OSError
        If there are none.
    """
    if path.suffix.lower() == ".parquet":
        with open_parquet(path) as file:
            return list(file.schema_arrow.names)
    with opened_text(path) as file:
        return _split(header_line(file))[0]


def _split(line: bytes) -> tuple[list[str], str]:
    text = line.decode("utf-8-sig").strip("\r\n")
    separator = max(_SEPARATORS, key=text.count)
    return [name.strip().strip('"') for name in text.split(separator)], separator


def read_plain_table(path: Path, is_said: Callable[[str], bool]) -> PlainTable:
    """Read a table; a column is of a gene if it holds whole numbers, and is not called otherwise.

    Parameters
    ----------
    path : Path
        Parquet, or text with tabs, semicolons or commas, gzipped or not.
    is_said : callable
        Tells of a column's name whether it says something of spots, and is no gene.

    Raises
    ------
    ValueError
        If two columns share a name, lines differ in length, or there is no line.
    """
    import pandas as pd

    names = header_of(path)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"two columns are called {twice!r}"
        raise ValueError(msg)
    with _batches(path, names, None) as batches:
        first = next(batches, None)
        if first is None or not first.num_rows:
            msg = "there is no line below its header"
            raise ValueError(msg)
        genes = [n for n in names if not is_said(n) and _is_whole(first.column(names.index(n)))]
    chosen, said = set(genes), [name for name in names if name not in set(genes)]
    places, others = ([names.index(name) for name in part] for part in (genes, said))
    step = max(1, _CELLS_AT_ONCE // max(1, len(genes)))
    blocks, kept = [], []
    with _batches(path, names, chosen) as batches:
        for batch in batches:
            for start in range(0, batch.num_rows, step):
                part = batch.slice(start, step)
                columns = [part.column(n).to_numpy(zero_copy_only=False) for n in places]
                if columns:
                    blocks.append(sp.csr_matrix(np.column_stack(columns).astype(np.float32)))
            kept.append(_texts_and_numbers(batch.select(others)))
    table = pd.concat(kept, ignore_index=True).set_axis(said, axis=1)
    counts = sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix((len(table), 0))
    return PlainTable(table, genes, checked_counts(counts))


def _texts_and_numbers(batch: Any) -> pd.DataFrame:
    """Return columns that say something of spots; bytes are the text that they hold."""
    import pyarrow as pa

    if nested := next((f.name for f in batch.schema if pa.types.is_nested(f.type)), ""):
        msg = f"the column {nested} holds more than one value in a row"
        raise ValueError(msg)
    columns = [
        column.cast(pa.string()) if pa.types.is_binary(column.type) else column
        for column in batch.columns
    ]
    frame: pd.DataFrame = pa.record_batch(columns, names=batch.schema.names).to_pandas()
    return frame


def _is_whole(column: Any) -> bool:
    """Tell whether a column, or the beginning of it, holds whole numbers that are not negative."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)) or column.null_count:
        return False
    values = column.to_numpy(zero_copy_only=False)
    return bool(
        np.isfinite(values).all() and (values >= 0).all() and (values == values.round()).all()
    )


def _has_commas(path: Path, separator: str) -> bool:
    """Tell by the first lines below the header whether numbers are written with decimal commas.

    Between tabs 1,234 may be a thousand.
    """
    with opened_text(path) as file:
        header_line(file)
        for _ in range(_LINES_ASKED):
            line = file.readline(LINE_MOST).decode("utf-8", "replace").strip("\r\n")
            for cell in line.split(separator):
                bare = cell.strip().strip('"')
                sure = separator == ";" or not _THOUSANDS.fullmatch(bare)
                if sure and _DECIMAL_COMMA.fullmatch(bare):
                    return True
    return False


@contextmanager
def _batches(path: Path, names: list[str], genes: set[str] | None) -> Iterator[Iterator[Any]]:
    """Give blocks of lines; of genes, where they are known, as numbers."""
    import pyarrow as pa
    from pyarrow import csv

    if path.suffix.lower() == ".parquet":
        with open_parquet(path) as file:
            yield file.iter_batches(max(1, _CELLS_AT_ONCE // max(1, len(names))))
        return
    with opened_text(path) as text:
        line = header_line(text)
        _, separator = _split(line)
        decimal = "," if separator != "," and _has_commas(path, separator) else "."
        # By number: names may be anything.
        keys = [str(n) for n in range(len(names))]
        kinds = {k: pa.float32() for k, n in zip(keys, names, strict=True) if genes and n in genes}
        yield csv.open_csv(
            text,
            read_options=csv.ReadOptions(column_names=keys, block_size=max(_BLOCK, 8 * len(line))),
            parse_options=csv.ParseOptions(delimiter=separator),
            convert_options=csv.ConvertOptions(
                column_types=kinds,
                include_columns=keys,
                decimal_point=decimal,
            ),
        )
