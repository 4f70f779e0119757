"""Below 'Place spots …': where the spots of a section belong on its slide, set by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.plugin.clicks import follow_drag
from napari_stenhance.plugin.comparison import COMPARED
from napari_stenhance.plugin.layer_info import our_layers
from napari_stenhance.plugin.registering import (
    PlacedAnew,
    PlacingHistory,
    PlacingState,
    end_placing,
    middle_of,
    name_seen,
    place_anew,
    said_of_runs,
    show_placed,
    show_placing,
    spots_layers,
    stated_px,
    to_px,
)
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.buttons import number_box, push_button, row_of
from napari_stenhance.plugin.widgets.dialogs import (
    ask_for_registration,
    ask_where_to_save_registration,
)
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.landmark_table import LandmarkTable
from napari_stenhance.plugin.widgets.lost_places import LostPlaces
from napari_stenhance.plugin.widgets.placing_keys import ARROWS, PlacingKeys
from napari_stenhance.section.registration import FITS, Registration, said_of_landmarks

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_stenhance.plugin.widgets.run_bar import RunBar
    from napari_stenhance.section.section import Section

_SPOT, _SLIDE = "Click a landmark as the spots show it.", "Click where on the slide it belongs."


class PlacingRow(QWidget):
    """A button, and below it, once it is clicked, what places the spots that are looked at.

    Parameters
    ----------
    viewer : Viewer
    run_bar : RunBar
        Where they are placed, and what is wrong is said.
    on_end : callable
        Called when that has ended.
    said : callable
        Called when a section was made, to describe it.
    aside : sequence of QWidget
        What is hidden meanwhile.
    """

    def __init__(
        self,
        viewer: Viewer,
        run_bar: RunBar,
        on_end: Callable[[], None],
        said: Callable[[], None],
        aside: Sequence[QWidget] = (),
    ) -> None:
        super().__init__()
        self._viewer, self._session, self._run_bar = viewer, session_of(viewer), run_bar
        self._on_end, self._said, self._aside = on_end, said, aside
        self.lost = LostPlaces(viewer)
        self._history: PlacingHistory | None = None
        self._pending: tuple[float, float] | None = None
        # Of sections that were placed anew, `counts_sha256` each time before.
        self._before: list[tuple[Any, set[str]]] = []
        self.look = push_button(
            self,
            "Place spots …",
            "Move, turn or mirror the spots on their slide, or say by landmarks where they belong.",
            self.begin,
        )
        self._keys = PlacingKeys(viewer, self.move, self._undo, self._redo)
        self.editor = QWidget(self)
        self.editor.hide()
        self._make_editor()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.look)
        column.addWidget(self.editor)
        viewer.mouse_drag_callbacks.append(self._dragged)
        drags, dragged = viewer.mouse_drag_callbacks, self._dragged
        self.destroyed.connect(lambda: drags.remove(dragged))
        follow_session(self, viewer, self._follow)
        follow_layers(self, viewer, self._follow)

    def _make_editor(self) -> None:
        column = QVBoxLayout(self.editor)
        column.setContentsMargins(0, 0, 0, 0)
        self.across = self._button("Mirror ↔", "Mirror left to right.", self._mirror("x"))
        self.down = self._button("Mirror ↕", "Mirror top to bottom.", self._mirror("y"))
        self.angle = number_box(self.editor, 90.0, 360.0, "°", "By how much Turn turns; clockwise.")
        self.turn = self._button("Turn", "Turn about the middle of the spots.", self._turn)
        self.step = number_box(self.editor, 50.0, 1e5, " µm", "How far an arrow moves the spots.")
        self.arrows = {
            text: self._button(
                text,
                f"Move the spots; so does {key} over the slide, with Shift ten times as far.",
                lambda dx=dx, dy=dy: self.move(dx, dy),
            )
            for text, (key, dx, dy) in ARROWS.items()
        }
        self.drag = self._button("Drag spots", "Move the spots with the mouse.", self._use_drag)
        self.set_pairs = self._button(
            "Set landmarks",
            "Click a landmark as the spots show it, then where on the slide it belongs; three or "
            "more, far from each other.",
            self._use_pairs,
        )
        for tool in (self.drag, self.set_pairs):
            tool.setCheckable(True)
        self.table = LandmarkTable(self.editor)
        self.table.itemSelectionChanged.connect(self._enable)
        self.fit = self._button("Fit", "Place the spots as the landmarks say.", self._fit)
        self.kind = QComboBox(self.editor)
        self.kind.addItems(FITS)
        self.kind.setCurrentText("affine")
        self.kind.setToolTip(
            "What may happen to spots: rigid turns, mirrors and moves; similarity scales, too; "
            "affine also stretches and shears."
        )
        self.remove = self._button("Remove", "Remove the selected landmarks.", self._remove)
        self.opacity = QSlider(Qt.Orientation.Horizontal, self.editor)
        self.opacity.setRange(0, 100)
        self.opacity.setToolTip("How much of the slide is seen through the spots.")
        self.opacity.valueChanged.connect(self._show_opacity)
        self.undo = self._button("Undo", "Take the last step back (Ctrl+Z).", self._undo)
        self.redo = self._button("Redo", "Do again what was undone (Ctrl+Shift+Z).", self._redo)
        self.load = self._button(
            "Load …", "Take landmarks (CSV) or a registration from a file.", self._load
        )
        self.save = self._button(
            "Save …", "Write where the spots are placed now, for other programs too.", self._save
        )
        self.state = QLabel(self.editor)
        self.state.setWordWrap(True)
        self.apply = self._button(
            "Apply", "Place the spots so; runs from now on use them there.", self._apply
        )
        self.cancel = self._button("Cancel", "Leave the spots where they were.", self.end)
        for keys, button in (("Ctrl+Z", self.undo), ("Ctrl+Shift+Z", self.redo)):
            shortcut = QShortcut(QKeySequence(keys), self.editor)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(button.click)
        see = QLabel("Spots' opacity", self.editor)
        for widgets in (
            (self.across, self.down),
            (self.turn, self.angle),
            (*self.arrows.values(), self.step),
            (self.drag, self.set_pairs),
        ):
            column.addLayout(row_of(widgets))
        column.addWidget(self.table)
        column.addLayout(row_of((self.fit, self.kind, self.remove)))
        column.addLayout(row_of((see, self.opacity)))
        column.addLayout(row_of((self.undo, self.redo, self.load, self.save)))
        column.addWidget(self.state)
        column.addLayout(row_of((self.apply, self.cancel)))

    def _button(self, text: str, tip: str, clicked: Callable[[], None]) -> QPushButton:
        return push_button(self.editor, text, tip, clicked)

    # Begin and end

    @property
    def history(self) -> PlacingHistory | None:
        """What was done to spots that are being placed; None while none are."""
        return self._history

    def begin(self) -> None:
        """Begin to place the spots of the section that is looked at."""
        section = self._session.section
        if section is None or section.spots is None or self._run_bar.busy:
            return
        if any(COMPARED in layer.metadata for layer in self._viewer.layers):
            msg = "What is compared hides the spots: press End in the panel Compare, then place."
            self._run_bar.say(InputError(msg))
            return
        if self._history is None:
            self._history = PlacingHistory.of_section(section)
            layers = spots_layers(self._session, section)
            for layer, _ in layers:
                layer.visible = True
            if layers:
                self.opacity.setValue(round(100 * layers[0][0].opacity))
            self.step.setSuffix(" px" if section.mpp is None else " µm")
            self._keys.take()
            self._turn_editor(on=True)
        self._show()

    def offer(self, section: Section, registration: Registration) -> None:
        """Begin to place the spots of a section as is offered for it, as by the doctor."""
        self._try(lambda: self._offer(section, registration))

    def _offer(self, section: Section, registration: Registration) -> None:
        layers = spots_layers(self._session, section)
        if not layers:
            msg = (
                f"{section.name}: these spots were placed anew or closed since this was found; "
                "see what is said of them now."
            )
            raise InputError(msg)
        if self._run_bar.busy:
            msg = f"{section.name}: wait until what is being done has ended, and offer it again."
            raise InputError(msg)
        other = self._history and self._history.section
        if other is not None and other is not section:
            name = name_seen(self._session, other)
            msg = f"The spots of {name} are being placed; Apply or Cancel that first."
            raise InputError(msg)
        if self._session.section is not section:
            self._session.look_at(layers[0][1].place)
        self.begin()
        if self._history is not None:
            now = self._history.now
            self._do(PlacingState(registration, registration.pairs or now.pairs))

    def end(self) -> None:
        """Leave the spots where they were."""
        history = self._history
        if history is None:
            return
        self._history = self._pending = None
        self._keys.leave()
        for tool in (self.drag, self.set_pairs):
            tool.setChecked(False)
        end_placing(self._session, history.section)
        self.lost.edited(None)
        self._turn_editor(on=False)

    def _turn_editor(self, *, on: bool) -> None:
        self.editor.setVisible(on)
        self.look.setVisible(not on)
        for widget in self._aside:
            widget.setVisible(not on)

    def _follow(self) -> None:
        section = self._session.section
        self.look.setEnabled(section is not None and section.spots is not None)
        sections = [info.section for _, info in our_layers(self._viewer)]
        self.lost.follow(sections, self._session.runs())
        if self._history is not None and not any(self._history.section is s for s in sections):
            self.end()

    # Steps

    def _do(self, state: PlacingState) -> None:
        if self._history is not None:
            self._history = self._history.do(state)
            self._show()

    def _then(self, step: Registration) -> None:
        if self._history is not None:
            self._do(self._history.now.then(step))

    def _middle(self) -> tuple[float, float]:
        assert self._history is not None
        now = self._history.now.registration
        return middle_of(now(stated_px(self._history.section)))

    def _mirror(self, along: Any) -> Callable[[], None]:
        return lambda: self._then(Registration.mirrored(along, self._middle()))

    def _turn(self) -> None:
        self._then(Registration.turned(self.angle.value(), self._middle()))

    def move(self, dx: float, dy: float, times: float = 1.0) -> None:
        """Move the spots by steps, right and down."""
        if self._history is not None:
            by = times * self.step.value() / (self._history.section.mpp or 1.0)
            self._then(Registration.moved(dx * by, dy * by))

    def _fit(self) -> None:
        history = self._history
        if history is not None:
            self._try(lambda: self._do(history.now.fitted(self.kind.currentText())))  # type: ignore[arg-type]

    def _remove(self) -> None:
        if self._history is not None:
            self._do(self._history.now.without_pairs(self.table.chosen()))

    def _undo(self) -> None:
        if self._pending is not None:
            self._pending = None
            self._show()
        elif self._history is not None:
            self._history = self._history.undo()
            self._show()

    def _redo(self) -> None:
        if self._history is not None:
            self._history = self._history.redo()
            self._show()

    # Files

    def _load(self) -> None:
        if path := ask_for_registration(self):
            self.load_file(path)

    def load_file(self, path: Path) -> None:
        """Place the spots as a file says."""

        def act() -> None:
            found = Registration.read(path)
            assert self._history is not None
            self.lost.written(found)
            self._do(PlacingState(found, found.pairs or self._history.now.pairs))

        self._try(act)

    def _save(self) -> None:
        if path := ask_where_to_save_registration(self):
            self.save_file(path)

    def save_file(self, path: Path) -> None:
        """Write where the spots are placed now."""
        history = self._history
        if history is not None:

            def act() -> None:
                history.now.kept.write(path)
                self.lost.written(history.now.kept)

            self._try(act)

    def _apply(self) -> None:
        history = self._history
        if history is None or self._run_bar.busy:
            return
        section, chosen = history.section, history.now.kept
        self._run_bar.dismiss()
        if not history.changes:
            self.end()
            return
        if chosen.matrix == history.states[0].registration.matrix:
            msg = (
                "Landmarks place no spots before Fit is pressed: do so, or keep them with Save …, "
                "or Cancel."
            )
            self._run_bar.say(InputError(msg))
            return
        self._run_bar.start(
            f"Placing the spots of {section.name}",
            lambda job: place_anew(section, chosen, job),
            on_done=lambda placed: self._show_applied(section, placed),
            on_end=self._on_end,
        )

    def _show_applied(self, old: Section, placed: PlacedAnew) -> Iterator[None]:
        self.end()
        yield from show_placed(self._session, old, placed)
        self.lost.applied(placed.section)
        before = self._placed_before(old) | {old.counts_sha256}
        self._before = [(of, shas) for of, shas in self._before if of() is not None]
        self._before.append((ref(placed.section), before - {placed.section.counts_sha256}))
        self._said()

    def said_of_runs(self) -> str:
        """Say which runs of the current section were made where its spots lay before.

        A run may have begun before they were placed anew, and end after it.
        """
        return said_of_runs(self._session, self._placed_before(self._session.section))

    def _placed_before(self, section: Section | None) -> set[str]:
        return next((shas for of, shas in self._before if of() is section), set())

    def _try(self, act: Callable[[], object]) -> None:
        self._run_bar.dismiss()
        try:
            act()
        except StenhanceError as error:
            self._run_bar.say(error)

    # What is seen

    def _show(self) -> None:
        history = self._history
        if history is None:
            return
        section, now = history.section, history.now
        show_placing(self._session, section, now, self._pending)
        self.table.show_landmarks(now.pairs, now.residuals(), section.mpp)
        self.state.setText(self._words(section, now))
        self.lost.edited(history)
        self._enable()

    def _words(self, section: Section, now: PlacingState) -> str:
        unit = "px" if section.mpp is None else "µm"
        where = now.registration.describe(stated_px(section), section.mpp)
        said = f"Spots of {name_seen(self._session, section)} are {where}."
        if now.pairs:
            off = said_of_landmarks(now.residuals() * (section.mpp or 1.0), unit)
            said += f" {off[0].upper()}{off[1:]}."
        if self.set_pairs.isChecked():
            said += f" {_SPOT if self._pending is None else _SLIDE}"
        return said

    def _enable(self) -> None:
        history = self._history
        if history is None:
            return
        self.undo.setEnabled(history.can_undo or self._pending is not None)
        self.redo.setEnabled(history.can_redo)
        self.fit.setEnabled(bool(history.now.pairs))
        self.remove.setEnabled(bool(self.table.chosen()))
        self.apply.setEnabled(bool(history.changes))

    def _show_opacity(self, percent: int) -> None:
        if self._history is not None:
            for layer, _ in spots_layers(self._session, self._history.section):
                layer.opacity = percent / 100

    # Mouse and keys over the slide

    def _use_drag(self) -> None:
        self.set_pairs.setChecked(False)
        self._begin_tool()

    def _use_pairs(self) -> None:
        self.drag.setChecked(False)
        self._begin_tool()

    def _begin_tool(self) -> None:
        """Let no other tool take the clicks that are meant for this one."""
        self._pending = None
        active = self._viewer.layers.selection.active
        if active is not None and str(active.mode) != "pan_zoom":
            active.mode = "pan_zoom"
        self._show()

    def _px(self, event: Any) -> tuple[float, float]:
        assert self._history is not None
        section = self._history.section
        places = [info.place for _, info in spots_layers(self._session, section)]
        place = next((one for one in places if one is not None), self._session.place)
        x, y = to_px(section, place, event.position)  # type: ignore[arg-type]
        return float(x), float(y)

    def _dragged(self, viewer: Viewer, event: Any) -> Iterator[None]:
        """Move spots, or set a landmark, where one of these tools is in use."""
        moving = self.drag.isChecked()
        if self._history is None or event.button != 1 or not (moving or self.set_pairs.isChecked()):
            return
        start, begun = self._px(event), self._history.now
        state = begun

        def moved(dx: float, dy: float) -> None:
            nonlocal state
            if self._history is not None:
                state = begun.then(Registration.moved(dx, dy))
                show_placing(self._session, self._history.section, state)

        still = yield from follow_drag(viewer, event, self._px, moved if moving else None)
        if moving:
            self._do(state)
        elif still:
            self.set_landmark(start)

    def set_landmark(self, at: tuple[float, float]) -> None:
        """Take a click: first where spots show it, then where it belongs."""
        if self._history is None:
            return
        now = self._history.now
        if self._pending is None:
            (stated,) = now.registration.inverse()([at])
            self._pending = float(stated[0]), float(stated[1])
            self._show()
            return
        pending, self._pending = self._pending, None
        self._do(now.with_pair((*pending, *at)))
