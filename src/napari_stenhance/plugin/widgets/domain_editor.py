"""The lower half of the panel 'Find domains': the domains of a run, looked at and corrected."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QHideEvent, QKeySequence, QShortcut
from qtpy.QtWidgets import QComboBox, QGridLayout, QVBoxLayout, QWidget

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.plugin.clicks import is_click
from napari_stenhance.plugin.closing import ClosingNotes
from napari_stenhance.plugin.domains import (
    begin_painting,
    domain_at,
    domain_layers,
    end_painting,
    layers_of_domains,
    mark_unsaved,
    painting,
    painting_layer,
    show_chosen,
    show_edits,
)
from napari_stenhance.plugin.layer_info import layer_info, layers_of, open_runs
from napari_stenhance.plugin.opening import open_at_once
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.buttons import push_button
from napari_stenhance.plugin.widgets.chart import CriterionChart
from napari_stenhance.plugin.widgets.choices import elide, listed_name, relist
from napari_stenhance.plugin.widgets.domain_counts import DomainCounts
from napari_stenhance.plugin.widgets.domain_table import DomainTable
from napari_stenhance.plugin.widgets.follow import Strokes, follow_layers, follow_session
from napari_stenhance.results.domain_edit import DomainEdit
from napari_stenhance.running.numbers import agree, counted

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_stenhance.plugin.widgets.run_bar import RunBar
    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.results.edit_history import EditHistory
    from napari_stenhance.results.run import Run

_SETTLED_MS = 100
_COLUMNS = 6
_PAINT, _PAINTED = "Repaint", "End painting"


_LOST = "will be lost; Save in the panel Find domains, or Save layers, keeps"


class DomainEditor(QWidget):
    """Lists the domains of open runs, and changes them; what was changed can be undone.

    The layers of a run hold its changes: this widget only remembers what was there, to give it back
    if layers are deleted.

    Parameters
    ----------
    viewer : Viewer
    run_bar : RunBar
        Saves, and says what is wrong.
    parent : QWidget
    """

    _runs: Sequence[Run] = ()
    _listed: Run | None = None

    def __init__(self, viewer: Viewer, run_bar: RunBar, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._run_bar = viewer, session_of(viewer), run_bar
        self._known: dict[Any, tuple[EditHistory, int]] = {}
        self._closing = ClosingNotes(viewer)
        self._lost: EditHistory | None = None
        self._raster: tuple[DomainEdit, NDArray[np.uint8]] | None = None
        self._ending = False
        self.source = QComboBox(self)
        elide(self.source)
        self.source.setToolTip("Which domains are listed below")
        self.source.currentIndexChanged.connect(self._choose)
        self.chart = CriterionChart(self)
        self.table = DomainTable(self)
        self.table.edited.connect(lambda *values: self._do(_renamed_or_hidden, *values))
        self.table.recoloured.connect(lambda *values: self._do(DomainEdit.recolour, *values))
        self.table.itemSelectionChanged.connect(self._show_chosen)
        self._counts = DomainCounts(self)
        self._counts.counted.connect(self._show_table)
        self._counts.failed.connect(run_bar.say)
        self.merge = push_button(
            self, "Merge", "Make one domain of the selected rows: the first remains.", self._merge
        )
        self.paint = push_button(
            self, _PAINT, "Paint with napari's tools, on a copy of the domains.", self._paint
        )
        self.undo = push_button(
            self, "Undo", "Take the last change back, the last stroke while painting.", self._undo
        )
        self.redo = push_button(self, "Redo", "Do again what was undone.", self._redo)
        self.save = push_button(
            self, "Save", "Write the changes beside the computed domains.", self._save
        )
        for keys, button in (("Ctrl+Z", self.undo), ("Ctrl+Shift+Z", self.redo)):
            shortcut = QShortcut(QKeySequence(keys), parent)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(button.click)
            button.setToolTip(f"{button.toolTip()} ({keys})")
        # What napari's brush or its own undo changed is seen a moment later, once.
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED_MS)
        self._settled.timeout.connect(self._show_changes)
        buttons, column = QGridLayout(), QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for row, beside in enumerate(((self.merge, self.paint), (self.undo, self.redo, self.save))):
            for n, button in enumerate(beside):
                wide = _COLUMNS // len(beside)
                buttons.addWidget(button, row, n * wide, 1, wide)
        for widget in (self.source, self.chart, self.table):
            column.addWidget(widget, int(widget is self.table))
        column.addLayout(buttons)
        viewer.layers.events.removed.connect(self._removed)
        viewer.mouse_drag_callbacks.append(self._clicked)
        removed, drags = viewer.layers.events.removed, viewer.mouse_drag_callbacks
        on_removed, on_click = self._removed, self._clicked

        def leave() -> None:
            removed.disconnect(on_removed)
            drags.remove(on_click)

        self.destroyed.connect(leave)
        self._painting = Strokes(self, self._settled.start)
        follow_layers(self, viewer, self._list_runs)
        follow_session(self, viewer, self._list_runs)

    # Which run, and how it is now

    @property
    def edits(self) -> EditHistory | None:
        """What was done to the run that is listed, up to the last stroke that was taken over."""
        return None if self._listed is None else self._edits_of(self._listed)

    @property
    def current(self) -> DomainEdit | None:
        """The domain run that is listed, with the changes made to it."""
        edits = self.edits
        return None if edits is None else edits.now

    def _edits_of(self, run: Run) -> EditHistory | None:
        layers = layers_of(self._viewer, "domains", of_run=run.key)
        return next((info.edits for _, info in layers), None)

    def _strokes(self, edits: EditHistory) -> bool:
        """Tell whether something was painted that is not taken over."""
        layer = painting(self._viewer, edits.now.run)
        return layer is not None and self._differs(layer.data, edits.now)

    def _differs(self, painted: NDArray[Any], edit: DomainEdit) -> bool:
        if self._raster is None or not self._raster[0].same_labels(edit):
            self._raster = edit, edit.raster()
        return not np.array_equal(painted, self._raster[1])

    def _painted(self, edits: EditHistory) -> EditHistory:
        """Take over what was painted, as one step.

        Raises
        ------
        InputError
            If a label was painted that can be no domain.
        """
        layer = painting(self._viewer, edits.now.run)
        if layer is None or not self._strokes(edits):
            return edits
        return edits.do(edits.now.paint(layer.data.copy()))

    def _list_runs(self) -> None:
        """List the domains of the section that is looked at, and show those of its run."""
        self._painting.follow(layer for layer, _ in layers_of(self._viewer, "painting"))
        there = {run.key for run in open_runs(self._viewer, "domains")}
        for key in [key for key in self._known if key not in there]:
            self._say_lost(*self._known.pop(key))
        before = self._runs
        self._runs = [run for run in self._session.runs() if run.kind == "labels"]
        keys = [run.key for run in self._runs]
        listed, looked_at = self._listed, self._session.run
        if looked_at is not None and looked_at.key in keys:
            listed = looked_at
        elif listed is None or listed.key not in keys:
            listed = self._runs[-1] if self._runs else None
        same = (listed and listed.key) == (self._listed and self._listed.key)
        if not same:
            # Nothing stays dimmed that is not listed.
            self.table.choose(())
        self._listed = listed
        relist(self.source, before, self._runs, listed)
        # A save may have brought other changes of what is open, or keeps them.
        other = any(
            run.key in self._known and self._known[run.key][0] is not self._edits_of(run)
            for run in open_runs(self._viewer, "domains")
        )
        if not same or other or keys != [run.key for run in before]:
            self._show_run()

    def _choose(self, index: int) -> None:
        self._session.look_at(run=self._runs[index])

    def _say_lost(self, edits: EditHistory, changes: int) -> None:
        if changes:
            self._lost = edits
            run = edits.now.run
            msg = (
                f"{run.result.name}, {run.name}: {counted(changes, 'change')} not saved went with "
                "the layer that was removed; Undo brings both back."
            )
            self._run_bar.say(InputError(msg))

    def _removed(self, event: Any) -> None:
        """Take over what was painted in a layer that was deleted."""
        info = layer_info(event.value)
        if info is None or info.role.name != "painting" or info.run is None or self._ending:
            return
        edits = self._edits_of(info.run)
        if edits is not None and self._differs(event.value.data, edits.now):
            self._try(lambda: self._show(edits.do(edits.now.paint(event.value.data.copy()))))
        self._unhide(info.run)

    def _unhide(self, run: Run) -> None:
        for layer, _ in layers_of_domains(self._viewer, run):
            layer.visible = True

    # What is shown

    def _show_run(self) -> None:
        edits = self.edits
        self._show_changes()
        if edits is None:
            self.table.setRowCount(0)
            self.chart.show_scores("", (), 0)
            return
        run = edits.now.run
        self.chart.show_scores(run.criterion, run.scores, run.chosen)

    def _show_table(self) -> None:
        edits = self.edits
        if edits is None:
            return
        now = edits.now
        what = "superpixels" if now.run.attributes["spots"] is None else "spots"
        # What was painted is counted when the painting ends.
        summary = None if self._strokes(edits) else self._counts.of(now)
        self.table.show_domains(now.domains, what, summary)

    def _show_changes(self) -> None:
        """Say what is not saved: where runs are listed, at the button, and at the layers."""
        shown = self.edits
        listed = [run.key for run in self._runs]
        lost: dict[Hashable, str] = {}
        for run in open_runs(self._viewer, "domains"):
            edits = self._edits_of(run)
            if edits is None:
                continue
            strokes = self._strokes(edits)
            changes = edits.changes + strokes
            self._known[run.key] = (edits, changes)
            said = f" ({counted(changes, 'change')} not saved)" if changes else ""
            if changes and not self._is_kept(edits):
                what = f"{counted(changes, 'change')} {_LOST} {agree(changes, 'it', 'them')}"
                lost[run.key] = f"domains of {run.result.name}: {what}"
            if run.key in listed:
                self.source.setItemText(listed.index(run.key), f"{listed_name(run)}{said}")
            if edits is shown:
                self.save.setText(f"Save {counted(changes, 'change')}" if changes else "Save")
                self.undo.setEnabled(edits.can_undo or strokes or self._lost is not None)
                self.redo.setEnabled(edits.can_redo or painting(self._viewer, run) is not None)
            mark_unsaved(self._viewer, run, unsaved=bool(changes))
        self._closing.say(lost)
        for button in (self.merge, self.paint, self.save):
            button.setEnabled(shown is not None)
        if shown is None:
            self.save.setText("Save")
            self.undo.setEnabled(self._lost is not None)
            self.redo.setEnabled(False)
            return
        open_ = painting(self._viewer, shown.now.run) is not None
        self.paint.setText(_PAINTED if open_ else _PAINT)
        self._show_table()

    def _is_kept(self, edits: EditHistory) -> bool:
        """Tell whether layers that were saved hold a run as it is now, with what was painted."""
        try:
            return edits.kept is not None and edits.kept.same_as(self._painted(edits).now)
        except InputError:
            return False

    def _show_chosen(self) -> None:
        edits = self.edits
        if edits is not None:
            show_chosen(self._viewer, edits, self.table.chosen())

    def hideEvent(self, event: QHideEvent) -> None:
        """Leave no domain dimmed that nobody could bring back."""
        if not event.spontaneous() and self.table.chosen():
            self.table.choose(())
        super().hideEvent(event)

    def _clicked(self, viewer: Viewer, event: Any) -> Iterator[None]:
        """Select the row of a domain that is clicked; drags are napari's."""
        if not self.isVisible() or not (yield from is_click(viewer, event)):
            return
        found = domain_at(viewer, event.position, event.view_direction, event.dims_displayed)
        if found is None:
            self.table.choose(())
            return
        run, value = found
        if run.key in [one.key for one in self._runs]:
            self._session.look_at(run=run)
            self.table.choose((value,))

    # What is changed

    def _try(self, act: Callable[[], None]) -> None:
        """Do something, and say in a sentence why it cannot be done."""
        self._run_bar.dismiss()
        try:
            act()
        except StenhanceError as error:
            self._run_bar.say(error)
            self._show_table()

    def _show(self, edits: EditHistory) -> None:
        """Show a run as it is now; what was painted is taken over by then."""
        there = {domain.value for domain in edits.now.domains}
        chosen = [value for value in self.table.chosen() if value in there]
        show_edits(self._viewer, edits, chosen)
        self._show_run()
        self.table.choose(chosen)

    def _do(self, change: Callable[..., DomainEdit], *values: Any) -> None:
        """Take a step; what was painted before is a step of its own."""
        edits = self.edits
        if edits is None:
            return

        def act() -> None:
            painted = self._painted(edits)
            self._lost = None
            self._show(painted.do(change(painted.now, *values)))

        self._try(act)

    def _merge(self) -> None:
        chosen = self.table.chosen()
        if len(chosen) < 2:
            self._run_bar.dismiss()
            self._run_bar.say(InputError("Select the rows of at least two domains to merge."))
            return
        self._do(_merged, chosen)
        self.table.choose(chosen[:1])

    def _undo(self) -> None:
        edits, lost = self.edits, self._lost
        self._run_bar.dismiss()
        if lost is not None:
            self._bring_back(lost)
        elif edits is not None and self._strokes(edits):
            layer = painting(self._viewer, edits.now.run)
            layer.undo()
        elif edits is not None:
            self._show(edits.undo())

    def _redo(self) -> None:
        edits = self.edits
        self._run_bar.dismiss()
        if edits is None:
            return
        layer = painting(self._viewer, edits.now.run)
        if edits.can_redo and not self._strokes(edits):
            self._show(edits.redo())
        elif layer is not None:
            layer.redo()

    def _bring_back(self, edits: EditHistory) -> None:
        self._lost = None
        self.show_runs((edits.now.run,))
        self._show(edits)

    def _paint(self) -> None:
        edits = self.edits
        if edits is None:
            return
        run = edits.now.run
        if painting(self._viewer, run) is not None:
            self._try(lambda: self._end_painting(edits))
            return
        self._run_bar.dismiss()
        chosen = self.table.chosen()
        # The brush must be seen, whatever is selected.
        self.table.choose(())
        add_layers(self._viewer, [painting_layer(edits)])
        painting(self._viewer, run).selected_label = (chosen or [edits.now.domains[0].value])[0]
        begin_painting(self._viewer, run)
        self._show_changes()

    def _end_painting(self, edits: EditHistory) -> None:
        painted = self._painted(edits)
        # What is removed now is taken over already.
        self._ending = True
        try:
            end_painting(self._viewer, edits.now.run)
        finally:
            self._ending = False
        self._show(painted)

    # What is saved

    def _save(self) -> None:
        edits = self.edits
        if edits is None:
            return

        def act() -> None:
            painted = self._painted(edits)
            if not painted.changes:
                msg = "Nothing was changed: there is nothing to save."
                raise InputError(msg)
            if painting(self._viewer, painted.now.run) is not None:
                self._end_painting(edits)
            self._run_bar.start(
                "Save domains",
                lambda _job: painted.now.save(),
                on_done=lambda saved: self._saved(painted, saved),
            )

        self._try(act)

    def _saved(self, edits: EditHistory, saved: DomainRun) -> None:
        """Show what was saved; the computed domains are again as they were."""
        run = edits.now.run
        now = self._edits_of(run)
        if now is not None and now.now.same_as(edits.now):
            self._show(edits.anew())
        self.show_runs((saved,))

    def show_runs(self, runs: Sequence[Run]) -> None:
        """Show runs, instead of what lay where they are."""
        layers = [layer for run in runs for layer in domain_layers(run, visible=True)]
        open_at_once(self._session, layers, runs[-1])


def _renamed_or_hidden(edit: DomainEdit, value: int, name: str, hidden: bool) -> DomainEdit:
    if edit.domain(value).name != name:
        edit = edit.rename(value, name)
    return edit.hide(value, hidden=hidden)


def _merged(edit: DomainEdit, values: list[int]) -> DomainEdit:
    for value in values[1:]:
        edit = edit.merge(value, values[0])
    return edit
