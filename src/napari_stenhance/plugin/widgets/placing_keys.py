"""Keys that are heard over the slide while spots are placed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.viewer import Viewer

ARROWS = {"←": ("Left", -1, 0), "↑": ("Up", 0, -1), "↓": ("Down", 0, 1), "→": ("Right", 1, 0)}
"""The key of each, and where it moves: right and down."""
_UNDO, _REDO = "Control-Z", "Control-Shift-Z"
_TEN = 10


class PlacingKeys:
    """Arrows move spots, with Shift ten times as far; steps are undone and done again.

    Parameters
    ----------
    viewer : Viewer
    move : callable
        Receives (dx, dy, times).
    undo, redo : callable
    """

    def __init__(
        self,
        viewer: Viewer,
        move: Callable[[float, float, float], None],
        undo: Callable[[], None],
        redo: Callable[[], None],
    ) -> None:
        self._viewer = viewer
        self._acts: dict[str, Callable[[], None]] = {_UNDO: undo, _REDO: redo}
        for key, dx, dy in ARROWS.values():
            for name, times in ((key, 1), (f"Shift-{key}", _TEN)):
                self._acts[name] = lambda dx=dx, dy=dy, times=times: move(dx, dy, times)

    def take(self) -> None:
        """Hear them: Qt's own shortcuts are heard in the panel alone."""
        for name, act in self._acts.items():
            self._viewer.bind_key(name, lambda _viewer, act=act: act(), overwrite=True)

    def leave(self) -> None:
        """Leave them to others."""
        for name in self._acts:
            self._viewer.bind_key(name, None)
