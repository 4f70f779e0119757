"""Asks where the gene that is looked at is above a value, and marks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QPushButton, QWidget

from napari_stenhance.plugin.alone import look_alone, need_open
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.marked import marked_layer
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.choices import listed_name
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.scoring.discoveries import Scale

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.plugin.widgets.run_bar import RunBar


class AboveRow(QWidget):
    """A value, of what it is, and the button that marks.

    Parameters
    ----------
    viewer : Viewer
    run_bar : RunBar
        Runs it, and says what came of it.
    parent : QWidget
    """

    def __init__(self, viewer: Viewer, run_bar: RunBar, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._run_bar = viewer, session_of(viewer), run_bar
        self.value = QDoubleSpinBox(self)
        self.value.setRange(0, 1000)
        self.value.setSingleStep(0.25)
        self.value.setPrefix("> ")
        self.value.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.value.setToolTip("In the unit of the gene: log1p CP10k")
        self.scale = QComboBox(self)
        self.scale.addItems(get_args(Scale))
        self.scale.setToolTip(
            "What is above it: a spot, the mean of the 8 nearest spots, or that of all spots "
            "within half a millimetre"
        )
        self.mark = QPushButton("Mark", self)
        self.mark.setToolTip(
            "Mark where the gene is above the value, so that at most 1 in 10 of the marked is "
            "wrong in tissue like the spots that were held out, at a confidence of 9 in 10. Where "
            "no cut can promise that, nothing is marked."
        )
        self.mark.clicked.connect(self._mark)
        self._tips = {one: one.toolTip() for one in (self.value, self.scale, self.mark)}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.value, 1)
        row.addWidget(self.scale, 1)
        row.addWidget(self.mark)

    def follow(self) -> None:
        """Offer it where a gene of a run that keeps held-out spots is looked at."""
        why = self._why_not()
        self.setEnabled(not why)
        for widget, tip in self._tips.items():
            widget.setToolTip(why or tip)

    def _why_not(self) -> str:
        """Say why nothing can be marked; nothing where it can."""
        run, gene = self._session.genes, self._session.gene
        if not isinstance(run, FieldRun):
            kind = "measured" if run is None else "imputed"
            return (
                f"Nothing is marked of what was {kind}: cuts are made on predictions from a slide."
            )
        if run.why_no_intervals:
            return f"Nothing can be marked: {run.why_no_intervals}."
        if self._session.channels or gene not in run.names.known:
            return "Choose one gene: of a sum, and of several, there are no cuts."
        return ""

    def _mark(self) -> None:
        run, gene = self._session.genes, self._session.gene
        if not isinstance(run, FieldRun):
            return
        value, scale = self.value.value(), self.scale.currentText()

        def done(found: Any) -> None:
            layer, said = found
            need_open(self._session, run)
            for old, _ in list(layers_of(self._viewer, "marked", of_run=run.key)):
                self._viewer.layers.remove(old)
            if layer is not None:
                (added,) = self._session.add([layer])
                look_alone(self._session, added)
            self._run_bar.done = f"{listed_name(run)}: {said}"
            self._run_bar.answered.emit()

        self._run_bar.start(
            f"{gene} above {value:g}",
            lambda _job: marked_layer(run, gene, value, scale),
            on_done=done,
        )
