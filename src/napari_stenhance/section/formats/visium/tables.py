"""What lies beside the counts of Visium spots: their positions and the scale factors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.visium.names import SpaceRangerSample, sample_folders
from napari_stenhance.section.stated import PICTURE_FACTORS
from napari_stenhance.section.tables.claims import opened_text, read_positions_text
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import pandas as pd

ARRAY = ("in_tissue", "array_row", "array_col")
XY = ("pxl_col_in_fullres", "pxl_row_in_fullres")
"""x and y in full-resolution pixels; files hold y first."""
_COLUMNS = ("barcode", *ARRAY, *reversed(XY))
_ARRAY_MOST = 2**31
_FACTORS_MOST = 2**20


def read_positions(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the positions of all spots, by barcode, with or without a header."""
    import pandas as pd

    with reading(path, "the positions", "copy the file again"):
        content = read_positions_text(path, b",")
        # As Space Ranger decides: names hold no digit.
        header = not re.search(rb"\d", content.readline(4096))
        content.seek(0)
        table = pd.read_csv(content, header=0 if header else None, dtype=str, skipinitialspace=True)
        if not header:
            table.columns = [*_COLUMNS, *table.columns[len(_COLUMNS) :]][: table.shape[1]]
        lacking = [name for name in _COLUMNS if name not in table]
        if lacking:
            msg = f"there is no column {lacking[0]}"
            raise ValueError(msg)
        numbers = table[list(_COLUMNS[1:])].astype(np.float64)
        if not np.isfinite(numbers[list(ARRAY)].to_numpy()).all() or table["barcode"].isna().any():
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
        doubts = (f"{path.name}: {(~placed).sum()} spots without coordinates were left out.",)
    if not (numbers["in_tissue"] == 1)[placed].any():
        msg = f"{path}: no spot with coordinates is under tissue (in_tissue = 1); nothing to read."
        raise InputError(msg)
    return numbers[placed], doubts


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


def read_factors(path: Path | None) -> dict[str, float]:
    """Read the positive numbers among the scale factors; none without the file."""
    if path is None:
        return {}
    with reading(path, "the scale factors", "copy the file again"):
        with opened_text(path) as file:
            content = dict(json.loads(file.read(_FACTORS_MOST)))
        wanted = (
            "microns_per_pixel",
            "fiducial_diameter_fullres",
            "gem_id",
            *PICTURE_FACTORS.values(),
        )
        factors = {key: float(content[key]) for key in wanted if key in content}
        bad = [key for key, value in factors.items() if not 0 < value < np.inf]
        if bad:
            msg = f"{bad[0]} is {factors[bad[0]]:g}"
            raise ValueError(msg)
    return factors
