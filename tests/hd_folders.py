"""Write small Visium HD runs whose counts and positions are known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from visium_folders import HIRES, Known, picture, write_h5

MPP = 0.5
SHAPE = (900, 1000)


@dataclass
class Bins:
    """What was written of bins under tissue: the matrix lists them in another order."""

    barcodes: list[str]
    array: NDArray[np.int64]
    corner_xy: NDArray[np.float64]
    counts: NDArray[np.int64]


def write_square(folder: Path, size: int = 8, *, raw: bool = False, **factors: float) -> Bins:
    """Write bins of one size: 24 × 30 of 8 µm, turned by a degree; those of the rim off tissue."""
    rows, columns = (24 * 8 // size, 30 * 8 // size)
    row, column = (
        g.ravel() for g in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    )
    side, angle = size / MPP, np.deg2rad(1)
    along, down = (column + 0.5) * side, (row + 0.5) * side
    xy = np.column_stack(
        [
            200 + along * np.cos(angle) - down * np.sin(angle),
            100 + along * np.sin(angle) + down * np.cos(angle),
        ]
    )
    tissue = (row > 0) & (column > 0) & (row < rows - 1) & (column < columns - 1)
    barcodes = np.array(
        [f"s_{size:03d}um_{r:05d}_{c:05d}-1" for r, c in zip(row, column, strict=True)]
    )
    spatial = folder / f"square_{size:03d}um" / "spatial"
    spatial.mkdir(parents=True)
    table = {
        "barcode": barcodes,
        "in_tissue": tissue.astype(np.uint8),
        "array_row": row.astype(np.uint32),
        "array_col": column.astype(np.uint32),
        "pxl_row_in_fullres": xy[:, 1],
        "pxl_col_in_fullres": xy[:, 0],
    }
    pd.DataFrame(table).to_parquet(spatial / "tissue_positions.parquet", index=False)
    stated = {
        "spot_diameter_fullres": side,
        "bin_size_um": float(size),
        "microns_per_pixel": MPP,
        "tissue_hires_scalef": HIRES,
        "tissue_lowres_scalef": HIRES / 4,
        "fiducial_diameter_fullres": 1205.0,
        **factors,
    }
    stated = {key: value for key, value in stated.items() if value}
    (spatial / "scalefactors_json.json").write_text(json.dumps(stated))
    picture(spatial / "tissue_hires_image.png", HIRES, SHAPE)
    rng = np.random.default_rng(size)
    # A few bins count nothing, and so are in no matrix.
    order = rng.permutation(np.flatnonzero(tissue | raw))[5:]
    counts = rng.poisson(1.0, (len(order), 6))
    what = Known([], np.ones(0), np.ones(0), np.ones(0), list(barcodes[order]), counts)
    which = "raw" if raw else "filtered"
    write_h5(spatial.parent / f"{which}_feature_bc_matrix.h5", what)
    under = tissue[order]
    kept = order[under]
    return Bins(list(barcodes[kept]), np.column_stack([row, column])[kept], xy[kept], counts[under])


def write_cells(folder: Path) -> tuple[list[str], NDArray[np.float64], NDArray[np.int64]]:
    """Write twelve segmented cells, one of them without an outline: ids, centres and counts."""
    spatial = folder / "segmented_outputs" / "spatial"
    spatial.mkdir(parents=True)
    factors = {"microns_per_pixel": MPP, "tissue_hires_scalef": HIRES, "tissue_lowres_scalef": 0.06}
    (spatial / "scalefactors_json.json").write_text(json.dumps(factors))
    rng = np.random.default_rng(3)
    corners = rng.integers(100, 800, (12, 2)).astype(float)
    features = []
    for n, (x, y) in enumerate(corners[:11], start=1):
        # Squares of 2 µm, 4 px: an L of three.
        ring = [(0, 0), (8, 0), (8, 4), (4, 4), (4, 8), (0, 8), (0, 0)]
        polygon = {"type": "Polygon", "coordinates": [[[x + dx, y + dy] for dx, dy in ring]]}
        features.append({"type": "Feature", "geometry": polygon, "properties": {"cell_id": n}})
    # Of a square that the matrix does not count, Space Ranger writes a point.
    point = {"type": "Point", "coordinates": [5.0, 6.0]}
    features.append({"type": "Feature", "geometry": point, "properties": {"cell_id": 99}})
    content = {"type": "FeatureCollection", "features": features}
    (spatial.parent / "cell_segmentations.geojson").write_text(json.dumps(content))
    ids = [f"cellid_{n:09d}-1" for n in range(1, 13)]
    counts = rng.poisson(2.0, (12, 6))
    what = Known([], np.ones(0), np.ones(0), np.ones(0), ids, counts)
    write_h5(spatial.parent / "filtered_feature_cell_matrix.h5", what)
    # The centroid of that L.
    return ids[:11], corners[:11] + 10 / 3, counts[:11]


def write_run(folder: Path) -> Bins:
    """Write a run with bins of three sizes and cells; return the bins of 8 µm."""
    binned = folder / "outs" / "binned_outputs"
    for size in (2, 16):
        write_square(binned, size)
    write_cells(folder / "outs")
    (folder / "outs" / "spatial").mkdir()
    picture(folder / "outs" / "spatial" / "tissue_hires_image.png", HIRES, SHAPE)
    return write_square(binned)
