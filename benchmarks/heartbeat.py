"""How long the interface stands still: a timer of 5 ms beside all that one does in a viewer.

Baselines: the same viewer, idle, in the same run; and what napari takes, in a viewer without the
plugin's docks, to add each of the layers that were added. Needs a display (`xvfb-run` will do).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QEventLoop, Qt, QTimer
from viewer import write_tissue

from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.workbench import workbench_of

TICK_MS = 5
IDLE_S = 5.0
GENES = 20


class Heartbeat:
    """Measures how long the event loop did not turn, and how long this thread worked meanwhile."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, np.ndarray]] = []
        self._ticks: list[tuple[float, float]] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def _tick(self) -> None:
        self._ticks.append((time.perf_counter(), time.thread_time()))

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Measure while something is done, and until the interface has drawn it."""
        self._ticks.clear()
        self._tick()
        self._timer.start(TICK_MS)
        yield
        wait(0.5)
        self._timer.stop()
        self.rows.append((what, np.diff(self._ticks, axis=0) * 1e3))

    def report(self) -> None:
        """Print a table: gaps between beats, in ms."""
        print("| | beats | p50 | p99 | longest gap | of which this thread worked |")
        print("|---|---|---|---|---|---|")
        for what, gaps in self.rows:
            late = gaps[:, 0]
            p50, p99 = np.percentile(late, (50, 99))
            print(
                f"| {what} | {len(gaps)} | {p50:.0f} | {p99:.0f} | {late.max():.0f} "
                f"| {gaps[:, 1].max():.0f} |"
            )


def wait(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the interface's events be, until something holds or the time is over."""
    loop, poll, end = QEventLoop(), QTimer(), time.monotonic() + seconds

    def look() -> None:
        if until() or time.monotonic() > end:
            loop.quit()

    poll.timeout.connect(look)
    poll.start(20)
    loop.exec()
    poll.stop()


def bare(paths: list[Path]) -> dict[str, float]:
    """Return how long napari takes to add each layer of some things, and draw it, in ms."""
    viewer = napari.Viewer()
    wait(1)
    took = {}
    for path in paths:
        for data, attributes, kind in open_layers(path)[0]:
            started = time.perf_counter()
            viewer.add_layer(Layer.create(data, attributes, kind))
            took[f"{path.name}: {attributes['name']}"] = (time.perf_counter() - started) * 1e3
            wait(0.2)
    viewer.close()
    return took


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name))


def measure(folder: Path) -> None:
    """Do all that one does, and print how long the interface stood still."""
    path = write_tissue(folder)
    beat = Heartbeat()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    session = session_of(viewer)
    wait(1)
    with beat.during("idle, without docks"):
        wait(IDLE_S)
    with beat.during("making the dock"):
        bench = workbench_of(viewer)
        section = bench.open("section")
    with beat.during("unfolding the other panels"):
        enhance, _, _, genes = map(bench.open, ("enhance", "impute", "domains", "genes"))

    def done(bar: Any) -> None:
        wait(600, lambda: not bar.busy)

    section.open(path)
    done(section.run_bar)
    viewer.layers.clear()
    wait(1)
    with beat.during("opening a section, for the second time"):
        section.open(path)
        done(section.run_bar)
    with beat.during("idle, with a section"):
        wait(IDLE_S)
    out = folder / "one.stenhance.zarr"
    fields = enhance.form.fields
    fields["out"].value, fields["write"].value = out, "G1, G20"
    fields["epochs"].value, fields["device"].value = 2, "cpu"
    with beat.during("running, with tiles arriving"):
        enhance.run.click()
        done(enhance.run_bar)
    with beat.during("idle, with a result"):
        wait(IDLE_S)
    with beat.during(f"browsing {GENES} genes"):
        for n in range(2, GENES + 2):
            genes.show_gene(f"G{n}")
            wait(0.2)
    with beat.during("drawing a region"):
        enhance.draw.click()
        wait(0.5)
        layer = viewer.layers.selection.active
        height, width = session.section.slide.shape
        corners = np.array([(0.3, 0.3), (0.3, 0.6), (0.6, 0.6), (0.6, 0.3)])
        layer.add(corners * (height, width), shape_type="polygon")
        layer.mode = "pan_zoom"
    viewer.layers.clear()
    wait(1)
    with beat.during("opening the result again"):
        section.open(out)
        done(section.run_bar)
    viewer.close()
    beat.report()
    print("\n| napari alone adds | ms |")
    print("|---|---|")
    for what, took in bare([path, out]).items():
        print(f"| {what} | {took:.0f} |")


if __name__ == "__main__":
    main()
