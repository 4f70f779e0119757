"""Shows how far the tissue lies from what was learned from, and says how much of it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QWidget

from napari_stenhance.plugin.alone import look_alone_at, need_open
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.unfamiliar import unfamiliar_layer
from napari_stenhance.plugin.widgets.choices import listed_name
from napari_stenhance.results.runs import FieldRun

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.plugin.layer_info import LayerData
    from napari_stenhance.plugin.widgets.run_bar import RunBar

_TIP = (
    "Show how far what is seen of the tissue lies from the training sections: beyond 1 it is "
    "unlike them, and what is predicted there is a guess."
)
_UNKNOWN = (
    "Not known of this run: presets robust and blended tell it, but not reference, nor runs of "
    "older versions."
)


class UnfamiliarButton(QPushButton):
    """The button that shows it.

    Parameters
    ----------
    viewer : Viewer
    run_bar : RunBar
        Says how much of the tissue is unlike what was learned from.
    parent : QWidget
    """

    def __init__(self, viewer: Viewer, run_bar: RunBar, parent: QWidget) -> None:
        super().__init__("Unfamiliar", parent)
        self._viewer, self._session, self._run_bar = viewer, session_of(viewer), run_bar
        self.clicked.connect(self._show)

    def follow(self) -> None:
        """Offer it where a run knows."""
        run = self._session.genes
        known = isinstance(run, FieldRun) and bool(run.how_unfamiliar)
        self.setEnabled(known)
        self.setToolTip(_TIP if known or not isinstance(run, FieldRun) else _UNKNOWN)

    def _show(self) -> None:
        run = self._session.genes
        if not isinstance(run, FieldRun):
            return

        def done(made: LayerData) -> None:
            need_open(self._session, run)
            look_alone_at(self._session, "unfamiliar", run, lambda: made)
            self._run_bar.done = f"{listed_name(run)}: {run.how_unfamiliar}."

        self._run_bar.start("Unfamiliar tissue", lambda _job: unfamiliar_layer(run), on_done=done)
