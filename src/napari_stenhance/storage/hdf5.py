"""Writing HDF5, also where the disk is full."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

if TYPE_CHECKING:
    import anndata as ad
    from _typeshed import ReadableBuffer, WriteableBuffer


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Make an HDF5 file.

    HDF5 cannot close a file that it could not write: it prints a traceback for each of its objects,
    and may end the process. So it never learns that a write failed, and we say so afterwards.

    Raises
    ------
    OSError
        If the file cannot be written, once the block has ended.
    """
    with _Quiet(path, "x+") as quiet:
        try:
            with h5py.File(quiet, "w") as file:
                yield file
        except Exception:
            if quiet.failed is not None:
                raise quiet.failed from None
            raise
        if quiet.failed is not None:
            raise quiet.failed


def save_h5ad(table: ad.AnnData, path: Path, **packed: Any) -> None:
    """Write an `.h5ad`, as `AnnData.write_h5ad` does.

    Parameters
    ----------
    table : AnnData
        Its columns of strings become categories.
    path : Path
        Where nothing lies.
    **packed
        How datasets are compressed, such as `compression="gzip"`.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    import anndata as ad

    table.strings_to_categoricals()
    with new_hdf5(path) as file:
        ad.io.write_elem(file, "/", table, dataset_kwargs=packed)
        if table.raw is None:
            # As a part it would be there, and empty.
            file.pop("raw", None)


class _Quiet(io.FileIO):
    """A file that remembers the first error of writing, and from then on takes everything."""

    failed: OSError | None = None

    def write(self, content: ReadableBuffer, /) -> int:
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while left and self.failed is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.failed = error
        return size

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failed = self.failed or error
            return size or 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        whole = memoryview(buffer).cast("B")
        got = super().readinto(whole) or 0
        if self.failed is not None:
            # What was not written is not there to be read.
            whole[got:] = bytes(len(whole) - got)
            return len(whole)
        return got
