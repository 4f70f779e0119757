"""A line that says whether the spots that are looked at fit their slide: checked by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import QTimer
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_stenhance.errors import Cancelled
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.follow import follow_session
from napari_stenhance.plugin.worker import Outcome, Running
from napari_stenhance.scoring.placement import LEAST_SPOTS, judge_placement
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.doctor import Diagnosis
from napari_stenhance.tasks.placement_picture import placement_png

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer

    from napari_stenhance.running.job import Job
    from napari_stenhance.scoring.placement import PlacementFit
    from napari_stenhance.section.registration import Registration
    from napari_stenhance.section.section import Section

_AFTER_MS = 300
"""What was opened is shown first."""


@dataclass(frozen=True, eq=False)
class CheckedPlacement:
    """What was found of the spots of a section.

    Attributes
    ----------
    said : str
    more : str
        How positions are to be written, where they fit clearly better otherwise.
    picture : bytes
        A PNG of both ways then; else empty.
    registration : Registration or None
        What places them so.
    """

    said: str
    more: str = ""
    picture: bytes = b""
    registration: Registration | None = None


def check_placement(section: Section, cache: Cache, job: Job) -> CheckedPlacement:
    """Try turns, flips and scales of the spots of a section; a thread does."""
    placement = judge_placement(section, cache, job, moves=False)
    stated, best = placement.stated, placement.best
    if best is not stated:
        found = Diagnosis(section.name, section.registration, section.mpp or 1.0, placement)
        return CheckedPlacement(
            f"Spots fit their slide clearly better {best.way.name} ({_short(best)}) than "
            f"{found.how} ({_short(stated)}).",
            "Nothing was changed. If the picture on the right is true, place them so; in "
            f"full-resolution pixels: {found.formula}.",
            placement_png(section.name, placement),
            found.registration,
        )
    if placement.is_well:
        return CheckedPlacement(f"Spots fit their slide ({_short(stated)}).")
    return CheckedPlacement(
        "Whether spots fit their slide cannot be told: no turn or scale fits clearly better "
        f"({_short(stated)})."
    )


def _short(fit: PlacementFit) -> str:
    return f"{fit.on_tissue:.0%} on tissue, r {fit.r:.2f}"


class PlacementLine(QWidget):
    """Whether the spots of the section that is looked at lie where they belong.

    Parameters
    ----------
    viewer : Viewer
    place : callable
        Offers to place the spots of a section by a registration.
    """

    def __init__(self, viewer: Viewer, place: Callable[[Section, Registration], None]) -> None:
        super().__init__()
        self._place = place
        self._session = session_of(viewer)
        self._known: list[tuple[Any, CheckedPlacement]] = []
        self._running: Running | None = None
        self._checked: Section | None = None
        self.label = QLabel(self)
        self.label.setWordWrap(True)
        self.label.setToolTip(
            "On tissue: spots whose centre is. r: how well the colours of the stain predict what "
            "spots measured, on parts of the tissue that were left out."
        )
        self.look = QPushButton("Show", self)
        self.look.setToolTip("Show the spots on their slide as stated, and as they fit better.")
        self.look.clicked.connect(self._show)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_AFTER_MS)
        self._later.timeout.connect(self._start)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.label, 1)
        row.addWidget(self.look)
        follow_session(self, viewer, self._follow)

    @property
    def busy(self) -> bool:
        """Whether something is checked, or will be in a moment."""
        return self._running is not None or self._later.isActive()

    def _found(self) -> CheckedPlacement | None:
        section = self._session.section
        self._known = [(of, found) for of, found in self._known if of() is not None]
        return next((found for of, found in self._known if of() is section), None)

    def _follow(self) -> None:
        """Say what is known of the section that is looked at; else find out in a moment."""
        found, can = self._found(), _can_tell(self._session.section)
        self.label.setText(found.said if found is not None and can else "")
        self.label.setVisible(bool(self.label.text()))
        self.look.setVisible(can and found is not None and bool(found.picture))
        if can and found is None and self._running is None:
            self._later.start()

    def _start(self) -> None:
        section = self._session.section
        if section is None or not _can_tell(section) or self._running is not None:
            return
        if self._found() is not None:
            return
        self._checked, cache = section, Cache.default()
        running = self._running = Running(
            f"Checking where spots of {section.name} lie",
            lambda job: check_placement(section, cache, job),
        )
        running.ended.connect(self._end)
        self.destroyed.connect(running.job.cancel)
        running.start()

    def _end(self, outcome: Outcome) -> None:
        section, self._checked, running, self._running = self._checked, None, self._running, None
        if running is not None:
            self.destroyed.disconnect(running.job.cancel)
        if section is not None and not isinstance(outcome.error, Cancelled):
            found = outcome.value or CheckedPlacement(
                f"Whether spots fit their slide is not known: {outcome.error}"
            )
            self._known.append((ref(section), found))
        self._follow()

    def _show(self) -> None:
        found, section = self._found(), self._session.section
        if found is not None and section is not None:
            show_placement(section, found, self._place, self)


def _can_tell(section: Section | None) -> bool:
    return (
        section is not None
        and section.spots is not None
        and section.mpp is not None
        and (section.slide is not None or section.picture is not None)
        and section.spots.n_obs >= LEAST_SPOTS
    )


def show_placement(
    section: Section,
    found: CheckedPlacement,
    place: Callable[[Section, Registration], None],
    parent: QWidget,
) -> QDialog:
    """Open a window with the spots on their slide in both ways, which can place them so."""
    dialog = QDialog(parent)
    dialog.setObjectName("stenhance placement")
    dialog.setWindowTitle(f"Spots of {section.name}")
    picture, said, more = QLabel(dialog), QLabel(found.said, dialog), QLabel(found.more, dialog)
    pixels = QPixmap()
    pixels.loadFromData(found.picture)
    picture.setPixmap(pixels)
    layout = QVBoxLayout(dialog)
    layout.addWidget(picture)
    for text in (said, more):
        text.setWordWrap(True)
        text.setTextInteractionFlags(text.textInteractionFlags().TextSelectableByMouse)
        layout.addWidget(text)
    registration = found.registration
    if registration is not None:
        button = QPushButton("Place them so …", dialog)
        button.setToolTip("Nothing is changed before Apply.")
        # Another section may be looked at by then.
        button.clicked.connect(lambda: (dialog.close(), place(section, registration)))
        layout.addWidget(button)
    dialog.show()
    return dialog
