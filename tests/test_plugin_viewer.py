"""The docks in a real viewer, used as a person would: drop, click, type, draw, cancel, close."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
from napari.layers import Layer
from napari.utils import progress
from napari.utils.notifications import Notification, notification_manager
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QThreadPool, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QWidget
from typer.testing import CliRunner

from napari_stenhance.cli import app
from napari_stenhance.plugin.shown import layers_of, open_sections
from napari_stenhance.plugin.view import add_docks
from napari_stenhance.plugin.widgets import enhance as enhance_module
from napari_stenhance.plugin.widgets.enhance import EnhanceWidget
from napari_stenhance.plugin.widgets.genes import GenesWidget
from napari_stenhance.plugin.widgets.section import SectionWidget
from napari_stenhance.plugin.writer import write_layers
from napari_stenhance.results.result import Result
from napari_stenhance.running.job import Event, Job, Progress
from napari_stenhance.tasks.enhance import EnhanceOptions

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")
LEFT = Qt.MouseButton.LeftButton


class Person:
    """Someone at the viewer, with its three docks."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.bot = viewer, qtbot
        self.section: SectionWidget = add_docks(viewer)
        docks = {name.split(" (")[0]: w for name, w in viewer.window.dock_widgets.items()}
        self.enhance: EnhanceWidget = docks["Enhance genes"]
        self.genes: GenesWidget = docks["Genes"]

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
        line = self.genes.gene.lineEdit()
        line.clear()
        self.bot.keyClicks(line, text)
        self.bot.keyClick(line, Qt.Key.Key_Return)

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
        self.bot.mouseMove(native, at)
        self.bot.mouseClick(native, LEFT, pos=at)
        # Two clicks in less than that are a double click, which closes a polygon.
        self.bot.wait(QApplication.doubleClickInterval() + 50)

    def draw(self, corners: list[tuple[float, float]]) -> None:
        self.click(self.enhance.draw)
        for corner in corners:
            self.click_world(*corner)
        self.bot.keyClick(self.viewer.window._qt_viewer.canvas.native, Qt.Key.Key_Escape)


@pytest.fixture
def person(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Person:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 900)
    return Person(viewer, qtbot)


@pytest.fixture
def notifications() -> Iterator[list[Notification]]:
    shown: list[Notification] = []
    notification_manager.notification_ready.connect(shown.append)
    yield shown
    notification_manager.notification_ready.disconnect(shown.append)


def _events(out: Path) -> list[str]:
    lines = (out / "files" / "log.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["event"] for line in lines]


def _at_work() -> bool:
    """Tell whether a thread other than the interface's runs code of ours."""
    for number, frame in sys._current_frames().items():
        while frame is not None and number != threading.main_thread().ident:
            if "napari_stenhance" in frame.f_code.co_filename:
                return True
            frame = frame.f_back  # type: ignore[assignment]
    return QThreadPool.globalInstance().activeThreadCount() > 0


def _look_through(
    person: Person, path: Path, out: Path, genes: tuple[str, str], other: str
) -> None:
    """Open, enhance, browse, draw a region, run for it, and open the result again."""
    person.drop(path)
    (section,) = open_sections(person.viewer)
    assert "µm per pixel" in person.section.words.toPlainText()
    assert {a.role for _, a in layers_of(person.viewer, "slide", "spots", "region")} == {
        "slide", "spots", "region",
    }  # fmt: skip
    gaps = [0.0]
    last = [time.monotonic()]

    def tick() -> None:
        now = time.monotonic()
        gaps.append(now - last[0])
        last[0] = now

    clock = QTimer()
    clock.timeout.connect(tick)
    clock.start(20)
    person.set_enhance(out, ", ".join(genes))
    person.run()
    clock.stop()
    # Twice what it takes on two idle cores: napari needs some time for each new layer.
    assert max(gaps) < 2, "the interface froze"
    assert person.enhance.run_bar.label.text() == "Done."
    assert [p.desc for p in progress._all_instances] == []
    field = Result.open(out).field("pixel2gene-stain-robust")
    for gene in genes:
        layer = person.layer("gene", gene=gene)
        assert "[log1p CP10k]" in layer.name
        shape = field.grid.shape
        expected = field.image(gene)
        found = np.asarray(layer.data[0])[: shape[0], : shape[1]]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        inside = np.percentile(expected[np.isfinite(expected)], (1, 99))
        np.testing.assert_allclose(layer.contrast_limits, inside, rtol=1e-4)
        assert layer.colorbar.visible

    browse, shape = person.layer("browse"), field.grid.shape
    for gene in (*genes, other):
        person.type_gene(gene.lower())
        assert browse.metadata["stenhance"].gene == gene
        assert gene in browse.name
        assert browse.visible
        np.testing.assert_allclose(
            np.asarray(browse.data[0])[: shape[0], : shape[1]], field.image(gene), rtol=1e-6
        )
        assert gene in person.layer("spots").name
    assert "held-out" in person.genes.accuracy.text()
    person.click(person.genes.pin)
    person.wait(lambda: not person.genes.run_bar.busy)
    assert person.layer("gene", gene=other).visible

    assert section.slide is not None
    person.viewer.reset_view()
    height, width = (n * section.slide.scale() for n in section.slide.shape)
    box = [(a * height, b * width) for a, b in ((0.4, 0.4), (0.4, 0.6), (0.6, 0.6), (0.6, 0.4))]
    person.draw(box)
    region = person.layer("region")
    assert len(region.data) == 1
    assert person.enhance.form.fields["region"].value == region.name
    person.run()
    result = Result.open(out)
    assert result.runs == ("pixel2gene-stain-robust", "pixel2gene-stain-robust-2")
    drawn = result.region("pixel2gene-stain-robust-2")
    assert drawn is not None
    expected_bounds = (0.4 * width, 0.4 * height, 0.6 * width, 0.6 * height)
    # As exact as a click: a few pixels of the screen.
    tolerance = 4 / person.viewer.scene.camera.zoom
    np.testing.assert_allclose(drawn.area.bounds, expected_bounds, atol=tolerance)
    inside = drawn.mask(field.grid)
    local = result.field("pixel2gene-stain-robust-2").image(genes[0])
    assert np.isfinite(local).any()
    assert not np.isfinite(local[~inside]).any()
    np.testing.assert_allclose(local[inside], field.image(genes[0])[inside], rtol=1e-2)

    for unit in {str(u) for layer in person.viewer.layers for u in layer.units}:
        assert unit == "micrometer"
    before = {layer.name for layer, _ in layers_of(person.viewer, "gene", "browse")}
    person.viewer.layers.clear()
    assert not open_sections(person.viewer)
    person.drop(out)
    after = {layer.name for layer, _ in layers_of(person.viewer, "gene", "browse")}
    assert {n for n in before if "browse" not in n} == {n for n in after if "browse" not in n}
    assert len(person.layer("slide").data) >= 3
    for gene in genes:
        runs = [a.run for _, a in layers_of(person.viewer, "gene") if a.gene == gene]
        assert sorted(runs) == sorted(result.runs)


def test_a_synthetic_section_from_drop_to_reopening(
    person: Person, section_files: list[Path], tmp_path: Path
) -> None:
    _look_through(person, section_files[0], tmp_path / "one.stenhance.zarr", ("G1", "G20"), "G3")


def test_c2_from_drop_to_reopening(person: Person, data: Path, tmp_path: Path) -> None:
    _look_through(
        person,
        data / "her2st" / "C2",
        tmp_path / "C2.stenhance.zarr",
        ("ERBB2", "COL1A1"),
        "CD74",
    )


def test_cancel_frees_the_interface_and_a_rerun_goes_on(
    person: Person,
    section_files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "empty cache"))
    out = tmp_path / "one.stenhance.zarr"
    person.drop(section_files[0])
    person.set_enhance(out, "G1", epochs=20)
    bar = person.enhance.run_bar
    person.click(person.enhance.run)
    assert not person.enhance.run.isEnabled()
    person.wait(lambda: bar.label.text().startswith("Training"))
    started = time.monotonic()
    person.click(bar.cancel)
    assert bar.label.text().startswith("Stopping")
    assert time.monotonic() - started < 1
    assert _at_work()
    person.wait(lambda: not bar.busy and not _at_work(), 10)
    assert "cancelled" in bar.label.text()
    assert person.enhance.run.isEnabled()
    assert Result.is_result(out)
    assert "complete" not in _events(out)
    features = {f: f.stat().st_mtime_ns for f in (tmp_path / "empty cache").rglob("c/*/*/*")}
    assert features
    person.run()
    assert {f: f.stat().st_mtime_ns for f in features} == features
    events = _events(out)
    assert events.count("trained") == 1
    assert events[-1] == "complete"
    assert np.isfinite(np.asarray(person.layer("gene").data[0])).any()


def test_an_error_in_the_worker_is_one_sentence_with_details(
    person: Person,
    section_files: list[Path],
    tmp_path: Path,
    notifications: list[Notification],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def out_of_memory(_options: Any, _job: Any) -> None:
        msg = "CUDA out of memory. Tried to allocate 20.00 GiB.\nmore of it"
        raise RuntimeError(msg)

    monkeypatch.setattr(enhance_module, "enhance", out_of_memory)
    person.drop(section_files[0])
    person.set_enhance(tmp_path / "one.stenhance.zarr")
    person.run()
    (notification,) = notifications
    assert "CUDA out of memory" in notification.message
    assert "device cpu" in notification.message
    assert "\n" not in notification.message
    assert person.enhance.run.isEnabled()
    (popup,) = (
        w for w in person.viewer.window._qt_window.findChildren(QWidget)
        if type(w).__name__ == "NapariQtNotification"
    )  # fmt: skip
    (details,) = (b for b in popup.findChildren(QWidget) if getattr(b, "text", str)() == "Details")
    person.click(details)
    (dialog,) = (w for w in QApplication.topLevelWidgets() if w.objectName() == "stenhance details")
    text = dialog.findChild(QWidget, "details").toPlainText()
    assert "Traceback" in text
    assert "RuntimeError: CUDA out of memory" in text
    dialog.close()
    monkeypatch.undo()


def test_bad_input_is_said_where_it_happens(
    person: Person, section_files: list[Path], tmp_path: Path, notifications: list[Notification]
) -> None:
    person.click(person.enhance.run)
    assert "at least one open section" in notifications[-1].message
    (tmp_path / "not a section").mkdir()
    person.drop(tmp_path / "not a section")
    assert "no section that can be read" in notifications[-1].message
    assert not list(person.viewer.layers)
    person.drop(section_files[0])
    person.set_enhance(tmp_path / "one.stenhance.zarr", write="NOTAGENE")
    person.run()
    assert "NOTAGENE" in notifications[-1].message
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    person.set_enhance(foreign)
    person.run()
    assert "nothing was touched" in notifications[-1].message
    assert [f.name for f in foreign.iterdir()] == ["thesis.txt"]


def test_a_region_layer_that_was_deleted_comes_back_to_be_drawn_in(
    person: Person, section_files: list[Path], notifications: list[Notification]
) -> None:
    person.click(person.enhance.draw)
    assert "Choose the section" in notifications[-1].message
    person.drop(section_files[0])
    person.viewer.layers.remove(person.layer("region"))
    person.click(person.enhance.draw)
    region = person.layer("region")
    assert region.mode == "add_polygon"
    np.testing.assert_allclose(region.scale, 0.8)
    person.click(person.enhance.draw)
    assert person.layer("region") is region
    region.add(np.array([(1.0, 1.0), (5.0, 9.0)]), shape_type="line")
    person.enhance.form.fields["region"].value = region.name
    person.click(person.enhance.run)
    assert "no area" in notifications[-1].message


def test_deleting_a_layer_in_mid_run(
    person: Person, section_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "empty cache"))
    out = tmp_path / "one.stenhance.zarr"
    person.drop(section_files[0])
    person.set_enhance(out, "G1, G2")
    person.click(person.enhance.run)
    person.viewer.layers.remove(person.layer("slide"))
    person.wait(lambda: any(layers_of(person.viewer, "gene")))
    person.viewer.layers.remove(person.layer("gene", gene="G1"))
    person.wait(lambda: not person.enhance.run_bar.busy)
    assert person.enhance.run_bar.label.text() == "Done."
    assert _events(out)[-1] == "complete"
    assert [a.gene for _, a in layers_of(person.viewer, "gene")] == ["G2"]


def test_closing_the_viewer_in_mid_run_keeps_what_was_finished(
    person: Person, section_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "empty cache"))
    out = tmp_path / "one.stenhance.zarr"
    person.drop(section_files[0])
    person.set_enhance(out, "G1")
    options = person.enhance.options()
    person.click(person.enhance.run)
    person.wait(lambda: person.enhance.run_bar.label.text().startswith("Extracting"))
    person.viewer.close()
    assert _at_work()
    person.wait(lambda: not _at_work(), 10)
    # What was finished is there, and is not computed again.
    features = {f: f.stat().st_mtime_ns for f in (tmp_path / "empty cache").rglob("c/*/*/*")}
    assert features
    enhance_module.enhance(options)
    assert {f: f.stat().st_mtime_ns for f in features} == features
    assert _events(out)[-1] == "complete"


def test_closing_a_dock_stops_its_work(
    person: Person, section_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "empty cache"))
    person.drop(section_files[0])
    person.set_enhance(tmp_path / "one.stenhance.zarr")
    person.click(person.enhance.run)
    person.wait(lambda: person.enhance.run_bar.label.text().startswith("Extracting"))
    person.viewer.window.remove_dock_widget(person.enhance)
    person.enhance.deleteLater()
    assert _at_work()
    person.wait(lambda: not _at_work(), 10)
    # The other docks go on.
    person.viewer.layers.clear()
    person.drop(section_files[0])
    assert person.section.run_bar.label.text() == "Done."


def test_view_opens_what_it_is_given(
    section_files: list[Path], make_napari_viewer: Callable[..., Any], qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Everything but the event loop, which a test must be able to leave."""
    viewers = []

    def make() -> Any:
        viewers.append(make_napari_viewer(show=True))
        return viewers[0]

    def until_open() -> None:
        qtbot.waitUntil(lambda: len(open_sections(viewers[0])) == 2, timeout=30_000)

    monkeypatch.setattr(napari, "Viewer", make)
    monkeypatch.setattr(napari, "run", until_open)
    done = CliRunner().invoke(app, ["view", *map(str, section_files), "--mpp", "0.9"])
    assert done.exit_code == 0, done.output
    assert [s.mpp for s in open_sections(viewers[0])] == [0.9, 0.9]
    visible = {a.name for layer, a in layers_of(viewers[0], "slide") if layer.visible}
    assert visible == {"two"}


def test_view_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(app, ["view", str(tmp_path / "nothing")])
    assert done.exit_code == 2
    assert "no such file or folder" in done.stderr
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(app, ["view", str(tmp_path)])
    if sys.platform == "linux":
        assert done.exit_code == 2
        assert "no display" in done.stderr


def test_torch_trains_beside_a_canvas_drawn_in_software() -> None:
    """triton's LLVM and Mesa's in one process end in a segmentation fault."""
    script = (
        "import napari, numpy as np\n"
        "viewer = napari.Viewer()\n"
        "viewer.add_image(np.zeros((8, 8)))\n"
        "viewer.screenshot(flash=False)\n"
        "from napari_stenhance.running.device import resolve_device\n"
        "resolve_device('cpu')\n"
        "import torch\n"
        "parameter = torch.nn.Parameter(torch.ones(1))\n"
        "optimiser = torch.optim.AdamW([parameter])\n"
        "parameter.sum().backward()\n"
        "optimiser.step()\n"
        "print('trained')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "trained" in done.stdout


def test_a_scale_that_was_set_moves_the_section_and_keeps_what_was_drawn(
    person: Person, section_files: list[Path]
) -> None:
    person.drop(section_files[0])
    region = person.layer("region")
    region.add(np.array([(100, 100), (100, 300), (300, 300)]), shape_type="polygon")
    person.section.mpp.setValue(1.6)
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    (section,) = open_sections(person.viewer)
    assert section.mpp == 1.6
    assert "1.6 µm per pixel (given)" in person.section.words.toPlainText()
    region = person.layer("region")
    np.testing.assert_allclose(region.scale, 1.6)
    np.testing.assert_allclose(region.data[0], [(100, 100), (100, 300), (300, 300)])
    # It was for that slide only.
    person.drop(section_files[1])
    assert [s.mpp for s in open_sections(person.viewer)] == [1.6, 0.8]
    # A scale that cannot be is said, and takes nothing away.
    person.section.mpp.setValue(0.01)
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    assert "cannot be right" in person.section.run_bar.label.text()
    assert [s.mpp for s in open_sections(person.viewer)] == [1.6, 0.8]


def test_a_result_whose_slide_is_gone_says_so(
    person: Person, section_files: list[Path], tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in (section_files[0], section_files[0].with_name("one_he.jpg")):
        shutil.copy(file, moved)
    out = tmp_path / "one.stenhance.zarr"
    options = EnhanceOptions((moved / "one.h5ad",), out, write="G1", epochs=1, device="cpu")
    enhance_module.enhance(options)
    shutil.rmtree(moved)
    person.drop(out)
    assert "open the section too" in person.section.words.toPlainText()
    assert person.layer("gene").visible
    # The section, opened after it, lies underneath.
    person.drop(section_files[0])
    roles = [a.role for _, a in layers_of(person.viewer, "slide", "spots", "gene", "browse")]
    assert roles == ["slide", "browse", "gene", "spots"]


def test_events_arrive_in_order_and_leave_no_bar(person: Person) -> None:
    """napari's bars let the event loop turn: nothing may overtake what is being passed on."""
    seen: list[Event] = []

    def task(job: Job) -> str:
        for n in range(50):
            with job.stage(f"Stage {n}", 2) as stage:
                stage.advance(2)
        return "value"

    bar = person.enhance.run_bar
    ended: list[Any] = []
    bar.start("Test", task, on_done=ended.append, on_event=seen.append)
    person.wait(lambda: not bar.busy, 30)
    stages = [event.stage for event in seen if isinstance(event, Progress)]
    assert stages == [f"Stage {n}" for n in range(50) for _ in range(2)]
    assert ended == ["value"]
    assert bar.label.text() == "Done."
    assert not bar.cancel.isVisible()
    assert [p.desc for p in progress._all_instances] == []


def test_the_gene_box_searches_as_one_types(person: Person, section_files: list[Path]) -> None:
    person.drop(section_files[0])
    line, completer = person.genes.gene.lineEdit(), person.genes.gene.completer()
    person.bot.keyClicks(line, "3")
    model = completer.completionModel()
    found = {model.index(row, 0).data() for row in range(model.rowCount())}
    assert found == {"G3", "G13", "G23", *(f"G{n}" for n in range(30, 40))}
    spots = person.layer("spots")
    before = spots.name
    person.bot.keyClick(line, Qt.Key.Key_Return)
    assert spots.name == before, "several genes can be meant"
    person.type_gene("39")
    assert "G39" in spots.name
    assert person.genes.legend.isVisibleTo(person.genes)


def test_saved_layers_are_dropped_and_opened(
    person: Person, section_files: list[Path], tmp_path: Path
) -> None:
    person.drop(section_files[0])
    names = [layer.name for layer in person.viewer.layers]
    write_layers(
        str(tmp_path / "saved.zarr"),
        [layer.as_layer_data_tuple() for layer in person.viewer.layers],
    )
    person.viewer.layers.clear()
    person.drop(tmp_path / "saved.zarr")
    assert [layer.name for layer in person.viewer.layers] == names
    assert person.section.words.toPlainText().splitlines() == ["Saved layers: 3", *names]
