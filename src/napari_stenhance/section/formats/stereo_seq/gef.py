"""GEF: molecules by gene in bins, or by cell, in HDF5."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.stereo_seq.molecules import (
    BIN_DEFAULT,
    StereoCounts,
    bin_ids,
)
from napari_stenhance.section.tables.binned import BinnedCounts
from napari_stenhance.section.tables.hdf5 import look_through
from napari_stenhance.section.tables.tenx import gene_table
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import pandas as pd

_AT_ONCE = 2**22
_ADVICE = "copy it again, or export it anew with SAW"


def read_gef(path: Path, bin_size: int | None = None) -> StereoCounts:
    """Read cells, or bins of a size.

    Parameters
    ----------
    path : Path
    bin_size : int, optional
        Steps of the chip along a bin; by default 20, or what the file holds. Of a file of cells, no
        size may be given.

    Raises
    ------
    InputError
        If it is no GEF, is damaged, or cannot be binned so.
    """
    look_through(path)
    with reading(path, "this GEF", _ADVICE), h5py.File(path, "r") as file:
        if "cellBin/cell" in file and bin_size is None:
            return _read_cells(file)
        if "geneExp" not in file:
            what = "cells alone, and no bins" if "cellBin" in file else "neither bins nor cells"
            msg = f"{path}: this GEF holds {what}; give that of the tissue (.tissue.gef)."
            raise InputError(msg)
        sizes = [int(m[1]) for n in file["geneExp"] if (m := re.fullmatch(r"bin(\d+)", n))]
        return _read_bins(file, *_choose(sizes, bin_size, path))


def _choose(sizes: list[int], wanted: int | None, path: Path) -> tuple[int, int]:
    """Return which bins of the file are summed, and to which size."""
    sizes = sorted(size for size in sizes if size > 0)
    if not sizes:
        msg = f"{path}: this GEF holds no bins (geneExp/bin1 …); give another of the same run."
        raise InputError(msg)
    if wanted is None:
        dividing = [size for size in sizes if BIN_DEFAULT % size == 0]
        wanted = BIN_DEFAULT if dividing else next((s for s in sizes if s > BIN_DEFAULT), sizes[-1])
    from_size = next((size for size in reversed(sizes) if wanted % size == 0), None)
    if from_size is None:
        there = ", ".join(f"bin{size}" for size in sizes)
        msg = f"{path}: bins of {wanted} cannot be made of {there}; give a multiple of one of them."
        raise InputError(msg, option="sample")
    return from_size, wanted


def _read_bins(file: h5py.File, from_size: int, size: int) -> StereoCounts:
    group = file[f"geneExp/bin{from_size}"]
    expression, gene = group["expression"], group["gene"]
    genes, doubts = _genes(gene)
    number = _whole(gene["count"])
    first = _whole(gene["offset"])
    if number.sum() != len(expression) or (first != np.cumsum(number) - number).any():
        msg = "its genes do not follow one another in the list of molecules"
        raise ValueError(msg)
    ends, binned = np.cumsum(number), BinnedCounts()
    for start in range(0, len(expression), _AT_ONCE):
        block = expression[start : start + _AT_ONCE]
        which = np.searchsorted(ends, np.arange(start, start + len(block)), side="right")
        row, column, count = (_whole(block[name]) for name in ("y", "x", "count"))
        binned.add(row // size, column // size, which, count)
    row, column, counts = binned.matrix(list(genes.index))
    centres = np.column_stack([column, row]) * size + (size - 1) / 2
    attributes = {**file.attrs, **expression.attrs}
    return StereoCounts(
        ids=bin_ids(row * size, column * size),
        xy=centres.astype(np.float64),
        counts=counts,
        genes=genes,
        bin_size=size,
        step_nm=_number(attributes, "resolution"),
        offset=(_number(attributes, "minX") or 0.0, _number(attributes, "minY") or 0.0),
        doubts=doubts,
    )


def _read_cells(file: h5py.File) -> StereoCounts:
    group = file["cellBin"]
    cell, molecules = group["cell"][:], group["cellExp"]
    genes, doubts = _genes(group["gene"])
    first, number = _whole(cell["offset"]), _whole(cell["geneCount"])
    if ((first < 0) | (number < 0) | (first + number > len(molecules))).any():
        msg = "a cell's molecules lie outside their list"
        raise ValueError(msg)
    indptr = np.append(0, np.cumsum(number))
    if indptr[-1] > len(molecules):
        msg = "cells share molecules"
        raise ValueError(msg)
    block = molecules[:]
    at = np.arange(indptr[-1]) + np.repeat(first - indptr[:-1], number)
    which, count = _whole(block["geneID"])[at], _whole(block["count"])[at]
    if len(which) and not 0 <= which.min() <= which.max() < len(genes):
        msg = "a molecule is of a gene that is not listed"
        raise ValueError(msg)
    counts = sp.csr_matrix((count.astype(np.float32), which, indptr), shape=(len(cell), len(genes)))
    counts.sum_duplicates()
    return StereoCounts(
        ids=[str(n) for n in _whole(cell["id"])],
        xy=np.column_stack([_whole(cell["x"]), _whole(cell["y"])]).astype(np.float64),
        counts=counts,
        genes=genes,
        bin_size=None,
        step_nm=_number(dict(file.attrs), "resolution"),
        offset=(
            _number(dict(file.attrs), "offsetX") or 0.0,
            _number(dict(file.attrs), "offsetY") or 0.0,
        ),
        area=_whole(cell["area"]).astype(np.float64) if "area" in cell.dtype.names else None,
        doubts=doubts,
    )


def _genes(dataset: Any) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read genes by name, with their ids where there are some: before version 4 there are none."""
    fields = dataset.dtype.names or ()
    ids = next((n for n in ("geneID", "gene", "geneName") if n in fields), None)
    names = next((n for n in ("geneName", "gene", "geneID") if n in fields), None)
    if ids is None or names is None:
        msg = f"{dataset.name} names no genes, only {', '.join(fields)}"
        raise ValueError(msg)
    return gene_table(*([_text(value) for value in dataset[name]] for name in (ids, names)))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _whole(values: Any) -> NDArray[np.int64]:
    values = np.asarray(values)
    if values.dtype.kind not in "iu" or values.ndim != 1:
        msg = f"whole numbers were expected, not {values.dtype} in {values.ndim} dimensions"
        raise ValueError(msg)
    return values.astype(np.int64)


def _number(attributes: dict[str, Any], name: str) -> float | None:
    """Return an attribute, which mostly is an array of one value."""
    values = np.asarray(attributes.get(name, ()))
    return float(values.flat[0]) if values.size and values.dtype.kind in "iuf" else None
