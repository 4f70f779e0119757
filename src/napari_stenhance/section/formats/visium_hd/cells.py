"""The cells that Space Ranger 4 segments: counts by cell, and the outlines that say where they lie.

An outline goes along squares of 2 µm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import agree, counted, lacking, left_out
from napari_stenhance.section.formats.visium_hd.names import CORNER
from napari_stenhance.section.outlines import CellOutlines
from napari_stenhance.section.spots import SpotGeometry, nearest_distance
from napari_stenhance.section.tables.tenx import read_matrix
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad

_FEATURES = re.compile(r'"features"\s*:\s*\[')
_NEXT = re.compile(r"\s*,?\s*")
_ROUND = 4 / np.pi


@dataclass(frozen=True)
class Outlines:
    """Cells by their outlines.

    Attributes
    ----------
    path : Path
    ids : list of str
        Barcodes, as the counts have them.
    xy : ndarray of float64, shape (cells, 2)
        Centroids, in full-resolution pixels.
    area : ndarray of float64, shape (cells,)
        In square pixels.
    drawn : CellOutlines
    """

    path: Path
    ids: list[str]
    xy: NDArray[np.float64]
    area: NDArray[np.float64]
    drawn: CellOutlines


def read_outlines(path: Path) -> tuple[Outlines, tuple[str, ...]]:
    """Read where cells lie.

    Raises
    ------
    InputError
        If it is no such GeoJSON, a cell has two outlines, or there are none.
    """
    import shapely

    with reading(path, "the outlines of cells", "copy the file again"):
        ids, shapes = [], []
        for feature in _features(path.read_text("utf-8-sig")):
            ids.append(_barcode(feature["properties"]["cell_id"]))
            shapes.append(_shape(feature["geometry"]))
        centres = shapely.centroid(shapes)
        xy = np.full((len(ids), 2), np.nan)
        xy[~shapely.is_empty(centres)] = shapely.get_coordinates(centres) - CORNER
        area = shapely.area(shapes)
        drawn = CellOutlines.from_shapes(ids, shapes).moved(lambda xy: xy - CORNER)
    if not ids:
        msg = f"{path}: there are no outlines of cells in it."
        raise InputError(msg)
    if twice := len(ids) - len(set(ids)):
        has = agree(twice, "has", "have")
        msg = f"{path}: {counted(twice, 'cell')} {has} more than one outline; copy it again."
        raise InputError(msg)
    placed = np.isfinite(xy).all(axis=1)
    if placed.all():
        return Outlines(path, ids, xy, area, drawn), ()
    lost = int((~placed).sum())
    doubt = f"{path.name}: {left_out(lost, 'cell', 'without coordinates')}"
    if not placed.any():
        msg = f"{path}: the outlines of cells in it have no coordinates; copy the file again."
        raise InputError(msg)
    kept = [ids[n] for n in np.flatnonzero(placed)]
    return Outlines(path, kept, xy[placed], area[placed], drawn), (doubt,)


def _features(text: str) -> Iterator[dict[str, Any]]:
    """Parse one feature after another: hundreds of megabytes of text are gigabytes of objects."""
    begins = _FEATURES.search(text)
    if begins is None:
        msg = "it holds no features"
        raise ValueError(msg)
    decoder, at = json.JSONDecoder(), begins.end()
    while True:
        at = _NEXT.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] == "]":
            return
        feature, at = decoder.raw_decode(text, at)
        yield feature


def _shape(geometry: Any) -> Any:
    """Return a shape of shapely's; GeoJSON calls what is none null."""
    import shapely

    return shapely.Polygon() if geometry is None else shapely.geometry.shape(geometry)


def _barcode(cell: object) -> str:
    """Name a cell as the counts do."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"cellid_{cell:09d}-1"
    if isinstance(cell, str):
        return cell
    msg = f"a cell_id is {cell!r}"
    raise ValueError(msg)


def geometry_of_cells(outlines: Outlines, mpp: float | None) -> tuple[SpotGeometry, str]:
    """Take cells for discs of their median area, and say so."""
    scale, unit = (1.0, "px") if mpp is None else (mpp, "µm")
    width = float(np.sqrt(np.median(outlines.area) * _ROUND)) * scale
    pitch = nearest_distance(outlines.xy) * scale
    doubt = f"Cells count as discs of {width:.3g} {unit}, their median area, around their centres."
    return SpotGeometry(width, "disc", pitch, "pixel" if mpp is None else "micrometer"), doubt


def read_cells(files: tuple[Path, ...], outlines: Outlines) -> tuple[ad.AnnData, tuple[str, ...]]:
    """Read the counts of cells that have an outline.

    Raises
    ------
    InputError
        If none has.
    """
    import anndata as ad
    import pandas as pd

    matrix = read_matrix(files)
    at = pd.Index(outlines.ids).get_indexer(matrix.barcodes)
    known, doubts = at >= 0, list(matrix.doubts)
    matrix.check_placed(known, outlines.path, outlines.ids[:2])
    counts = matrix.counts
    if not known.all():
        lost = int((~known).sum())
        doubts.append(lacking(lost, "cell", len(known), "outline"))
        counts, at = counts[known], at[known]
    spots = ad.AnnData(
        X=counts,
        obs=pd.DataFrame({"area_px": outlines.area[at]}, index=matrix.barcodes[known]),
        var=matrix.genes,
        obsm={"spatial": outlines.xy[at]},
    )
    return spots, tuple(doubts)
