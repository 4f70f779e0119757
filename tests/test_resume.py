"""Kill `enhance` without mercy, run it again, and compare every byte."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from test_cli import files_of

MAIN = "from napari_stenhance.cli import main; main()"


def _start(arguments: Sequence[object], cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        env={**os.environ, "STENHANCE_CACHE": str(cache), "COLUMNS": "400"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(arguments: Sequence[object], cache: Path) -> float:
    started = time.monotonic()
    process = _start(arguments, cache)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return time.monotonic() - started


def _tiles(out: Path) -> Counter[tuple[int, ...]]:
    log = (out / "files" / "log.jsonl").read_text("utf-8").splitlines()
    lines = [json.loads(line) for line in log]
    return Counter(tuple(line["index"]) for line in lines if line["event"] == "tile")


def _assert_same(whole: Path, killed: Path, *, tiles: int) -> None:
    expected, found = files_of(whole), files_of(killed)
    assert expected.keys() == found.keys()
    assert [name for name in expected if expected[name] != found[name]] == []
    # A kill may come between a tile and its line in the log; no tile is computed twice.
    assert max(_tiles(killed).values()) == 1
    assert len(_tiles(whole)) == tiles


@pytest.mark.timeout(900)
def test_killed_in_every_stage(section_files: list[Path], tmp_path: Path) -> None:
    # At twice the scale the slide is four tiles.
    command = ("enhance", section_files[0], "--predict", section_files[1], "--mpp", "1.6",
               "--device", "cpu", "--epochs", "5", "--write", "G2", "--out")  # fmt: skip
    _finish((*command, tmp_path / "whole"), tmp_path / "cache")
    out, cache = tmp_path / "killed", tmp_path / "cache2"
    draw = random.Random(0)
    for stage in ("Building", "Sampling", "Training", "Predicting", "Writing"):
        process = _start((*command, out), cache)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(stage):
                break
        time.sleep(draw.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    _finish((*command, out), cache)
    _assert_same(tmp_path / "whole", out, tiles=4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_random_moments_on_real_sections(data: Path, tmp_path: Path) -> None:
    folder = data / "her2st"
    command = ("enhance", folder / "C2", folder / "C3", "--predict", folder / "C4",
               "--device", "cpu", "--write", "ERBB2", "--out")  # fmt: skip
    seconds = _finish((*command, tmp_path / "whole"), tmp_path / "cache")
    out, cache = tmp_path / "killed", tmp_path / "cache2"
    draw = random.Random(1)
    for _ in range(5):
        process = _start((*command, out), cache)
        time.sleep(draw.uniform(0.1, 1) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    _finish((*command, out), cache)
    _assert_same(tmp_path / "whole", out, tiles=16)
