"""Ctrl-C from the first moment to the last: one line, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forked import Program
from napari_stenhance.section.formats.phantom import MANIFEST
from test_cli import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to others")

CODE = "from napari_stenhance.cli import main; print('begun', flush=True); main()"
"""What the console script does; before its first line nobody can answer."""


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(processes: list[subprocess.Popen[str]], *arguments: object) -> subprocess.Popen[str]:
    """Begin a command, and wait until the command line has the word."""
    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, bufsize=1, **pipes)  # type: ignore[call-overload]
    processes.append(process)
    assert process.stdout.readline() == "begun\n"
    return process


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stderr is not None
    read = ""
    while word not in read:
        line = process.stderr.readline()
        assert line, read
        read += line
    return read


def check(process: subprocess.Popen[str], read: str, codes: set[int]) -> str:
    _, rest = process.communicate(timeout=60)
    said = read + rest
    assert process.returncode in codes, said
    check_said(said, process.returncode)
    return said


def check_said(said: str, code: int) -> None:
    assert "Traceback" not in said
    assert "Interrupt" not in said
    if code == 130:
        assert "ancelled" in said.splitlines()[-1]
        assert said.count("ancelled") == 1


def test_ctrl_c_while_python_imports_is_one_line(
    begun: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    for n, moment in enumerate((0.05, 0.3, 0.7)):
        out = tmp_path / str(n)
        process = start(begun, "phantom", out, "--size-mm", 1)
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        check(process, "", {130})
        assert not out.exists()


def test_ctrl_c_at_any_moment_of_work_is_one_line(tmp_path: Path) -> None:
    for n, moment in enumerate((0.1, 0.5, 1.0, 1.6)):
        out = tmp_path / str(n)
        words = tmp_path / f"words {n}"
        with Program(CODE, "phantom", out, "--size-mm", 1, words=words) as program:
            program.wait_until_said("\nbegun")
            time.sleep(moment)
            os.kill(program.pid, signal.SIGINT)
            code = program.wait(60)
            check_said(program.stdout + program.stderr, code)
        # On a quiet machine the phantom may be whole by then.
        assert code in (130, 0)
        assert out.exists() or code == 130
        assert (out / MANIFEST).is_file() == out.exists()
    # What was begun is gone on with, and nothing half-written is taken for whole.
    run("phantom", tmp_path / "0", "--size-mm", 1)
    run("info", tmp_path / "0")


def test_ctrl_c_twice_ends_at_once(begun: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    process = start(begun, "phantom", tmp_path / "twice", "--size-mm", 1)
    read = read_until(process, "\n")
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    check(process, read, {130})


def test_ctrl_c_at_the_end_says_no_more(
    begun: list[subprocess.Popen[str]], small: Path, tmp_path: Path
) -> None:
    out = tmp_path / "end.h5ad"
    process = start(begun, "downsample", small / "one.h5ad", "--out", out)
    read = read_until(process, "Took")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
    check(process, read, {130, 0})
    run("info", out)
