"""Someone at the viewer: what the tests of the plugin do with mouse and keys."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QThreadPool, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QMouseEvent
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

from napari_stenhance.plugin.layer_info import layers_of, our_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.domains import DomainsWidget
from napari_stenhance.plugin.widgets.enhance import EnhanceWidget
from napari_stenhance.plugin.widgets.genes import GenesWidget
from napari_stenhance.plugin.widgets.impute import ImputeWidget
from napari_stenhance.plugin.widgets.regions import RegionsWidget
from napari_stenhance.plugin.widgets.section import SectionWidget
from napari_stenhance.plugin.widgets.workbench import workbench_of

LEFT = Qt.MouseButton.LeftButton
_DOUBLE_CLICK_MS = 100


class Person:
    """Someone at the viewer, with its dock, whose panels are made when a test asks for them."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.bot = viewer, qtbot
        QApplication.setDoubleClickInterval(_DOUBLE_CLICK_MS)
        self.open_dock()

    def open_dock(self) -> None:
        self.bench = workbench_of(self.viewer)
        self.section: SectionWidget = self.bench.open("section")

    @property
    def enhance(self) -> EnhanceWidget:
        return self.bench.widget("enhance")

    @property
    def impute(self) -> ImputeWidget:
        return self.bench.widget("impute")

    @property
    def genes(self) -> GenesWidget:
        return self.bench.widget("genes")

    @property
    def domains(self) -> DomainsWidget:
        return self.bench.widget("domains")

    @property
    def regions(self) -> RegionsWidget:
        return self.bench.widget("regions")

    def wait(self, until: Callable[[], bool], seconds: float = 120) -> None:
        self.bot.waitUntil(until, timeout=int(seconds * 1000))

    def click(self, button: QWidget) -> None:
        assert button.isEnabled()
        self.bot.mouseClick(button, LEFT)

    def drop(self, path: Path) -> None:
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path))])
        area, at = self.section.drop, QPoint(10, 10)
        shared = (Qt.DropAction.CopyAction, mime, LEFT, Qt.KeyboardModifier.NoModifier)
        entered = QDragEnterEvent(at, *shared)
        QApplication.sendEvent(area, entered)
        assert entered.isAccepted()
        QApplication.sendEvent(area, QDropEvent(QPointF(at), *shared))
        self.wait(lambda: not self.section.run_bar.busy)

    def set_enhance(self, out: Path, write: str = "", epochs: int = 2) -> None:
        fields = self.enhance.form.fields
        fields["out"].value, fields["write"].value, fields["epochs"].value = out, write, epochs
        fields["device"].value = "cpu"

    def run(self) -> None:
        self.click(self.enhance.run)
        self.wait(lambda: not self.enhance.run_bar.busy)

    def type_gene(self, text: str) -> None:
        line = self.genes.gene
        line.clear()
        self.bot.keyClicks(line, text)
        self.bot.keyClick(line, Qt.Key.Key_Return)
        self.wait(lambda: not self.genes.reader.busy)

    def region_texts(self, column: int) -> list[str]:
        """What a column of the table of regions says."""
        model = self.regions.table.regions
        return [model.index(row, column).data() for row in range(model.rowCount())]

    def wait_for_counts(self, number: int) -> None:
        """Wait until so many regions have numbers."""
        counts = self.regions.counts
        self.wait(lambda: counts.found is not None and len(counts.found.numbers) == number)

    def wait_for_regions(self) -> None:
        """Wait until the panel of regions is done, without an error."""
        self.wait(lambda: not self.regions.run_bar.busy)
        assert not self.regions.run_bar.error.text()

    def check_layer_comes_back(self, role: str, button: QPushButton, gene: str) -> None:
        """A gene takes the place of a layer that is seen by itself, and it comes back as it was."""
        layer = self.layer(role)
        self.genes.show_gene(gene)
        self.wait(lambda: session_of(self.viewer).gene == gene and not layer.visible)
        button.click()
        self.wait(lambda: layer.visible)
        assert [one for one, _ in layers_of(self.viewer, role)] == [layer]

    def layer(self, *roles: Any, gene: str | None = None) -> Layer:
        (found,) = (
            layer
            for layer, about in layers_of(self.viewer, *roles)
            if gene is None or about.gene == gene
        )
        return found

    def click_world(self, y_um: float, x_um: float) -> None:
        """Click a point of the world on the canvas."""
        canvas = self.viewer.window._qt_viewer.canvas
        native, zoom = canvas.native, self.viewer.scene.camera.zoom
        centre = np.array(self.viewer.scene.camera.center[-2:])
        offset = (np.array([y_um, x_um]) - centre) * zoom
        at = QPoint(round(native.width() / 2 + offset[1]), round(native.height() / 2 + offset[0]))
        # Not Qt's own test of a move: that moves the one mouse of the screen, which others may use.
        none, mouse = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
        where = QPointF(at), QPointF(native.mapToGlobal(at))
        QApplication.sendEvent(
            native, QMouseEvent(QEvent.Type.MouseMove, *where, none, none, mouse)
        )
        # napari may take a move late: a click before that would draw where the mouse was.
        self.wait(lambda: self._is_at(y_um, x_um))
        self.bot.mouseClick(native, LEFT, pos=at)
        # Two clicks in less than that are a double click, which closes a polygon.
        self.bot.wait(_DOUBLE_CLICK_MS + 50)

    def _is_at(self, y_um: float, x_um: float) -> bool:
        off = np.subtract(self.viewer.cursor.position[-2:], (y_um, x_um))
        return bool((np.abs(off) * self.viewer.scene.camera.zoom < 2).all())

    def draw(self, corners: list[tuple[float, float]]) -> None:
        self.click(self.enhance.draw)
        drawn = self.viewer.layers.selection.active
        self.wait(lambda: drawn.mode == "add_polygon")
        for corner in corners:
            before = sum(map(len, drawn.data))
            self.click_world(*corner)
            # A busy machine takes a click late; the next one, or Escape, must not overtake it.
            self.wait(lambda before=before: sum(map(len, drawn.data)) > before)
        self.bot.keyClick(self.viewer.window._qt_viewer.canvas.native, Qt.Key.Key_Escape)


def check_truth(viewer: Any) -> None:
    """Whatever is seen is of the current section and gene, and has the limits of the bar shown."""
    session = session_of(viewer)
    layers = [
        (layer, info)
        for layer, info in our_layers(viewer)
        if layer.visible and info.role.name in {"gene", "browse", "spots", "lattice"}
    ]
    _check_channels(viewer)
    assert not (layers and session.channels)
    for layer, info in layers:
        assert info.place is session.place, layer
        assert (info.gene, info.what) == (session.gene, session.what), layer
        if info.role.fills:
            np.testing.assert_allclose(layer.contrast_limits, session.limits, rtol=1e-6)
            assert layer.colormap.same_colors(session.colormap)
        else:
            limits = session.other_limits or session.limits
            assert limits is not None
            alone = session.genes is None or session.genes.unit == info.colours.unit
            assert (session.other_limits is None) == alone
            colours = info.colours.paint(info.gene, limits, colormap=session.colormap)[0]
            np.testing.assert_allclose(layer.face_color, colours, atol=1e-6)
    bars = [layer for layer, info in layers if info.role.fills and layer.colorbar.visible]
    assert len(bars) == any(info.role.fills for _, info in layers)
    for _, info in our_layers(viewer):
        assert info.place is not None
    active = viewer.layers.selection.active
    assert active is None or active.visible


def _check_channels(viewer: Any) -> None:
    """Each gene that is seen with others is of the current run, in the colour and limits said."""
    session = session_of(viewer)
    seen = [(layer, info) for layer, info in layers_of(viewer, "channel") if layer.visible]
    said = viewer.canvas.overlays["stenhance_caption"].text if seen else ""
    assert {info.gene for _, info in seen} == {one.gene for one in session.channels}
    for at, (layer, info) in enumerate(seen):
        (one,) = (one for one in session.channels if one.gene == info.gene)
        assert (info.of_run, info.place) == (session.run.key, session.place)
        np.testing.assert_allclose(layer.contrast_limits, one.limits, rtol=1e-6)
        # From black, in a colour that no other has, over what hides the slide.
        np.testing.assert_allclose(layer.colormap.map([0, 1]), [(0, 0, 0, 1), (*one.rgb, 1)])
        assert layer.blending == ("additive" if at else "translucent")
        assert layer.opacity == 1
        ends = re.search(rf"{re.escape(one.gene)} {one.colour} (\S+) – ([^\s,]+)", said)
        np.testing.assert_allclose([float(end) for end in ends.groups()], one.limits, atol=0.006)
        assert (
            "not reliable" in session.run.reliability(one.gene, session.least_r)
        ) == one.doubtful
        assert not layer.colorbar.visible
    assert len({one.colour for one in session.channels}) == len(seen)


def events_of(out: Path) -> list[str]:
    lines = (out / "files" / "log.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["event"] for line in lines]


def at_work() -> bool:
    """Tell whether a thread other than the interface's runs code of ours."""
    for number, frame in sys._current_frames().items():
        while frame is not None and number != threading.main_thread().ident:
            if "napari_stenhance" in frame.f_code.co_filename:
                return True
            frame = frame.f_back  # type: ignore[assignment]
    return QThreadPool.globalInstance().activeThreadCount() > 0


def overlap(one: Any, other: Any) -> bool:
    """Tell whether two boxes, each (2, 2) of its least and its greatest corner, overlap."""
    return bool((np.maximum(one[0], other[0]) < np.minimum(one[1], other[1])).all())
