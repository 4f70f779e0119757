"""What was done to a result is written down, and makes the same bytes when it is done again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import shapely
import torch

import napari_stenhance as st
from test_cli import files_of, run


@pytest.fixture(autouse=True)
def _threads_as_asked() -> None:
    """Where labels were drawn, napari let numba take threads for whatever the process does."""
    if asked := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(asked))


QUICK = {"epochs": 2, "device": "cpu"}


def commands_in(text: str) -> Iterator[list[str]]:
    """Split the commands of a script for a shell, which are not comments, into words."""
    for line in text.splitlines():
        if line.startswith("napari-stenhance"):
            yield shlex.split(line)[1:]


def repeat(text: str) -> None:
    """Do in this process what a script for a shell does in those of its own."""
    for words in commands_in(text):
        run(*words)


def as_child(text: str, *, python: bool) -> None:
    """Run a script as a person does: in a process that knows nothing of this one."""
    file = Path("script.py" if python else "script.sh")
    file.write_text(text, "utf-8")
    beside = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"}
    words = [sys.executable] if python else ["sh"]
    subprocess.run([*words, str(file)], check=True, env=environment, timeout=600)


def box(*corners: float) -> st.Region:
    return st.Region(shapely.box(*corners))


def test_a_run_in_a_region_is_repeated_to_the_byte(here: Path) -> None:
    section = st.read("one.h5ad", mpp=0.8)
    options = {"epochs": 2, "device": "cpu", "region": box(100, 100, 400, 300)}
    result = st.enhance(section, out="mine.stenhance.zarr", write=["G1"], seed=3, **options)
    st.write(result, "G1 - G2")
    text = st.script(result)
    (enhance, write) = commands_in(text)
    region = result.path / "files" / "regions" / f"{result.run_name}.geojson"
    assert enhance == [
        "enhance", str(here / "one.h5ad"), "--out", "again/one.stenhance.zarr", "--write", "G1",
        "--region", str(region), "--epochs", "2", "--device", "cpu", "--seed", "3",
        "--mpp", "0.8",
    ]  # fmt: skip
    assert write[:4] == ["write", "again/one.stenhance.zarr", "--genes", "G1 - G2"]
    repeat(text)
    assert files_of(Path("again/one.stenhance.zarr")) == files_of(result.path)
    # What repeats a result repeats what repeated it.
    again = st.script("again/one.stenhance.zarr", out="third")
    assert again.count("again") == text.count("mine") == 2


@pytest.mark.slow
def test_python_repeats_it_too(here: Path) -> None:
    section = st.read("one.h5ad", mpp=0.8, name="called otherwise")
    result = st.domains(section, n_domains=2, runs=1, out="d.stenhance.zarr", **QUICK)
    lines = st.script(result, out="o'clock", python=True)
    assert "name='called otherwise'" in lines
    exec(compile(lines, "script", "exec"), {})
    assert files_of(Path("o'clock/called otherwise.stenhance.zarr")) == files_of(result.path)
    assert "only Python can name it so" in st.script(result)
    assert not list(commands_in(st.script(result)))


def test_what_cannot_be_repeated_is_said(here: Path) -> None:
    spots = ad.read_h5ad("one.h5ad")
    result = st.domains(spots, n_domains=2, runs=1, out="d.stenhance.zarr", **QUICK)
    text = st.script(result)
    assert "# Cannot be repeated: sections: it was made in Python (AnnData)" in text
    assert not list(commands_in(text))
    compile(st.script(result, python=True), "script", "exec")
    given = st.read(spots, mpp=0.7)
    text = st.script(st.domains(given, n_domains=2, runs=1, out="g.stenhance.zarr", **QUICK))
    assert f"# Cannot be repeated: {given.name}: this section was made in Python, and" in text
    assert not list(commands_in(text))

    shutil.copy("one.h5ad", "mine.h5ad")
    found = st.domains("mine.h5ad", n_domains=2, runs=1, out="m.stenhance.zarr", **QUICK)
    assert len(list(commands_in(st.script(found)))) == 1
    st.edit_domains(found, rename="1=Grey matter")
    (_, edit) = commands_in(st.script(found))
    assert edit[:4] == ["edit-domains", "again/mine.stenhance.zarr", "--rename", "1=Grey matter"]
    # Other counts lie there now; then nothing does.
    spots.X[0, 0] += 1
    Path("mine.h5ad").unlink()
    spots.write_h5ad("mine.h5ad")
    assert f"{here / 'mine.h5ad'}: spots are not what the run was made of" in st.script(found)
    Path("mine.h5ad").unlink()
    text = st.script(found)
    assert f"{here / 'mine.h5ad'}: nothing is there any more" in text
    assert [words[0] for words in commands_in(text)] == ["edit-domains"]


def test_a_run_that_says_nothing_of_its_command_is_named(tiny: Path) -> None:
    text = run("script", tiny).output
    assert text.count("# Not repeated: ") == 3
    assert "# There is nothing to repeat." in text


@pytest.mark.parametrize(
    "options",
    [
        {"sections": 5},
        {"sections": [{"section": 3, "source": "x"}]},
        {"sections": ["/\0"], "write": [["a", {"b": 1}]]},
        {"sections": [{"result": None}], "region": {"kept": "region"}, "epochs": "$(touch gone)"},
        {"sections": ["/" + 300 * "x"], "nothing": 1},
    ],
)
def test_a_damaged_log_is_said_and_does_nothing(
    tiny: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    path = tmp_path / "tiny.stenhance.zarr"
    shutil.copytree(tiny, path)
    event = {"event": "command", "verb": "enhance", "options": options, "result": str(path)}
    with (path / "files" / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({**event, "name": "tiny", "run": "pixel2gene-stain-robust"}) + "\n")
        log.write(json.dumps({**event, "verb": "rm -rf", "name": "tiny", "run": ""}) + "\n")
        log.write(json.dumps({**event, "run": 3}) + "\n")
    for python in (False, True):
        text = st.script(path, python=python)
        assert "damaged in the log" in text or "Cannot be repeated" in text
        assert not [line for line in text.splitlines() if line.startswith(("napari", "st.", "rm"))]


@pytest.mark.slow
def test_a_mask_that_was_painted_is_taken_from_the_result(here: Path) -> None:
    tissue = np.zeros((80, 67), np.uint8)
    tissue[10:70, 10:50] = 1
    section = st.read("one.h5ad", tissue=np.kron(tissue, np.ones((10, 10), np.uint8)))
    result = st.enhance(section, out="one again.stenhance.zarr", **QUICK)
    text = st.script(result)
    (words,) = commands_in(text)
    assert Path(words[words.index("--tissue") + 1]).parent == result.path
    repeat(text)
    assert files_of(Path("again/one.stenhance.zarr")) == files_of(result.path)


def test_no_name_is_taken_for_a_command(here: Path) -> None:
    odd = "$(touch gone) ; 'a' \"b\"\n touch gone.h5ad"
    shutil.copy("one.h5ad", odd)
    result = st.domains(st.read(odd), n_domains=2, runs=1, out="d.stenhance.zarr", **QUICK)
    text = st.script(result)
    beside = here / "programs"
    beside.mkdir()
    stub = beside / "napari-stenhance"
    stub.write_text('#!/bin/sh\nprintf "%s" "$2" > asked-for\n')
    stub.chmod(0o755)
    subprocess.run(["sh"], input=text.encode(), check=True, env={"PATH": f"{beside}:/bin"})
    assert Path("asked-for").read_text() == str(here / odd)
    assert not list(here.glob("gone*"))
    compile(st.script(result, python=True), "script", "exec")


def test_what_was_predicted_on_a_section_that_was_open_is_a_command_too(here: Path) -> None:
    path = here / "own.stenhance.zarr"
    shutil.copytree(Path("one.stenhance.zarr").resolve(), path)
    part = box(100, 100, 400, 300)
    st.predict(path, on=st.read("one.h5ad"), out=path, region=part, device="cpu")
    (command,) = (one for one in st.script(path).splitlines() if " predict " in one)
    assert f" predict again/one.stenhance.zarr --on {here / 'one.h5ad'} --out" in command
    assert "Cannot be repeated" not in st.script(path)


# Three sessions, done again by processes of their own


@pytest.mark.slow
@pytest.mark.parametrize("python", [False, True])
def test_a_session_of_enhancing_is_repeated(here: Path, python: bool) -> None:
    result = st.enhance(
        ["one.h5ad", "two.h5ad"], predict="one.h5ad", out="one-2.stenhance.zarr", **QUICK
    )
    for part in (box(100, 100, 400, 300), box(50, 200, 300, 400)):
        st.predict(result, on="one.h5ad", out=result.path, region=part, write="G2", device="cpu")
    st.write(result, "mean(G1, G4)")
    as_child(st.script(result, python=python), python=python)
    again = Path("again/one.stenhance.zarr")
    assert files_of(again) == files_of(result.path)
    assert len(st.Result.open(again).runs) == 3


@pytest.mark.slow
@pytest.mark.parametrize("python", [False, True])
def test_a_session_of_domains_is_repeated(here: Path, python: bool) -> None:
    one, _ = st.domains(["one.h5ad", "two.h5ad"], n_domains=3, runs=2, out="both", **QUICK)
    st.edit_domains(one, merge="3=1", rename="2=Stroma", recolour="2=#E69F00")
    st.domains("one.h5ad", out=one.path, refine=True, runs=1, **QUICK)
    as_child(st.script(one, python=python), python=python)
    assert files_of(Path("again/one.stenhance.zarr")) == files_of(one.path)


@pytest.mark.slow
@pytest.mark.parametrize("python", [False, True])
def test_a_session_of_imputing_is_repeated(here: Path, python: bool) -> None:
    filled = st.impute(
        "one.h5ad", "cells.h5ad", out="i.stenhance.zarr", then="pixel2gene", write="NEW0", **QUICK
    )
    st.domains(filled, n_domains=2, runs=1, **QUICK)
    as_child(st.script(filled, python=python), python=python)
    assert files_of(Path("again/one.stenhance.zarr")) == files_of(filled.path)
