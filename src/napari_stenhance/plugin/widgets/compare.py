"""The panel 'Compare': a gene measured and predicted, of two runs or sections, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.caption import show_caption
from napari_stenhance.plugin.compared_view import ComparedView, compared_boxes
from napari_stenhance.plugin.comparison import (
    ComparedSide,
    Comparison,
    comparison_layers,
    sides_of,
    why_little,
)
from napari_stenhance.plugin.overlay import (
    OverlaidView,
    Overlay,
    carry_regions,
    overlaid_genes,
    overlay_layers,
    read_overlay,
)
from napari_stenhance.plugin.section_runs import section_at
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.blending import BlendRow
from napari_stenhance.plugin.widgets.choices import elide
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.plugin.widgets.scatter import ScatterChart
from napari_stenhance.running.numbers import counted
from napari_stenhance.storage.cache import Cache

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stenhance.plugin.layer_info import Place
    from napari_stenhance.tasks.align import Aligned


class CompareWidget(QWidget):
    """Shows the gene that is looked at twice, in views that move together."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer, self._session = napari_viewer, session_of(napari_viewer)
        self._sides: list[ComparedSide] = []
        self._shown: Comparison | None = None
        self._overlay: Overlay | None = None
        # How sections lie over others, which takes seconds to find: of both, which may be gone, or
        # opened anew there with their spots placed otherwise.
        self._laid: dict[tuple[Place, Place], tuple[Any, Any, Aligned]] = {}
        # What was looked at when sides were listed last, and when they were compared.
        self._listed_at: Place | None = None
        self._compared_at: Place | None = None
        self._shown_difference, self._looked = False, ("", "", 0.0)
        self._beside = ComparedView(self._session.viewer, self._session.quiet)
        self._over = OverlaidView(self._session.viewer, self._session.quiet)
        self._view: ComparedView = self._beside
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(self._clear)
        self.left, self.right = QComboBox(self), QComboBox(self)
        for box, where in ((self.left, "left"), (self.right, "right")):
            elide(box)
            box.setToolTip(f"What is seen on the {where}: of the gene that is looked at")
        self.difference = QCheckBox("Left less right", self)
        self.difference.setToolTip(
            "A third view: blue where the left is less, red where it is more, white where both are "
            "the same."
        )
        self.over = QCheckBox("Lay over one another", self)
        self.over.setToolTip(
            "Two sections of one block in one view: the right is turned and moved onto the left, "
            "by the outline of the tissue and by its stain."
        )
        self.over.toggled.connect(lambda on: self.difference.setEnabled(not on))
        self.blend = BlendRow(self, self._over.blend, self._carry)
        self.run = QPushButton("Compare", self)
        self.run.setToolTip("Show both beside each other, on one scale; they move together.")
        self.run.clicked.connect(self.compare)
        self.end = QPushButton("End", self)
        self.end.setToolTip("Show again what was seen before.")
        self.end.clicked.connect(self.leave)
        self.words = QLabel(self)
        self.words.setWordWrap(True)
        self.chart = ScatterChart(self)
        self.run_bar = RunBar(self)
        form, row, layout = QFormLayout(), QHBoxLayout(), QVBoxLayout(self)
        form.addRow("Left", self.left)
        form.addRow("Right", self.right)
        row.addWidget(self.run, 1)
        row.addWidget(self.end)
        layout.addLayout(form)
        layout.addWidget(self.difference)
        layout.addWidget(self.over)
        layout.addLayout(row)
        layout.addWidget(self.blend)
        layout.addWidget(self.words)
        layout.addWidget(self.chart)
        layout.addStretch(1)
        layout.addWidget(self.run_bar)
        self.end.setEnabled(False)
        follow_layers(self, napari_viewer, self._list)
        follow_session(self, napari_viewer, self._follow)

    @property
    def comparing(self) -> bool:
        """Whether a comparison is seen."""
        return self._view.is_on

    def _list(self) -> None:
        """List what can be compared; what was chosen of this section stays, if it is there."""
        if self.comparing and not self.run_bar.busy and not (self._view.layers and self._is_true()):
            # The user has removed its layers, or what is open is no longer what they show.
            self.leave()
            return
        place = self._session.place
        sides = sides_of(self._session.viewer, place)
        moved, self._listed_at = place is not self._listed_at, place
        if not self.comparing:
            self.words.setText(why_little(self._session.viewer, sides))
        if [s.title for s in sides] == [s.title for s in self._sides] and all(
            one.is_same(other) for one, other in zip(sides, self._sides, strict=True)
        ):
            # Their spots may be placed anew.
            self._sides = sides
            return
        boxes = self.left, self.right
        # Of another section, and where there was no choice before, what is listed first.
        anew = moved or len(self._sides) < 2
        chosen = [None if anew else self._chosen(box) for box in boxes]
        self._sides = sides
        # Of one section there is nothing to lay over another.
        several = len({id(side.place) for side in sides}) > 1
        self.over.setVisible(several)
        self.over.setChecked(several and self.over.isChecked())
        for n, (box, before) in enumerate(zip(boxes, chosen, strict=True)):
            box.clear()
            box.addItems([side.title for side in sides])
            same = next((i for i, side in enumerate(sides) if side.is_same(before)), None)
            box.setCurrentIndex(min(n, len(sides) - 1) if same is None else same)
        self.run.setEnabled(len(sides) > 1)

    def _is_true(self) -> bool:
        """Tell whether the sections are open that are compared, with their spots where they lay."""
        shown, viewer = self._shown, self._session.viewer
        return shown is None or all(
            section_at(viewer, side.place) is side.section for side in (shown.left, shown.right)
        )

    def _known(self, left: ComparedSide, right: ComparedSide) -> Aligned | None:
        """Return how one section lies over the other, where that was found of these very two."""
        first, second, aligned = self._laid.get((left.place, right.place), (None, None, None))
        same = first is not None and first() is left.section and second() is right.section
        return aligned if same else None

    def _chosen(self, box: QComboBox) -> ComparedSide | None:
        at = box.currentIndex()
        return self._sides[at] if 0 <= at < len(self._sides) else None

    def _follow(self) -> None:
        """Compare the gene that is looked at now; end it where another section is."""
        if not self.comparing:
            self._list()
            return
        shown = self._shown
        if shown is None or self._session.place is not self._compared_at:
            self.leave()
            return
        self._view.hide_others()
        show_caption(self._session.viewer, "")
        self._catch_up()

    def _catch_up(self) -> None:
        """Compare once more where something else is looked at than what was compared."""
        if self.comparing and not self._is_true():
            self.leave()
        elif self.comparing and self._looked_at() != self._looked:
            self.compare()

    def _looked_at(self) -> tuple[str, str, float]:
        """Return what of the session a comparison shows."""
        session = self._session
        return session.gene, session.colormap.name, session.least_r

    def compare(self) -> None:
        """Show both sides, in a thread and then a layer a turn."""
        left, right = self._chosen(self.left), self._chosen(self.right)
        if self.run_bar.busy:
            return
        if left is None or right is None:
            self.run_bar.say(InputError("Open a section with spots, or a result: nothing is here."))
            return
        self._looked = self._looked_at()
        gene, cache = self._session.gene, Cache.default()
        if self.over.isChecked():
            known = self._known(left, right)
            self.run_bar.start(
                f"Laying {right.place.name} over {left.place.name}",
                lambda job: read_overlay(left, right, gene, known, cache, job),
                on_done=self._lay,
                on_end=self._catch_up,
            )
            return
        self.run_bar.start(
            f"Comparing {gene}",
            lambda job: Comparison.read(left, right, gene, job),
            on_done=self._show,
            on_end=self._catch_up,
        )

    def _lay(self, overlay: Overlay) -> Iterator[None]:
        """Show one section over the other, and say how well that fits."""
        session, comparison = self._session, overlay.comparison
        self._look_at_left(comparison)
        layers = overlay_layers(session.viewer, overlay, session.colormap, session.least_r)
        yield
        before, self._shown, self._overlay = self._shown, comparison, overlay
        self._compared_at = session.place
        left, right = comparison.left, comparison.right
        found = ref(left.section), ref(right.section), overlay.aligned
        self._laid[left.place, right.place] = found
        again = self._over.is_on and _same_sides(comparison, before)
        if again:
            yield from self._over.lay_another(layers)
        else:
            yield from self._turn_to(self._over)
            yield from self._over.lay(layers, comparison.left.place)
        self.blend.begin(comparison.left.place.name, comparison.right.place.name)
        names = [layer[1]["name"] for layer in overlaid_genes(layers)]
        self._say(comparison, [*names, overlay.said, comparison.said])

    def _look_at_left(self, comparison: Comparison) -> None:
        """Look at the section that lies where it is: what is drawn meanwhile is drawn on it."""
        if self._session.place is comparison.left.place:
            return
        self._session.look_at(comparison.left.place)
        for box, side in ((self.left, comparison.left), (self.right, comparison.right)):
            box.setCurrentIndex(next(n for n, s in enumerate(self._sides) if s.is_same(side)))

    def _turn_to(self, view: ComparedView) -> Iterator[None]:
        """End what was compared otherwise: what was seen before it is remembered once."""
        if self._view is not view and self._view.is_on:
            self._view.end()
            while self._view.layers:
                self._view.remove_one()
                yield
        self._view = view

    def _carry(self) -> None:
        """Draw the regions of the left section on the right one."""
        if self._overlay is None:
            return
        try:
            number = carry_regions(self._session.viewer, self._overlay)
        except InputError as error:
            self.run_bar.say(error)
            return
        where = self._overlay.comparison.right.place.name
        self.words.setText(f"{self.words.text()}\n{counted(number, 'region')} drawn on {where}.")

    def _show(self, comparison: Comparison) -> Iterator[None]:
        session = self._session
        wanted = self.difference.isChecked()
        boxes = compared_boxes(session.viewer, (comparison.left, comparison.right))
        # Two pieces of tissue share no coordinates: each is seen from its own centre.
        apart = comparison.left.place is not comparison.right.place
        shift = (boxes[0] - boxes[1]).mean(axis=0) * apart
        made = comparison_layers(
            comparison, session.colormap, session.least_r, difference=wanted, shift=shift
        )
        yield
        before, self._shown, self._overlay = self._shown, comparison, None
        self._compared_at = session.place
        alike = self._beside.is_on and self._shown_difference == wanted
        self._shown_difference = wanted
        if alike and _same_sides(comparison, before):
            yield from self._view.show_another(made[0])
        else:
            yield from self._turn_to(self._beside)
            yield from self._view.show(*made, comparison.left.place, boxes)
        self.blend.end()
        lacking = wanted and comparison.difference is None
        said = comparison.of if lacking else comparison.said
        # Over narrow views not all of it is seen.
        self._say(comparison, [*(view[-1][1]["name"] for view in made[0]), said])

    def _say(self, comparison: Comparison, said: list[str]) -> None:
        """Say what is compared, and how alike it is."""
        show_caption(self._session.viewer, "")
        names = comparison.left.title, comparison.right.title
        r = "" if np.isnan(comparison.r) else f"r = {comparison.r:.2f}"
        self.chart.show_values(comparison.x, comparison.y, names, r)
        self.words.setText("\n".join(filter(None, said)))
        self.end.setEnabled(True)
        self.run_bar.done = ""

    def leave(self) -> None:
        """Show again what was seen before."""
        self._view.end()
        self._shown = self._overlay = None
        self.blend.end()
        self.chart.hide()
        self.end.setEnabled(False)
        self._session.show()
        self._list()
        self._turn.start(0)

    def _clear(self) -> None:
        """Remove the layers of a comparison that has ended, one a turn."""
        if self._view.layers and not self.comparing and not self.run_bar.busy:
            self._view.remove_one()
            self._turn.start(0)


def _same_sides(one: Comparison, other: Comparison | None) -> bool:
    """Tell whether two comparisons have the same on both sides, of whatever gene."""
    return other is not None and one.left.is_same(other.left) and one.right.is_same(other.right)
