"""Write small Xenium bundles of every version whose cells, counts and transcripts are known."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from visium_folders import Known, picture, write_h5

PIXEL = 0.2125
HE_SHAPE = (400, 500)
FEATURES = (
    ("ENSG01", "ACTB", "Gene Expression"),
    ("ENSG02", "EPCAM", "Gene Expression"),
    ("NegControlProbe_1", "NegControlProbe_1", "Negative Control Probe"),
    ("BLANK_7", "BLANK_7", "Unassigned Codeword"),
)
# H&E px to morphology px: turned by 90°, mirrored, and 1.6 times as fine.
TURN = np.array([[0.0, 1.6, 40.0], [1.6, 0.0, 25.0], [0.0, 0.0, 1.0]])

# The outline of every cell, in µm around it.
SQUARE = np.array([(-2, -1), (2, -1), (2, 1), (-2, 1), (-2, -1)])


@dataclass
class Cells:
    """What was written of cells."""

    ids: list[str]
    um: NDArray[np.float64]
    counts: NDArray[np.int64]

    def he_xy(self, matrix: NDArray[np.float64] = TURN) -> NDArray[np.float64]:
        morphology = np.column_stack([self.um / PIXEL, np.ones(len(self.um))])
        return (morphology @ np.linalg.inv(matrix).T)[:, :2]


def write_bundle(folder: Path, version: int = 3, *, he: bool = True) -> Cells:
    """Write what Xenium Onboard Analysis does, less what nobody reads."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(version)
    number = 30
    he_px = np.column_stack([rng.uniform(5, 495, number), rng.uniform(5, 395, number)])
    um = (np.column_stack([he_px, np.ones(number)]) @ TURN.T)[:, :2] * PIXEL
    letters = rng.choice(list("abcdefghijklmnop"), (number, 8))
    ids = ["".join(word) + "-1" for word in letters]
    if version == 1:
        ids = [str(n + 1) for n in range(number)]
    cells = Cells(ids, um, rng.poisson(2.0, (number, len(FEATURES))))
    table = pd.DataFrame(
        {
            "cell_id": [int(i) for i in ids] if version == 1 else ids,
            "x_centroid": um[:, 0],
            "y_centroid": um[:, 1],
            "transcript_counts": cells.counts[:, :2].sum(axis=1),
            "cell_area": np.full(number, 50.0),
            "nucleus_area": np.where(np.arange(number) % 5, 20.0, np.nan),
        }
    )
    manifest = {"major_version": version, "analysis_sw_version": f"xenium-{version}.0.0"}
    if version > 1:
        table["segmentation_method"] = "Segmented by nucleus expansion of 5.0µm"
        manifest["pixel_size"] = PIXEL
    if version == 1:
        text = table.to_csv(index=False).encode()
        (folder / "cells.csv.gz").write_bytes(gzip.compress(text, mtime=0))
    else:
        if version == 2:
            table["cell_id"] = [i.encode() for i in ids]
        table.to_parquet(folder / "cells.parquet", index=False)
    (folder / "experiment.xenium").write_text(json.dumps(manifest))
    what = Known([], np.ones(0), np.ones(0), np.ones(0), ids, cells.counts)
    write_h5(folder / "cell_feature_matrix.h5", what, features=FEATURES)
    (folder / "morphology_focus").mkdir(exist_ok=True)
    if he:
        picture(folder / "S1_he_image.ome.tif", shape=HE_SHAPE)
        lines = [",".join(map(repr, map(float, row))) for row in TURN]
        (folder / "S1_he_imagealignment.csv").write_text("\n".join(lines) + "\n")
    return cells


def write_boundaries(folder: Path, cells: Cells, version: int = 3) -> pd.DataFrame:
    """Write the corners of cells in another order: the first has two, the last two polygons."""
    order = [*range(len(cells.ids) - 1, 0, -1), len(cells.ids) - 1, 0]
    um = np.concatenate([cells.um[n] + SQUARE for n in order[:-2]] + [SQUARE[:4], SQUARE[:2]])
    table = pd.DataFrame({"vertex_x": um[:, 0], "vertex_y": um[:, 1]})
    number = [5] * (len(order) - 2) + [4, 2]
    table.insert(0, "cell_id", np.array(cells.ids)[np.repeat(order, number)])
    if version > 1:
        table["label_id"] = np.repeat(np.arange(1, len(order) + 1), number)
        table.to_parquet(folder / "cell_boundaries.parquet", index=False)
    else:
        text = table.to_csv(index=False).encode()
        (folder / "cell_boundaries.csv.gz").write_bytes(gzip.compress(text, mtime=0))
    return table


def write_transcripts(folder: Path, kind: str) -> dict[tuple[int, int, str], int]:
    """Write transcripts; return the counts of (row, column, gene) at 8 µm."""
    rng = np.random.default_rng(5)
    number = 400
    names = rng.choice(
        ["ACTB", "EPCAM", "NegControlProbe_1", "BLANK_7"], number, p=[0.5, 0.3, 0.1, 0.1]
    )
    xy = rng.uniform(0, 40, (number, 2)).astype(np.float32)
    xy[:3] = [(8.0, 0.0), (7.99, 16.0), (0.0, 0.0)]
    quality = rng.choice([5.0, 19.99, 20.0, 40.0], number).astype(np.float32)
    gene = np.isin(names, ["ACTB", "EPCAM"])
    table = pd.DataFrame(
        {"transcript_id": np.arange(number, dtype=np.uint64), "feature_name": names}
    )
    table["x_location"], table["y_location"], table["qv"] = xy[:, 0], xy[:, 1], quality
    if kind == "bytes":
        table["feature_name"] = [name.encode() for name in names]
    elif kind == "categories":
        table["feature_name"] = table["feature_name"].astype("category")
        table["is_gene"] = gene
    elif kind == "codewords":
        table["codeword_category"] = np.where(gene, "predesigned_gene", "negative_control_probe")
    table.to_parquet(folder / "transcripts.parquet", index=False, row_group_size=150)
    counted: dict[tuple[int, int, str], int] = {}
    for name, (x, y), good in zip(names, xy, (quality >= 20) & gene, strict=True):
        if good:
            key = (int(y // 8), int(x // 8), str(name))
            counted[key] = counted.get(key, 0) + 1
    return counted
