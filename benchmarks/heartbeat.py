"""How long the interface stands still: a timer of 5 ms beside all that one does in a viewer.

Gaps between its beats are told in three ways: as they are, without the time that windows and the
canvas were drawn in, and as what this thread worked but for drawing. Baselines, in the same run:
the same viewer, idle; a viewer without the plugin's dock that adds the same layers, or is given the
same pixels as often; and one with those layers that does nothing but draw, as often as was drawn
meanwhile. Needs a display (`xvfb-run` will do, where all is drawn by the processor).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QEventLoop, QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication
from viewer import write_tissue

from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.levels import shown_levels
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.workbench import workbench_of

TICK_MS = 5
IDLE_S = 5.0
GENES = 20
REPAINTS_S, MOST_FRAMES = 5.0, 200
_DRAWS = {QEvent.Type.UpdateRequest, QEvent.Type.Expose, QEvent.Type.Paint}


class Drawing(QApplication):
    """An application that knows how long it has drawn, and how often.

    Attributes
    ----------
    spent : tuple of float
        Seconds by the clock, and of this thread.
    frames : int
    """

    def __init__(self) -> None:
        super().__init__(sys.argv[:1])
        self.spent, self.frames, self._draws = (0.0, 0.0), 0, False

    def notify(self, receiver: QObject | None, event: QEvent | None) -> bool:
        """Deliver an event; time it if that draws a window."""
        if self._draws or event is None or event.type() not in _DRAWS:
            return super().notify(receiver, event)
        before = np.array((time.perf_counter(), time.thread_time()))
        self._draws = True
        try:
            return super().notify(receiver, event)
        finally:
            self._draws = False
            took = np.subtract((time.perf_counter(), time.thread_time()), before)
            self.spent = tuple(np.add(self.spent, took))
            self.frames += 1


@dataclass(frozen=True)
class Gaps:
    """Of what was measured, in ms.

    Attributes
    ----------
    late, undrawn, worked : ndarray, shape (gaps,)
        From beat to beat; that without drawing; and what this thread worked, without drawing.
    frames : int
    """

    late: NDArray[np.floating]
    undrawn: NDArray[np.floating]
    worked: NDArray[np.floating]
    frames: int

    @classmethod
    def join(cls, gaps: list[Gaps]) -> Gaps:
        """Take several for one."""
        names = "late", "undrawn", "worked"
        joined = (np.concatenate([getattr(one, name) for one in gaps]) for name in names)
        return cls(*joined, sum(one.frames for one in gaps))

    @property
    def seconds(self) -> float:
        return float(self.late.sum()) / 1e3

    def __str__(self) -> str:
        shown = [self.late, self.undrawn, self.worked]
        numbers = [f"{np.percentile(one, 99):.0f} | {one.max():.0f}" for one in shown]
        return f"{self.frames / self.seconds:.0f} | {' | '.join(numbers)}"


class Heartbeat:
    """Measures how long the event loop did not turn, and how long this thread worked meanwhile."""

    def __init__(self, drawing: Drawing) -> None:
        self.rows: dict[str, Gaps] = {}
        self._drawing = drawing
        self._ticks: list[tuple[float, ...]] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def _tick(self) -> None:
        self._ticks.append((time.perf_counter(), time.thread_time(), *self._drawing.spent))

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Measure while something is done, and until the interface has drawn it."""
        self._ticks.clear()
        frames = self._drawing.frames
        self._tick()
        self._timer.start(TICK_MS)
        yield
        wait(0.5)
        self._timer.stop()
        gaps, worked, drew, drawing = np.diff(self._ticks, axis=0).T * 1e3
        frames = self._drawing.frames - frames
        self.rows[what] = Gaps(gaps, gaps - drew, worked - drawing, frames)

    def joined(self, start: str) -> Gaps:
        """Return what was measured of all that begins so."""
        return Gaps.join([gaps for what, gaps in self.rows.items() if what.startswith(start)])

    def report(self) -> None:
        """Print a table: gaps between beats, in ms."""
        print(
            "| | frames a second | gap: p99 | longest | without drawing: p99 | longest "
            "| this thread worked, without drawing: p99 | longest |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for what, gaps in self.rows.items():
            print(f"| {what} | {gaps} |")


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


def bare(beat: Heartbeat, paths: list[Path], rates: dict[str, float]) -> None:
    """Measure napari alone.

    It adds each layer of some things, shows other pixels, adds shapes; and draws what is there, as
    often as was drawn in what `rates` names, and does nothing else.
    """
    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    wait(1)
    for path in paths:
        viewer.layers.clear()
        wait(0.5)
        for data, attributes, kind in open_layers(path)[0]:
            with beat.during(f"{path.name}: napari adds {attributes['name']}"):
                viewer.add_layer(Layer.create(data, attributes, kind))
        viewer.layers.clear()
        wait(0.5)
        # Idle but for the end, as ours is: a percentile of beats depends on how many are idle.
        with beat.during(f"napari opens {path.name}, a layer a turn"):
            for data, attributes, kind in open_layers(path)[0]:
                layer = viewer.add_layer(Layer.create(data, attributes, kind))
                wait(0)
    run = layer.metadata["stenhance"].run
    layer.visible = layer.colorbar.visible = True
    wait(0.5)
    with beat.during("napari shows other pixels"):
        for n in range(2, GENES + 2):
            layer.data = shown_levels(run.levels(f"G{n}"))
            layer.contrast_limits = (0, n)
            wait(0.2)
    canvas = viewer.window._qt_viewer.canvas.native
    for what, rate in rates.items():
        frames = min(max(round(rate * REPAINTS_S), 1), MOST_FRAMES)
        with beat.during(f"napari only draws, as often as {what}"):
            for _ in range(frames):
                canvas.update()
                wait(1 / rate)
    with beat.during("napari adds shapes"):
        shapes = viewer.add_shapes(ndim=2)
        wait(0.5)
        draw_polygon(shapes, (1000, 1000))
    viewer.close()


def draw_polygon(layer: Any, shape: tuple[int, int]) -> None:
    """Draw as a user does who has clicked the last corner."""
    corners = np.array([(0.3, 0.3), (0.3, 0.6), (0.6, 0.6), (0.6, 0.3)])
    layer.add(corners * shape, shape_type="polygon")
    layer.mode = "pan_zoom"


def main() -> None:
    drawing = Drawing()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), drawing)


def measure(folder: Path, drawing: Drawing) -> None:
    """Do all that one does, and print how long the interface stood still."""
    path = write_tissue(folder)
    beat = Heartbeat(drawing)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    session = session_of(viewer)
    wait(1)
    with beat.during("idle, without docks"):
        wait(IDLE_S)
    with beat.during("making the dock"):
        bench = workbench_of(viewer)
        section = bench.open("section")
    with beat.during("unfolding the other panels, one after the other"):
        for name in ("impute", "domains", "genes", "enhance"):
            bench.open(name)
            wait(0.5)
    enhance, genes = bench.widget("enhance"), bench.widget("genes")

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
        draw_polygon(layer, session.section.slide.shape)
    viewer.layers.clear()
    wait(1)
    with beat.during("opening the result again"):
        section.open(out)
        done(section.run_bar)
    viewer.close()
    alone = Heartbeat(drawing)
    same = {
        "opening a section, for the second time": ("one.h5ad", "napari opens one.h5ad"),
        "running, with tiles arriving": ("one.stenhance.zarr",) * 2,
        f"browsing {GENES} genes": ("napari shows other pixels",) * 2,
        "drawing a region": ("napari adds shapes",) * 2,
        "opening the result again": ("one.stenhance.zarr", "napari opens one.stenhance.zarr"),
    }
    rates = {what: beat.rows[what].frames / beat.rows[what].seconds for what in same}
    bare(alone, [path, out], rates)
    beat.report()
    print()
    alone.report()
    print(
        "\n| ms | p99 | napari alone, for the same | napari that only draws as often "
        "| longest slot | napari alone | beyond that |"
    )
    print("|---|---|---|---|---|---|---|")
    for what, (one_a_time, at_once) in same.items():
        ours, base = beat.rows[what], alone.joined(one_a_time)
        draws = alone.rows[f"napari only draws, as often as {what}"]
        p99s = (np.percentile(one.late, 99) for one in (ours, alone.joined(at_once), draws))
        slot, of_it = ours.worked.max(), base.worked.max()
        print(
            f"| {what} | {' | '.join(f'{p99:.0f}' for p99 in p99s)} | {slot:.0f} | {of_it:.0f} "
            f"| {slot - of_it:+.0f} |"
        )


if __name__ == "__main__":
    main()
