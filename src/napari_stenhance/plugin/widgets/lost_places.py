"""What is said on closing of places of spots that no file holds yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from napari_stenhance.plugin.closing import ClosingNotes
from napari_stenhance.plugin.registering import PlacingHistory, learned_where_they_lay
from napari_stenhance.running.numbers import counted

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.results.run import Run
    from napari_stenhance.section.registration import Registration
    from napari_stenhance.section.section import Section


class LostPlaces:
    """Knows which steps were not applied, and which places that were applied lie in no file.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._closing = ClosingNotes(viewer)
        self._history: PlacingHistory | None = None
        self._loose: list[Section] = []
        self._written: set[Registration] = set()

    def edited(self, history: PlacingHistory | None) -> None:
        """Take note of what was done to spots; None where they are no longer being placed."""
        self._history = history
        self._say()

    def applied(self, section: Section) -> None:
        """Take note of a section whose spots were placed anew."""
        if section.registration is not None and section.registration not in self._written:
            self._loose.append(section)
        self._say()

    def written(self, registration: Registration) -> None:
        """Take note of what was written to a file."""
        self._written.add(registration)
        self._loose = [one for one in self._loose if one.registration != registration]
        self._say()

    def saved(self) -> None:
        """Take note that all layers were saved."""
        self._loose = []
        self._say()

    def follow(self, sections: Iterable[Section | None], runs: Iterable[Run]) -> None:
        """Forget sections that are no longer open, and those of which a run keeps the places."""
        there, runs = [one and one.registration for one in sections], list(runs)
        self._loose = [
            section
            for section in self._loose
            # Opened again at another scale, it is placed as it was.
            if section.registration in there
            and not any(learned_where_they_lay(run, section) for run in runs)
        ]
        self._say()

    def _say(self) -> None:
        said = {
            id(section): f"places of spots of {section.name} will be lost; Save layers keeps them, "
            "and so do a run and Save … below Place spots"
            for section in self._loose
        }
        if self._history is not None and (changes := self._history.changes):
            name = self._history.section.name
            said[0] = (
                f"places of spots of {name}: {counted(changes, 'step')} not applied; Apply in the "
                "panel Section does"
            )
        self._closing.say(said)
