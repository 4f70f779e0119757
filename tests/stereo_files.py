"""Write small GEF and GEM files whose molecules are known."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

GENES = (("ENSG01", "ACTB"), ("ENSG02", "EPCAM"), ("ENSG03", "KRT8"))
CHIP = "SS200000135TL_D1"


def molecules(size: int = 1) -> NDArray[np.int64]:
    """Lay out 500 molecules: x and y in spots of the chip, gene, count."""
    rng = np.random.default_rng(7)
    x, y = rng.integers(0, 120, 500), rng.integers(0, 90, 500)
    return np.column_stack([x, y, rng.integers(0, 3, 500), rng.integers(1, 4, 500)]).astype(
        np.int64
    )


def binned(size: int) -> dict[tuple[str, str], int]:
    """Count by hand: (id of the bin, gene) → molecules."""
    counted: Counter[tuple[str, str]] = Counter()
    for x, y, gene, count in molecules().tolist():
        counted[f"{x // size * size}_{y // size * size}", GENES[gene][1]] += count
    return dict(counted)


def write_gef(
    path: Path, sizes: tuple[int, ...] = (1, 50), *, old: bool = False, nm: int = 500
) -> None:
    """Write bins: each gene's molecules follow those of the one before."""
    with h5py.File(path, "w") as file:
        file.attrs["version"] = np.array([2 if old else 4], np.uint32)
        file.attrs["bin_type"] = "Bin"
        for size in sizes:
            table: Counter[tuple[int, int, int]] = Counter()
            for x, y, gene, count in molecules().tolist():
                table[gene, y // size * size, x // size * size] += count
            rows = sorted((*key, count) for key, count in table.items())
            expression = np.zeros(len(rows), [("x", "<i4"), ("y", "<i4"), ("count", "<u2")])
            expression["x"], expression["y"] = [r[2] for r in rows], [r[1] for r in rows]
            expression["count"] = [r[3] for r in rows]
            number = np.array([sum(r[0] == g for r in rows) for g in range(3)])
            group = file.create_group(f"geneExp/bin{size}")
            group["expression"] = expression
            limits = {"minX": 300, "minY": 200, "maxX": 420, "maxY": 290, "resolution": nm}
            for name, value in limits.items():
                group["expression"].attrs[name] = np.array([value], np.uint32)
            group["gene"] = _genes(number, old=old)


def _genes(number: NDArray[np.int64], *, old: bool) -> NDArray[Any]:
    names = [("gene", "S32")] if old else [("geneID", "S64"), ("geneName", "S64")]
    genes = np.zeros(3, [*names, ("offset", "<u4"), ("count", "<u4")])
    genes["offset"], genes["count"] = np.cumsum(number) - number, number
    for at, name in enumerate(("gene",) if old else ("geneID", "geneName")):
        genes[name] = [gene[1 if old else at].encode() for gene in GENES]
    return genes


def write_cells(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Write five cells; return their centres and counts."""
    counts = np.array([[1, 0, 2], [0, 0, 0], [5, 1, 0], [0, 300, 0], [1, 1, 1]])
    xy = np.array([[10, 5], [30, 8], [50, 40], [70, 60], [12, 80]])
    with h5py.File(path, "w") as file:
        file.attrs["resolution"] = np.array([500], np.uint32)
        file.attrs["offsetX"], file.attrs["offsetY"] = np.array([0]), np.array([0])
        cell = np.zeros(
            5,
            [
                *(("id", "<u4"), ("x", "<i4"), ("y", "<i4"), ("offset", "<u4")),
                *(("geneCount", "<u2"), ("expCount", "<u2"), ("dnbCount", "<u2"), ("area", "<u2")),
            ],
        )
        number = (counts > 0).sum(axis=1)
        cell["id"], cell["x"], cell["y"] = np.arange(101, 106), xy[:, 0], xy[:, 1]
        cell["offset"], cell["geneCount"] = np.cumsum(number) - number, number
        cell["area"] = [100, 200, 200, 200, 400]
        row, gene = np.nonzero(counts)
        molecule = np.zeros(len(row), [("geneID", "<u4"), ("count", "<u2")])
        molecule["geneID"], molecule["count"] = gene, counts[row, gene]
        file["cellBin/cell"], file["cellBin/cellExp"] = cell, molecule
        file["cellBin/gene"] = _genes((counts > 0).sum(axis=0), old=False)
    return xy, counts


def write_gem(path: Path, kind: str = "0.2") -> None:
    """Write text: today's columns, those of old, or those of public files without a head."""
    lines, head = [], "geneID\tgeneName\tx\ty\tMIDCount\tExonCount"
    if kind != "public":
        lines += [f"#FileFormat=GEMv{kind}", "#BinSize=1", "#OffsetX=300", "#OffsetY=200"]
    if kind != "0.2":
        head = "geneID\tx\ty\tMIDCounts"
    lines.append(head)
    for x, y, gene, count in molecules().tolist():
        names = GENES[gene] if kind == "0.2" else GENES[gene][1:]
        more = [1] if kind == "0.2" else []
        lines.append("\t".join(map(str, (*names, x, y, count, *more))))
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
