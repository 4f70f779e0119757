"""Kill `enhance` without mercy, run it again, and compare every byte."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from forked import COMMAND, Program
from test_cli import files_of


def _start(arguments: Sequence[object], folder: Path) -> Program:
    """Start a command whose result and cache come into a folder; beside it, its words."""
    folder.mkdir(exist_ok=True)
    caches = {"STENHANCE_CACHE": str(folder / "cache")}
    given = (*arguments, "--out", folder / "r")
    return Program(COMMAND, *given, words=folder, environment=caches)


def _finish(arguments: Sequence[object], folder: Path) -> float:
    started = time.monotonic()
    program = _start(arguments, folder)
    assert program.wait() == 0, program.stderr
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
def test_killed_in_every_stage(long: Path, small: Path, tmp_path: Path) -> None:
    command = ("enhance", small / "one.h5ad", "--predict", long,
               "--device", "cpu", "--epochs", "2", "--write", "G2")  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _finish(command, whole)
    draw = random.Random(0)
    for stage in ("Building", "Reading", "Training", "Predicting", "Writing"):
        with _start(command, killed) as program:
            program.wait_until_said(f"\n{stage}")
            time.sleep(draw.uniform(0, 0.5))
    _finish(command, killed)
    _assert_same(whole / "r", killed / "r", tiles=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_random_moments_on_real_sections(data: Path, tmp_path: Path) -> None:
    sections = data / "her2st"
    command = ("enhance", sections / "C2", sections / "C3", "--predict", sections / "C4",
               "--device", "cpu", "--write", "ERBB2")  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    seconds = _finish(command, whole)
    draw = random.Random(1)
    for _ in range(5):
        with _start(command, killed):
            time.sleep(draw.uniform(0.1, 1) * seconds)
    _finish(command, killed)
    _assert_same(whole / "r", killed / "r", tiles=16)
