"""Parquet files, read by column; what one claims is doubted before memory is taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CELLS_MOST = 1000
"""Cells that a byte of Parquet holds at most: long runs of one value are one number."""
_SMALL = 2**20


def open_parquet(path: Path) -> Any:
    """Open a Parquet file.

    Returns
    -------
    pyarrow.parquet.ParquetFile

    Raises
    ------
    ValueError
        If it states more cells than it can hold.
    """
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    cells = file.metadata.num_rows * max(1, file.metadata.num_columns)
    if cells > _SMALL + _CELLS_MOST * path.stat().st_size:
        msg = f"it claims {file.metadata.num_rows} rows, which it cannot hold"
        raise ValueError(msg)
    return file


def read_columns(path: Path, names: Sequence[str]) -> Any:
    """Read some columns, and no others.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ValueError
        If one is missing.
    """
    with open_parquet(path) as file:
        there = file.schema_arrow.names
        lacking = [name for name in names if name not in there]
        if lacking:
            msg = f"there is no column {lacking[0]}, only {', '.join(there[:12])}"
            raise ValueError(msg)
        table = file.read(columns=list(names))
    table.validate(full=True)
    return table


def texts_of(column: Any) -> Any:
    """Return a column of ids as texts, whether they are stored as texts, bytes or numbers.

    Returns
    -------
    pyarrow.Array or ChunkedArray of string
        As the column is one of them.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def numbers_of(column: Any) -> NDArray[np.float64]:
    """Return a column of numbers; NaN where it has none.

    Raises
    ------
    ValueError
        If it holds no numbers.
    """
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        msg = f"a column that should hold numbers holds {kind}"
        raise ValueError(msg)
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
