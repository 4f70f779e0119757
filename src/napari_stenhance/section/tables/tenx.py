"""The feature–barcode matrix that 10x software writes: HDF5, old and new, or three text files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.gene_names import unique_symbols
from napari_stenhance.section.tables.claims import lines, opened_text
from napari_stenhance.section.tables.counts import checked_counts, read_rows
from napari_stenhance.section.tables.features import (
    GENES,
    TYPE_COLUMNS,
    kinds_aside,
    need_genes,
)
from napari_stenhance.section.tables.hdf5 import look_through
from napari_stenhance.section.tables.matrix_market import read_matrix_market
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import pandas as pd

_ADVICE = "copy or export the matrix again"
_LEGACY = {"barcodes", "data", "genes", "gene_names", "indices", "indptr", "shape"}
_COLUMNS_MOST = 16
_REFERENCE = re.compile(r"&#(\d+);")


@dataclass(frozen=True)
class Matrix:
    """Raw counts of genes, and of features that are none.

    Attributes
    ----------
    path : Path
    counts : csr_matrix of float32, shape (barcodes, features)
    barcodes : Index of str, unique
    genes : DataFrame
        Its index is the symbol where that is unique, else `SYMBOL-ID`; `gene_id` the vendor's id,
        mostly Ensembl's. `feature_types` is there if not all are genes.
    doubts : tuple of str
    """

    path: Path
    counts: sp.csr_matrix
    barcodes: pd.Index
    genes: pd.DataFrame
    doubts: tuple[str, ...]

    def check_placed(self, known: NDArray[np.bool_], positions: Path, some: Iterable[str]) -> None:
        """Refuse counts of which none has a position.

        Parameters
        ----------
        known : ndarray of bool, shape (barcodes,)
        positions : Path
        some : iterable of str
            A few of the ids there.

        Raises
        ------
        InputError
            If `known` is nowhere true.
        """
        if not known.any():
            msg = (
                f"{self.path}: none of its barcodes (such as {', '.join(self.barcodes[:2])}) has a "
                f"position in {positions.name} (such as {', '.join(some)}); these files do not "
                "belong together."
            )
            raise InputError(msg)


def read_matrix(files: tuple[Path, ...]) -> Matrix:
    """Read the features of a matrix.

    Parameters
    ----------
    files : tuple of Path
        One HDF5 file; or `matrix.mtx`, `features.tsv` (or `genes.tsv`) and `barcodes.tsv`, each
        plain or gzipped.

    Raises
    ------
    InputError
        If a file is damaged or of another kind, its parts differ in length, a barcode occurs
        twice, or it counts no genes.
    """
    import pandas as pd

    path = files[0]
    if len(files) == 1:
        look_through(path)
    with reading(path, "the counts", _ADVICE):
        counts, barcodes, features = _read_h5(path) if len(files) == 1 else _read_text(*files)
        if counts.shape != (len(barcodes), len(features)):
            rows, columns = counts.shape
            msg = (
                f"it counts {columns} features in {rows} barcodes, but names {len(features)} "
                f"and {len(barcodes)}"
            )
            raise ValueError(msg)
        twice = barcodes[barcodes.duplicated()]
        if len(twice):
            msg = f"the barcode {twice[0]} occurs more than once"
            raise ValueError(msg)
    typed = pd.DataFrame({TYPE_COLUMNS[0]: features["type"].to_numpy()}, index=features["name"])
    is_gene = need_genes(kinds_aside(typed), str(path))
    # Antibodies are often called as the gene of their protein.
    names = (features["id"] + " (" + features["type"] + ")").to_numpy(dtype=object, copy=True)
    named, doubts = gene_table(features["id"][is_gene], features["name"][is_gene])
    names[is_gene] = named.index
    genes = pd.DataFrame({"gene_id": features["id"].to_numpy()}, index=pd.Index(names))
    if not is_gene.all():
        # Whoever opens the section sets them aside.
        genes[TYPE_COLUMNS[0]] = features["type"].to_numpy()
    return Matrix(path, counts.astype(np.float32, copy=False), barcodes, genes, doubts)


def gene_table(ids: Iterable[str], symbols: Iterable[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Name genes by their symbols, or SYMBOL-ID where symbols are shared, and say so.

    Returns
    -------
    genes : DataFrame
        As `Matrix` has them.
    doubts : tuple of str
    """
    import pandas as pd

    known, called = list(ids), list(symbols)
    names, shared = unique_symbols(called, known)
    genes = pd.DataFrame({"gene_id": np.array(known, object)}, index=pd.Index(names, dtype=object))
    if not shared:
        return genes, ()
    other = next(new for new, old in zip(names, called, strict=True) if old and new != old)
    doubt = (
        f"{counted(shared, 'gene')} {agree(shared, 'shares its', 'share their')} symbol with "
        f"another and {agree(shared, 'is', 'are')} called SYMBOL-ID here, such as {other}."
    )
    return genes, (doubt,)


def _read_h5(path: Path) -> tuple[sp.csr_matrix, pd.Index, pd.DataFrame]:
    import pandas as pd

    with h5py.File(path, "r") as file:
        if "matrix" in file:
            group = file["matrix"]
            ids, names, kinds = (
                _texts(group[f"features/{k}"]) for k in ("id", "name", "feature_type")
            )
        else:
            # Before version 2: one group for each genome, and nothing but genes.
            genomes = [g for g in file.values() if isinstance(g, h5py.Group) and set(g) >= _LEGACY]
            if len(genomes) != 1:
                msg = f"it holds {len(genomes)} matrices, not one"
                raise ValueError(msg)
            group = genomes[0]
            ids, names = _texts(group["genes"]), _texts(group["gene_names"])
            kinds = np.full(len(ids), GENES, dtype=object)
        features, barcodes = (int(n) for n in group["shape"][:])
        # Stored as columns of features × barcodes, which are the rows of barcodes × features.
        counts = read_rows(group, (barcodes, features))
        index = pd.Index(_texts(group["barcodes"]))
    return counts, index, pd.DataFrame({"id": ids, "name": names, "type": kinds})


def _texts(dataset: Any) -> Any:
    """Read texts; 10x stores characters beyond ASCII as decimal references."""
    if len(dataset.shape) != 1:
        msg = f"{dataset.name} has the shape {dataset.shape}"
        raise ValueError(msg)
    if dataset.dtype.kind == "S":
        # Mostly there are none, and all are turned at once: barcodes come by the hundred thousand.
        fixed = dataset[:]
        with suppress(UnicodeDecodeError):
            if b"&#" not in fixed.tobytes():
                return fixed.astype("U").astype(object)
    texts = dataset.asstr("utf-8", "replace")[:]
    return np.array(
        [_REFERENCE.sub(lambda m: chr(int(m[1])), t) if "&#" in t else t for t in texts],
        dtype=object,
    )


def _read_text(
    matrix: Path, features: Path, barcodes: Path
) -> tuple[sp.csr_matrix, pd.Index, pd.DataFrame]:
    import pandas as pd

    rows = _cells(features)
    if any(len(row) < 2 for row in rows):
        msg = f"{features.name}: a line has fewer than the two columns id and symbol"
        raise ValueError(msg)
    index = pd.Index([cells[0] for cells in _cells(barcodes)], dtype=object)
    counts = checked_counts(read_matrix_market(matrix, (len(rows), len(index))))
    table = pd.DataFrame(
        {
            "id": [row[0] for row in rows],
            "name": [row[1] for row in rows],
            # `genes.tsv`, the older form, has two columns and holds nothing but genes.
            "type": [row[2] if len(row) > 2 else GENES for row in rows],
        }
    )
    return counts, index, table


def _cells(path: Path) -> list[list[str]]:
    """Cut a table without header into cells."""
    with reading(path, advice=_ADVICE), opened_text(path) as file:
        return [line.split("\t", _COLUMNS_MOST) for line in lines(file) if line.strip()]
