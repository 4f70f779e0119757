"""The numbers of regions, counted in a thread whenever something else is looked at or drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stenhance.errors import StenhanceError
from napari_stenhance.plugin.cell_means import CellMeans
from napari_stenhance.plugin.colours import TOTAL
from napari_stenhance.plugin.section_runs import run_counted
from napari_stenhance.plugin.worker import Outcome, Running
from napari_stenhance.results.domains import DomainRun
from napari_stenhance.results.region_groups import lay_domains, lay_regions
from napari_stenhance.results.region_numbers import MeasuredSpots, RegionGroups, group_numbers
from napari_stenhance.section.named_regions import NamedRegions

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.plugin.session import Session
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section

Counts = NamedRegions | DomainRun | CellMeans
"""What is counted: drawn regions, domains, or cells."""
_PAUSE_MS = 50


@dataclass(frozen=True, eq=False)
class Counted:
    """What was counted.

    Attributes
    ----------
    run : GeneSource or None
    gene : str
    groups : RegionGroups
    measured : MeasuredSpots or None
    numbers : DataFrame
        As `summarise` gives them.
    """

    run: GeneSource | None
    gene: str
    groups: RegionGroups
    measured: MeasuredSpots | None
    numbers: pd.DataFrame

    @property
    def said(self) -> str:
        """What the numbers are of."""
        if self.gene == TOTAL:
            return "Look at a gene to see its mean in each region."
        row = self.numbers.iloc[0]
        # Where nothing was predicted, or measured, there is no unit.
        units = list(dict.fromkeys(filter(None, (row["unit"], row["measured_unit"]))))
        unit = units[0] if len(units) == 1 else f"{row['origin']} in {', measured in '.join(units)}"
        none = "" if row["measured_unit"] else " No spots here measured it."
        return f"{row['gene']}, mean ± SD, {unit}.{none}"


class RegionCounts(QObject):
    """Counts what is in regions; `changed` says that there is something new.

    Attributes
    ----------
    found : Counted or None
        None while it is being counted, and where there is nothing to count.
    error : StenhanceError or None
        Why it could not be counted.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self.found: Counted | None = None
        self.error: StenhanceError | None = None
        self._key: tuple[Any, ...] = ()
        self._counted: Counts | None = None
        self._laid: tuple[Any, RegionGroups] | None = None
        self._spots: MeasuredSpots | None = None
        self._running: Running | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self._start)

    def follow(self, what: Counts | None) -> None:
        """Count these, if anything of them, or what is looked at, is another."""
        session, run = self._session, self._run()
        if what is None or (isinstance(what, NamedRegions) and not len(what)):
            key: tuple[Any, ...] = ()
        else:
            # While a run is filled, its values change.
            filling = session.values if run is not None and not run.complete else None
            of = None if run is None else run.key
            key = of, session.gene, what, session.section, filling
        if _same(key, self._key):
            return
        self._key, self._counted = key, what
        self.found = self.error = None
        if key:
            self._timer.start()

    def _run(self) -> GeneSource | None:
        session = self._session
        return run_counted(session.viewer, session.place, session.run, session.gene)

    def _start(self) -> None:
        """Count, once what was counted before has come to an end."""
        what = self._counted
        if self._running is not None or what is None or not self._key:
            return
        session, key = self._session, self._key
        run, gene, section = self._run(), session.gene, session.section
        running = self._running = Running(
            "Numbers of regions", lambda job: self._count(run, gene, what, section, job)
        )
        running.ended.connect(lambda outcome: self._ended(key, outcome))
        running.start()

    def _count(
        self,
        run: GeneSource | None,
        gene: str,
        what: Counts,
        section: Section | None,
        job: Job,
    ) -> Counted:
        measured = self._spots
        if section is None or section.spots is None:
            measured = None
        elif measured is None or measured.section is not section:
            measured = self._spots = MeasuredSpots(section)
        # Of regions that were renamed, the areas are the same.
        areas = what.areas if isinstance(what, NamedRegions) else what
        laid, of = self._laid, (None if run is None else run.key, areas, measured)
        if laid is None or not _same(laid[0], of):
            laid = self._laid = of, _lay(run, what, measured, job)
        groups = laid[1]
        if isinstance(what, NamedRegions):
            groups = groups.named(what)
        asked = gene
        if gene == TOTAL:
            # Superpixels and spots are those of any gene.
            genes = () if measured is None else measured.genes[:1]
            asked = run.shown_first if run is not None else next(iter(genes), "")
        numbers = group_numbers(run, groups, (asked,), measured, job)
        if gene == TOTAL:
            numbers[["mean", "sd", "measured_mean", "measured_sd"]] = np.nan
            numbers[["gene", "origin", "reliability", "unit", "measured_unit"]] = ""
        return Counted(run, gene, groups, measured, numbers)

    def _ended(self, key: tuple[Any, ...], outcome: Outcome) -> None:
        self._running = None
        if not _same(key, self._key):
            self._start()
            return
        self.found, self.error = outcome.value, outcome.error
        self.changed.emit()


def _lay(
    run: GeneSource | None, what: Counts, measured: MeasuredSpots | None, job: Job
) -> RegionGroups:
    if isinstance(what, NamedRegions):
        return lay_regions(run, what, measured, "region", job)
    if isinstance(what, CellMeans):
        return lay_regions(run, what.cells, measured, "cell", job)
    return lay_domains(run, what, measured, job)


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Compare what tells them apart: arrays, tables and sections are what they are."""
    plain = (str, tuple, type(None))
    return len(one) == len(other) and all(
        a == b if isinstance(a, plain) and isinstance(b, plain) else a is b
        for a, b in zip(one, other, strict=True)
    )
