"""MERSCOPE: a table of counts by cell, and one that says where cells lie, in micrometres."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import lacking
from napari_stenhance.section.formats.format import SectionFiles, SectionFormat, names_in
from napari_stenhance.section.images.opening import image_suffixes
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from napari_stenhance.section.outlines import CellOutlines

_COUNTS = re.compile(r"(?:.*[_.\- ])?cell_by_gene\.csv(?:\.gz)?", re.IGNORECASE)
_CELLS = re.compile(r"(?:.*[_.\- ])?cell_metadata\.csv(?:\.gz)?", re.IGNORECASE)
_OUTLINES = re.compile(r"(?:.*[_.\- ])?cell_boundaries\.parquet", re.IGNORECASE)
_TO_PIXELS = "micron_to_mosaic_pixel_transform.csv"
_XY = ("center_x", "center_y")
_IDS = ("Unnamed: 0", "EntityID", "cell_id", "cell")
_HE = re.compile(r"(?:.*[_.\- ])?(?:he|h&e)(?:[_.\- ].*)?", re.IGNORECASE)


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    return [folder / n for n in sorted(names_in(folder)) if pattern.fullmatch(n)]


def _recognise(path: Path) -> bool:
    if path.is_file():
        return bool(_COUNTS.fullmatch(path.name)) and bool(_named(path.parent, _CELLS))
    return bool(_named(path, _COUNTS))


def _open(path: Path) -> SectionFiles:
    import numpy as np

    folder = path.parent if path.is_file() else path
    counts = [path] if path.is_file() else _named(folder, _COUNTS)
    tables = _named(folder, _CELLS)
    for what, files, wanted in (("counts", counts, ""), ("cells", tables, "cell_metadata.csv")):
        if len(files) != 1:
            names = ", ".join(file.name for file in files)
            several = f"several files could be the {what}: {names}; leave only one there"
            lost = f"there is no {wanted} beside the counts, which says where cells lie"
            msg = f"{folder}: {several if files else lost}."
            raise InputError(msg)
    cells, doubts = _read_cells(tables[0])
    um = cells[list(_XY)].to_numpy(np.float64)
    folders = (folder / "images", folder)
    found = next((f / _TO_PIXELS for f in folders if (f / _TO_PIXELS).is_file()), None)
    matrix = np.eye(3) if found is None else _read_matrix(found)
    if found is None:
        said = f"images/{_TO_PIXELS} is missing: positions are micrometres, not pixels of an image."
        doubts = (*doubts, said)

    def to_pixels(at: NDArray[np.float64]) -> NDArray[np.float64]:
        placed: NDArray[np.float64] = at @ matrix[:2, :2].T + matrix[:2, 2]
        return placed

    xy, drawn = to_pixels(um), _named(folder, _OUTLINES)
    images = [
        f / n
        for f in reversed(folders)
        for n in sorted(names_in(f))
        if n.lower().endswith(image_suffixes()) and _HE.fullmatch(n)
    ]
    return SectionFiles(
        name=folder.resolve().name,
        origin=counts[0],
        images=tuple(images),
        xy=xy,
        mpp=None if found is None else 1 / float(np.sqrt(abs(np.linalg.det(matrix[:2, :2])))),
        mpp_source="unknown" if found is None else f"worked out from {_TO_PIXELS}",
        read=partial(_read, counts[0], tables[0], cells, xy),
        doubts=doubts,
        in_um=found is None,
        outlines=None if not drawn else lambda: _read_outlines(drawn[0]).moved(to_pixels),
        without="No H&E was found: give one that was registered to the mosaic images.",
    )


def _read_cells(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    import pandas as pd

    from napari_stenhance.section.tables.frames import (
        check_ids,
        finite_columns,
        read_cell_table,
        with_position,
    )

    with reading(path, "the cells", "export it again"):
        cells = read_cell_table(path, _IDS)
        ids = next((name for name in _IDS if name in cells), None)
        if ids is None:
            msg = f"there is no column of ids, only {', '.join(map(str, cells.columns[:12]))}"
            raise ValueError(msg)
        cells[list(_XY)] = finite_columns(cells, _XY)
        cells = cells.set_axis(pd.Index(cells[ids].astype(str), name=None)).drop(columns=ids)
        check_ids(cells.index)
    return with_position(cells, _XY, path)


def _read_outlines(path: Path) -> CellOutlines:
    """Read polygons by the ids of cells, in µm, on the plane that is nearest to the middle one."""
    import numpy as np
    import shapely

    from napari_stenhance.section.outlines import CellOutlines
    from napari_stenhance.section.tables.parquet import numbers_of, read_columns, texts_of

    with reading(path, "the outlines of cells", "export it again"):
        table = read_columns(path, ("EntityID", "ZIndex", "Geometry"))
        ids: Any = np.asarray(texts_of(table["EntityID"]).to_pylist(), object)
        planes, plane = np.unique(numbers_of(table["ZIndex"]), return_inverse=True)
        drawn = np.asarray(table["Geometry"].to_pylist(), object)
        some = np.flatnonzero(table["Geometry"].is_valid().to_numpy())
        nearest = some[np.argsort(np.abs(plane[some] - len(planes) // 2), kind="stable")]
        _, first = np.unique(ids[nearest].astype(str), return_index=True)
        chosen = nearest[first]
        return CellOutlines.from_shapes(ids[chosen], shapely.from_wkb(drawn[chosen]))


def _read_matrix(path: Path) -> NDArray[np.float64]:
    import numpy as np

    with reading(path, "the transform", "copy it again"):
        words = path.read_text("utf-8-sig")[:4096].replace(",", " ").split()
        matrix = np.array(list(map(float, words)))
        if matrix.size != 9 or not np.isfinite(matrix).all():
            msg = f"it holds {matrix.size} numbers, not 3 × 3"
            raise ValueError(msg)
        matrix = matrix.reshape(3, 3)
        if abs(np.linalg.det(matrix[:2, :2])) < 1e-9 or not np.allclose(matrix[2], (0, 0, 1)):
            msg = "it takes micrometres to a line, or is no matrix that ends in 0, 0, 1"
            raise ValueError(msg)
    return matrix


def _read(
    path: Path, table: Path, cells: pd.DataFrame, xy: NDArray[np.float64]
) -> tuple[ad.AnnData, tuple[str, ...]]:
    import anndata as ad
    import pandas as pd

    from napari_stenhance.section.tables.wide import read_wide_counts

    with reading(path, "the counts", "export it again"):
        wide = read_wide_counts(path, lambda n, name: n == 0)
    (ids,) = wide.ids.values()
    at = cells.index.get_indexer(pd.Index(ids))
    known = at >= 0
    doubts: tuple[str, ...] = ()
    if not known.any():
        msg = (
            f"{path}: none of its cells (such as {', '.join(ids[:2])}) is in {table.name} (such as "
            f"{', '.join(cells.index[:2])}); these files do not belong together."
        )
        raise InputError(msg)
    if not known.all():
        doubts = (lacking(int((~known).sum()), "cell", len(known), "position"),)
    rows = cells.iloc[at[known]]
    spots = ad.AnnData(
        X=wide.counts if known.all() else wide.counts[known],
        obs=rows.drop(columns=list(_XY)),
        var=pd.DataFrame(index=pd.Index(wide.columns)),
        obsm={"spatial": xy[at[known]]},
    )
    return spots, doubts


FORMAT = SectionFormat(
    "a MERSCOPE folder (cell_by_gene.csv, cell_metadata.csv)", _recognise, _open, order=26
)
