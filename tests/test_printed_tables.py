"""Tables of the command line cut no number short, however many columns there are."""

from __future__ import annotations

import pytest
from rich.table import Table

from napari_stenhance.cli.command import print_table


def _made() -> Table:
    table = Table()
    for n in range(30):
        table.add_column(f"a long heading {n}", overflow="fold", min_width=6)
    table.add_row(*(f"0.{n:03}" for n in range(30)))
    return table


def test_a_table_is_as_wide_as_it_must_be(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Said before it", _made())
    said = capsys.readouterr().out
    assert "Said before it" in said
    assert all(f"0.{n:03}" in said for n in range(30))
    assert "…" not in said


def test_a_narrow_terminal_folds_headings_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    print_table(_made())
    said = capsys.readouterr().out
    assert all(f"0.{n:03}" in said for n in range(30))
    assert "a long heading 29" not in said
