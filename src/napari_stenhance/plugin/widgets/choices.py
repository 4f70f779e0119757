"""What docks list to choose from: sections, and runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtpy.QtWidgets import QComboBox

    from napari_stenhance.results.run import Run
    from napari_stenhance.section.section import Section

_MEASURED = "measured spots"


def named(sections: Sequence[Section]) -> list[tuple[str, Section]]:
    """Name each section, with its number where several have one name."""
    names = [s.name for s in sections]
    return [
        (s.name if names.count(s.name) == 1 else f"{s.name} ({n + 1})", s)
        for n, s in enumerate(sections)
    ]


def relist(
    box: QComboBox,
    before: Sequence[Run | None],
    now: Sequence[Run | None],
    wanted: Callable[[Run | None], bool] = lambda _run: True,
) -> bool:
    """List runs anew without a signal: a new one is chosen, else what was, else the last.

    Parameters
    ----------
    box : QComboBox
    before, now : sequence of runs, or None for the measured spots
        What was listed, and what is to be.
    wanted : callable
        Whether a run that is new is what the user wants to see.

    Returns
    -------
    bool
        Whether they are others than before.
    """
    old, keys = ([None if run is None else run.key for run in runs] for runs in (before, now))
    if keys == old:
        return False
    kept = old[box.currentIndex()] if 0 <= box.currentIndex() < len(old) else None
    again = keys.index(kept) if kept in keys else len(keys) - 1
    new = [n for n, run in enumerate(now) if keys[n] not in old and wanted(run)]
    box.blockSignals(True)
    box.clear()
    box.addItems([_MEASURED if run is None else f"{run.result.name} · {run.name}" for run in now])
    box.setCurrentIndex(new[-1] if new else again)
    box.blockSignals(False)
    return True
