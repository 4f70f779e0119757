"""How long the interface stands still: a timer of 5 ms beside all that one does in a viewer.

Baselines: the same viewer, idle, in the same run; and what napari takes, in a viewer without the
plugin's docks, for the same data: the longest gap while it adds each layer, or is given another
gene's pixels. Where other programs are at work, compare how long this thread worked: gaps are also
what they took. Needs a display (`xvfb-run` will do).
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
from numpy.typing import NDArray
from qtpy.QtCore import QEventLoop, Qt, QTimer
from viewer import write_tissue

from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.levels import shown_levels
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
        print("| | beats | p50 | p99 | longest gap | this thread worked: p99 | longest |")
        print("|---|---|---|---|---|---|---|")
        for what, gaps in self.rows:
            late = gaps[:, 0]
            p50, p99 = np.percentile(late, (50, 99))
            worked = gaps[:, 1]
            print(
                f"| {what} | {len(gaps)} | {p50:.0f} | {p99:.0f} | {late.max():.0f} "
                f"| {np.percentile(worked, 99):.0f} | {worked.max():.0f} |"
            )

    def longest(self, start: str) -> NDArray[np.floating]:
        """Return the longest gap, and the longest work, of what begins so, in ms."""
        return np.max([gaps.max(axis=0) for what, gaps in self.rows if what.startswith(start)], 0)


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


def bare(beat: Heartbeat, paths: list[Path]) -> None:
    """Measure napari alone: adding each layer of some things, other pixels, and shapes."""
    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    wait(1)
    for path in paths:
        for data, attributes, kind in open_layers(path)[0]:
            with beat.during(f"{path.name}: napari adds {attributes['name']}"):
                layer = viewer.add_layer(Layer.create(data, attributes, kind))
    run = layer.metadata["stenhance"].run
    layer.visible = True
    wait(0.5)
    with beat.during("napari shows other pixels"):
        for n in range(2, GENES + 2):
            layer.data = shown_levels(run.levels(f"G{n}"))
            layer.contrast_limits = (0, n)
            wait(0.2)
    with beat.during("napari adds shapes"):
        viewer.add_shapes(ndim=2)
    viewer.close()


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
    alone = Heartbeat()
    bare(alone, [path, out])
    beat.report()
    print()
    alone.report()
    print("\n| longest, ms | gap | napari alone | worked | napari alone | beyond that |")
    print("|---|---|---|---|---|---|")
    for what, other in (
        ("opening a section", "one.h5ad"),
        ("running", "one.stenhance.zarr"),
        ("browsing", "napari shows other pixels"),
        ("drawing", "napari adds shapes"),
        ("opening the result", "one.stenhance.zarr"),
    ):
        (gap, worked), (base, of_it) = beat.longest(what), alone.longest(other)
        print(
            f"| {what} | {gap:.0f} | {base:.0f} | {worked:.0f} | {of_it:.0f} "
            f"| {worked - of_it:+.0f} |"
        )


if __name__ == "__main__":
    main()
