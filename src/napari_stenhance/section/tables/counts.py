"""Counts of a table, block by block: of a large one there is never a second copy in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import h5py
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Stage

_AT_ONCE = 2**22
COUNT_MOST = 2**53
"""Beyond, neighbouring whole numbers are one float64; no experiment counts so far."""
Bad = Callable[[int, int, float], InputError]
"""Makes the error of a count that cannot be one: `bad(row, column, value)`."""


def check_pointers(indptr: NDArray[Any], lines: int, entries: int) -> None:
    """Check where the rows (or columns) of a sparse matrix begin, before anything follows them.

    Raises
    ------
    ValueError
        If they do not begin at 0, ascend, and end at the number of entries.
    """
    if indptr.dtype.kind not in "iu" or indptr.shape != (lines + 1,):
        msg = f"indptr has {indptr.size} values, not one more than the {lines} lines"
        raise ValueError(msg)
    if indptr[0] != 0 or int(indptr[-1]) != entries or (indptr[1:] < indptr[:-1]).any():
        msg = f"indptr does not ascend from 0 to the {entries} entries"
        raise ValueError(msg)


def check_entries(values: Any, indices: Any) -> None:
    """Check the types and lengths of a sparse matrix's entries, in memory or in a file.

    Raises
    ------
    ValueError
        If values are no numbers, indices no whole ones, or there are more of one than of the other.
    """
    if values.dtype.kind not in "iuf" or indices.dtype.kind not in "iu":
        msg = f"data are {values.dtype} and indices {indices.dtype}, not numbers and whole numbers"
        raise ValueError(msg)
    if len(values.shape) != 1 or values.shape != indices.shape:
        msg = f"data have the shape {values.shape}, but indices {indices.shape}"
        raise ValueError(msg)


def check_sparse(matrix: Any) -> None:
    """Check all of a sparse matrix: SciPy follows its indices wherever they lead.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    if matrix.format not in {"csr", "csc"}:
        msg = f"it is stored as {matrix.format}, not by rows or columns"
        raise ValueError(msg)
    lines, across = matrix.shape if matrix.format == "csr" else matrix.shape[::-1]
    check_entries(matrix.data, matrix.indices)
    check_pointers(matrix.indptr, lines, len(matrix.data))
    if len(matrix.indices) and not 0 <= matrix.indices.min() <= matrix.indices.max() < across:
        msg = "an index lies outside the matrix"
        raise ValueError(msg)


def checked_counts(matrix: Any) -> Any:
    """Check a matrix of counts, and return it in types that SciPy computes with.

    Returns
    -------
    csr_matrix, csc_matrix or ndarray
        In the machine's byte order, of at least 32 bits; of sparse ones, each place occurs once.

    Raises
    ------
    ValueError
        If it holds no numbers, or larger ones than counts may be, or is a damaged sparse one.
    """
    sparse = sp.issparse(matrix)
    if sparse:
        check_sparse(matrix)
    values = matrix.data if sparse else np.asarray(matrix)
    if values.dtype.kind not in "iuf" or matrix.ndim != 2:
        msg = f"it holds {values.dtype} in {matrix.ndim} dimensions, not numbers in two"
        raise ValueError(msg)
    wanted = np.dtype(np.float32) if values.dtype == np.float16 else values.dtype.newbyteorder("=")
    values = values.astype(wanted, copy=False)
    large = (values > COUNT_MOST) & np.isfinite(values)
    if large.any():
        msg = f"{values[large].flat[0]:g} is no count"
        raise ValueError(msg)
    if not sparse:
        return values
    kind = np.int32 if max(*matrix.shape, len(values)) < 2**31 else np.int64
    places = (part.astype(kind, copy=False) for part in (matrix.indices, matrix.indptr))
    counts = type(matrix)((values, *places), shape=matrix.shape)
    counts.sum_duplicates()
    return counts


def read_rows(group: Any, shape: tuple[int, int]) -> sp.csr_matrix:
    """Read a matrix whose rows lie in the datasets data, indices and indptr of an HDF5 group.

    Parameters
    ----------
    group : h5py.Group
    shape : tuple of int

    Returns
    -------
    csr_matrix of float32
        Of a large one, nothing else is ever held whole.

    Raises
    ------
    ValueError
        If it is damaged, or holds what is no count.
    """
    values, indices = group["data"], group["indices"]
    check_entries(values, indices)
    indptr, number = group["indptr"][:], len(values)
    check_pointers(indptr, shape[0], number)
    kind = np.int32 if max(*shape, number) < 2**31 else np.int64
    data, across = np.empty(number, np.float32), np.empty(number, kind)
    for first in range(0, number, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        block, place = values[part], indices[part]
        if not 0 <= place.min() <= place.max() < shape[1]:
            msg = "an index lies outside the matrix"
            raise ValueError(msg)
        large = (block > COUNT_MOST) & np.isfinite(block)
        if large.any():
            msg = f"{block[large][0]:g} is no count"
            raise ValueError(msg)
        data[part], across[part] = block, place
    counts = sp.csr_matrix((data, across, indptr.astype(kind)), shape=shape)
    counts.sum_duplicates()
    return counts


@dataclass(frozen=True)
class StoredCounts:
    """A matrix (cells, genes) in memory or in an `.h5ad`.

    Attributes
    ----------
    kind : {"csr", "csc", "dense"}
    shape : tuple of int
    values : array or h5py.Dataset
    indices : array, h5py.Dataset or None
        Of sparse ones.
    indptr : ndarray of int64 or None
    """

    kind: Literal["csr", "csc", "dense"]
    shape: tuple[int, int]
    values: Any
    indices: Any = None
    indptr: NDArray[np.int64] | None = None

    @classmethod
    def from_group(cls, matrix: Any) -> StoredCounts:
        """Take a matrix of an AnnData, or what an `.h5ad` holds of one.

        Raises
        ------
        ValueError
            If it is no matrix of numbers, or damaged.
        """
        if isinstance(matrix, h5py.Group):
            attrs = matrix.attrs
            kind = str(attrs.get("encoding-type", attrs.get("h5sparse_format", "")))[:3]
            shape = tuple(int(n) for n in attrs.get("shape", attrs.get("h5sparse_shape", ())))
            if kind not in {"csr", "csc"} or len(shape) != 2:
                msg = f"{matrix.name} is no matrix"
                raise ValueError(msg)
            check_entries(matrix["data"], matrix["indices"])
            indptr = matrix["indptr"][...]
            check_pointers(indptr, shape[kind == "csc"], len(matrix["data"]))
            pointers = indptr.astype(np.int64)
            return cls(kind, (shape[0], shape[1]), matrix["data"], matrix["indices"], pointers)  # type: ignore[arg-type]
        if sp.issparse(matrix):
            matrix = matrix if matrix.format in {"csr", "csc"} else matrix.tocsr()
            check_sparse(matrix)
            pointers = np.asarray(matrix.indptr, np.int64)
            return cls(matrix.format, matrix.shape, matrix.data, matrix.indices, pointers)
        if matrix.dtype.kind not in "iuf" or len(matrix.shape) != 2:
            msg = f"the matrix holds {matrix.dtype} in {len(matrix.shape)} dimensions"
            raise ValueError(msg)
        return cls("dense", matrix.shape, matrix)

    def _blocks(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any], float]]:
        """Cut into blocks of whole rows, or columns: values, their rows and columns, and how far.

        Zeros are left out.
        """
        rows, columns = self.shape
        if self.indptr is None:
            step = max(1, _AT_ONCE // max(columns, 1))
            for first in range(0, rows, step):
                block = np.asarray(self.values[first : first + step])
                row, column = np.nonzero(block)
                yield block[row, column], row + first, column, (first + len(block)) / rows
            return
        lines, first = len(self.indptr) - 1, 0
        while first < lines:
            reach = np.searchsorted(self.indptr, self.indptr[first] + _AT_ONCE, side="right") - 1
            last = max(first + 1, int(reach))
            part = slice(int(self.indptr[first]), int(self.indptr[last]))
            values, across = np.asarray(self.values[part]), np.asarray(self.indices[part])
            along = np.repeat(np.arange(first, last), np.diff(self.indptr[first : last + 1]))
            most = columns if self.kind == "csr" else rows
            if len(across) and not 0 <= across.min() <= across.max() < most:
                msg = "an index lies outside the matrix"
                raise ValueError(msg)
            not_zero = values != 0
            values, along, across = values[not_zero], along[not_zero], across[not_zero]
            pair = (along, across) if self.kind == "csr" else (across, along)
            yield values, *pair, last / lines
            first = last

    def first_rows(self, number: int) -> Any:
        """Return some rows, (rows, genes), ndarray or sparse; None where columns are stored."""
        number = min(number, self.shape[0])
        if self.kind == "dense":
            return np.asarray(self.values[:number])
        if self.kind == "csc" or self.indptr is None:
            return None
        pointers = self.indptr[: number + 1]
        part = slice(0, int(pointers[-1]))
        values, indices = np.asarray(self.values[part]), np.asarray(self.indices[part])
        rows = sp.csr_array((values, indices, pointers), shape=(number, self.shape[1]))
        rows.check_format(full_check=True)
        return rows

    def look_whole(self) -> bool:
        """Tell from the first counts whether they are whole numbers."""
        for values, _, _, _ in self._blocks():
            if len(values):
                return bool((values == np.rint(values)).all())
        return True

    def read(
        self, column: NDArray[np.int64], width: int, bad: Bad, stage: Stage
    ) -> sp.csr_array[np.float32]:
        """Read all, without zeros; float32 and int32 are all that is ever held.

        Parameters
        ----------
        column : ndarray of int64, shape (genes,)
            Where each gene goes, ascending; -1 leaves it out.
        width : int
            How many are kept.
        bad : callable
        stage : Stage
            Of a hundred steps.

        Raises
        ------
        InputError
            What `bad` makes of a count that is negative, or no whole number.
        """
        rows = self.shape[0]
        if self.kind == "csr":
            most = int(self.indptr[-1])  # type: ignore[index]
        else:
            # Columns come in turn, so where a row begins must be known before.
            length = np.zeros(rows, np.int64)
            for _, row, old, _ in self._blocks():
                length += np.bincount(row[column[old] >= 0], minlength=rows)
            most = int(length.sum())
        kind = np.int32 if most < 2**31 else np.int64
        data, indices = np.empty(most, np.float32), np.empty(most, kind)
        indptr = np.zeros(rows + 1, np.int64)
        if self.kind != "csr":
            np.cumsum(length, out=indptr[1:])
        free, done = indptr[:-1].copy(), 0
        at = 0
        for values, row, old, part in self._blocks():
            _check(values, row, old, bad)
            new = column[old]
            keep = new >= 0
            values, row, new = values[keep], row[keep], new[keep]
            if self.kind == "csr":
                data[at : at + len(values)], indices[at : at + len(values)] = values, new
                indptr[1:] += np.bincount(row, minlength=rows)
                at += len(values)
            else:
                order = np.argsort(row, kind="stable")
                row = row[order]
                number = np.bincount(row, minlength=rows)
                place = free[row] + np.arange(len(row)) - (np.cumsum(number) - number)[row]
                data[place], indices[place] = values[order], new[order]
                free += number
            stage.advance(int(100 * part) - done)
            done = int(100 * part)
        if self.kind == "csr":
            np.cumsum(indptr, out=indptr)
            data, indices = data[:at], indices[:at]
        counts = sp.csr_array((data, indices, indptr.astype(kind)), shape=(rows, width), copy=False)
        counts.sort_indices()
        return counts


def _check(values: NDArray[Any], row: NDArray[Any], column: NDArray[Any], bad: Bad) -> None:
    wrong = ~np.isfinite(values) | (values < 0) | (values != np.rint(values))
    wrong |= values > COUNT_MOST
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise bad(int(row[first]), int(column[first]), float(values[first]))
