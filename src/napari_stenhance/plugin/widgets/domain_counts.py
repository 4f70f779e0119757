"""How much there is of each domain and what marks it, counted anew after each change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_stenhance.plugin.worker import Outcome, Running

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.results.domain_edit import DomainEdit

_KEPT = 16


class DomainCounts(QObject):
    """Knows the numbers of domains as they are now, or counts them in a thread.

    Parameters
    ----------
    parent : QObject
    """

    counted = Signal()
    """There is something that was not known before."""
    failed = Signal(object, str)
    """An error, and the traceback."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._known: list[tuple[DomainEdit, pd.DataFrame]] = []
        self._running: Running | None = None
        self._wanted: DomainEdit | None = None
        self._counting: DomainEdit | None = None
        self._failed: DomainEdit | None = None

    def of(self, edit: DomainEdit) -> pd.DataFrame | None:
        """Return the numbers of domains, and begin to count what is not known.

        Returns
        -------
        DataFrame or None
            Markers are None while they are looked for. None while everything is counted.
        """
        known = next((summary for one, summary in self._known if one.same_labels(edit)), None)
        if known is not None:
            return known
        whole = edit.run.summary()
        if edit.painted is None and not edit.merged:
            return self._keep(edit, whole)
        if self._failed is None or not self._failed.same_labels(edit):
            self._count(edit)
        return None if edit.painted is not None else _summed(whole, edit.lookup())

    def _keep(self, edit: DomainEdit, summary: pd.DataFrame) -> pd.DataFrame:
        self._known = [*self._known[1 - _KEPT :], (edit, summary)]
        return summary

    def _count(self, edit: DomainEdit) -> None:
        """Count in a thread; what is asked for meanwhile comes after."""
        self._wanted = edit
        if self._running is not None:
            return
        running = self._running = Running("Counting domains", lambda _job: edit.summary())
        self._counting = edit
        # To a method: a dock that is closed meanwhile is not told.
        running.ended.connect(self._counted)
        running.start()

    def _counted(self, outcome: Outcome) -> None:
        edit, self._running = self._counting, None
        if edit is None:
            return
        if outcome.error is None:
            self._keep(edit, outcome.value)
        else:
            self._failed = edit
            self.failed.emit(outcome.error, outcome.details)
        wanted = self._wanted
        if wanted is not None and not wanted.same_labels(edit):
            self._count(wanted)
        self.counted.emit()


def _summed(summary: pd.DataFrame, lookup: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Add up what was merged; markers are no sum."""
    import pandas as pd

    numbers = [c for c in summary if c in {"spots", "superpixels", "area_mm2"}]
    by = pd.Series(lookup[summary["domain"].to_numpy()], index=summary.index, name="domain")
    summed = summary[numbers].groupby(by).sum(min_count=1).reset_index()
    return summed.assign(markers=None)
