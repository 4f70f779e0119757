"""A phantom's bins as Space Ranger writes those of Visium HD, as they are counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.phantoms.anatomy import MPP, PITCH_UM
from napari_stenhance.phantoms.bins import MeasuredBins, space_ranger_ids
from napari_stenhance.storage.hdf5 import new_hdf5

SQUARES = Path("binned_outputs") / "square_008um"
_PACKED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_CHUNK = 2**18


class VisiumHDFolder:
    """Counts, positions and scale of the measured bins; `writing` makes it.

    Genes and bins are named, typed and laid out as Space Ranger 4 does; there are no pictures, and
    no other sizes of bins.
    """

    def __init__(self, matrix: h5py.Group) -> None:
        self._matrix = matrix
        self._begins = [0]
        for name, kind in (("data", "i4"), ("indices", "i8")):
            matrix.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(_CHUNK,), **_PACKED)

    @classmethod
    @contextmanager
    def writing(cls, folder: Path, bins: MeasuredBins) -> Iterator[VisiumHDFolder]:
        """Write a folder that holds `binned_outputs`; counts are added meanwhile."""
        square = folder / SQUARES
        (square / "spatial").mkdir(parents=True)
        with new_hdf5(square / "filtered_feature_bc_matrix.h5") as file:
            file.attrs.update({"filetype": "matrix", "version": 2})
            file.attrs["chemistry_description"] = "Visium HD v1"
            file.attrs["library_ids"] = np.array([b"phantom"])
            file.attrs["original_gem_groups"] = np.array([1])
            written = cls(file.create_group("matrix"))
            yield written
            written._finish(bins)
        _write_places(square / "spatial", bins)

    def add(self, counts: sp.csr_matrix) -> None:
        """Append the counts of the bins of a tile; tiles come in their order."""
        counts.sort_indices()
        for name in ("data", "indices"):
            part = self._matrix[name]
            part.resize(len(part) + counts.nnz, axis=0)
            part[len(part) - counts.nnz :] = getattr(counts, name)
        self._begins += (self._begins[-1] + counts.indptr[1:]).tolist()

    def _finish(self, bins: MeasuredBins) -> None:
        truth, matrix = bins.truth, self._matrix
        names = [*truth.program.measured, *truth.rare.names]
        for name, values in (
            ("barcodes", space_ranger_ids(bins.every())),
            ("indptr", np.array(self._begins, np.int64)),
            ("shape", np.array([len(names), len(self._begins) - 1], np.int32)),
        ):
            matrix.create_dataset(name, data=values, **_PACKED)
        features = matrix.create_group("features")
        for name, texts in (
            ("id", [f"ENSG{n:011d}" for n in range(1, len(names) + 1)]),
            ("name", names),
            ("feature_type", ["Gene Expression"] * len(names)),
            ("genome", ["phantom"] * len(names)),
            ("_all_tag_keys", ["genome"]),
        ):
            features.create_dataset(name, data=np.array(texts, "S"))


def _write_places(spatial: Path, bins: MeasuredBins) -> None:
    """Write where every bin of the grid lies, and the scale."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    row, column = (n.ravel() for n in np.indices(bins.grid.shape))
    side = PITCH_UM / MPP
    # Pixels count from the corner of the first one.
    centre = [(along + 0.5) * side for along in (row, column)]
    columns: dict[str, NDArray[Any]] = {
        "barcode": space_ranger_ids(np.column_stack([row, column])).astype(str),
        "in_tissue": bins.mask.ravel().astype(np.uint8),
        "array_row": row.astype(np.uint32),
        "array_col": column.astype(np.uint32),
        "pxl_row_in_fullres": centre[0],
        "pxl_col_in_fullres": centre[1],
    }
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    pq.write_table(table, spatial / "tissue_positions.parquet", compression="zstd")
    scale = {
        "spot_diameter_fullres": side,
        "bin_size_um": PITCH_UM,
        "microns_per_pixel": MPP,
    }
    (spatial / "scalefactors_json.json").write_text(json.dumps(scale), "utf-8")
