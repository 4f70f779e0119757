"""Show a slide's tissue as a layer to edit, say what the next run uses, and take edits back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.tissue import (
    TISSUE,
    edited_tissue,
    found_tissue,
    keep_found,
    layer_of_tissue,
    take_brush,
    tissue_layer,
)
from napari_stenhance.plugin.widgets.follow import Strokes, follow_layers, follow_session

if TYPE_CHECKING:
    import numpy as np
    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_stenhance.plugin.layer_info import LayerData
    from napari_stenhance.plugin.widgets.run_bar import RunBar

_SETTLED_MS = 100
_FOUND = (
    "As found (density): the next run finds it so, unless its Tissue is another. Napari's brush "
    "and eraser change it."
)
_EDITED = "Edited: the next run of Enhance genes uses it."
_EMPTY = "Empty: a run is refused until some tissue is painted."


class TissueRow(QWidget):
    """The tissue of the section that is looked at.

    Parameters
    ----------
    viewer : Viewer
    run_bar : RunBar
        Where finding it is run.
    on_end : callable
        Called when that has ended.
    """

    def __init__(self, viewer: Viewer, run_bar: RunBar, on_end: Callable[[], None]) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session_of(viewer)
        self._run_bar, self._on_end = run_bar, on_end
        self._said_of: tuple[Any, Any] = (None, None)
        self.look = QPushButton("Show tissue", self)
        self.look.setToolTip(
            "Show what of the slide counts as tissue, in superpixels of 8 µm, as a layer that "
            "napari's brush edits; the next run uses it as you leave it."
        )
        self.look.clicked.connect(self._look)
        self.automatic = QPushButton("Automatic", self)
        self.automatic.setToolTip("Take the edits back: tissue is as it is found on the slide.")
        self.automatic.clicked.connect(self._take_back)
        self.state = QLabel(self)
        self.state.setWordWrap(True)
        # What the brush changed is said a moment later, once.
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED_MS)
        self._settled.timeout.connect(self._say)
        row, column = QHBoxLayout(), QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.look, 1)
        row.addWidget(self.automatic)
        column.addLayout(row)
        column.addWidget(self.state)
        self._strokes = Strokes(self, self._settled.start)
        self._say()
        follow_layers(self, viewer, self._follow_layers)
        follow_session(self, viewer, self._follow)

    def _follow_layers(self) -> None:
        self._strokes.follow(layer for layer, _ in layers_of(self._viewer, TISSUE.name))
        self._follow()

    def _follow(self) -> None:
        """Say it of another section or layer; to compare what did not change takes long."""
        section = self._session.section
        said_section, said_layer = self._said_of
        if section is not said_section or layer_of_tissue(self._viewer, section) is not said_layer:
            self._say()

    def _say(self) -> None:
        """Say what the next run uses."""
        section = self._session.section
        layer = layer_of_tissue(self._viewer, section)
        self._said_of = (section, layer)
        self.look.setEnabled(
            section is not None and section.slide is not None and section.mpp is not None
        )
        said = ""
        if layer is not None and section is not None:
            try:
                said = _FOUND if edited_tissue(self._viewer, section) is None else _EDITED
            except InputError:
                said = _EMPTY
        self.automatic.setEnabled(said in {_EDITED, _EMPTY})
        self.state.setText(said)
        self.state.setVisible(bool(said))

    def _look(self) -> None:
        section, run = self._session.section, self._session.run
        if section is None or self._run_bar.busy:
            return
        layer = layer_of_tissue(self._viewer, section)
        if layer is not None:
            take_brush(self._viewer, layer)
            return
        self._run_bar.start(
            f"Finding tissue on {section.name}",
            lambda job: tissue_layer(section, run, job),
            on_done=self._add,
            on_end=self._on_end,
        )

    def _add(self, data: LayerData) -> None:
        for layer in add_layers(self._viewer, [data]):
            take_brush(self._viewer, layer)
        self._say()

    def _take_back(self) -> None:
        section = self._session.section
        layer = layer_of_tissue(self._viewer, section)
        if section is None or layer is None or self._run_bar.busy:
            return
        self._run_bar.start(
            f"Finding tissue on {section.name}",
            lambda job: found_tissue(section, job),
            on_done=lambda found: self._set(layer, found),
            on_end=self._on_end,
        )

    def _set(self, layer: Labels, found: NDArray[np.bool_]) -> None:
        keep_found(layer, found)
        self._say()
