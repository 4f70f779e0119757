"""What lies beside the counts of Visium spots: their positions and the scale factors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import left_out
from napari_stenhance.section.formats.visium.names import SpaceRangerSample, sample_folders
from napari_stenhance.section.tables.exported import (
    ROW_NAMES,
    numbers_in,
    read_exported,
    renamed,
)
from napari_stenhance.section.tables.parquet import numbers_of, read_columns, texts_of
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import pandas as pd

ARRAY = ("in_tissue", "array_row", "array_col")
XY = ("pxl_col_in_fullres", "pxl_row_in_fullres")
"""x and y in full-resolution pixels; files hold y first."""
_COLUMNS = ("barcode", *ARRAY, *reversed(XY))
_OTHER_NAMES = {
    ROW_NAMES: "barcode",
    "barcodes": "barcode",
    "cell": "barcode",
    "spot": "barcode",
    "tissue": "in_tissue",
    "row": "array_row",
    "col": "array_col",
    "imagerow": "pxl_row_in_fullres",
    "imagecol": "pxl_col_in_fullres",
    "pxl_row_in_full_res": "pxl_row_in_fullres",
    "pxl_col_in_full_res": "pxl_col_in_fullres",
}
"""What R's packages call the columns, and what lost its capital letters."""
_OTHER_NAMES |= {name: name for name in _COLUMNS}
_NUMBERED = re.compile(r"(V|X|Var|Column)?[._ ]?\d+", re.IGNORECASE)
_NAMED_MOST = 12
_ARRAY_MOST = 2**31


def read_positions(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the positions of all spots, by barcode, with or without a header."""
    import pandas as pd

    with reading(path, "the positions", f"its columns must be {', '.join(_COLUMNS)}"):
        table = _read_table(path)
        lacking = [name for name in _COLUMNS if name not in table]
        if lacking:
            there = ", ".join(map(str, table.columns[:_NAMED_MOST]))
            msg = f"there is no column {lacking[0]}, only {there}"
            raise ValueError(msg)
        numbers = table[list(_COLUMNS[1:])].astype(np.float64)
        nameless = table["barcode"].isin(["", None]).any()
        if not np.isfinite(numbers[list(ARRAY)].to_numpy()).all() or nameless:
            msg = "a line lacks its barcode, in_tissue, array_row or array_col"
            raise ValueError(msg)
        if (numbers[list(ARRAY)].abs() > _ARRAY_MOST).to_numpy().any():
            msg = f"in_tissue, array_row or array_col is beyond {_ARRAY_MOST}"
            raise ValueError(msg)
        numbers = numbers.astype(dict.fromkeys(ARRAY, np.int64)).set_axis(
            pd.Index(table["barcode"].to_numpy(dtype=object))
        )
    twice = numbers.index[numbers.index.duplicated()]
    if len(twice):
        msg = f"{path}: the barcode {twice[0]} has two positions; remove one."
        raise InputError(msg)
    placed = np.isfinite(numbers[list(XY)].to_numpy()).all(axis=1)
    doubts: tuple[str, ...] = ()
    if not placed.all():
        lost = int((~placed).sum())
        doubts = (f"{path.name}: {left_out(lost, 'spot', 'without coordinates')}",)
    if not (numbers["in_tissue"] == 1)[placed].any():
        msg = f"{path}: no spot with coordinates is under tissue (in_tissue = 1); nothing to read."
        raise InputError(msg)
    return numbers[placed], doubts


def _read_table(path: Path) -> pd.DataFrame:
    """Read the columns of a table, as text where it is text."""
    import pandas as pd

    if path.suffix == ".parquet":
        stored = read_columns(path, _COLUMNS)
        texts = texts_of(stored["barcode"]).to_pandas()
        numbers = {name: numbers_of(stored[name]) for name in _COLUMNS[1:]}
        return pd.DataFrame({"barcode": texts, **numbers})
    table = renamed(read_exported(path), _OTHER_NAMES)
    if all(_NUMBERED.fullmatch(str(name)) for name in table.columns[1:]):
        # Without a header, or with one of R's (V1, V2, …), columns come in Space Ranger's order.
        if table.columns[0] in (ROW_NAMES, "barcode") and table.shape[1] > len(_COLUMNS):
            table = table.iloc[:, 1:]
        table.columns = [*_COLUMNS, *table.columns[len(_COLUMNS) :]][: table.shape[1]]
    for name in set(_COLUMNS[1:]) & set(table.columns):
        table[name] = numbers_in(table[name])
    return table


def on_one_slide(
    sample: SpaceRangerSample, positions: pd.DataFrame, group: float | None
) -> pd.DataFrame:
    """Return the positions on one slide: an aggregate numbers its samples behind each barcode.

    Raises
    ------
    InputError
        If several slides are meant, or none.
    """
    numbers = positions.index.str.extract(r"-(\d+)$", expand=False)
    several = sorted(numbers.dropna().unique())
    if len(several) < 2:
        return positions
    if group is None:
        folders = [str(f) for f in sample_folders(sample.root)]
        where = f"one of {', '.join(folders)}" if folders else "the outs folder of one run"
        msg = (
            f"{sample.root}: {len(several)} samples are aggregated here, each in pixels of its own "
            f"slide; open {where}."
        )
        raise InputError(msg)
    chosen = numbers == f"{group:.0f}"
    if not chosen.any():
        msg = f"{sample.scalefactors}: gem_id is {group:.0f}, but barcodes end in {several}."
        raise InputError(msg)
    return positions[chosen]
