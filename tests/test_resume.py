"""Kill `enhance` without mercy, run it again, and compare every byte."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from kills import be_the_command
from test_cli import files_of

# What `enhance` comes to import, and what its first training does.
SLOW_TO_IMPORT = ["torch._dynamo", "napari_stenhance.cli", "napari_stenhance.tasks.enhance",
                  "napari_stenhance.tasks.lesson", "napari_stenhance.tasks.inference",
                  "napari_stenhance.methods.pixel2gene.model"]  # fmt: skip


def _start(arguments: Sequence[object], folder: Path) -> BaseProcess:
    """Start a command in a folder, where its result `r` and its cache come; beside it, its words.

    It is forked from a server that has imported what takes long and has run nothing: a fork of this
    process would take the locks of its threads along.
    """
    context = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    context.set_forkserver_preload(SLOW_TO_IMPORT)
    said = [*map(str, arguments), "--out", "r"]
    process = context.Process(target=be_the_command, args=(said, folder))
    process.start()
    return process


def _words(folder: Path) -> str:
    said = folder.with_name(f"{folder.name}.txt")
    return said.read_text("utf-8") if said.exists() else ""


def _finish(arguments: Sequence[object], folder: Path) -> float:
    started = time.monotonic()
    process = _start(arguments, folder)
    process.join()
    assert process.exitcode == 0, _words(folder)
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
def test_killed_in_every_stage(small: Path, tmp_path: Path) -> None:
    # At four times the scale the slide is four tiles.
    command = ("enhance", small / "one.h5ad", "--predict", small / "two.h5ad", "--mpp", "3.2",
               "--device", "cpu", "--epochs", "2", "--write", "G2")  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _finish(command, whole)
    draw = random.Random(0)
    for stage in ("Building", "Reading", "Training", "Predicting", "Writing"):
        before = len(_words(killed))
        process = _start(command, killed)
        while process.is_alive() and f"\n{stage}" not in "\n" + _words(killed)[before:]:
            time.sleep(0.01)
        assert f"\n{stage}" in "\n" + _words(killed)[before:]
        time.sleep(draw.uniform(0, 0.5))
        process.kill()
        process.join()
    _finish(command, killed)
    _assert_same(whole / "r", killed / "r", tiles=4)


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
        process = _start(command, killed)
        time.sleep(draw.uniform(0.1, 1) * seconds)
        process.kill()
        process.join()
    _finish(command, killed)
    _assert_same(whole / "r", killed / "r", tiles=16)
