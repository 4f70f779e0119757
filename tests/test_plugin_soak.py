"""Hours at the viewer in minutes: whatever is done, in whatever order, what is seen stays true."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from napari.utils.notifications import Notification, NotificationSeverity
from qtpy.QtWidgets import QApplication

from napari_stenhance.plugin.layer_info import layers_of, our_layers
from napari_stenhance.plugin.places import open_places
from napari_stenhance.plugin.session import session_of
from person import Person, at_work, check_truth

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")

SECONDS = float(os.environ.get("STENHANCE_SOAK_S", "300"))
MOST = 24
"""Layers that are open at most: beyond, all are closed, as a person would."""

REFUSALS = (
    "Choose at least one open section",
    "its slide is no longer among the layers",
    "Open the section to draw on",
    "no tissue",
    "another",
)
"""Errors that a person may rightly meet on the way."""

anything = st.integers(0, 999)


def rss_mb() -> float:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class TimeIsOverError(BaseException):
    """Ends the search: Hypothesis knows no end by the clock."""


class AtTheViewer(RuleBasedStateMachine):
    """Someone who does anything that the docks and napari's list of layers allow."""

    person: Person
    inputs: Path
    results: Path
    shown: list[Notification]
    raised: list[Any]
    until: float
    done: list[str]
    untrue: list[Exception]
    numbers: itertools.count[int]

    def __init__(self) -> None:
        super().__init__()
        self.viewer = self.person.viewer
        self.session = session_of(self.viewer)

    # What is done

    @initialize()
    def clear(self) -> None:
        self._note("clear")
        self.viewer.layers.clear()

    def _note(self, what: str) -> None:
        self.done.append(what)

    def _any(self, among: list[Any], n: int) -> Any:
        return among[n % len(among)]

    @precondition(lambda self: len(self.viewer.layers) < MOST)
    @rule(n=anything)
    def drop(self, n: int) -> None:
        """Drop a section, a result, or layers that were saved."""
        path = self._any([*self._files(), *sorted(self.results.iterdir())], n)
        self._note(f"drop {path.name}")
        self.person.drop(path)

    @precondition(lambda self: len(self.viewer.layers) < MOST)
    @rule(n=anything)
    def drop_section(self, n: int) -> None:
        """Drop a section or the result of one."""
        path = self._any(self._files(), n)
        self._note(f"drop {path.name}")
        self.person.drop(path)

    def _files(self) -> list[Path]:
        return [self.inputs / name for name in ("one.h5ad", "two.h5ad", "one.stenhance.zarr")]

    @precondition(lambda self: self.person.section.shown.count())
    @rule(n=anything)
    def choose_section(self, n: int) -> None:
        box = self.person.section.shown
        box.setCurrentIndex(n % box.count())
        self._note(f"section {box.currentText()}")
        box.activated.emit(box.currentIndex())

    @property
    def listed(self) -> list[str]:
        """The genes that can be looked at now."""
        source = self.session.genes or self.session.measured
        return [] if source is None else list(source.genes)

    @precondition(lambda self: self.person.genes.source.count())
    @rule(n=anything)
    def choose_source(self, n: int) -> None:
        box = self.person.genes.source
        self._note(f"source {box.itemText(n % box.count())}")
        box.setCurrentIndex(n % box.count())

    @precondition(lambda self: self.listed)
    @rule(n=anything)
    def type_gene(self, n: int) -> None:
        gene = self._any(self.listed, n)
        self._note(f"type {gene}")
        self.person.type_gene(gene.lower())
        assert self.session.gene == gene

    @precondition(lambda self: len(self.listed) > 5)
    @rule(n=anything)
    def type_sum(self, n: int) -> None:
        one, other = (self._any(self.listed, n + k) for k in (0, 5))
        self._note(f"type {one} - 2 * {other}")
        self.person.type_gene(f"{one.lower()}-2*{other}")
        assert self.session.gene == f"{one} - 2 * {other}"

    @precondition(lambda self: self.session.genes is not None and len(self.listed) > 5)
    @rule(n=anything, number=st.integers(2, 5))
    def together(self, n: int, number: int) -> None:
        """Select several rows of the table: five are too many."""
        genes = [self._any(self.listed, n + k) for k in range(number)]
        self._note(f"see {genes} at once")
        self.person.genes.table.together.emit(genes)
        assert bool(self.person.genes.error.text()) == (number > 4)

    @precondition(lambda self: self.person.genes.uncertainty.isEnabled())
    @rule()
    def uncertainty(self) -> None:
        self._note("uncertainty")
        self.person.click(self.person.genes.uncertainty)

    @precondition(lambda self: self.person.genes.spots.isEnabled())
    @rule()
    def spots(self) -> None:
        self._note("spots")
        self.person.click(self.person.genes.spots)

    @precondition(lambda self: any(layers_of(self.viewer, "gene", "browse", "channel")))
    @rule(n=anything, low=st.floats(0, 1), width=st.floats(0.1, 3))
    def contrast(self, n: int, low: float, width: float) -> None:
        """Move the contrast of any image, seen or not."""
        layer, _ = self._any(list(layers_of(self.viewer, "gene", "browse", "channel")), n)
        self._note(f"contrast of {layer.name}")
        layer.contrast_limits = (low, low + width)

    @precondition(lambda self: any(layers_of(self.viewer, "gene", "browse", "channel")))
    @rule(n=anything, colours=st.sampled_from(["turbo", "viridis", "twilight"]))
    def colours(self, n: int, colours: str) -> None:
        """Choose other colours for any image, seen or not."""
        layer, _ = self._any(list(layers_of(self.viewer, "gene", "browse", "channel")), n)
        self._note(f"{colours} for {layer.name}")
        layer.colormap = colours

    @precondition(lambda self: len(self.viewer.layers))
    @rule(n=anything)
    def toggle(self, n: int) -> None:
        """Click an eye in napari's list."""
        layer = self._any(list(self.viewer.layers), n)
        self._note(f"{'hide' if layer.visible else 'show'} {layer.name}")
        layer.visible = not layer.visible
        if layer is self.viewer.layers.selection.active and not layer.visible:
            # It stays active, so that its key shows it again; until something else is clicked.
            self.viewer.layers.selection.active = None

    @precondition(lambda self: len(self.viewer.layers))
    @rule(n=anything, several=st.integers(1, 3))
    def remove(self, n: int, several: int) -> None:
        """Delete what is selected in napari's list."""
        layers = list(self.viewer.layers)
        chosen = [layers[(n + k) % len(layers)] for k in range(several)]
        self._note(f"remove {[layer.name for layer in chosen]}")
        self.viewer.layers.selection = set(chosen)
        self.viewer.layers.remove_selected()

    @precondition(lambda self: self.person.genes.pin.isEnabled())
    @rule()
    def pin(self) -> None:
        self._note(f"pin {self.session.gene}")
        self.person.click(self.person.genes.pin)
        self.person.wait(lambda: not self.person.genes.run_bar.busy)

    @precondition(lambda self: len(self.viewer.layers) < MOST)
    @rule(write=st.sampled_from(("", "G1", "G20, G3")), cancelled=st.booleans())
    def run(self, write: str, cancelled: bool) -> None:
        """Learn and predict, with whatever region the dock has; perhaps stop it."""
        docks = self.person.enhance
        self._note(f"run {write}, {docks.form.fields['region'].value}, {cancelled=}")
        out = self.results / f"r{next(self.numbers)}.stenhance.zarr"
        self.person.set_enhance(out, write, epochs=1)
        self.person.click(docks.run)
        if cancelled and docks.run_bar.busy:
            with suppress(Exception):
                self.person.bot.waitUntil(lambda: docks.run_bar.bar.maximum() > 0, timeout=2000)
            if docks.run_bar.busy:
                self.person.click(docks.run_bar.cancel)
        self.person.wait(lambda: not docks.run_bar.busy)

    @precondition(lambda self: self.session.section is not None)
    @rule(at=st.tuples(st.floats(0.2, 0.6), st.floats(0.2, 0.6)), size=st.floats(0.1, 0.3))
    def draw(self, at: tuple[float, float], size: float) -> None:
        """Draw a square on the section that is looked at, and choose or forget it."""
        self._note(f"draw {at}")
        section = self.session.section
        self.person.click(self.person.enhance.draw)
        if section.slide is None:
            return
        layer = self.viewer.layers.selection.active
        height, width = section.slide.shape
        corners = np.array([(0, 0), (0, 1), (1, 1), (1, 0)]) * size + at
        layer.add(corners * (height, width), shape_type="polygon")
        layer.mode = "pan_zoom"

    @precondition(lambda self: any(our_layers(self.viewer)))
    @rule()
    def save(self) -> None:
        """Save all layers, and open them again later."""
        self._note("save")
        path = self.results / f"saved{next(self.numbers)}.zarr"
        self.viewer.layers.save(str(path), plugin="napari-stenhance")

    # What must hold

    @invariant()
    def holds(self) -> None:
        try:
            self._check()
        except Exception as error:
            self.untrue.append(error)
            raise

    def _check(self) -> None:
        if time.monotonic() > self.until:
            raise TimeIsOverError
        QApplication.processEvents()
        person = self.person
        bars = [d.run_bar for d in (person.section, person.enhance, person.genes)]
        assert not any(bar.busy for bar in bars)
        deadline = time.monotonic() + 10
        while at_work() and time.monotonic() < deadline:
            person.bot.wait(5)
        assert not at_work(), "a thread is at work"
        assert self.raised == []
        errors = [n for n in self.shown if n.severity >= NotificationSeverity.ERROR]
        self.shown.clear()
        for error in errors:
            assert any(said in error.message for said in REFUSALS), error.message
        check_truth(self.viewer)
        for layer in self.viewer.layers:
            assert {str(unit) for unit in layer.units} == {"micrometer"}, layer
        if self.session.place is not None:
            assert self.session.place in open_places(self.viewer)


def soak(
    person: Person, small: Path, folder: Path, shown: list[Any], *, seconds: float, start: int
) -> list[tuple[int, float]]:
    """Do anything for some time; return memory after each emptying, by the layers added so far."""
    results = folder / "results"
    results.mkdir()
    for name in ("one.h5ad", "two.h5ad", "one_he.jpg", "two_he.jpg"):
        (folder / name).symlink_to(small / name)
    shutil.copytree(small / "one.stenhance.zarr", folder / "one.stenhance.zarr")
    done: list[str] = []
    memory: list[tuple[int, float]] = []
    added = itertools.count(1)
    total = [0]
    person.viewer.layers.events.inserted.connect(lambda _e: total.__setitem__(0, next(added)))
    with person.bot.captureExceptions() as raised:

        class Machine(AtTheViewer):
            def teardown(self) -> None:
                memory.append((total[0], rss_mb()))

        Machine.person, Machine.inputs, Machine.results = person, folder, results
        Machine.shown, Machine.raised, Machine.done, Machine.untrue = shown, raised, done, []
        # What was cancelled leaves no folder to be counted.
        Machine.numbers = itertools.count()
        Machine.until = time.monotonic() + seconds
        while time.monotonic() < Machine.until:
            start += 1
            # What came before changes what can be done, which Hypothesis minds.
            with suppress(TimeIsOverError, FlakyStrategyDefinition):
                run_state_machine_as_test(
                    seed(start)(Machine),
                    settings=settings(
                        max_examples=10_000,
                        stateful_step_count=40,
                        deadline=None,
                        database=None,
                        phases=(Phase.generate,),
                        suppress_health_check=list(HealthCheck),
                    ),
                )
            assert not Machine.untrue, "\n".join(done[len(done) - 1 - done[::-1].index("clear") :])
    print(f"{len(done)} actions, {total[0]} layers; memory: {memory}")
    return memory


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.painted
def test_whatever_is_done_what_is_seen_is_true(
    person: Person, small: Path, tmp_path: Path, notifications: list[Notification]
) -> None:
    soak(person, small, tmp_path, notifications, seconds=SECONDS, start=int(time.time()))
