"""Layers of a run that is still being filled: they appear with the first tile, and grow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from napari_stenhance.plugin.crops import crop_layers
from napari_stenhance.plugin.genes import first_gene
from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    layers_of,
    our_layers,
    viewer_tiles,
)
from napari_stenhance.plugin.layers import run_layers
from napari_stenhance.plugin.scene import show_bar
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.worker import call_slot
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.running.job import Event, Partial

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

_REFRESH_MS = 300
_PAUSE_MS = 20
_QUICK, _MOST = 256, 1024
"""Of how many pixels a side the limits are taken, while tiles come and at the end."""


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
        self._waiting, self._seen = self._seen, set()
        try:
            self._make_layers()
            self._make_late_layers()
            while self._step():
                yield
            self._reload_layers(whole=True)
        finally:
            # The next job begins anew, whatever became of this one's layers.
            self._failed, self._adding = False, None
            for kept in (self._added, self._offered, self._coming, self._waiting):
                kept.clear()

    def _tick(self) -> None:
        """Refresh; what fails is said once, and tried again when the job has ended."""
        if not self._failed and call_slot("Layers of the run", self._refresh) is not None:
            self._failed = True
            self._added.clear()

    def _refresh(self) -> None:
        self._make_layers()
        if self._step():
            # napari takes a quarter of a second for each: the interface gets its turn between them.
            self._timer.start(_PAUSE_MS)
        else:
            self._reload_layers(whole=False)

    def _open(self, path: Path, name: str) -> FieldRun:
        return FieldRun(ResultFolder.open(path, viewer_tiles(self._viewer)), name)

    def _make_layers(self) -> None:
        for path, name in self._waiting - self._added:
            self._added.add((path, name))
            run = self._open(path, name)
            if not any(layers_of(self._viewer, "gene", "browse", of_run=run.key)):
                gene = self.gene if self.gene in run.genes else first_gene(run)
                layers = run_layers(run, visible=False)
                # What is looked at first comes first.
                layers.sort(key=lambda layer: layer[1]["metadata"][KEY].gene != gene)
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
        run, gene = data[1]["metadata"][KEY].run, data[1]["metadata"][KEY].gene
        new = not any(layers_of(self._viewer, "gene", "browse", of_run=run.key))
        added = self._session.add([data])
        if new and gene:
            yield
            # The first bar takes napari longer than the layer.
            show_bar(added[0], visible=True)
            yield
        if new and gene and added[0] in self._viewer.layers:
            self._session.look_at(run=run, gene=gene, what="expression")
        else:
            self._session.show()

    def _reload_layers(self, *, whole: bool) -> None:
        waiting, self._waiting = self._waiting, set()
        if waiting:
            self._session.forget_image()
        for layer, info in our_layers(self._viewer):
            run = info.run
            if info.role.fills and run is not None and (run.result.path, run.name) in waiting:
                self._reload(layer, whole=whole)
        run = self._session.run
        if run is not None and (run.result.path, run.name) in waiting:
            self._session.show(_MOST if whole else _QUICK)

    def _reload(self, layer: Image, *, whole: bool) -> None:
        coarsest = len(layer.data) - 1
        if whole or layer.data_level == coarsest:
            # napari keeps the coarsest level of a 2-D pyramid; only new data makes it look again.
            layer.data = layer.data_raw
        elif layer.visible:
            layer.refresh()
