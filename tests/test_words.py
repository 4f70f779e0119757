"""How numbers of things are said."""

from __future__ import annotations

from napari_stenhance.running.numbers import agree, counted, lacking, left_out


def test_of_one_thing_no_several_are_said() -> None:
    assert [counted(n, "gene") for n in (0, 1, 2)] == ["0 genes", "1 gene", "2 genes"]
    assert [counted(1, "cell", of) for of in (1, 20)] == ["1 of 1 cell", "1 of 20 cells"]
    assert [agree(n, "is", "are") for n in (0, 1, 2)] == ["are", "is", "are"]
    assert lacking(1, "cell", 20, "position") == "1 of 20 cells has no position and was left out."
    assert lacking(3, "cell", 20, "outline") == "3 of 20 cells have no outline and were left out."
    assert left_out(1, "spot", "in no cell") == "1 spot in no cell was left out."
    assert left_out(2, "spot", "in no cell") == "2 spots in no cell were left out."
