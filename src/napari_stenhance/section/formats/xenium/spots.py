"""The cells of a Xenium bundle, or bins of its transcripts, placed on the H&E if there is one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.running.numbers import lacking
from napari_stenhance.section.formats.format import SectionFiles
from napari_stenhance.section.formats.xenium.alignment import (
    HePlace,
    check_direction,
    find_he,
    he_place,
)
from napari_stenhance.section.formats.xenium.bundle import (
    TRANSCRIPTS,
    counts_of_cells,
    home_of,
    outlines_of_cells,
    pixel_size,
    root_of_xenium,
    table_of_cells,
)
from napari_stenhance.section.formats.xenium.outlines import read_corners
from napari_stenhance.section.formats.xenium.transcripts import BIN_UM, read_transcripts
from napari_stenhance.section.tables.frames import (
    check_ids,
    finite_columns,
    read_cell_table,
    with_position,
)
from napari_stenhance.section.tables.tenx import read_matrix
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

_ID, _XY = "cell_id", ("x_centroid", "y_centroid")
_ROUND = 4 / np.pi


def open_xenium(path: Path) -> SectionFiles:
    """Find cells, or transcripts where their file is given, and the H&E.

    Raises
    ------
    InputError
        If a part is missing, or cannot be used.
    """
    root = root_of_xenium(path) or path
    home = home_of(root)
    he, without = find_he(root, home)
    return _on(he, without, root, transcripts=path.name == TRANSCRIPTS)


def _on(he: HePlace | None, without: str, root: Path, *, transcripts: bool) -> SectionFiles:
    """Place a bundle on an H&E, else on its morphology image."""
    size, said = pixel_size(root)
    origin = root / TRANSCRIPTS if transcripts else counts_of_cells(root)[0]
    path = table_of_cells(root)
    cells, doubts = _read_cells(path)
    xy = cells[list(_XY)].to_numpy(np.float64) / size
    scale, source = size, said
    if he is not None:
        if he.said_by:
            check_direction(he, xy)
            source = f"worked out from {he.said_by}"
        else:
            aligned = f"{he.image.name} has no alignment beside it, and is taken to lie on the "
            doubts = (
                *doubts,
                f"{aligned}morphology image as it is: look whether cells lie on tissue.",
            )
        scale = size * he.pixel
    place: Any = he.place if he is not None else np.asarray
    drawn = outlines_of_cells(root)
    read = (
        partial(read_transcripts, origin, lambda um: place(um / size))
        if transcripts
        else partial(_read, counts_of_cells(root), path, cells, place(xy))
    )
    return SectionFiles(
        name=f"{home_of(root).name}-{BIN_UM:g}um" if transcripts else home_of(root).name,
        origin=origin,
        images=() if he is None else (he.image,),
        xy=place(xy),
        mpp=scale,
        mpp_source=source,
        read=read,
        doubts=doubts,
        without=without,
        on_image=lambda image: _on(he_place(image), "", root, transcripts=transcripts),
        outlines=None
        if transcripts or drawn is None
        else lambda: read_corners(drawn).moved(lambda um: place(um / size)),
    )


def _read_cells(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the table of cells by their ids; those without a position are left out."""
    with reading(path, "the cells", "copy the bundle again"):
        cells = read_cell_table(path, (_ID,))
        if _ID not in cells:
            msg = f"there is no column {_ID}, only {', '.join(map(str, cells.columns[:12]))}"
            raise ValueError(msg)
        xy = finite_columns(cells, _XY)
        cells[list(_XY)] = xy
        cells = cells.set_index(_ID)
        check_ids(cells.index)
    return with_position(cells, _XY, path)


def _read(
    files: tuple[Path, ...], path: Path, cells: pd.DataFrame, xy: NDArray[np.float64]
) -> tuple[ad.AnnData, tuple[str, ...]]:
    import anndata as ad

    matrix = read_matrix(files)
    at = cells.index.get_indexer(matrix.barcodes)
    known, doubts = at >= 0, list(matrix.doubts)
    matrix.check_placed(known, path, cells.index[:2])
    counts = matrix.counts
    if not known.all():
        lost = int((~known).sum())
        doubts.append(lacking(lost, "cell", len(known), "position"))
        counts, at = counts[known], at[known]
    table = cells.iloc[at]
    width = 0.0
    if "cell_area" in table:
        # As wide as a disc of the median cell's area.
        with reading(path, "cell_area", "copy the bundle again"):
            area = finite_columns(table, ("cell_area",))
        area = area[(area > 0) & np.isfinite(area)]
        width = float(np.sqrt(np.median(area) * _ROUND)) if len(area) else 0.0
    spots = ad.AnnData(
        X=counts,
        obs=table.drop(columns=list(_XY)),
        var=matrix.genes,
        obsm={"spatial": xy[at]},
        uns={"spot_diameter_um": width} if width else {},
    )
    return spots, tuple(doubts)
