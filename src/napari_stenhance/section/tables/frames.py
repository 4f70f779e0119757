"""Tables of cells or positions, as text with commas or as Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import left_out
from napari_stenhance.section.tables.claims import read_positions_text
from napari_stenhance.section.tables.parquet import open_parquet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def read_cell_table(path: Path, texts: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table with a header.

    Parameters
    ----------
    path : Path
        `.parquet`, or text with commas, gzipped or not.
    texts : iterable of str
        Columns of ids: numbers in them stay as they are written, of 18 digits, too.

    Returns
    -------
    DataFrame
        Ids as str; bytes as the text that they are.

    Raises
    ------
    ValueError
        If it claims more than it can hold, or columns share a name.
    """
    import pandas as pd

    if path.suffix.lower() == ".parquet":
        with open_parquet(path) as file:
            table = file.read()
        table.validate(full=True)
        frame = pd.DataFrame({name: _column(table[name]) for name in table.column_names})
        for name in texts:
            if name in frame:
                frame[name] = frame[name].astype(str)
        if len(frame.columns) < table.num_columns:
            msg = "columns share a name"
            raise ValueError(msg)
        return frame
    content = read_positions_text(path, b",")
    kinds: Any = dict.fromkeys(texts, str)
    return pd.read_csv(content, dtype=kinds, encoding="utf-8-sig", low_memory=False)


def _column(column: Any) -> Any:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        column = column.cast(pa.string())
    return column.to_pandas()


def finite_columns(frame: pd.DataFrame, names: Iterable[str]) -> NDArray[np.float64]:
    """Return columns of numbers side by side, NaN where a line has none, as float64.

    Raises
    ------
    ValueError
        If one is missing, or holds what is no number.
    """
    import numpy as np
    import pandas as pd

    found = []
    for name in names:
        if name not in frame:
            msg = f"there is no column {name}, only {', '.join(map(str, frame.columns[:12]))}"
            raise ValueError(msg)
        values = frame[name]
        if values.dtype.kind not in "iuf":
            empty = values.isna() | (values.astype(str).str.strip() == "")
            numbers = pd.to_numeric(values.where(~empty), errors="coerce")
            if values.dtype.kind in "bmMc" or (numbers.isna() & ~empty).any():
                msg = f"the column {name} holds {values.dtype} that are no numbers"
                raise ValueError(msg)
            values = numbers
        found.append(values.to_numpy(np.float64))
    return np.column_stack(found)


def check_ids(ids: pd.Index) -> None:
    """Refuse ids of cells of which one occurs more than once, as a ValueError."""
    if not ids.is_unique:
        msg = f"the cell {ids[ids.duplicated()][0]} occurs more than once"
        raise ValueError(msg)


def with_position(
    cells: pd.DataFrame, columns: Sequence[str], path: Path
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Leave out the cells without a position, and say so.

    Parameters
    ----------
    cells : DataFrame
    columns : sequence of str
        Where they lie: numbers, or NaN.
    path : Path
        The table, for sentences.

    Raises
    ------
    InputError
        If no cell has a position.
    """
    import numpy as np

    placed = np.isfinite(cells[list(columns)].to_numpy(np.float64)).all(axis=1)
    if not placed.any():
        msg = f"{path}: no cell has a position."
        raise InputError(msg)
    if placed.all():
        return cells, ()
    lost = int((~placed).sum())
    doubt = f"{path.name}: {left_out(lost, 'cell', 'without a position')}"
    return cells.iloc[np.flatnonzero(placed)], (doubt,)
