"""The main job on real sections, from files to numbers, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.section import open_section

SECTIONS = ("C2", "C3", "C4")
CODE = """
from napari_stenhance.cli import main
from napari_stenhance.running.memory import peak_gb
try:
    main()
except SystemExit as left:
    assert not left.code, left.code
print(peak_gb())
"""


def _run(*arguments: object, cache: Path) -> float:
    """Run a command in a process of its own; return its peak memory in GB."""
    ran = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        env={**os.environ, "STENHANCE_CACHE": str(cache), "GOMP_SPINCOUNT": "0"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return float(ran.stdout.split()[-1])


def _log1p_cp10k(spots: ad.AnnData, genes: list[str]) -> np.ndarray:
    counts = spots.X.toarray()
    scaled = np.log1p(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * 1e4)
    position = spots.var_names.get_indexer(genes)
    return np.where(position >= 0, scaled[:, position], 0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_leave_one_section_out(data: Path, tmp_path: Path) -> None:
    folder = data / "her2st"
    spots = {name: open_section(folder / name).need_spots() for name in SECTIONS}
    scores = {}
    for left_out in SECTIONS:
        training = [name for name in SECTIONS if name != left_out]
        out, table = tmp_path / f"{left_out}.stenhance.zarr", tmp_path / f"{left_out}.h5ad"
        started = time.monotonic()
        peak = _run(
            "enhance", *(folder / name for name in training), "--predict", folder / left_out,
            "--out", out, cache=tmp_path / left_out,
        )  # fmt: skip
        seconds = time.monotonic() - started
        _run("export", out, "--to", "h5ad", "--at-spots", folder / left_out, "--out", table,
             cache=tmp_path / left_out)  # fmt: skip
        predicted = ad.read_h5ad(table)
        genes = list(predicted.var_names)
        assert len(genes) >= 15_000
        assert list(predicted.obs_names) == list(spots[left_out].obs_names)
        learned = np.concatenate([_log1p_cp10k(spots[name], genes) for name in training])
        most = np.argsort(-learned.var(axis=0))[:250]
        measured = _log1p_cp10k(spots[left_out], [genes[n] for n in most])
        r = pearson(predicted.X[:, most], measured)
        scores[left_out] = float(np.nan_to_num(r).mean())
        print(f"{left_out}: r {scores[left_out]:.3f}, {seconds:.0f} s, {peak:.2f} GB")
        assert seconds < 300
        assert peak < 3
    assert min(scores.values()) >= 0.30
    assert np.mean(list(scores.values())) >= 0.35
