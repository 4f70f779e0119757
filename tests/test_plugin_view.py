"""What `view` opens in a real viewer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import pytest
from typer.testing import CliRunner

from napari_stenhance.cli import app
from napari_stenhance.plugin.layer_info import layers_of, open_sections
from napari_stenhance.plugin.session import session_of

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")


@pytest.mark.slow
def test_view_opens_what_it_is_given(
    small_files: list[Path], make_napari_viewer: Callable[..., Any], qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Everything but the event loop, which a test must be able to leave."""
    viewers = []

    def make() -> Any:
        viewers.append(make_napari_viewer(show=True))
        return viewers[0]

    def until_open() -> None:
        session = session_of(viewers[0])
        qtbot.waitUntil(
            lambda: session.place is not None and session.place.name == "two", timeout=30_000
        )

    monkeypatch.setattr(napari, "Viewer", make)
    monkeypatch.setattr(napari, "run", until_open)
    done = CliRunner().invoke(app, ["view", *map(str, small_files), "--mpp", "0.9"])
    assert done.exit_code == 0, done.output
    assert [s.mpp for s in open_sections(viewers[0])] == [0.9, 0.9]
    # Side by side, and the last is looked at.
    one, two = (layer.extent.world for layer, _ in layers_of(viewers[0], "slide"))
    assert two[0][1] > one[1][1]


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
