"""Another gene is read in a thread: what was seen stays until all of the new one can be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_stenhance.plugin.asked_for import OF_SPOTS
from napari_stenhance.plugin.genes import GeneImage, View, make_bar
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.worker import Outcome, Running

if TYPE_CHECKING:
    from napari_stenhance.plugin.session import Session
    from napari_stenhance.results.field import What
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.running.job import Job

AT_ONCE = 256
"""The most pixels a side of a raster that is read sooner than a thread has begun."""
SPOTS_AT_ONCE = 50_000
"""The most spots of which that holds."""


class GeneReader(QObject):
    """Looks at another gene as soon as it was read; of several, at the one asked for last."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._asked: tuple[GeneSource | None, str, What] | None = None
        self._reading = self._asked
        self._seen: tuple[Any, ...] = ()
        self._running: Running | None = None

    @property
    def busy(self) -> bool:
        """Whether a gene is being read that will be looked at."""
        return self._asked is not None

    def look_at(self, *, gene: str | None = None, what: What | None = None) -> None:
        """Look at another gene of the current run, or at its spread, or at one that was measured.

        If something else is looked at before it was read, that stays.
        """
        session, run = self._session, self._session.scaled_by
        gene = session.gene if gene is None else gene
        if self._is_read_at_once(run, gene):
            self._asked = None
            session.look_at(gene=gene, what=what)
            return
        self._asked, self._seen = (run, gene, what or session.what), self._now()
        if self._running is None:
            self._read()

    def _is_read_at_once(self, run: GeneSource | None, gene: str) -> bool:
        if run is not None:
            return gene not in run.genes or max(run.grid.shape) <= AT_ONCE
        spots, section = self._session.measured, self._session.section
        if spots is None or section is None or section.spots is None:
            return True
        return gene not in spots.names.known or section.spots.n_obs <= SPOTS_AT_ONCE

    def _now(self) -> tuple[Any, ...]:
        """Return what is looked at now."""
        session = self._session
        together = tuple(one.gene for one in session.channels)
        return session.place, session.run, session.gene, session.what, together

    def _read(self) -> None:
        """Read what was asked for last."""
        assert self._asked is not None
        run, gene, what = self._reading = self._asked
        view = None
        if run is not None:
            view = View.of(self._session.viewer, run)
            # In a turn of its own, before what is seen changes.
            make_bar(self._session.viewer, run, gene)
        layers = layers_of(self._session.viewer, *OF_SPOTS)
        points = [info.colours for _, info in layers if info.place is self._session.place]

        def read(_job: Job) -> GeneImage | None:
            for colours in points:
                if colours is not None and gene in colours:
                    # They keep what is asked for last.
                    colours.values(gene)
            return None if run is None else GeneImage.read(run, gene, what, view=view)

        running = self._running = Running(gene, read)
        running.ended.connect(self._ended)
        running.start()

    def _ended(self, outcome: Outcome) -> None:
        self._running = None
        if self._asked is None or self._now() != self._seen:
            self._asked = None
            return
        if outcome.error is None and self._asked is not self._reading:
            self._read()
            return
        (_, gene, what), self._asked = self._asked, None
        # What could not be read is read once more, and says so where all errors of layers do.
        self._session.look_at(gene=gene, what=what, read=outcome.value)
