"""File → Open Sample, in a real viewer."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QProgressDialog, QPushButton

import napari_stenhance as st
from napari_stenhance.errors import InputError
from napari_stenhance.plugin import sample_data
from napari_stenhance.plugin.layer_info import our_layers
from napari_stenhance.plugin.worker import notify_error
from person import Person, at_work


def _dialog() -> QProgressDialog | None:
    return next(
        (
            w
            for w in QApplication.topLevelWidgets()
            if w.objectName() == "stenhance waiting" and w.isVisible()
        ),
        None,
    )


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def one_millimetre(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample with a quarter of its area, which takes a quarter of the time."""
    assert sample_data.SIZE_MM == 2.0
    monkeypatch.setattr(sample_data, "SIZE_MM", 1.0)


@pytest.mark.usefixtures("one_millimetre")
@pytest.mark.painted
def test_open_sample(person: Person, empty_cache: Path) -> None:
    """The interface lives while the sample is made; the docks take it as any section."""
    beats: list[str] = []
    pulse = QTimer()
    pulse.timeout.connect(lambda: beats.append(d.labelText() if (d := _dialog()) else ""))
    turns: dict[str, int] = {}
    person.viewer.layers.events.inserted.connect(
        lambda event: turns.update({event.value.name: len(beats)})
    )
    pulse.start(1)
    added = person.viewer.open_sample("napari-stenhance", "phantom")
    pulse.stop()
    assert len({b for b in beats if b}) >= 2, "the window said what was being done"
    assert len(beats) > 20
    assert _dialog() is None
    # Layers come one a turn, behind the window; napari itself adds the last.
    assert [info.role.name for _, info in our_layers(person.viewer)] == ["slide", "spots"]
    assert added == [person.layer("spots")]
    first, second = turns.values()
    assert first < second
    assert all(beats[first:second])
    slide = person.layer("slide")
    assert slide.multiscale
    assert person.viewer.canvas.overlays.scale_bar.visible
    assert tuple(slide.scale) == (0.5, 0.5)
    assert slide.data[0].shape == (2000, 2000, 3)
    person.wait(lambda: not at_work())
    assert "phantom" in [
        person.section.shown.itemText(n) for n in range(person.section.shown.count())
    ]
    # What lies in the cache may be deleted with it: no result is suggested to go there.
    assert empty_cache not in Path(person.enhance.form.fields["out"].value).parents
    person.type_gene("erbb2")
    spots = person.layer("spots")
    assert spots.visible
    # The spot under the mouse says its value.
    status = spots.get_status(spots.data_to_world(spots.data[7]), world=True)
    value = spots.metadata["stenhance"].colours.values("ERBB2")[7]
    assert f"ERBB2 measured, log1p CP10k: {value:.2f}" in status["value"] + str(status)
    # Nothing is stacked over what is open.
    with pytest.raises(InputError, match="open already"):
        person.viewer.open_sample("napari-stenhance", "phantom")
    assert len(person.viewer.layers) == 2
    # The second time it is there.
    made = next(empty_cache.rglob("he.tif")).stat().st_mtime_ns
    person.viewer.layers.clear()
    person.viewer.open_sample("napari-stenhance", "phantom")
    assert len(person.viewer.layers) == 2
    assert next(empty_cache.rglob("he.tif")).stat().st_mtime_ns == made


def test_cancel_the_sample(person: Person, empty_cache: Path) -> None:
    def cancel() -> None:
        dialog = _dialog()
        if dialog is None:
            QTimer.singleShot(50, cancel)
        else:
            dialog.findChild(QPushButton).click()

    QTimer.singleShot(50, cancel)
    with pytest.raises(st.Cancelled):
        person.viewer.open_sample("napari-stenhance", "phantom")
    assert not person.viewer.layers
    assert not list(empty_cache.rglob("he.tif"))
    person.wait(lambda: not at_work())


@pytest.mark.usefixtures("empty_cache", "one_millimetre")
def test_without_a_viewer() -> None:
    layers: list[Any] = sample_data.sample_phantom()
    assert [kind for _, _, kind in layers] == ["image", "points"]


def test_an_error_is_not_printed_again_where_nobody_logs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    notify_error(InputError("s.tif: this TIFF cannot be read; copy it again."), "Traceback …")
    assert "Traceback" not in capsys.readouterr().err
