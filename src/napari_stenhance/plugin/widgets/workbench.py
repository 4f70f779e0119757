"""The dock: panels one below the other, each made when it is first unfolded."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QDockWidget, QMainWindow, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_stenhance.plugin.caption import place_overlays
from napari_stenhance.plugin.closing import ClosingQuestion
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.actions import ACTIONS
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.job_list import JobList
from napari_stenhance.plugin.widgets.scrolling import UpDownArea
from napari_stenhance.plugin.widgets.tab_order import order_tabs

if TYPE_CHECKING:
    from napari.viewer import Viewer

DOCK = "stenhance"
PANELS = {
    "section": ("Section", "section:SectionWidget"),
    "enhance": ("Enhance genes", "enhance:EnhanceWidget"),
    "impute": ("Impute genes", "impute:ImputeWidget"),
    "genes": ("Genes", "genes:GenesWidget"),
    "domains": ("Find domains", "domains:DomainsWidget"),
    "regions": ("Regions", "regions:RegionsWidget"),
    "compare": ("Compare", "compare:CompareWidget"),
}
"""Title, and module and class, of each panel."""
_RUNNING = ("enhance", "impute", "domains")

_ROOM = 480
"""Height that an unfolded panel needs at least to be of use, in px."""
_CANVAS, _LAYERS, _BETWEEN = 700, 308, 22
"""Widths, in px: that the canvas keeps, that napari's own docks take, and of what lies between."""
_CONTROLS = "layer controls"
_NARROW = "QComboBox { min-width: 60px; } #colormapComboBox { min-width: 85px; }"
"""napari's dock, whose boxes are else as wide as their longest choice, whatever layer is chosen."""
_WIDE = 340
_FOCUS = """
QPushButton:focus, QToolButton:focus, QCheckBox:focus, QComboBox:focus, QLineEdit:focus,
QAbstractSpinBox:focus, QAbstractItemView:focus, QPlainTextEdit:focus {
    border: 1px solid #4c93f0;
}
"""
"""napari's themes do not show where the keys go; this blue is seen on dark and on light."""
_MARGINS = (2, 4, 2, 8)


class Panel(QWidget):
    """A heading, and below it a widget that is made when it is first asked for.

    Parameters
    ----------
    title : str
    make : callable
    parent : QWidget
    """

    def __init__(self, title: str, make: Callable[[], QWidget], parent: QWidget) -> None:
        super().__init__(parent)
        self.title, self._make = title, make
        self.made: Any = None
        self.heading = QToolButton(self)
        self.heading.setText(title)
        self.heading.setCheckable(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.heading.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._column.addWidget(self.heading)
        self.fold()

    @property
    def is_open(self) -> bool:
        """Whether it is unfolded."""
        return self.heading.isChecked()

    def widget(self) -> Any:
        """Return what lies below the heading; it is made if it was not."""
        if self.made is None:
            self.made = self._make()
            self.made.setVisible(self.is_open)
            self.made.layout().setContentsMargins(*_MARGINS)
            self._column.addWidget(self.made, 1)
            order_tabs(self)
        return self.made

    def unfold(self) -> None:
        """Show what lies below the heading."""
        self._turn(on=True)
        self.widget().show()

    def fold(self) -> None:
        """Hide it; it goes on with what it does."""
        self._turn(on=False)
        if self.made is not None:
            self.made.hide()

    def _turn(self, *, on: bool) -> None:
        self.heading.setChecked(on)
        self.heading.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)


class Workbench(QWidget):
    """All that the plugin offers, in one dock.

    Parameters
    ----------
    viewer : Viewer

    Attributes
    ----------
    panels : dict of Panel
        By the names of `PANELS`.
    jobs : JobList
        What runs and waits, in all of them.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        # Layers are settled and followed from now on, whichever panel is opened first.
        self._session = session_of(viewer)
        inside = QWidget(self)
        column = self._column = QVBoxLayout(inside)
        column.setContentsMargins(0, 2, 0, 2)
        column.setSpacing(2)
        self.jobs = JobList(self)
        self.panels: dict[str, Panel] = {}
        self._opened: list[str] = []
        for name, (title, where) in PANELS.items():
            made = self._listing(title, _maker(where, viewer))
            panel = self.panels[name] = Panel(title, made, inside)
            panel.heading.clicked.connect(lambda on, name=name: self._clicked(name, on))
            column.addWidget(panel)
        column.addStretch(0)
        self._area = UpDownArea(inside, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._area, 1)
        layout.addWidget(self.jobs)
        self.setStyleSheet(_FOCUS)
        self._closing = ClosingQuestion(viewer)
        follow_layers(self, viewer, lambda: self._watch_edits(viewer))
        follow_session(self, viewer, lambda: self._follow(viewer))
        for keys, act in ACTIONS.items():
            self._listen(keys, lambda act=act: act(self))
        for number, name in enumerate(PANELS, 1):
            keys = f"Alt+{number}"
            self.panels[name].heading.setToolTip(f"Fold or unfold; {keys} unfolds it.")
            self._listen(keys, lambda name=name: self.reach(name))

    def _listing(self, title: str, make: Callable[[], Any]) -> Callable[[], QWidget]:
        """List what a panel runs, once it is made."""

        def made() -> QWidget:
            widget: QWidget = make()
            self.jobs.follow(title, widget.run_bar)
            # A turn later, when there is room for what is said.
            turn = QTimer(widget)
            turn.setSingleShot(True)
            turn.setInterval(0)
            turn.timeout.connect(lambda: self._area.ensureWidgetVisible(widget.run_bar))
            widget.run_bar.answered.connect(turn.start)
            return widget

        return made

    def _watch_edits(self, viewer: Viewer) -> None:
        """Make the panel that says what is not saved, where saved layers brought such changes."""
        edits = (info.edits for _, info in layers_of(viewer, "domains"))
        if any(one is not None and one.changes for one in edits):
            self.widget("domains")

    def _follow(self, viewer: Viewer) -> None:
        """Unfold the panels that were, where saved layers say so."""
        place_overlays(viewer)
        panels = [name for name in self._session.panels if name in self.panels]
        if panels and panels != self._unfolded():
            for name in set(self._unfolded()) - set(panels):
                self.panels[name].fold()
            for name in panels:
                self.open(name)

    def _unfolded(self) -> list[str]:
        """Name the panels that are unfolded, the last one last."""
        return [name for name in self._opened if self.panels[name].is_open]

    def _listen(self, keys: str, act: Callable[[], None]) -> None:
        QShortcut(QKeySequence(keys), self).activated.connect(act)

    def reach(self, name: str) -> None:
        """Unfold a panel, for one who uses keys: the next Tab goes into it."""
        self.open(name)
        self.panels[name].heading.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def widget(self, name: str) -> Any:
        """Return the widget of a panel, which stays folded if it is."""
        return self.panels[name].widget()

    def open(self, name: str) -> Any:
        """Unfold a panel, fold those for which no room is left, and return its widget."""
        panel = self.panels[name]
        self._opened = [one for one in self._unfolded() if one != name]
        self._opened.append(name)
        room = self._area.viewport().height()
        panel.unfold()
        while len(self._opened) > 1 and self._height() > room:
            self.panels[self._opened.pop(0)].fold()
        self._share()
        return panel.made

    def runs(self) -> str:
        """Return the panel that runs something and was unfolded last; empty if none was."""
        running = [name for name in self._opened if name in _RUNNING]
        return running[-1] if running else ""

    def _share(self) -> None:
        """Give all height that is left to the panels that are unfolded, in equal parts."""
        self._session.panels = tuple(self._unfolded())
        for panel in self.panels.values():
            self._column.setStretchFactor(panel, int(panel.is_open))

    def _height(self) -> int:
        """Return how high all must be, with room for those that are opened."""
        headings = sum(panel.heading.sizeHint().height() + 2 for panel in self.panels.values())
        made = [self.panels[name].made for name in self._opened]
        wide = self._area.viewport().width()
        least = (one.layout().minimumHeightForWidth(wide) for one in made)
        return headings + sum(max(_ROOM, height) for height in least)

    def _clicked(self, name: str, on: bool) -> None:
        if on:
            self.open(name)
        else:
            self.panels[name].fold()
            self._share()

    def sizeHint(self) -> QSize:
        return super().sizeHint().expandedTo(QSize(0, 2 * _ROOM))


def workbench_of(viewer: Viewer) -> Workbench:
    """Return the dock of a viewer, which is made, or shown again, if it is not there."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    docks = viewer.window.dock_widgets
    if DOCK in docks:
        bench = docks[DOCK]
        dock = bench.parent()
        dock.show()
        dock.raise_()
    else:
        bench = Workbench(viewer)
        dock = viewer.window.add_dock_widget(
            bench, name=DOCK, area="right", add_vertical_stretch=False
        )
        _leave_room(dock)
    return bench


def _leave_room(dock: Any) -> None:
    """Make the dock as wide as it may be beside a canvas of some width, napari's own narrower."""
    window = dock.window()
    if isinstance(window, QMainWindow):
        controls = window.findChild(QDockWidget, _CONTROLS)
        if controls is not None:
            controls.setStyleSheet(_NARROW)
        left = window.width() - _CANVAS - _LAYERS - _BETWEEN
        # It is no narrower than what lies in it.
        window.resizeDocks([dock], [min(max(left, 1), _WIDE)], Qt.Orientation.Horizontal)


def modules() -> list[tuple[str, str]]:
    """List the module and the class of each panel."""
    return [_parts(where) for _, where in PANELS.values()]


def _parts(where: str) -> tuple[str, str]:
    module, name = where.split(":")
    return f"napari_stenhance.plugin.widgets.{module}", name


def _maker(where: str, viewer: Viewer) -> Callable[[], QWidget]:
    module, name = _parts(where)

    def make() -> QWidget:
        made = getattr(import_module(module), name)(viewer)
        assert isinstance(made, QWidget)
        return made

    return make
