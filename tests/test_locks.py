"""Locks of results and of the cache: one writer, told by name; the dead hold nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from forked import COMMAND, Program
from made_sections import make_slide_pixels
from napari_stenhance.errors import Cancelled, InputError
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Event, Job, Note
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.lock import Mark, held
from napari_stenhance.storage.owner import Owner
from test_cli import run

HOLD_LOCK = """
import sys, time
from pathlib import Path
from napari_stenhance.storage.lock import held
with held(Path(sys.argv[1]), "pixel2gene-stain-robust"):
    print("held", flush=True)
    time.sleep(60)
"""
HOLD_RESULT = """
import sys, time
from napari_stenhance.results.result import ResultFolder
with ResultFolder.adding(sys.argv[1], "pixel2gene-stain-robust"):
    print("held", flush=True)
    time.sleep(60)
"""
HOLD_CACHE = """
import sys, time
from pathlib import Path
from napari_stenhance.running.job import Job
from napari_stenhance.storage.cache import Cache
with Cache(Path(sys.argv[1])).lock(Path(sys.argv[2]), Job()):
    print("held", flush=True)
    time.sleep(60)
"""
# Holds on to what it could take until the others have tried.
RACE = """
import sys, time
from pathlib import Path
from napari_stenhance.errors import InputError
from napari_stenhance.storage.lock import held
lock, start, end = map(Path, sys.argv[1:])
print("ready", flush=True)
while not start.exists():
    pass
try:
    with held(lock, "race"):
        print("won", flush=True)
        while not end.exists():
            time.sleep(0.01)
except InputError:
    print("refused", flush=True)
"""


@pytest.fixture
def slide(make_slide: Callable[..., Slide]) -> Slide:
    return make_slide(make_slide_pixels((300, 200), 0)[0], mpp=0.5)


def _mark(lock: Path, **changed: object) -> None:
    """Leave a lock as a process would that is not this one."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(json.dumps({**vars(Mark.make("enhance")), **changed}), "utf-8")


def test_a_lock_lies_in_the_result_and_is_removed(slide: Slide, tmp_path: Path) -> None:
    path = tmp_path / "r"
    with ResultFolder.writing(path, slide, "m-e-p"):
        said = json.loads((path / "files" / ".lock").read_text("utf-8"))
        assert said["pid"] == os.getpid()
        assert said["run"] == "m-e-p"
        assert {"host", "started", "since", "alive"} <= said.keys()
        with pytest.raises(InputError, match=r"this process is writing here already \(m-e-p\)"):
            with ResultFolder.adding(path, "write"):
                pytest.fail("two writers")
        # To look at it takes no lock.
        assert ResultFolder.open(path).runs == ()
    assert list((path / "files").iterdir()) == []


def test_two_processes_with_two_caches_do_not_both_write(slide: Slide, tmp_path: Path) -> None:
    out = tmp_path / "r.stenhance.zarr"
    with ResultFolder.writing(out, slide, "m-e-p"):
        pass
    write = ("write", out, "--genes", "A")
    elsewhere = {"STENHANCE_CACHE": str(tmp_path / "cache")}
    with Program(HOLD_RESULT, out, words=tmp_path / "words", environment=elsewhere) as other:
        other.wait_until_said("held")
        said = run(*write, code=2).stderr
        assert f"another process is writing here, process {other.pid} on" in said
        assert "pixel2gene-stain-robust" in said
    # Its owner is dead now, and the next writer comes as far as to look for a run.
    assert (out / "files" / ".lock").exists()
    assert "there is no run with genes" in run(*write, code=2).stderr
    assert list((out / "files").iterdir()) == []


def test_of_many_that_find_a_dead_lock_one_wins(tmp_path: Path) -> None:
    lock = tmp_path / "files" / ".lock"
    for number in range(3):
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        _mark(lock, pid=dead.pid, started="0" * 12)
        if number == 2:
            # And one that died while it removed it.
            token = json.loads(lock.read_text("utf-8"))["token"]
            _mark(lock.with_name(f".lock.{token}"), pid=dead.pid, started="0" * 12)
        start, end = tmp_path / f"start {number}", tmp_path / f"end {number}"
        with ExitStack() as stack:
            racing = [
                stack.enter_context(Program(RACE, lock, start, end, words=tmp_path / f"racer {n}"))
                for n in range(6)
            ]
            for program in racing:
                program.wait_until_said("ready")
            start.touch()
            until = time.monotonic() + 60
            said: list[str] = []
            while len(said) < 6 and time.monotonic() < until:
                said = [word for program in racing for word in program.stdout.split()[1:]]
            end.touch()
            assert [program.wait() for program in racing] == [0] * 6
        assert sorted(said) == ["refused"] * 5 + ["won"]
        assert list(lock.parent.iterdir()) == []


def test_a_number_that_another_process_has_now_is_no_life(tmp_path: Path) -> None:
    lock = tmp_path / "files" / ".lock"
    _mark(lock, started="0" * 12)
    with held(lock, "write"):
        assert Mark.read(lock).started == Owner.current().started  # type: ignore[union-attr]


def test_a_lock_of_another_host_is_the_users_to_break(tmp_path: Path) -> None:
    lock = tmp_path / "r" / "files" / ".lock"
    _mark(lock, host="far-away", pid=7, alive="2026-01-02T03:04:05+00:00")
    before = lock.read_text("utf-8")
    with pytest.raises(InputError) as refused:
        with held(lock, "write"):
            pytest.fail("two writers")
    assert "process 7 on far-away (enhance, last seen 2026-01-02T03:04:05" in str(refused.value)
    assert refused.value.option == "clear_dead_locks"
    assert lock.read_text("utf-8") == before
    with held(lock, "write", clear_dead=True):
        pass
    assert not lock.exists()
    # One that lives here is not dead, whatever anybody says.
    with Program(HOLD_LOCK, lock, words=tmp_path / "words") as other:
        other.wait_until_said("held")
        with pytest.raises(InputError, match="wait for it to end"):
            with held(lock, "write", clear_dead=True):
                pytest.fail("two writers")


def test_a_lock_that_says_nothing_is_the_users_to_break(tmp_path: Path) -> None:
    lock = tmp_path / "r" / "files" / ".lock"
    for content in (b"", b"{}", b"[1]", b"\xff", b'{"host": 1}'):
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_bytes(content)
        with pytest.raises(InputError, match="this lock cannot be read"):
            with held(lock, "write"):
                pytest.fail("two writers")
        with held(lock, "write", clear_dead=True):
            pass


def test_a_lock_that_was_cleared_is_not_removed_by_its_owner(tmp_path: Path) -> None:
    lock = tmp_path / "files" / ".lock"
    with held(lock, "write"):
        _mark(lock, host="far-away")
    assert lock.exists()


def test_a_holder_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_stenhance.storage.lock._BEAT_S", 0.2)
    lock = tmp_path / "files" / ".lock"
    with held(lock, "write"):
        first = json.loads(lock.read_text("utf-8"))
        time.sleep(1.5)
        second = json.loads(lock.read_text("utf-8"))
    assert second["alive"] > first["alive"]
    assert {**second, "alive": 0} == {**first, "alive": 0}


def test_waiting_for_the_cache_is_said_once_and_can_be_cancelled(tmp_path: Path) -> None:
    cache, entry = Cache(tmp_path / "cache"), tmp_path / "cache" / "features" / "key"
    events: list[Event] = []
    job = Job(listener=events.append)
    with Program(HOLD_CACHE, cache.root, entry, words=tmp_path / "words") as other:
        other.wait_until_said("held")
        threading.Timer(1.2, job.cancel).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            with cache.lock(entry, job):
                pytest.fail("two writers")
        # Half a second after the cancel at the latest, where nothing else runs.
        assert 1.1 < time.monotonic() - started < 4
        (said,) = events
        assert isinstance(said, Note)
        assert f"process {other.pid} on" in said.text
        assert str(entry) in said.text
    # The system lets go when the owner dies.
    with cache.lock(entry, Job()):
        pass
    assert [f.name for f in (cache.root / "locks").iterdir() if f.suffix == ".json"] == []


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process")
def test_ctrl_c_ends_the_wait_within_a_second(small: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    Slide.open(small / "one_he.jpg", cache=Cache(tmp_path / "other"))
    (known,) = (tmp_path / "other" / "pyramids3").iterdir()
    entry = Cache(cache).entry("pyramids3", known.name)
    command = ("enhance", small / "one.h5ad", "--out", tmp_path / "r", "--device", "cpu")
    with Program(HOLD_CACHE, cache, entry, words=tmp_path / "other") as other:
        other.wait_until_said("held")
        here = {"STENHANCE_CACHE": str(cache)}
        with Program(COMMAND, *command, words=tmp_path / "words", environment=here) as waiting:
            waiting.wait_until_said("Waiting for process")
            os.kill(waiting.pid, signal.SIGINT)
            started = time.monotonic()
            waiting.wait_until_said("The job was cancelled")
            # A second at the latest where nothing else runs.
            assert time.monotonic() - started < 3
            assert waiting.wait(20) == 130


def test_an_error_of_reading_is_not_one_of_the_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    gone = tmp_path / "slide.tif"
    with pytest.raises(FileNotFoundError):
        with cache.lock(cache.entry("features", "key"), Job()):
            gone.read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*STENHANCE_CACHE"):
        with Cache(tmp_path / "file" / "cache").lock(tmp_path / "file" / "cache" / "x", Job()):
            pytest.fail("there is no cache")


@pytest.mark.parametrize(
    "made",
    [
        {"token": "../a/b"},
        {"token": "a\0b"},
        {"token": "a" * 500},
        {"token": 5},
        {"pid": 10**30},
        {"pid": -1},
        {"pid": 0},
        {"pid": True},
        {"host": [1]},
    ],
)
def test_a_lock_that_nobody_can_have_made_says_nothing(
    made: dict[str, object], tmp_path: Path
) -> None:
    lock = tmp_path / "r" / "files" / ".lock"
    _mark(lock, **made)
    with pytest.raises(InputError, match=r"\.lock: this lock cannot be read") as refused:
        with held(lock, "write"):
            pytest.fail("two writers")
    assert refused.value.option == "clear_dead_locks"
    with held(lock, "write", clear_dead=True):
        pass
    assert list(lock.parent.iterdir()) == []


def test_a_lock_that_is_a_link_to_nowhere_is_not_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "r" / "files" / ".lock"
    lock.parent.mkdir(parents=True)
    lock.symlink_to("nowhere")
    with pytest.raises(InputError, match="this lock cannot be read"):
        with held(lock, "write"):
            pytest.fail("two writers")
    with held(lock, "write", clear_dead=True):
        pass
    assert list(lock.parent.iterdir()) == []


def test_what_cannot_be_removed_beside_a_lock_does_not_keep_it(tmp_path: Path) -> None:
    lock = tmp_path / "r" / "files" / ".lock"
    (lock.parent / ".lock.folder").mkdir(parents=True)
    with held(lock, "write"):
        pass
    assert not lock.exists()


def test_a_lock_that_is_a_folder_is_a_sentence(slide: Slide, tmp_path: Path) -> None:
    with ResultFolder.writing(tmp_path / "r", slide, "m-e-p"):
        pass
    (tmp_path / "r" / "files" / ".lock").mkdir()
    for clear, said in ((False, "this lock cannot be read"), (True, "cannot be written")):
        with pytest.raises(InputError, match=said):
            with ResultFolder.adding(tmp_path / "r", "write", clear_dead_locks=clear):
                pytest.fail("two writers")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a place where none may write")
def test_a_cache_where_no_folder_can_be_made_is_a_sentence() -> None:
    cache = Cache(Path("/proc/nobody-writes-here"))
    with pytest.raises(InputError, match=r"cannot be written .*STENHANCE_CACHE"):
        cache.lock(cache.entry("k", "a"), Job()).__enter__()
