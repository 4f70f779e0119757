"""What other packages add, by entry points that lie on the path."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_stenhance.running.extensions import extensions

_PACKAGE = "napari_stenhance.running"


def test_another_package_adds_one_and_a_broken_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_of_another.py").write_text("THING = 'toy'\n", "utf-8")
    info = tmp_path / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: toy\nVersion: 1.0\n", "utf-8")
    entries = f"[{_PACKAGE}]\ntoy = toy_of_another:THING\nbroken = toy_of_another:NOTHING\n"
    (info / "entry_points.txt").write_text(entries, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    extensions.cache_clear()
    with pytest.warns(UserWarning, match=r"broken = toy_of_another:NOTHING.*cannot be loaded"):
        assert extensions(_PACKAGE, "Job")[-1] == "toy"
    assert "Job" in [getattr(thing, "__name__", "") for thing in extensions(_PACKAGE, "Job")]
    extensions.cache_clear()
