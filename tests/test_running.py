from __future__ import annotations

import platform
import subprocess
import sys

import numpy as np
import psutil
import pytest

from napari_stenhance.errors import Cancelled, DeviceMemoryError, InferenceError, InputError
from napari_stenhance.running.device import inference_errors, resolve_device
from napari_stenhance.running.job import Event, Job, Progress

HEAVY = {"torch", "timm", "dask", "anndata", "napari", "numba", "zarr"}


def test_stage_counts_steps_and_estimates_from_those_it_timed() -> None:
    seen: list[Event] = []
    job = Job(listener=seen.append)
    with job.stage("Work", 4) as stage:
        stage.skip(2)
        stage.advance()
    progress = [e for e in seen if isinstance(e, Progress)]
    assert [(p.done, p.total) for p in progress] == [(0, 4), (2, 4), (3, 4)]
    assert [p.remaining_s is None for p in progress] == [True, True, False]


def test_cancel_stops_at_the_next_step() -> None:
    job = Job()
    with job.stage("Work", 3) as stage:
        stage.advance()
        job.cancel()
        with pytest.raises(Cancelled):
            stage.advance()
    with pytest.raises(Cancelled), job.stage("More", 1):
        pytest.fail("a cancelled job entered a stage")


def test_runtime_errors_become_errors_that_threads_do_not_swallow() -> None:
    with pytest.raises(InferenceError, match="out of memory") as caught, inference_errors("Test"):
        raise RuntimeError("CUDA out of memory. Tried …")
    assert isinstance(caught.value, DeviceMemoryError)
    assert not isinstance(caught.value, RuntimeError)
    with pytest.raises(InferenceError, match="RuntimeError"), inference_errors("Test"):
        raise RuntimeError
    assert not issubclass(Cancelled, RuntimeError)


def test_a_device_that_is_not_there_is_refused() -> None:
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="Device abacus"):
        resolve_device("abacus")  # type: ignore[arg-type]


def test_loops_are_compiled_where_nothing_can_be_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's folder and the user's may be read-only, as on a cluster."""
    import numba

    from napari_stenhance.running.compiled import compiled

    njit = numba.njit

    def without_cache(*functions: object, **options: bool) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*functions, **options)

    monkeypatch.setattr(numba, "njit", without_cache)
    assert compiled(lambda number: number + 1)(2) == 3


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, time; t = time.process_time(); import napari_stenhance as st;"
        "s = time.process_time() - t;"
        f"heavy = {HEAVY} & set(sys.modules);"
        "assert not heavy, heavy; assert s < 0.1, s; assert 'enhance' in dir(st)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_line_shows_help_without_heavy_imports() -> None:
    code = (
        "import sys; from napari_stenhance.cli import app;"
        f"heavy = {HEAVY} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this library of C keeps nothing")
def test_memory_that_was_freed_is_given_back_at_the_end_of_a_stage() -> None:
    process = psutil.Process()
    with Job().stage("Work", 1):
        # Small enough for the heap, where what lies between others stays when it is freed.
        arrays = [np.ones(12_000) for _ in range(2_000)]
        kept = arrays[::10]
        del arrays
        before = process.memory_info().rss
    assert before - process.memory_info().rss > 0.5 * 9 * kept[0].nbytes * len(kept)
