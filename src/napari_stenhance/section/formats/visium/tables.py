"""What lies beside the counts of Visium spots: their positions and the scale factors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.visium.names import SpaceRangerSample, sample_folders
from napari_stenhance.section.space_ranger import FACTORS
from napari_stenhance.section.spots import VISIUM_PITCH_UM
from napari_stenhance.section.tables.claims import read_positions_text
from napari_stenhance.section.tables.parquet import numbers_of, read_columns, texts_of
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import pandas as pd

ARRAY = ("in_tissue", "array_row", "array_col")
XY = ("pxl_col_in_fullres", "pxl_row_in_fullres")
"""x and y in full-resolution pixels; files hold y first."""
_COLUMNS = ("barcode", *ARRAY, *reversed(XY))
_FIDUCIAL_UM = 105.0
"""Measured: `fiducial_diameter_fullres` means this much, at every version and capture area."""
_SAME_SCALE = 0.1
_ARRAY_MOST = 2**31


def read_positions(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the positions of all spots, by barcode, with or without a header."""
    import pandas as pd

    with reading(path, "the positions", "copy the file again"):
        table = _read_table(path)
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


def _read_table(path: Path) -> pd.DataFrame:
    """Read the columns of a table, as text where it is text."""
    import pandas as pd

    if path.suffix == ".parquet":
        stored = read_columns(path, _COLUMNS)
        texts = texts_of(stored["barcode"]).to_pandas()
        numbers = {name: numbers_of(stored[name]) for name in _COLUMNS[1:]}
        return pd.DataFrame({"barcode": texts, **numbers})
    content = read_positions_text(path, b",")
    # As Space Ranger decides: names hold no digit.
    header = not re.search(rb"\d", content.readline(4096))
    content.seek(0)
    table = pd.read_csv(content, header=0 if header else None, dtype=str, skipinitialspace=True)
    if not header:
        table.columns = [*_COLUMNS, *table.columns[len(_COLUMNS) :]][: table.shape[1]]
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


def check_scale(sample: SpaceRangerSample, factors: dict[str, float], pitch: float) -> None:
    """Refuse positions that someone wrote in pixels of a picture.

    Raises
    ------
    InputError
        If their pitch is that of the fiducials times a picture's scale.
    """
    fiducial = factors.get("fiducial_diameter_fullres")
    if fiducial is None:
        return
    # 1 where both are in full-resolution pixels.
    ratio = pitch / VISIUM_PITCH_UM * _FIDUCIAL_UM / fiducial
    for what, key in FACTORS.items():
        factor = factors.get(key, 1.0)
        if abs(ratio - 1) > _SAME_SCALE and abs(ratio / factor - 1) < _SAME_SCALE:
            msg = (
                f"{sample.positions}: the spots lie {pitch:.1f} px apart, where the scale factors "
                f"imply {pitch / ratio:.1f}: these are pixels of {what}; write full-resolution "
                "ones, as Space Ranger does."
            )
            raise InputError(msg)
