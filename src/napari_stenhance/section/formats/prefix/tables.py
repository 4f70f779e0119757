"""Tables of prefix files: locations as text or Parquet, and counts as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.tables.counts import checked_counts
from napari_stenhance.section.tables.exported import numbers_in, read_exported, renamed
from napari_stenhance.section.tables.parquet import open_parquet
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import pandas as pd

_ID_COLUMNS = ("__index_level_0__", "spot")
_CELLS_AT_ONCE = 2**22


def read_locations(path: Path) -> tuple[list[str] | None, NDArray[np.float64]]:
    """Read where spots lie.

    Returns
    -------
    ids : list of str or None
        None where rows have no ids.
    xy : ndarray of float64, shape (n, 2)
        In raw pixels.

    Raises
    ------
    InputError
        If x or y is missing or not a number anywhere, or there are no rows.
    """
    with reading(path, "the positions", "each line must be an id, x and y"):
        is_parquet = path.suffix == ".parquet"
        table = open_parquet(path).read().to_pandas() if is_parquet else _read_text(path)
        ids = _take_ids(table)
        missing = [name for name in ("x", "y") if name not in table.columns]
        if missing:
            msg = (
                f"{path}: the columns {' and '.join(missing)} are missing; there must be x and y, "
                "in pixels of the original image."
            )
            raise InputError(msg)
        _check_numbers(table[["x", "y"]])
        xy = table[["x", "y"]].to_numpy(np.float64)
    if not len(xy):
        msg = f"{path}: there are no positions in it; export them again."
        raise InputError(msg)
    lost = np.flatnonzero(~np.isfinite(xy).all(axis=1))
    if len(lost):
        msg = f"{path}: x or y of row {lost[0] + 1} is not a number; remove or correct that row."
        raise InputError(msg)
    return ids, xy


def _read_text(path: Path) -> pd.DataFrame:
    """Read x and y, and the ids of rows, which are whatever comes first and is neither."""
    import pandas as pd

    table = renamed(read_exported(path), {"x": "x", "y": "y"})
    columns = {name: numbers_in(table[name]) for name in ("x", "y") if name in table}
    if table.columns[0] not in ("x", "y"):
        columns[_ID_COLUMNS[0]] = table.iloc[:, 0].to_numpy()
    return pd.DataFrame(columns)


def _check_numbers(table: pd.DataFrame) -> None:
    """Refuse columns that pandas would make numbers of, though they are none, such as times."""
    for name, kind in table.dtypes.items():
        if kind.kind in "mMb":
            msg = f"the column {name} is {kind}"
            raise ValueError(msg)


def _take_ids(table: pd.DataFrame) -> list[str] | None:
    """Return the ids of a table's rows and leave only its values; None if rows have no ids."""
    import pandas as pd

    for name in _ID_COLUMNS:
        if name in table.columns:
            return list(table.pop(name).astype(str))
    return None if isinstance(table.index, pd.RangeIndex) else list(table.index.astype(str))


def read_parquet(path: Path) -> tuple[list[str] | None, list[str], sp.csr_matrix]:
    """Read counts in blocks of rows: all of Visium HD would not fit if it were dense.

    Returns
    -------
    ids : list of str or None
        None where rows have no ids.
    genes : list of str
    counts : sparse matrix of float32, shape (spots, genes)

    Raises
    ------
    InputError
        If it cannot be read, or a column is not of numbers.
    """
    blocks, ids, genes = [], [], []
    with reading(path, "the counts", "all columns but ids must be numbers"):
        file = open_parquet(path)
        rows = max(1, _CELLS_AT_ONCE // max(1, file.metadata.num_columns))
        for batch in file.iter_batches(batch_size=rows):
            table = batch.to_pandas()
            ids.append(_take_ids(table))
            genes = list(map(str, table.columns))
            _check_numbers(table)
            blocks.append(sp.csr_matrix(table.to_numpy(np.float32)))
        counts = checked_counts(sp.vstack(blocks, format="csr"))
    if any(block is None for block in ids):
        return None, genes, counts
    return [i for block in ids for i in block or ()], genes, counts
