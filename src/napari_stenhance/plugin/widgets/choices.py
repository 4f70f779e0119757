"""What docks list to choose from: sections, and runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qtpy.QtWidgets import QComboBox

    from napari_stenhance.section.section import Section


def named(sections: Sequence[Section]) -> list[tuple[str, Section]]:
    """Name each section, with its number where several have one name."""
    names = [s.name for s in sections]
    return [
        (s.name if names.count(s.name) == 1 else f"{s.name} ({n + 1})", s)
        for n, s in enumerate(sections)
    ]


def relist(
    box: QComboBox, before: Sequence[Any], now: Sequence[Any], labels: Sequence[str]
) -> None:
    """List runs anew without a signal: the newest is chosen, else what was, else the last.

    Parameters
    ----------
    box : QComboBox
    before, now : sequence
        What tells the runs apart that were listed, and those to list.
    labels : sequence of str
        Of `now`.
    """
    kept, new = box.currentIndex(), [n for n, key in enumerate(now) if key not in before]
    again = now.index(before[kept]) if before and before[kept] in now else len(now) - 1
    box.blockSignals(True)
    box.clear()
    box.addItems(list(labels))
    box.setCurrentIndex(new[-1] if new else again)
    box.blockSignals(False)
