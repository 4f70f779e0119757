"""A sparse matrix by columns, written as its columns come: it is never held as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

_LEAST_CHUNK = 2**18
"""Values; a chunk may hold a whole column, and whole chunks are written."""


class ColumnWriter:
    """Writes what anndata calls a `csc_matrix`, of float32.

    Parameters
    ----------
    parent : zarr.Group
    key : str
        What is there already is replaced.
    rows : int
    """

    def __init__(self, parent: zarr.Group, key: str, rows: int) -> None:
        self._group = parent.create_group(key, overwrite=True)
        self._rows = rows
        self._lengths: list[NDArray[np.int64]] = []
        chunk = max(rows, _LEAST_CHUNK)
        self._data = _Growing(self._group, "data", np.dtype(np.float32), chunk)
        self._indices = _Growing(self._group, "indices", np.dtype(np.int32), chunk)

    def add(self, columns: sp.csc_array[np.float32]) -> None:
        """Write the next columns; what is stored of them is stored, zeros too."""
        self._lengths.append(np.diff(columns.indptr).astype(np.int64))
        self._data.add(columns.data)
        self._indices.add(columns.indices)

    def close(self) -> None:
        """Write the rest, and what the matrix is."""
        for part in (self._data, self._indices):
            part.close()
        ends = np.concatenate([np.zeros(1, np.int64), *self._lengths]).cumsum()
        indptr = ends.astype(np.int32 if ends[-1] < 2**31 else np.int64)
        self._group.create_array("indptr", data=indptr, compressors=_compressors())
        shape = [self._rows, len(indptr) - 1]
        self._group.attrs.update(
            {"encoding-type": "csc_matrix", "encoding-version": "0.1.0", "shape": shape}
        )


class _Growing:
    """An array that grows by whole chunks."""

    def __init__(self, group: zarr.Group, key: str, dtype: np.dtype[Any], chunk: int) -> None:
        self._array = group.create_array(
            key, shape=(0,), chunks=(chunk,), dtype=dtype, compressors=_compressors()
        )
        self._dtype, self._chunk = dtype, chunk
        self._kept, self._held = list[NDArray[Any]](), 0

    def add(self, values: NDArray[Any]) -> None:
        self._kept.append(values.astype(self._dtype, copy=False))
        self._held += len(values)
        if self._held >= self._chunk:
            self._write(self._held - self._held % self._chunk)

    def close(self) -> None:
        self._write(self._held)

    def _write(self, number: int) -> None:
        values = np.concatenate([np.zeros(0, self._dtype), *self._kept])
        first = self._array.shape[0]
        self._array.resize((first + number,))
        for low in range(0, number, self._chunk):
            high = min(low + self._chunk, number)
            self._array[first + low : first + high] = values[low:high]
        self._kept, self._held = [values[number:].copy()], self._held - number


def _compressors() -> tuple[ZstdCodec, Crc32cCodec]:
    return ZstdCodec(), Crc32cCodec()
