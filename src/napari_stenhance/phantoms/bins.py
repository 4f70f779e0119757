"""The table of a phantom's 8 µm bins, written as they are counted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import h5py
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.phantoms.anatomy import DOMAINS, GLASS, MPP, PITCH_UM
from napari_stenhance.phantoms.counts import draw_bins, measured_columns
from napari_stenhance.phantoms.tables import categories, uns_of, var_of
from napari_stenhance.phantoms.truth import TILE, TrueTile, Truth
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.spots import SpotGeometry
from napari_stenhance.storage.tiles import Tile, tiles_of

_PACKED = {"compression": "gzip", "compression_opts": 1, "chunks": (2**16,)}
_EMPTY = ("layers", "obsp", "varm", "varp")


@dataclass(frozen=True)
class MeasuredBins:
    """The tissue superpixels of the measured part, and what is counted there.

    Attributes
    ----------
    truth : Truth
    grid : Grid
    """

    truth: Truth
    grid: Grid

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Which superpixels they are."""
        anatomy = self.truth.anatomy
        measured = anatomy.domain != GLASS
        measured[:, measured_columns(anatomy) :] = False
        return measured

    def of(self, tile: Tile) -> NDArray[np.int64]:
        """Return row and column of those of a tile, shape (bins, 2)."""
        here = np.argwhere(self.mask[tile.rows, tile.columns])
        return here + (tile.rows.start, tile.columns.start)

    def every(self) -> NDArray[np.int64]:
        """Return row and column of all, tile by tile, shape (bins, 2)."""
        return np.concatenate([self.of(t) for t in tiles_of(self.grid.shape, TILE)])

    def counts(self, true: TrueTile, tile: Tile) -> sp.csr_matrix:
        """Count those of a tile, shape (bins, genes)."""
        kept = np.flatnonzero(self.mask[tile.rows, tile.columns][true.tissue])
        return draw_bins(true, tile, self.truth)[kept]


def space_ranger_ids(at: NDArray[np.int64]) -> NDArray[np.bytes_]:
    """Name bins of 8 µm, given as (row, column), as Space Ranger does."""
    row, column = np.char.zfill(at.astype("S5"), 5).T
    return np.char.add(np.char.add(np.char.add(np.char.add(b"s_008um_", row), b"_"), column), b"-1")


class BinsFile:
    """An `.h5ad` of all measured bins, tile by tile.

    A section of 20 mm has millions of bins: their counts, and even their ids as Python strings, are
    more than memory should hold. What anndata cannot append to is laid out here as its format says.

    References
    ----------
    https://anndata.readthedocs.io/en/stable/fileformat-prose.html
    """

    def __init__(self, file: h5py.File, bins: MeasuredBins) -> None:
        import anndata as ad

        truth, grid = bins.truth, bins.grid
        row, column = bins.every().T
        self._written = 0
        self._file = file
        self._file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        geometry = SpotGeometry(PITCH_UM, "square", PITCH_UM, "micrometer")
        centres = {"spatial": grid.centres_um(row, column) / MPP}
        genes = var_of(truth.program, truth.program.measured, truth.rare)
        for name, content in (
            ("var", genes),
            ("uns", uns_of(geometry)),
            ("obsm", centres),
            ("X", sp.csr_matrix((0, len(genes)), dtype=np.float32)),
            *((name, {}) for name in _EMPTY),
        ):
            options = _PACKED if name == "X" else {}
            ad.io.write_elem(self._file, name, content, dataset_kwargs=options)
        self._counts = ad.io.sparse_dataset(self._file["X"])
        obs = self._file.create_group("obs")
        columns = {
            "array_row": row.astype(np.int32),
            "array_col": column.astype(np.int32),
            "true_domain": truth.anatomy.domain[row, column],
        }
        obs.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0"})
        obs.attrs.update({"_index": "_index", "column-order": list(columns)})
        self._ids = obs.create_dataset("_index", len(row), h5py.string_dtype())
        self._ids.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        for name, values in columns.items():
            content = categories(values, DOMAINS) if name == "true_domain" else values
            ad.io.write_elem(obs, name, content)

    def add(self, at: NDArray[np.int64], counts: sp.csr_matrix) -> None:
        """Append the counts of the bins of a tile; tiles come in their order."""
        if not len(at):
            return
        self._counts.append(counts)
        self._ids[self._written : self._written + len(at)] = space_ranger_ids(at)
        self._written += len(at)
