"""What is written whole or not at all, and the scratch that it takes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from made_sections import make_slide_pixels
from napari_stenhance.errors import InputError
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.atomic import atomic_path, scratch_in
from napari_stenhance.storage.tiles import sweep_partial
from test_cli import run

# Leaves scratch as a kill does.
KILLED = """
import os, signal, sys
from pathlib import Path
from napari_stenhance.storage.atomic import atomic_path
with atomic_path(Path(sys.argv[1]), folder=sys.argv[2] == "folder") as aside:
    (aside / "half" if aside.is_dir() else aside).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
THEIRS = ("notes.partial", ".x.0123.building", f"zarr.{'0' * 32}.partial", ".stenhance-mine")


def _kill(out: Path, kind: str) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(out), kind], check=False)


def _write(aside: Path, kind: str) -> None:
    (aside / "file" if kind == "folder" else aside).write_text("ours")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_dead_process_left_is_removed_and_nothing_else(kind: str, tmp_path: Path) -> None:
    for name in THEIRS:
        (tmp_path / name).write_text("theirs")
    _kill(tmp_path / "other", kind)
    _kill(tmp_path / "out", kind)
    # The second has removed what the first left.
    assert len(list(tmp_path.iterdir())) == len(THEIRS) + 1
    # Of a living process, and of one on another host, of which nobody here can know.
    living = scratch_in(tmp_path)
    living.write_text("mine")
    far = tmp_path / f".stenhance-far.away-7-{'0' * 12}-{'0' * 12}"
    far.write_text("theirs")
    with atomic_path(tmp_path / "out", folder=kind == "folder") as aside:
        _write(aside, kind)
    assert {f.name for f in tmp_path.iterdir()} == {*THEIRS, living.name, far.name, "out"}


def _appear(out: Path, there: str) -> None:
    if there == "file":
        out.write_text("theirs")
    elif there == "dangling link":
        out.symlink_to(out.parent / "nowhere")
    else:
        out.mkdir()
        if there == "folder":
            (out / "theirs").touch()


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("there", ["file", "folder", "dangling link", "empty folder"])
def test_what_appears_meanwhile_is_not_replaced(there: str, kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="something lies here already"):  # noqa: PT012
        with atomic_path(out, folder=kind == "folder") as aside:
            _write(aside, kind)
            _appear(out, there)
    assert [f.name for f in tmp_path.iterdir()] == ["out"]
    assert out.is_symlink() == (there == "dangling link")
    if there == "file":
        assert out.read_text() == "theirs"
    elif there != "dangling link":
        assert [f.name for f in out.iterdir()] == ["theirs"][: there == "folder"]


def test_an_empty_folder_may_become_one_of_ours(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "far")
    with atomic_path(tmp_path / "out", folder=True) as aside:
        _write(aside, "folder")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "far" / "file").read_text() == "ours"
    (tmp_path / "late").mkdir()
    with pytest.raises(InputError, match="something lies here already"):
        with atomic_path(tmp_path / "late", folder=True):
            (tmp_path / "late" / "theirs").touch()
    assert [f.name for f in (tmp_path / "late").iterdir()] == ["theirs"]
    with pytest.raises(InputError, match="something lies here already"):
        with atomic_path(tmp_path / "late"):
            pytest.fail("not for a file")


@pytest.mark.parametrize("there", [*THEIRS, "dangling link"])
def test_a_folder_of_somebodys_scratch_is_no_place_for_a_result(
    there: str, make_slide: Callable[..., Slide], tmp_path: Path
) -> None:
    slide = make_slide(make_slide_pixels((300, 200), 0)[0])
    out = tmp_path / "out"
    if there == "dangling link":
        out.symlink_to(tmp_path / "nowhere")
    else:
        out.mkdir()
        (out / there).write_text("theirs")
    with pytest.raises(InputError, match="nothing was touched"):
        with ResultFolder.writing(out, slide, "m-e-p"):
            pytest.fail("written into another's folder")
    if there == "dangling link":
        assert not out.exists()
    else:
        assert [(f.name, f.read_text()) for f in out.iterdir()] == [(there, "theirs")]


def test_what_killed_writers_left_in_a_result_is_removed(
    make_slide: Callable[..., Slide], tmp_path: Path
) -> None:
    slide = make_slide(make_slide_pixels((300, 200), 0)[0])
    out = tmp_path / "out"
    with ResultFolder.writing(out, slide, "m-e-p"):
        pass
    before = {f for f in out.rglob("*") if f.is_file()}
    kept = [out / "files" / f"c.{'a' * 32}.partial", out / "fields" / "notes.partial"]
    for file in kept:
        file.write_text("theirs")
    (out / "fields" / f"zarr.{'b' * 32}.partial").write_text("half")
    _kill(out / "files" / "models" / "run", "folder")
    _kill(out, "folder")
    with ResultFolder.adding(out, "write"):
        pass
    assert {f for f in out.rglob("*") if f.is_file()} == {*before, *kept}
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []


def test_errors_of_reading_pass_and_errors_of_writing_are_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        with atomic_path(tmp_path / "out"):
            (tmp_path / "input").read_bytes()
    with pytest.raises(OSError, match="Input/output"):
        with atomic_path(tmp_path / "out"):
            raise OSError(errno.EIO, "Input/output error", str(tmp_path / "input"))
    with pytest.raises(PermissionError):
        with atomic_path(tmp_path / "out"):
            raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "input"))
    for error in (
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        PermissionError(errno.EACCES, "Permission denied", str(tmp_path)),
    ):
        with pytest.raises(InputError, match=r"out: this cannot be written|tmp|written"):
            with atomic_path(tmp_path / "out"):
                raise error
    assert list(tmp_path.iterdir()) == []


def test_scratch_of_zarr_is_swept_from_arrays(tmp_path: Path) -> None:
    (tmp_path / "c" / "0").mkdir(parents=True)
    (tmp_path / "c" / "0" / f"1.{'0' * 32}.partial").write_text("torn")
    (tmp_path / "c" / "0" / "1.abc.partial").write_text("theirs")
    (tmp_path / "c" / "0" / "1").write_text("whole")
    sweep_partial(tmp_path)
    assert sorted(f.name for f in tmp_path.rglob("*") if f.is_file()) == ["1", "1.abc.partial"]


def test_an_export_to_where_scratch_lies_and_something_too(tmp_path: Path) -> None:
    """A kill between giving the name and removing what had it: the next run does."""
    _kill(tmp_path / "out.h5ad", "file")
    (tmp_path / "out.h5ad").write_text("whole")
    ran = run("export", tmp_path / "r", "--out", tmp_path / "out.h5ad", code=2)
    assert "something lies here already" in ran.stderr
    assert [f.name for f in tmp_path.iterdir()] == ["out.h5ad"]
