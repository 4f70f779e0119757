"""The outlines of the cells of a Xenium bundle: a table of their corners, in micrometres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_stenhance.section.outlines import CellOutlines
from napari_stenhance.section.tables.frames import finite_columns, read_cell_table
from napari_stenhance.section.tables.parquet import numbers_of, open_parquet, read_columns, texts_of
from napari_stenhance.storage.reading import reading

_ID, _XY, _POLYGON = "cell_id", ("vertex_x", "vertex_y"), "label_id"


def read_corners(path: Path) -> CellOutlines:
    """Read `cell_boundaries`, as Parquet or as text.

    Raises
    ------
    InputError
        If it cannot be read, or is no such table.
    """
    with reading(path, "the outlines of cells", "copy the bundle again"):
        ids, of, polygon, xy = (_parquet if path.suffix == ".parquet" else _text)(path)
        kept = np.isfinite(xy).all(axis=1) & (of >= 0)
        return CellOutlines.from_runs(ids, of[kept], polygon[kept], xy[kept])


def _parquet(path: Path) -> tuple[Any, ...]:
    with open_parquet(path) as file:
        there = file.schema_arrow.names
    table = read_columns(path, (_ID, *_XY, *([_POLYGON] if _POLYGON in there else ())))
    # Texts of millions of corners would take gigabytes.
    named = texts_of(table[_ID]).combine_chunks().dictionary_encode()
    of = named.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    polygon = numbers_of(table[_POLYGON]) if _POLYGON in there else np.zeros(len(of))
    xy = np.column_stack([numbers_of(table[name]) for name in _XY])
    return named.dictionary.to_pylist(), of, np.nan_to_num(polygon), xy


def _text(path: Path) -> tuple[Any, ...]:
    import pandas as pd

    table = read_cell_table(path, (_ID,))
    if _ID not in table:
        msg = f"there is no column {_ID}, only {', '.join(map(str, table.columns[:12]))}"
        raise ValueError(msg)
    xy = finite_columns(table, _XY)
    of, ids = pd.factorize(table[_ID])
    polygon = finite_columns(table, (_POLYGON,))[:, 0] if _POLYGON in table else np.zeros(len(of))
    return ids, of, np.nan_to_num(polygon), xy
