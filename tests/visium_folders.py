"""Write small Space Ranger folders whose counts and positions are known."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from made_sections import write_image
from napari_stenhance.section.section import Section

if TYPE_CHECKING:
    pass

PITCH = 40.0
"""Of the synthetic lattice, in full-resolution pixels: 2.5 µm per pixel."""
SHAPE = (520, 600)
HIRES = 0.25
HEADER = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"
FEATURES = (
    ("ENSG01", "ACTB", "Gene Expression"),
    ("ENSG02", "TBCE", "Gene Expression"),
    ("ENSG03", "IFN&#956;", "Gene Expression"),
    ("ENSG04", "TBCE", "Gene Expression"),
    ("ENSG05", "KRT8", "Gene Expression"),
    ("CD3", "CD3", "Antibody Capture"),
)
NAMES = ["ACTB", "TBCE-ENSG02", "IFNμ", "TBCE-ENSG04", "KRT8"]


@dataclass
class Known:
    """What is written: positions of all spots in layout order, counts in another order."""

    barcodes: list[str]
    in_tissue: NDArray[np.int64]
    array: NDArray[np.int64]
    xy: NDArray[np.float64]
    counted: list[str]
    counts: NDArray[np.int64]

    def rows(self) -> list[int]:
        return [self.barcodes.index(b) for b in self.counted]


def known(
    *,
    turn: float = 0.0,
    mirror: bool = False,
    shift: tuple[float, float] = (60, 50),
    group: int = 1,
) -> Known:
    """Lay out 12 × 10 spots, 68 of them under tissue; the matrix lists them by barcode."""
    rng = np.random.default_rng(group)
    row, column = (g.ravel() for g in np.meshgrid(np.arange(12), np.arange(20), indexing="ij"))
    even = (row + column) % 2 == 0
    row, column = row[even], column[even]
    xy = np.column_stack([column / 2, row * np.sqrt(3) / 2]) * PITCH
    xy[:, 0] *= -1 if mirror else 1
    angle = np.deg2rad(turn)
    xy = xy @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + shift
    letters = rng.choice(list("ACGT"), (len(row), 16))
    barcodes = ["".join(word) + f"-{group}" for word in letters]
    in_tissue = ((row > 1) & (row < 10) & (column > 2)).astype(np.int64)
    counted = sorted(b for b, inside in zip(barcodes, in_tissue, strict=True) if inside)
    counts = rng.poisson(1.5, (len(counted), len(FEATURES)))
    return Known(barcodes, in_tissue, np.column_stack([row, column]), xy, counted, counts)


def write_h5(path: Path, what: Known, *, legacy: bool = False, features: Any = FEATURES) -> None:
    counts = sp.csr_matrix(what.counts[:, : len(features)])
    with h5py.File(path, "w") as file:
        group = file.create_group("GRCh38" if legacy else "matrix")
        group["barcodes"] = np.array(what.counted, dtype="S")
        group["data"] = counts.data.astype(np.int32)
        group["indices"] = counts.indices.astype(np.int64)
        group["indptr"] = counts.indptr.astype(np.int64)
        group["shape"] = np.array(counts.shape[::-1], np.int32)
        ids, names, kinds = (np.array(column, dtype="S") for column in zip(*features, strict=True))
        if legacy:
            group["genes"], group["gene_names"] = ids, names
        else:
            file.attrs["filetype"], file.attrs["version"] = "matrix", 2
            group["features/id"], group["features/name"] = ids, names
            group["features/feature_type"] = kinds
            group["features/_all_tag_keys"] = np.array(["genome"], dtype="S")


def write_mex(folder: Path, what: Known, *, prefix: str = "", gz: bool = True) -> None:
    """Write the three files of today, or (plain, two columns) those of old."""
    folder.mkdir(exist_ok=True)
    features = FEATURES if gz else FEATURES[:5]
    features = [(i, n.replace("&#956;", "μ"), k) for i, n, k in features]
    counts = sp.coo_matrix(what.counts[:, : len(features)].T)
    lines = ["%%MatrixMarket matrix coordinate integer general", '%metadata_json: {"x": 2}']
    lines.append(f"{counts.shape[0]} {counts.shape[1]} {counts.nnz}")
    lines += [
        f"{r + 1} {c + 1} {v}" for r, c, v in zip(counts.row, counts.col, counts.data, strict=True)
    ]
    named = {
        "matrix.mtx": "\n".join(lines),
        "barcodes.tsv": "\n".join(what.counted),
        "features.tsv" if gz else "genes.tsv": "\n".join(
            "\t".join(f if gz else f[:2]) for f in features
        ),
    }
    for name, text in named.items():
        write_text(folder / f"{prefix}{name}{'.gz' if gz else ''}", text + "\n")


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_positions(path: Path, *whats: Known, header: bool = True) -> None:
    lines = [HEADER] if header else []
    for what in whats:
        lines += [
            f"{b},{t},{r},{c},{float(y)!r},{float(x)!r}"
            for b, t, (r, c), (x, y) in zip(
                what.barcodes, what.in_tissue, what.array, what.xy, strict=True
            )
        ]
    write_text(path, "\n".join(lines) + "\n")


def write_factors(path: Path, **more: Any) -> None:
    # 65 µm for a spot of 55: the trap.
    factors = {
        "spot_diameter_fullres": 0.65 * PITCH,
        "fiducial_diameter_fullres": 1.05 * PITCH,
        "tissue_hires_scalef": HIRES,
        "tissue_lowres_scalef": HIRES / 4,
    }
    write_text(path, json.dumps({**factors, **more}))


def picture(path: Path, factor: float = 1.0, shape: tuple[int, int] = SHAPE) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    height, width = (round(n * factor) for n in shape)
    return write_image(path, np.full((height, width, 3), 230, np.uint8))


def write_outs(outs: Path, what: Known, *, header: bool = True, **more: Any) -> Path:
    """Write what Space Ranger 3 does, less what nobody reads."""
    outs.mkdir(parents=True, exist_ok=True)
    name = "tissue_positions.csv" if header else "tissue_positions_list.csv"
    write_positions(outs / "spatial" / name, what, header=header)
    write_factors(outs / "spatial" / "scalefactors_json.json", **more)
    write_h5(outs / "filtered_feature_bc_matrix.h5", what)
    picture(outs / "spatial" / "tissue_hires_image.png", HIRES)
    return outs


def check(section: Section, what: Known, names: list[str] = NAMES) -> None:
    """Compare a section with what was written, exactly."""
    spots, rows = section.need_spots(), what.rows()
    assert list(spots.obs_names) == what.counted
    assert list(spots.var_names) == names
    assert list(spots.var["gene_id"]) == [f[0] for f in FEATURES[:5]]
    np.testing.assert_array_equal(spots.X.toarray(), what.counts[:, :5])
    np.testing.assert_array_equal(spots.obsm["spatial"], what.xy[rows])
    assert spots.obsm["spatial"].dtype == np.float64
    for n, key in enumerate(("array_row", "array_col")):
        np.testing.assert_array_equal(spots.obs[key], what.array[rows, n])
    assert (spots.obs["in_tissue"] == 1).all()
    assert section.mpp == pytest.approx(100 / PITCH, rel=1e-9)
    assert any("inferred from the Visium lattice: 40.0 px" in d for d in section.doubts)
    assert spots.uns["stenhance"] == {
        "spot_diameter_um": 55.0,
        "spot_shape": "disc",
        "pitch_um": 100.0,
        "unit": "micrometer",
    }
