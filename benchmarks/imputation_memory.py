"""`impute` of 20,000 and 500,000 cells: time and peak memory, a process each.

300 genes are measured; the reference has 20,000 cells and 3,000 genes, of which 200 are imputed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

SIZES = (20_000, 500_000)
_ONE = """
import sys, time
import anndata as ad, numpy as np, pandas as pd, scipy.sparse as sp
import napari_stenhance as st
from napari_stenhance.running.memory import peak_gb

n, out = int(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(0)
types, genes, measured, cells = 12, 3_000, 300, 20_000
profile = rng.gamma(0.5, 1, genes) * np.exp(rng.normal(0, 1, (types, genes)))
profile /= profile.sum(axis=1, keepdims=True)


def counted(kinds, depth, genes):
    parts = np.array_split(kinds, max(len(kinds) // 5_000, 1))
    drawn = (rng.poisson(profile[some, :genes] * depth).astype(np.float32) for some in parts)
    return sp.csr_matrix(sp.vstack([sp.csr_matrix(part) for part in drawn]))


def table(counts, names):
    obs = pd.DataFrame(index=[f"{names}{n}" for n in range(counts.shape[0])])
    return ad.AnnData(counts, obs, pd.DataFrame(index=[f"G{n}" for n in range(counts.shape[1])]))


reference = table(counted(rng.integers(0, types, cells), 3_000, genes), "c")
side = round(n**0.5)
xy = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) * 10.0
xy += rng.normal(0, 2, xy.shape)
region = (np.sin(xy[:, 0] / 400) * 2 + np.cos(xy[:, 1] / 300) * 2 + 4).astype(int)
kinds = np.where(rng.random(len(xy)) < 0.7, region, rng.integers(0, types, len(xy)))
spots = table(counted(kinds, 2_000, measured), "s")
spots.obsm["spatial"] = xy
made = peak_gb()
started, worked = time.perf_counter(), time.process_time()
st.impute(spots, reference, out=out, genes=[f"G{n}" for n in range(measured, measured + 200)])
print(time.perf_counter() - started, time.process_time() - worked, peak_gb(), made)
"""


def main() -> None:
    print("| cells | s | of processor time | peak memory, GB | of it before the call, GB |")
    print("|---|---|---|---|---|", flush=True)
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-c", _ONE, str(size), f"{folder}/r.stenhance.zarr"],
                check=True,
                capture_output=True,
                text=True,
            )
        seconds, worked, peak, before = map(float, done.stdout.split()[-4:])
        row = f"{size:,} | {seconds:.0f} | {worked:.0f} | {peak:.2f} | {before:.2f}"
        print(f"| {row} |", flush=True)


if __name__ == "__main__":
    main()
