"""Layers of a run that is still being filled: they appear with the first tile, and grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from napari_stenhance.plugin.crops import crop_layers
from napari_stenhance.plugin.genes import GENE, GeneImage, first_gene, set_contrast
from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    layers_of,
    our_layers,
    viewer_tiles,
)
from napari_stenhance.plugin.layers import run_layers
from napari_stenhance.plugin.levels import contrast
from napari_stenhance.plugin.scene import show_bar
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.worker import Outcome, Running, call_slot
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.running.job import Event, Partial

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_stenhance.results.field import What
    from napari_stenhance.results.gene_source import GeneSource

_REFRESH_MS = 300
_PAUSE_MS = 20
_QUICK, _MOST = 256, 1024
"""Of how many pixels a side the limits are taken, while tiles come and at the end."""


def _read_for(info: LayerInfo) -> set[tuple[Path, str]]:
    """Return which runs a layer reads: its own, and one that it leaves room for."""
    return {(key[0], key[2]) for key in (info.of_run, info.over) if key is not None}


@dataclass(frozen=True)
class _Made:
    """What a thread makes of tiles that have come.

    Attributes
    ----------
    runs : dict of list of tuple
        The layers of each run that has none yet.
    first : dict of GeneImage
        What is to be looked at first of each of these, if it has genes, by the run's key.
    looked_at : GeneImage or None
        What is looked at, if more has come of it.
    """

    runs: dict[tuple[Path, str], list[LayerData]]
    first: dict[Any, GeneImage]
    looked_at: GeneImage | None


class LiveLayers(QObject):
    """Adds the layers of runs as their first tile is written, and refreshes them as more come.

    What is first seen of a run is looked at; what the user looks at after that, stays. A layer that
    the user deletes meanwhile stays deleted, and limits that the user sets stay set.

    Attributes
    ----------
    gene : str
        The gene to look at first; empty for that which the run itself shows first.
    """

    gene = ""

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._added: set[tuple[Path, str]] = set()
        self._seen: set[tuple[Path, str]] = set()
        self._waiting: set[tuple[Path, str]] = set()
        self._coming: list[LayerData] = []
        self._offered: set[tuple[Any, ...]] = set()
        self._session = session_of(viewer)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._tick)
        self._adding: Iterator[None] | None = None
        self._making: Running | None = None
        self._first: dict[Any, GeneImage] = {}
        self._failed = False

    def receive(self, event: Event) -> None:
        """Take an event of the job."""
        if isinstance(event, Partial):
            self._waiting.add((event.result, event.run))
            self._seen.add((event.result, event.run))
            if not self._timer.isActive():
                self._timer.start(_REFRESH_MS)

    def finish(self) -> None:
        """Show all that there is of every run that the job touched."""
        for _ in self.finish_in_turns():
            pass

    def finish_in_turns(self) -> Iterator[None]:
        """Do as `finish` does; after each layer, others have their turn."""
        self._timer.stop()
        self._making = None
        self._waiting, self._seen = self._seen, set()
        try:
            self._take(_make(self._new_runs(), self.gene, None))
            self._make_late_layers()
            while self._step():
                yield
            yield from self._reload_in_turns()
        finally:
            # The next job begins anew, whatever became of this one's layers.
            self._failed, self._adding = False, None
            for kept in (self._added, self._offered, self._coming, self._waiting, self._first):
                kept.clear()

    def _tick(self) -> None:
        """Refresh; what fails is tried again when the job has ended."""
        if not self._failed and call_slot("Layers of the run", self._refresh) is not None:
            self._fail()

    def _fail(self) -> None:
        self._failed = True
        self._added.clear()

    def _refresh(self) -> None:
        if self._step():
            # napari takes a quarter of a second for each: the interface gets its turn between them.
            self._timer.start(_PAUSE_MS)
        elif self._waiting and self._making is None:
            self._make()

    def _make(self) -> None:
        """Read in a thread what has come: beside a run, that may take long."""
        session, new, gene = self._session, self._new_runs(), self.gene
        run = None if session.channels else session.scaled_by
        more = run is not None and (run.result.path, run.name) in self._waiting
        looked_at = (run, session.gene, session.what) if run is not None and more else None
        making = self._making = Running("Layers", lambda _job: _make(new, gene, looked_at))
        making.ended.connect(self._end_making)
        making.start()

    def _end_making(self, outcome: Outcome) -> None:
        if self.sender() is not self._making:
            # The job has ended meanwhile, and made them itself.
            return
        self._making = None
        if outcome.error is not None:
            self._fail()
            return
        self._take(outcome.value)
        if call_slot("Layers of the run", self._reload_layers, outcome.value.looked_at) is not None:
            self._fail()
        elif (self._coming or self._waiting) and not self._timer.isActive():
            self._timer.start(_PAUSE_MS)

    def _open(self, path: Path, name: str) -> FieldRun:
        return FieldRun(ResultFolder.open(path, viewer_tiles(self._viewer)), name)

    def _new_runs(self) -> list[FieldRun]:
        """Open the runs that have no layers yet."""
        new = []
        for key in self._waiting - self._added:
            run = self._open(*key)
            if any(layers_of(self._viewer, "gene", "browse", of_run=run.key)):
                self._added.add(key)
            else:
                new.append(run)
        return new

    def _take(self, made: _Made) -> None:
        """Let what was made come, a layer a turn."""
        self._first.update(made.first)
        for key, layers in made.runs.items():
            self._added.add(key)
            self._offered.update(layer[1]["metadata"][KEY].key for layer in layers)
            self._coming += layers

    def _make_late_layers(self) -> None:
        """Make those layers that the first tile of a run does not bring."""
        for path, name in self._waiting:
            run = self._open(path, name)
            if run.created:
                known = self._offered | {info.key for _, info in our_layers(self._viewer)}
                layers = crop_layers(run, visible=False)
                self._coming += [one for one in layers if one[1]["metadata"][KEY].key not in known]

    def _step(self) -> bool:
        """Add the next layer, or go on with it; tell whether there was one."""
        if self._adding is None and not self._coming:
            return False
        self._adding = self._adding or self._add(self._coming.pop(0))
        if next(self._adding, True):
            self._adding = None
        return True

    def _add(self, data: LayerData) -> Iterator[None]:
        info: LayerInfo = data[1]["metadata"][KEY]
        run, gene = info.run, info.gene
        assert run is not None
        new = not any(layers_of(self._viewer, "gene", "browse", of_run=run.key))
        added = self._session.add([data])
        # Points of a lattice have no bar of their own.
        if gene and data[2] == "image":
            yield
            # The first bar takes napari longer than the layer: that of a layer which may be seen
            # next is made before, too.
            for visible in (True,) if new else (True, False):
                show_bar(added[0], visible=visible)
            yield
        if new and gene and added[0] in self._viewer.layers:
            first = self._first.get(run.key)
            self._session.look_at(run=run, gene=gene, what="expression", read=first)
        else:
            self._session.show()

    def _reload_layers(self, read: GeneImage | None) -> None:
        for _ in self._reload_in_turns(read, whole=False):
            pass

    def _reload_in_turns(
        self, read: GeneImage | None = None, *, whole: bool = True
    ) -> Iterator[None]:
        waiting, self._waiting = self._waiting, set()
        if whole:
            for run in [self._session.run, *(info.run for _, info in our_layers(self._viewer))]:
                if run is not None and (run.result.path, run.name) in waiting:
                    run.read_again()
        if waiting:
            self._session.read_again(read)
        for layer, info in our_layers(self._viewer):
            run = info.run
            if info.role.fills and run is not None and waiting & _read_for(info):
                self._reload(layer, whole=whole)
                yield
        run = self._session.run
        if run is not None and (run.result.path, run.name) in waiting:
            self._session.show(_MOST if whole else _QUICK)

    def _reload(self, layer: Image, *, whole: bool) -> None:
        coarsest = len(layer.data) - 1
        if whole or layer.data_level == coarsest:
            # napari keeps the coarsest level of a 2-D pyramid; only new data makes it look again.
            layer.data = layer.data_raw
            if whole and not layer.visible and layer.metadata[KEY].role == GENE:
                # Its first tile gave its limits; what is seen has those of the session.
                set_contrast(layer, contrast(layer.data))
        elif layer.visible:
            layer.refresh()


def _make(runs: list[FieldRun], gene: str, looked_at: tuple[GeneSource, str, What] | None) -> _Made:
    """Make the layers of runs, and read genes of them.

    Parameters
    ----------
    runs : list of FieldRun
        Those without layers.
    gene : str
        What to look at first of each, if it has that.
    looked_at : tuple of GeneSource, str and str, or None
        A run, a gene and what of it to read again.
    """
    made: dict[tuple[Path, str], list[LayerData]] = {}
    first: dict[Any, GeneImage] = {}
    for run in runs:
        shown = gene if gene in run.genes else first_gene(run)
        layers = run_layers(run, visible=False)
        # What is looked at first comes first.
        layers.sort(key=lambda layer, shown=shown: layer[1]["metadata"][KEY].gene != shown)
        made[run.result.path, run.name] = layers
        first[run.key] = GeneImage.read(run, shown)
    again = None if looked_at is None else GeneImage.read(*looked_at, _QUICK)
    return _Made(made, first, again)
