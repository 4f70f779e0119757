"""One table of spots: positions in columns that are called so, and a column for each gene."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import left_out
from napari_stenhance.section.formats.format import (
    SectionFiles,
    SectionFormat,
    names_in,
    shares_stem,
)
from napari_stenhance.section.images.opening import image_suffixes
from napari_stenhance.section.tables.claims import header_line, opened_text
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad

_TEXT = re.compile(r".+\.(?:csv|tsv|txt)(?:\.gz)?", re.IGNORECASE)
_PARQUET = ".parquet"
_X = re.compile(
    rb"(?:^|[\t;,\"])(?:x|x_um|x_centroid|center_x|imagecol|pxl_col_in_fullres|x_pixel|pixel_x|xcoord"
    rb"|x_coord|coord_x)(?:[\t;,\"\r\n]|$)",
    re.IGNORECASE,
)
_IDS = ("", "barcode", "barcodes", "cell", "cell_id", "cellid", "spot", "spot_id", "id", "index",
        "name", "unnamed: 0", "__index_level_0__")  # fmt: skip
_MORE_PAIRS = (("xcoord", "ycoord"), ("x_coord", "y_coord"), ("coord_x", "coord_y"))
_SAID = re.compile(
    r"in_?tissue|array_?(?:row|col|x|y)|row|col|column|z|fov|sample(?:_id)?|batch|cluster|leiden|louvain"
    r"|label|library(?:_id)?|(?:n|total|num)_.*|n(?:count|feature)_.*|.*_counts|area|volume|.*_area"
    r"|pct_.*|percent.*|x.*_min|x.*_max|y.*_min|y.*_max|min_.|max_.|slide|donor|age",
    re.IGNORECASE,
)
_LISTED_MOST = 12
_STEP_MOST = 2.0


def _recognise(path: Path) -> bool:
    """Take a table whose first line names an x; of Parquet, whatever no other format takes."""
    if not path.is_file():
        return False
    if path.suffix.lower() == _PARQUET:
        return True
    if not _TEXT.fullmatch(path.name):
        return False
    try:
        with reading(path), opened_text(path) as file:
            line = header_line(file)
    except InputError:
        return False
    return _X.search(line) is not None


def _open(path: Path, sample: str | None = None) -> SectionFiles:
    """Read the table, whose columns say what they are, or the one sample of it."""
    import numpy as np
    import pandas as pd

    from napari_stenhance.section.placed import PlacedTable
    from napari_stenhance.section.positions import EITHER, MICROMETRES, PIXELS, FoundPositions
    from napari_stenhance.section.samples import file_name
    from napari_stenhance.section.spots import nearest_distance
    from napari_stenhance.section.tables.frames import finite_columns
    from napari_stenhance.section.tables.plain import header_of, read_plain_table

    advice = "write it with columns x and y in pixels of the slide and a column for each gene"
    with reading(path, "this table", advice):
        names = header_of(path)
    lower = {name.lower(): name for name in names}
    for pair in EITHER:
        if set(pair) <= set(lower):
            msg = (
                f"{path}: the columns {pair[0]} and {pair[1]} look like positions, but some "
                "programs call the row x, and nothing says which is meant; call them x (to the "
                "right) and y."
            )
            raise InputError(msg)
    pairs = [*PIXELS, *_MORE_PAIRS, *MICROMETRES]
    found = [known for known in pairs if set(known) <= set(lower)]
    if not found:
        listed = ", ".join(names[:_LISTED_MOST]) + (" …" if len(names) > _LISTED_MOST else "")
        msg = (
            f"{path}: no columns say where spots lie; there are {listed}. Call them x and y in "
            "pixels of the slide, or x_um and y_um in micrometres."
        )
        raise InputError(msg)
    pair = found[0]
    placed = [lower[name] for name in pair]
    every = {name for known in (*pairs, *EITHER) for name in known}

    def is_said(name: str) -> bool:
        low = name.lower()
        return low in every or low in _IDS or _SAID.fullmatch(name) is not None

    with reading(path, "this table", advice):
        table = read_plain_table(path, is_said)
        xy = finite_columns(table.said, placed)
    if not table.genes:
        msg = (
            f"{path}: no column of it counts a gene, as none but those of places and ids holds "
            "whole numbers of 0 and more; give a table of raw counts."
        )
        raise InputError(msg)
    said = [str(name) for name in table.said]
    ids = next((name for name in said if name.lower() in _IDS), None)
    index = pd.Index(np.arange(len(xy)) if ids is None else table.said[ids]).astype(str)
    there = np.isfinite(xy).all(axis=1)
    if not there.any():
        msg = f"{path}: no row has a position in {placed[0]} and {placed[1]}."
        raise InputError(msg)
    more = [name for name in said if name not in {ids, *placed}]
    in_um = pair in MICROMETRES
    nearest = nearest_distance(xy[there])
    if not in_um and 0 < nearest <= _STEP_MOST and (xy[there] == np.rint(xy[there])).all():
        msg = (
            f"{path}: {placed[0]} and {placed[1]} number the array, one or two apart, and are no "
            "pixels of the slide; write those."
        )
        raise InputError(msg)
    unit = "micrometres" if in_um else "full-resolution pixels"
    doubts = [
        f"Positions are the columns {placed[0]} and {placed[1]}, in {unit}; {len(table.genes)} "
        f"columns of whole numbers are genes"
        + (f", and no genes are {_listed(more)}." if more else ".")
    ]
    if not there.all():
        doubts.append(left_out(int((~there).sum()), "row", "without a position"))
    rows = np.flatnonzero(there)
    obs = pd.DataFrame(table.said[more]).set_axis(index).iloc[rows]
    placed_rows = PlacedTable.at(obs, {}, FoundPositions(xy[rows], in_um), str(path), sample)
    if placed_rows.rows is not None:
        rows = rows[placed_rows.rows]

    def read() -> tuple[ad.AnnData, tuple[str, ...]]:
        import anndata as ad

        spots = ad.AnnData(
            X=table.counts[rows],
            obs=placed_rows.obs,
            var=pd.DataFrame(index=pd.Index(table.genes)),
            obsm={"spatial": placed_rows.xy},
        )
        return spots, ()

    stem = re.sub(r"\.(?:csv|tsv|txt|parquet)(?:\.gz)?$", "", path.name, flags=re.IGNORECASE)
    images = [n for n in sorted(names_in(path.parent)) if n.lower().endswith(image_suffixes())]
    called = stem if sample is None else f"{stem}-{file_name(sample)}"
    return SectionFiles(
        name=called,
        origin=path,
        images=tuple(path.parent / name for name in images if shares_stem(name, stem)),
        xy=placed_rows.xy,
        mpp=None,
        mpp_source="unknown",
        read=read,
        doubts=(*doubts, *placed_rows.doubts),
        in_um=in_um,
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_LISTED_MOST]) + (" …" if len(names) > _LISTED_MOST else "")


FORMAT = SectionFormat(
    "a table with columns x and y and a column for each gene (.csv, .tsv or .parquet)",
    _recognise,
    _open,
    _open,
    suffixes=(".csv", ".tsv", ".parquet", ".csv.gz", ".tsv.gz"),
    order=93,
)
