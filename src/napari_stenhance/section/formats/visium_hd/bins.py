"""The bins of one size: counts and positions, which are joined by barcode."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import agree, counted, lacking, left_out
from napari_stenhance.section.formats.visium_hd.names import CORNER
from napari_stenhance.section.spots import UNS_KEY, SpotGeometry, square_pitch_px
from napari_stenhance.section.tables.parquet import numbers_of, read_columns, texts_of
from napari_stenhance.section.tables.tenx import read_matrix
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad

_ARRAY = ("in_tissue", "array_row", "array_col")
_XY = ("pxl_col_in_fullres", "pxl_row_in_fullres")
_ARRAY_MOST = 2**31
_SAMPLE = 10_000


@dataclass(frozen=True, eq=False)
class Bins:
    """The positions of all bins of one size, under tissue or not.

    Attributes
    ----------
    path : Path
    barcodes : pyarrow.ChunkedArray of string
        Of 11 million bins of 2 µm: texts of Python would take a gigabyte.
    array : ndarray of int32, shape (bins, 2)
        Row and column.
    in_tissue : ndarray of bool
    xy : ndarray of float64, shape (bins, 2)
    """

    path: Path
    barcodes: Any
    array: NDArray[np.int32]
    in_tissue: NDArray[np.bool_]
    xy: NDArray[np.float64]


def read_lattice(path: Path) -> tuple[Bins, tuple[str, ...]]:
    """Read where all bins lie.

    Raises
    ------
    InputError
        If a column is missing, a row lacks its barcode or its place in the array, a barcode occurs
        twice, or no bin is under tissue.
    """
    import pyarrow.compute as pc

    with reading(path, "the positions", "copy the file again"):
        table = read_columns(path, ("barcode", *_ARRAY, *_XY))
        barcodes = texts_of(table["barcode"])
        numbers = np.column_stack([numbers_of(table[name]) for name in _ARRAY])
        xy = np.column_stack([numbers_of(table[name]) for name in _XY]) - CORNER
        if not np.isfinite(numbers).all() or barcodes.null_count:
            msg = "a row lacks its barcode, in_tissue, array_row or array_col"
            raise ValueError(msg)
        if (np.abs(numbers) > _ARRAY_MOST).any():
            msg = f"in_tissue, array_row or array_col is beyond {_ARRAY_MOST}"
            raise ValueError(msg)
        ascending = pc.all(pc.less(barcodes[:-1], barcodes[1:])).as_py()
        # As Space Ranger writes them; else they are counted, which takes a second.
        twice = 0 if ascending else len(barcodes) - pc.count_distinct(barcodes).as_py()
        if twice:
            msg = f"{counted(twice, 'barcode')} {agree(twice, 'occurs', 'occur')} more than once"
            raise ValueError(msg)
        bins = Bins(path, barcodes, numbers[:, 1:].astype(np.int32), numbers[:, 0] == 1, xy)
    placed = np.isfinite(xy).all(axis=1)
    doubts: tuple[str, ...] = ()
    if not placed.all():
        lost = int((~placed).sum())
        doubts = (f"{path.name}: {left_out(lost, 'bin', 'without coordinates')}",)
        kept = barcodes.filter(placed), bins.array[placed], bins.in_tissue[placed], xy[placed]
        bins = Bins(path, *kept)
    if not bins.in_tissue.any():
        msg = f"{path}: no bin with coordinates is under tissue (in_tissue = 1); nothing to read."
        raise InputError(msg)
    return bins, doubts


def scale_of(bins: Bins, size: float, side: float | None) -> tuple[float | None, str]:
    """Work out the scale where it is not stated: a bin's side is, in µm."""
    if side is not None:
        return size / side, f"worked out from the scale factors: {side:.4g} px = {size:g} µm"
    some = slice(None, None, max(1, len(bins.xy) // _SAMPLE))
    pitch = square_pitch_px(bins.array[some, ::-1].astype(np.float64), bins.xy[some])
    if pitch is None:
        return None, "unknown"
    return size / pitch, f"inferred from the lattice of bins: {pitch:.2f} px = {size:g} µm"


def read_bins(
    which: str, files: tuple[Path, ...], bins: Bins, size: float | None
) -> tuple[ad.AnnData, tuple[str, ...]]:
    """Read the bins that count something: those of the filtered matrix, else those under tissue.

    Parameters
    ----------
    which : {"filtered", "raw"}
    files : tuple of Path
        Of the counts.
    bins : Bins
    size : float or None
        The side of a bin, in µm.

    Raises
    ------
    InputError
        If counts cannot be read, or have no positions.
    """
    import anndata as ad
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    matrix = read_matrix(files)
    sought = pa.array(matrix.barcodes, pa.string())
    at = pc.index_in(sought, value_set=bins.barcodes).to_numpy(zero_copy_only=False)
    known = np.isfinite(at) if at.dtype.kind == "f" else np.ones(len(at), bool)
    matrix.check_placed(known, bins.path, [str(b) for b in bins.barcodes[:2]])
    place = np.where(known, at, 0).astype(np.int64)
    tissue = bins.in_tissue[place]
    keep, doubts = known, list(matrix.doubts)
    if which == "raw":
        keep = known & tissue
        doubts.append(
            f"There is no filtered matrix: of the raw one, the {keep.sum()} bins under tissue "
            "(in_tissue = 1) were kept."
        )
    if not known.all():
        lost = int((~known).sum())
        doubts.append(lacking(lost, "barcode", len(known), "position"))
    if not keep.any():
        msg = f"{files[0]}: none of its bins is under tissue (in_tissue = 1)."
        raise InputError(msg)
    counts, names = matrix.counts, matrix.barcodes
    if not keep.all():
        counts, names, place, tissue = counts[keep], names[keep], place[keep], tissue[keep]
    columns = {
        "in_tissue": tissue.astype(np.int64),
        "array_row": bins.array[place, 0],
        "array_col": bins.array[place, 1],
    }
    geometry = SpotGeometry(size, "square", size, "micrometer") if size else None
    spots = ad.AnnData(
        X=counts,
        obs=pd.DataFrame(columns, index=names),
        var=matrix.genes,
        obsm={"spatial": bins.xy[place]},
        uns={UNS_KEY: asdict(geometry)} if geometry else {},
    )
    return spots, tuple(doubts)
