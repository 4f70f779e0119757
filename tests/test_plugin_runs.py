"""Runs in a real viewer: cancelled, failing, closed in the middle, and what is left of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils import progress
from napari.utils.notifications import Notification
from qtpy.QtWidgets import QApplication, QWidget

from napari_stenhance.errors import InputError
from napari_stenhance.plugin import live as live_module
from napari_stenhance.plugin import session as session_module
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.widgets import enhance as enhance_module
from napari_stenhance.plugin.widgets import run_bar as run_bar_module
from napari_stenhance.plugin.widgets.run_bar import time_left
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Event, Job, Progress
from napari_stenhance.tasks.enhance import enhance
from person import Person, at_work, events_of

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")


@pytest.mark.painted
def test_cancel_frees_the_interface_and_a_rerun_goes_on(
    person: Person,
    section_files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "empty cache"))
    out = tmp_path / "one.stenhance.zarr"
    person.drop(section_files[0])
    person.set_enhance(out, "G1", epochs=6)
    bar = person.enhance.run_bar
    # A double click is meant as one.
    person.click(person.enhance.run)
    person.click(person.enhance.run)
    assert bar.busy
    assert not bar.waiting
    person.wait(lambda: bar.label.text().startswith("Training"))
    started = time.monotonic()
    person.click(bar.cancel)
    assert bar.label.text().startswith("Stopping")
    assert time.monotonic() - started < 1
    assert at_work()
    person.wait(lambda: not bar.busy and not at_work(), 10)
    assert "cancelled" in bar.label.text()
    assert person.enhance.run.isEnabled()
    assert ResultFolder.is_result(out)
    assert "complete" not in events_of(out)
    features = {f: f.stat().st_mtime_ns for f in (tmp_path / "empty cache").rglob("c/*/*/*")}
    assert features
    person.run()
    assert {f: f.stat().st_mtime_ns for f in features} == features
    events = events_of(out)
    assert events.count("trained") == 1
    assert events[-1] == "complete"
    assert np.isfinite(np.asarray(person.layer("gene").data[0])).any()


def test_an_error_in_the_worker_is_one_sentence_with_details(
    person: Person,
    small_files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def out_of_memory(_options: Any, _job: Any) -> None:
        msg = "CUDA out of memory. Tried to allocate 20.00 GiB.\nmore of it"
        raise RuntimeError(msg)

    monkeypatch.setattr(enhance_module, "enhance_runs", out_of_memory)
    person.drop(small_files[0])
    person.set_enhance(tmp_path / "one.stenhance.zarr")
    person.run()
    bar = person.enhance.run_bar
    message = bar.error.text()
    assert "CUDA out of memory" in message
    assert "device cpu" in message
    assert "\n" not in message
    assert person.enhance.run.isEnabled()
    person.click(bar.details)
    (dialog,) = (w for w in QApplication.topLevelWidgets() if w.objectName() == "stenhance details")
    text = dialog.findChild(QWidget, "details").toPlainText()
    assert "Traceback" in text
    assert "RuntimeError: CUDA out of memory" in text
    dialog.close()
    monkeypatch.undo()


@pytest.mark.slow
@pytest.mark.painted
def test_deleting_a_layer_in_mid_run(
    person: Person, small_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "empty cache"))
    out = tmp_path / "one.stenhance.zarr"
    person.drop(small_files[0])
    person.set_enhance(out, "G1, G2")
    person.click(person.enhance.run)
    person.viewer.layers.remove(person.layer("slide"))
    person.wait(lambda: any(layers_of(person.viewer, "gene")))
    person.viewer.layers.remove(person.layer("gene", gene="G1"))
    person.wait(lambda: not person.enhance.run_bar.busy)
    assert person.enhance.run_bar.label.text().startswith("Done.\npixel2gene-stain-robust is in ")
    assert events_of(out)[-1] == "complete"
    assert [a.gene for _, a in layers_of(person.viewer, "gene")] == ["G2"]


@pytest.mark.painted
def test_closing_the_viewer_in_mid_run_keeps_what_was_finished(
    person: Person, section_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "empty cache"))
    out = tmp_path / "one.stenhance.zarr"
    person.drop(section_files[0])
    person.set_enhance(out, "G1")
    options = person.enhance.options()
    person.click(person.enhance.run)
    person.wait(lambda: person.enhance.run_bar.label.text().startswith("Extracting"))
    # What napari shows where it asks whether to close.
    (said,) = person.viewer.window._task_status_manager.get_status()
    assert "Enhance genes; what is finished by then is kept" in said
    person.viewer.close()
    person.wait(lambda: not at_work(), 10)
    assert "complete" not in events_of(out)
    # What was finished is there, and is not computed again.
    features = {f: f.stat().st_mtime_ns for f in (tmp_path / "empty cache").rglob("c/*/*/*")}
    assert features
    enhance(options)
    assert {f: f.stat().st_mtime_ns for f in features} == features
    assert events_of(out)[-1] == "complete"


@pytest.mark.slow
def test_closing_the_dock_stops_its_work(
    person: Person, section_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "empty cache"))
    person.drop(section_files[0])
    person.set_enhance(tmp_path / "one.stenhance.zarr")
    person.click(person.enhance.run)
    person.wait(lambda: person.enhance.run_bar.label.text().startswith("Extracting"))
    person.viewer.window.remove_dock_widget(person.bench)
    person.bench.deleteLater()
    assert at_work()
    person.wait(lambda: not at_work(), 10)
    # A new one works.
    person.open_dock()
    person.viewer.layers.clear()
    person.drop(section_files[0])
    assert person.section.run_bar.label.text() == "Done."


@pytest.mark.slow
def test_loops_compile_and_torch_trains_beside_a_canvas_drawn_in_software(tmp_path: Path) -> None:
    """triton's LLVM and Mesa's in one process end in a segmentation fault; numba's must not."""
    script = (
        "import napari, numpy as np\n"
        "viewer = napari.Viewer()\n"
        "viewer.add_image(np.zeros((8, 8)))\n"
        "viewer.screenshot(flash=False)\n"
        "from napari_stenhance.section.averaging import average\n"
        "first, weights = np.zeros(1, np.int64), np.ones((1, 1), np.float32)\n"
        "pixel = np.zeros((1, 3), np.uint8)\n"
        "average(pixel, first, weights, first, weights, np.float32(255))\n"
        "viewer.screenshot(flash=False)\n"
        "from napari_stenhance.running.device import resolve_device\n"
        "resolve_device('cpu')\n"
        "import torch\n"
        "parameter = torch.nn.Parameter(torch.ones(1))\n"
        "optimiser = torch.optim.AdamW([parameter])\n"
        "parameter.sum().backward()\n"
        "optimiser.step()\n"
        "print('trained')\n"
    )
    # An empty cache, so that it does compile.
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "trained" in done.stdout


def stages(job: Job) -> str:
    for n in range(50):
        with job.stage(f"Stage {n}", 2) as stage:
            stage.advance(2)
    return "value"


def test_events_arrive_in_order_and_make_no_bar_of_napari(person: Person) -> None:
    """napari's bars let the event loop turn: nothing may overtake what is being passed on."""
    seen: list[Event] = []
    bars: list[Any] = []

    def see(event: Event) -> None:
        seen.append(event)
        bars.extend(progress._all_instances)
        # Windows that wait do this: what has come meanwhile must not be passed on in here.
        QApplication.processEvents()

    bar = person.enhance.run_bar
    ended: list[Any] = []
    bar.start("Test", stages, on_done=ended.append, on_event=see)
    person.wait(lambda: not bar.busy, 30)
    names = [event.stage for event in seen if isinstance(event, Progress)]
    assert names == [f"Stage {n}" for n in range(50) for _ in range(2)]
    assert ended == ["value"]
    assert bars == []
    assert bar.label.text() == "Done."
    assert not bar.cancel.isVisible()


@pytest.mark.parametrize("raised", [KeyError("layer"), RuntimeError("deleted"), InputError("No.")])
def test_whatever_a_slot_raises_the_dock_comes_free_and_says_so(
    person: Person, raised: Exception
) -> None:
    bar, called = person.enhance.run_bar, []

    def slot(name: str) -> Callable[..., None]:
        def fail(*_values: object) -> None:
            called.append(name)
            raise raised

        return fail

    bar.start("Test", stages, on_done=slot("done"), on_event=slot("event"), on_end=slot("end"))
    person.wait(lambda: not bar.busy and not at_work(), 30)
    # Events come by the hundred: one that failed is enough said.
    assert called == ["event", "done", "end"]
    (message,) = bar.error.text().splitlines()
    assert "Traceback" not in message
    assert message == "No." or message.startswith("Test: it could not be shown (")
    assert not bar.cancel.isVisible()
    ended: list[Any] = []
    bar.start("Test", stages, on_done=ended.append)
    person.wait(lambda: not bar.busy, 30)
    assert (ended, bar.label.text()) == (["value"], "Done.")


@pytest.mark.slow
def test_layers_that_cannot_be_added_leave_the_docks_free(
    person: Person,
    small_files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_values: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(session_module, "add_layers", fail)
        person.section.open(small_files[0])
        person.section.open(small_files[1])
        person.wait(lambda: not person.section.run_bar.busy)
    # What follows by itself takes nothing back.
    said = person.section.run_bar.error.text().splitlines()
    assert [line.partition(":")[0] for line in said] == ["Opening one.h5ad", "Opening two.h5ad"]
    person.drop(small_files[0])
    assert person.section.run_bar.label.text() == "Done."
    assert not person.section.run_bar.error.text()
    person.set_enhance(tmp_path / "one.stenhance.zarr", "G1")
    with monkeypatch.context() as broken:
        broken.setattr(live_module, "run_layers", fail)
        person.run()
    assert person.enhance.run.isEnabled()
    assert events_of(tmp_path / "one.stenhance.zarr")[-1] == "complete"
    # Once for all tiles, and once at the end; of one sentence once.
    (said,) = person.enhance.run_bar.error.text().splitlines()
    assert said.startswith("Enhance genes: it could not be shown (")
    # What the result holds is shown by the next run, which has nothing else to do.
    person.run()
    assert person.layer("gene", gene="G1").visible


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, ""), (0, ""), (0.4, ", a few seconds left"), (4.9, ", a few seconds left"),
     (6, ", about 5 s left"), (42, ", about 40 s left"), (100, ", about 2 min left")],
)  # fmt: skip
def test_time_left_is_no_more_exact_than_it_is_known(seconds: float, said: str) -> None:
    assert time_left(seconds) == said


def test_no_time_is_named_before_it_means_something_or_after_it_ran_out(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_bar_module, "_MEANS_SOMETHING_S", 0.05)
    bar, go = person.enhance.run_bar, threading.Event()

    def slow(job: Job) -> None:
        with job.stage("Training", 10) as stage:
            go.wait(0.2)
            stage.advance(5)
            go.wait(30)

    bar.start("Test", slow)
    # Half of it in no time: what is left by that is soon over, and it goes on.
    person.wait(lambda: bar.label.text() == "Training: 5 of 10, a few seconds left", 20)
    person.bot.wait(300)
    bar._clock.timeout.emit()
    assert bar.label.text() == "Training: 5 of 10"
    go.set()
    person.wait(lambda: not bar.busy)


def test_an_error_is_red_and_whole_until_the_next_action(person: Person) -> None:
    bar = person.section.run_bar
    path = "/" + "/".join(f"a_folder_with_a_long_name_{n}" for n in range(12))
    bar.say(InputError(f"{path}: there is no such file; name another."))
    text = bar.error
    person.wait(text.isVisible)
    assert text.text() == f"{path}: there is no such file; name another."
    assert "color: #FF8A80" in text.styleSheet()
    # The red that can be read on light, and back.
    for theme, red in (("light", "#B3261E"), ("dark", "#FF8A80")):
        person.viewer.theme = theme
        person.wait(lambda red=red: red in text.styleSheet())
    # Every line of it is seen, though no word could be broken, and it can be copied.
    person.bot.wait(50)
    assert text.document().documentLayout().documentSize().height() >= 4
    assert not text.verticalScrollBar().maximum()
    assert not text.horizontalScrollBar().maximum()
    text.selectAll()
    assert path in text.textCursor().selectedText()
    said: list[str] = []
    bar.start("Test", lambda _job: "value", on_done=said.append)
    assert not text.isVisible()
    person.wait(lambda: not bar.busy)
    assert (said, text.text()) == (["value"], "")


def test_napari_says_what_no_dock_that_is_seen_does(
    person: Person, notifications: list[Notification]
) -> None:
    bar = person.enhance.run_bar
    bar.say(InputError("Once."))
    assert [n.message for n in notifications] == ([] if bar.isVisible() else ["Once."])
    person.enhance.parent().hide()
    bar.say(InputError("Twice."))
    assert notifications[-1].message == "Twice."
    assert bar.error.text() == "Once.\nTwice."


def test_what_is_asked_for_meanwhile_waits_and_can_be_cancelled(person: Person) -> None:
    bar, go, done = person.enhance.run_bar, threading.Event(), []

    def first(job: Job) -> str:
        job.note("A doubt.")
        go.wait(30)
        return "first"

    def fails(_job: Job) -> str:
        msg = "No such thing."
        raise InputError(msg)

    bar.start("First", first, on_done=done.append)
    bar.start("Second", fails, named="Second, C2", on_done=done.append)
    for name in ("third", "fourth"):
        bar.start(name, lambda _job, name=name: name, on_done=done.append)
    assert bar.waiting == ["Next: Second, C2", "Next: third", "Next: fourth"]
    # One list says what runs and waits in all panels, whether or not they are unfolded.
    person.section.run_bar.start("Other", lambda job: (go.wait(30), job.check()))
    jobs = person.bench.jobs
    assert not person.enhance.isVisible()
    assert jobs.isVisible()
    queue = ("First …", "Next: Second, C2", "Next: third", "Next: fourth")
    assert jobs.said == ["Section: Other …", *(f"Enhance genes: {said}" for said in queue)]
    person.click(jobs.cancel(3))
    assert bar.waiting == ["Next: Second, C2", "Next: fourth"]
    assert [said for said in jobs.said if "third" in said] == []
    person.click(jobs.cancel(0))
    assert jobs.said[0] == "Section: Stopping after this step …"
    assert not jobs.cancel(0).isEnabled()
    go.set()
    person.wait(lambda: not bar.busy and not person.section.run_bar.busy)
    assert (done, bar.waiting) == (["first", "fourth"], [])
    assert person.section.run_bar.label.text().startswith("The job was cancelled")
    assert not jobs.isVisible()
    # What was said of those before is still there.
    assert bar.error.text() == "No such thing."
    assert "A doubt." in bar.notes.toPlainText()
