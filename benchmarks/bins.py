"""The whole way with 660,000 bins of 8 µm × 18,000 genes: opening, `enhance`, how true it is.

A phantom of 9.2 mm, of which as much is measured as 6.5 × 6.5 mm, as a Visium HD folder. Baseline
of time and memory: reading its counts with h5py. Baselines of truth: the counts of the bins, of
16 µm, and smoothed by a Gaussian of the width that is best.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import ndimage

import napari_stenhance as st
from napari_stenhance.phantoms.write import write_phantom
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.section import Section, open_section

_MM, _GENES, _JUDGED = 9.2, 18_000, 300
_WIDTHS_UM = (8, 12, 16, 24, 32, 48, 64, 96)
_READ = """
import sys, h5py
with h5py.File(sys.argv[1]) as file:
    parts = [file["matrix"][name][...] for name in ("data", "indices", "indptr")]
"""
_OPEN = """
import sys
from napari.components import ViewerModel
from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.opening import open_at_once
from napari_stenhance.plugin.session import session_of
from pathlib import Path
layers = open_layers(Path(sys.argv[1]), image=Path(sys.argv[2]))[0]
viewer = ViewerModel()
open_at_once(session_of(viewer), layers)
"""
_ENHANCE = """
import sys
import napari_stenhance as st
st.enhance(sys.argv[1], image=sys.argv[2], out=sys.argv[3])
"""
_PEAK = "\nfrom napari_stenhance.running.memory import peak_gb\nprint(peak_gb())\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        phantom = write_phantom(folder / "phantom", _MM, 0, genes=_GENES)
        measure(phantom, folder / "result.stenhance.zarr")


def measure(phantom: st.Phantom, out: Path) -> None:
    """Print both tables."""
    hd, slide = phantom.folder / "visium_hd", phantom.folder / "he.tif"
    matrix = hd / "binned_outputs" / "square_008um" / "filtered_feature_bc_matrix.h5"
    print("| | time, s | ÷ reading | peak memory, GB |\n|---|---|---|---|")
    first = 0.0
    for what, code, arguments in (
        ("reading the counts with h5py", _READ, (matrix,)),
        ("opened in a viewer", _OPEN, (hd, slide)),
        ("enhanced", _ENHANCE, (hd, slide, out)),
    ):
        seconds, peak = _timed(code, *arguments)
        first = first or seconds
        print(f"| {what} | {seconds:.0f} | {seconds / first:.1f} | {peak:.2f} |", flush=True)
    print("\n| r with the truth, of 300 genes | median | 10th percentile |\n|---|---|---|")
    for what, r in judged(phantom, open_section(hd, image=slide), out).items():
        print(f"| {what} | {np.nanmedian(r):.3f} | {np.nanquantile(r, 0.1):.3f} |", flush=True)


def _timed(code: str, *arguments: Path) -> tuple[float, float]:
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", code + _PEAK, *map(str, arguments)],
        env={**os.environ, "STENHANCE_CACHE": str(arguments[-1].parent / "cache")},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return time.monotonic() - started, float(ran.stdout.split()[-1])


def judged(phantom: st.Phantom, section: Section, out: Path) -> dict[str, NDArray[np.float64]]:
    """Return r of each of some genes over the bins, of what was predicted and of each baseline."""
    spots = section.need_spots()
    genes = np.sort(np.random.default_rng(0).choice(spots.n_vars, _JUDGED, replace=False))
    at = spots.obs[["array_row", "array_col"]].to_numpy().T
    names = list(spots.var_names[genes])
    counts, library = sp.csc_array(spots.X), np.asarray(spots.X.sum(axis=1)).ravel()
    result = ResultFolder.open(out)
    field = FieldRun(result, result.latest_run()).field
    latent = np.asarray(field.latent[0][...])[tuple(at)]
    predicted = np.isfinite(latent).all(axis=1)

    def raster(values: NDArray[np.floating]) -> NDArray[np.float32]:
        pixels = np.zeros(phantom.domain.shape, np.float32)
        pixels[tuple(at)] = values
        return pixels

    def smooth(values: NDArray[np.floating], um: float) -> NDArray[np.float32]:
        return ndimage.gaussian_filter(raster(values), um / phantom.pitch_um)[tuple(at)]

    def binned(values: NDArray[np.floating]) -> NDArray[np.float64]:
        block = at[0] // 2 * phantom.domain.shape[1] + at[1] // 2
        return np.bincount(block, values)[block]

    ways = {"the bins' own counts": lambda v: v, "bins of 16 µm": binned}
    ways |= {f"smoothed, σ = {um} µm": (lambda v, um=um: smooth(v, um)) for um in _WIDTHS_UM}
    libraries = {name: np.maximum(way(library), 1e-9) for name, way in ways.items()}
    r: dict[str, list[float]] = {name: [] for name in ("enhanced", *ways)}
    for name, gene in zip(names, genes, strict=True):
        truth = phantom.expression([name])[0][tuple(at)][predicted, None]
        values = field.decoder.values(latent[predicted], field.decoder.index_of(name))
        r["enhanced"] += pearson(values[:, None], truth).tolist()
        column = counts[:, [gene]].toarray().ravel()
        for way, of in ways.items():
            guess = np.log1p(1e4 * of(column) / libraries[way])
            r[way] += pearson(guess[predicted, None], truth).tolist()
    found = {name: np.array(values) for name, values in r.items()}
    best = max(list(ways)[2:], key=lambda way: float(np.nanmedian(found[way])))
    each = np.nanmax([found[way] for way in list(ways)[2:]], axis=0)
    kept = ("enhanced", "the bins' own counts", "bins of 16 µm", best)
    return {way: found[way] for way in kept} | {"smoothed, each gene by its best width": each}


if __name__ == "__main__":
    main()
