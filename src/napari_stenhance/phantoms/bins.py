"""The table of a phantom's 8 µm bins, written as they are counted."""

from __future__ import annotations

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


class BinsFile:
    """An `.h5ad` of all measured bins, tile by tile.

    A section of 20 mm has millions of bins: their counts, and even their ids as Python strings, are
    more than memory should hold. What anndata cannot append to is laid out here as its format says.

    References
    ----------
    https://anndata.readthedocs.io/en/stable/fileformat-prose.html
    """

    def __init__(self, file: h5py.File, truth: Truth, grid: Grid) -> None:
        import anndata as ad

        anatomy = truth.anatomy
        self._truth = truth
        self._measured = anatomy.domain != GLASS
        self._measured[:, measured_columns(anatomy) :] = False
        row, column = np.concatenate([self._bins(t) for t in tiles_of(grid.shape, TILE)]).T
        self._written = 0
        self._file = file
        self._file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        geometry = SpotGeometry(PITCH_UM, "square", PITCH_UM, "micrometer")
        centres = {"spatial": grid.centres_um(row, column) / MPP}
        genes = truth.program.measured
        for name, content in (
            ("var", var_of(truth.program, genes)),
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
            "true_domain": anatomy.domain[row, column],
        }
        obs.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0"})
        obs.attrs.update({"_index": "_index", "column-order": list(columns)})
        self._ids = obs.create_dataset("_index", len(row), h5py.string_dtype())
        self._ids.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        for name, values in columns.items():
            content = categories(values, DOMAINS) if name == "true_domain" else values
            ad.io.write_elem(obs, name, content)

    def _bins(self, tile: Tile) -> NDArray[np.int64]:
        """Return row and column of the measured bins of a tile, shape (bins, 2)."""
        here = np.argwhere(self._measured[tile.rows, tile.columns])
        return here + (tile.rows.start, tile.columns.start)

    def add(self, true: TrueTile, tile: Tile) -> None:
        """Append the counts of the measured superpixels of a tile; tiles come in their order."""
        at = self._bins(tile)
        if not len(at):
            return
        truth = self._truth
        counts = draw_bins(true, tile, len(truth.program.measured), truth.anatomy.seed)
        kept = self._measured[tile.rows, tile.columns][true.tissue]
        self._counts.append(counts[np.flatnonzero(kept)])
        padded = np.char.zfill(at.astype("S5"), 5)
        ids = np.char.add(np.char.add(b"s_008um_", padded[:, 0]), b"_")
        self._ids[self._written : self._written + len(at)] = np.char.add(
            np.char.add(ids, padded[:, 1]), b"-1"
        )
        self._written += len(at)
