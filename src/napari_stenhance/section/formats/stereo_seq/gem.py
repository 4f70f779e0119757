"""GEM: a line of text for each gene at each spot of the chip, or in each cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import left_out
from napari_stenhance.section.formats.stereo_seq.molecules import (
    BIN_DEFAULT,
    StereoCounts,
    bin_ids,
)
from napari_stenhance.section.tables.binned import BinnedCounts
from napari_stenhance.section.tables.claims import LINE_MOST, opened_text
from napari_stenhance.section.tables.parquet import numbers_of, texts_of
from napari_stenhance.section.tables.tenx import gene_table
from napari_stenhance.storage.reading import reading

_COUNTS = ("midcount", "midcounts", "umicount")
_CELLS = ("cellid", "label", "cell_id")
_BLOCK = 2**24


def read_gem(path: Path, bin_size: int | None = None) -> StereoCounts:
    """Read cells, where lines name some, or bins of a size.

    Parameters
    ----------
    path : Path
        Gzipped or not.
    bin_size : int, optional
        Steps of the chip along a bin; by default cells where there are some, else 20 or so.

    Raises
    ------
    InputError
        If it is no GEM, or cannot be binned so.
    """
    with reading(path, "this GEM", "copy it again, or export it anew with SAW"):
        with opened_text(path) as file:
            said, columns = _head(file)
            return _read(file, said, columns, bin_size, path)


def _head(file: BinaryIO) -> tuple[dict[str, str], list[str]]:
    """Read what lines with a # say, and the names of columns."""
    said = {}
    while (line := file.readline(LINE_MOST)).startswith(b"#"):
        key, _, value = line.decode("utf-8", "replace").strip("# \r\n").partition("=")
        said[key.lower()] = value
    columns = line.decode("utf-8-sig", "replace").strip("\r\n").lower().split("\t")
    lacking = [name for name in ("geneid", "x", "y") if name not in columns]
    if lacking or not set(_COUNTS) & set(columns):
        msg = f"there is no column {(lacking or ['MIDCount'])[0]}, only {', '.join(columns[:12])}"
        raise ValueError(msg)
    if len(set(columns)) < len(columns):
        msg = "two columns have the same name"
        raise ValueError(msg)
    return said, columns


def _read(
    file: BinaryIO, said: dict[str, str], columns: list[str], wanted: int | None, path: Path
) -> StereoCounts:
    import pyarrow as pa
    from pyarrow import csv

    stated = int(said.get("binsize", "1") or 1)
    cell = next((name for name in _CELLS if name in columns), "") if wanted is None else ""
    size = wanted or stated * max(1, BIN_DEFAULT // stated)
    if stated < 1 or size % stated:
        msg = f"{path}: its bins are of {stated}, of which bins of {size} cannot be made."
        raise InputError(msg, option="sample")
    count = next(name for name in _COUNTS if name in columns)
    texts = ["geneid", *(["genename"] if "genename" in columns else [])]
    kinds: dict[str, Any] = {name: pa.dictionary(pa.int32(), pa.string()) for name in texts}
    numbers = ["x", "y", count, *filter(None, [cell])]
    kinds |= dict.fromkeys(numbers, pa.int64())
    reader = csv.open_csv(
        file,
        read_options=csv.ReadOptions(column_names=columns, block_size=_BLOCK),
        parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types=kinds, include_columns=list(kinds), strings_can_be_null=False
        ),
    )
    binned, cells = BinnedCounts(), _Cells()
    genes: dict[str, int] = {}
    names: list[str] = []
    for batch in reader:
        x, y, number = (_whole(batch[name]) for name in ("x", "y", count))
        gene = _numbered(batch["geneid"], genes)
        if len(names) < len(genes):
            names += [""] * (len(genes) - len(names))
            shown = texts_of(batch[texts[-1]]).to_pylist()
            new, at = np.unique(gene, return_index=True)
            for one, row in zip(new.tolist(), at.tolist(), strict=True):
                names[one] = names[one] or shown[row]
        if cell:
            cells.add(_whole(batch[cell]), x, y, gene, number)
        else:
            binned.add(y // size, x // size, gene, number)
    table, doubts = gene_table(list(genes), names)
    offset = (float(said.get("offsetx") or 0), float(said.get("offsety") or 0))
    if cell:
        ids, xy, counts, lost = cells.counted(len(genes))
        if lost:
            doubts = (*doubts, left_out(lost, "molecule", "in no cell"))
        return StereoCounts(ids, xy, counts, table, None, None, offset, doubts=doubts)
    row, column, counts = binned.matrix(names)
    centres = np.column_stack([column, row]) * size + (size - 1) / 2
    ids = bin_ids(row * size, column * size)
    return StereoCounts(
        ids, centres.astype(np.float64), counts, table, size, None, offset, doubts=doubts
    )


class _Cells:
    """Counts by cell, and where each cell's molecules lie in the mean."""

    def __init__(self) -> None:
        self.binned = BinnedCounts()
        self.sums: dict[int, NDArray[np.float64]] = {}
        self.lost = 0

    def add(self, cell: Any, x: Any, y: Any, gene: Any, number: Any) -> None:
        inside = cell > 0
        self.lost += int(number[~inside].sum())
        cell, x, y, gene, number = (a[inside] for a in (cell, x, y, gene, number))
        high, low = np.divmod(cell, 2**20)
        self.binned.add(high, low, gene, number)
        ids, at = np.unique(cell, return_inverse=True)
        ones = np.ones(len(cell))
        sums = np.column_stack([np.bincount(at, weights) for weights in (x, y, ones)])
        for one, row in zip(ids.tolist(), sums, strict=True):
            self.sums[one] = self.sums.get(one, 0.0) + row

    def counted(self, genes: int) -> tuple[list[str], NDArray[np.float64], Any, int]:
        high, low, counts = self.binned.matrix([""] * genes)
        ids = (high * 2**20 + low).tolist()
        sums = np.array([self.sums[one] for one in ids]).reshape(-1, 3)
        return [str(one) for one in ids], sums[:, :2] / sums[:, 2:], counts, self.lost


def _whole(column: Any) -> NDArray[np.int64]:
    values = numbers_of(column)
    if not np.isfinite(values).all():
        msg = "a line lacks x, y, its count or its cell"
        raise ValueError(msg)
    return values.astype(np.int64)


def _numbered(column: Any, known: dict[str, int]) -> NDArray[np.int64]:
    """Number texts as they come."""
    words = [str(word) for word in column.dictionary.to_pylist()]
    number = np.array([known.setdefault(word, len(known)) for word in words], np.int64)
    return number[column.indices.to_numpy(zero_copy_only=False)]
