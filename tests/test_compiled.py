"""Loops are compiled once on a machine, not once in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENHANCE = """
import sys
from numba.core import event

compiled = []

class Listener(event.Listener):
    def on_start(self, e):
        compiled.append(e.data["dispatcher"].py_func.__qualname__)
    def on_end(self, e):
        pass

event.register("numba:compile", Listener())
import napari_stenhance as st

st.enhance(sys.argv[1], out=sys.argv[2], epochs=1, genes=["G0", "G20"], device="cpu")
print(*compiled)
"""


@pytest.mark.slow
def test_a_second_run_compiles_nothing(small_files: list[Path], tmp_path: Path) -> None:
    found = []
    for number in range(2):
        ran = subprocess.run(
            [sys.executable, "-c", ENHANCE, small_files[0], tmp_path / f"{number}.stenhance.zarr"],
            env={
                **os.environ,
                "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
                "STENHANCE_CACHE": str(tmp_path / f"cache{number}"),
            },
            check=True,
            capture_output=True,
            text=True,
        )
        found.append(ran.stdout.split())
    assert "average" in found[0]
    assert found[1] == []
