"""What docks list to choose from: sections, and runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox

from napari_stenhance.plugin.images import run_title

if TYPE_CHECKING:
    from napari_stenhance.results.run import Run
    from napari_stenhance.section.section import Section

_MEASURED = "measured spots"
_SHORT = 4


def named(sections: Sequence[Section]) -> list[tuple[str, Section]]:
    """Name each section, with its number where several have one name."""
    names = [s.name for s in sections]
    return [
        (s.name if names.count(s.name) == 1 else f"{s.name} ({n + 1})", s)
        for n, s in enumerate(sections)
    ]


def elide(box: QComboBox) -> None:
    """Let a box be narrower than its longest choice, which would widen the dock."""
    box.setMinimumContentsLength(_SHORT)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)


def relist(
    box: QComboBox, before: Sequence[Run | None], now: Sequence[Run | None], chosen: Run | None
) -> None:
    """List runs anew without a signal, and show which one is chosen.

    Parameters
    ----------
    box : QComboBox
    before, now : sequence of runs, or None for the measured spots
        What was listed, and what is to be.
    chosen : Run or None
    """
    old, keys = ([None if run is None else run.key for run in runs] for runs in (before, now))
    key = None if chosen is None else chosen.key
    box.blockSignals(True)
    if keys != old:
        box.clear()
        box.addItems([_MEASURED if run is None else listed_name(run) for run in now])
    box.setCurrentIndex(keys.index(key) if key in keys else -1)
    box.blockSignals(False)


def listed_name(run: Run) -> str:
    """Return what a run is called where it is one of several."""
    return f"{run_title(run)} · {run.result.name}"


def narrow(box: QComboBox) -> QComboBox:
    """Let a box be narrower than what it lists: a long name must not widen the dock."""
    policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    box.setSizeAdjustPolicy(policy)
    box.setMinimumContentsLength(4)
    return box
