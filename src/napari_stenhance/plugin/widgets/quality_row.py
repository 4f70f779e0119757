"""Look for faults of the slide that is looked at, and say how much of the tissue they cover."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_stenhance.features.quality import find_quality
from napari_stenhance.plugin.quality import quality_layer, quality_legend_of, remove_quality
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.follow import follow_session
from napari_stenhance.storage.cache import Cache

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.features.quality import Quality
    from napari_stenhance.plugin.widgets.run_bar import RunBar
    from napari_stenhance.section.section import Section


class QualityRow(QWidget):
    """The faults of the slide that is looked at.

    Parameters
    ----------
    viewer : Viewer
    run_bar : RunBar
        Where looking for them is run.
    on_end : callable
        Called when that has ended.
    on_found : callable
        Receives the section and what was found.
    """

    def __init__(
        self,
        viewer: Viewer,
        run_bar: RunBar,
        on_end: Callable[[], None],
        on_found: Callable[[Section, Quality], None],
    ) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session_of(viewer)
        self._run_bar, self._on_end, self._on_found = run_bar, on_end, on_found
        self.check = QPushButton("Check quality", self)
        self.check.setToolTip(
            "Look for pen marks, blur, folds and air bubbles on this section's slide, and show "
            "them as a layer; reads the whole slide, once."
        )
        self.check.clicked.connect(self._check)
        self.legend = QLabel(self)
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        self.legend.setToolTip("Faults of the slide, and which share of the tissue they cover")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.check)
        layout.addWidget(self.legend)
        follow_session(self, viewer, self._follow)

    def _follow(self) -> None:
        section = self._session.section
        self.check.setEnabled(section is not None and section.slide is not None)
        self.legend.setText(quality_legend_of(self._viewer, self._session.place))
        self.legend.setVisible(bool(self.legend.text()))

    def _check(self) -> None:
        """Find the faults of the visible section's slide, and show them."""
        section = self._session.section
        if section is None or section.slide is None or self._run_bar.busy:
            return
        slide = section.slide
        self._run_bar.start(
            f"Checking {section.name}",
            lambda job: find_quality(slide, "density", Cache.default(), job),
            on_done=lambda quality: self._show(section, quality),
            on_end=self._on_end,
        )

    def _show(self, section: Section, quality: Quality) -> None:
        remove_quality(self._viewer, section)
        add_layers(self._viewer, [quality_layer(section, quality)])
        self._follow()
        self._on_found(section, quality)
