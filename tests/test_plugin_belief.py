"""The dock 'Genes' marks where a gene is above a value, and says what that promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt

from believed_result import make_believed
from napari_stenhance.api.result import Result
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.marked import read_mark
from napari_stenhance.plugin.session import session_of
from person import Person


def test_the_dock_marks_where_a_gene_is_above_a_value(person: Person, tmp_path: Path) -> None:
    person.drop(make_believed(tmp_path, held_out=True))
    dock = person.bench.open("genes")
    dock.show_gene("A")
    person.wait(lambda: session_of(person.viewer).gene == "A")
    assert "9 in 10 are measured between" in dock.accuracy.text()
    assert dock.above.isEnabled()
    dock.above.value.setValue(0.5)
    dock.above.mark.click()
    person.wait(lambda: bool(list(layers_of(person.viewer, "marked"))))
    ((layer, info),) = layers_of(person.viewer, "marked")
    assert layer.visible
    assert info.part == "A above 0.5 (spot)"
    values = np.asarray(layer.data[0])
    assert (values[np.isfinite(values)] == 1).all()
    expected = Result.open(tmp_path / "one.stenhance.zarr").above("A", 0.5)
    np.testing.assert_array_equal(values == 1, expected == 1)
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    assert "at most 1 in 10, at a confidence of 9 in 10" in dock.run_bar.label.text()
    caption = person.viewer.canvas.overlays["stenhance_caption"].text
    assert [line.strip() for line in caption.split("\n")] == [
        "A above 0.5 (spot), predicted",
        "log1p CP10k; at most 1 in 10 wrong on held-out",
    ]
    # Of whom it is said, though another run is looked at by then.
    assert dock.run_bar.label.text().startswith("Pixel2Gene · one: A above 0.5")

    # Of what is nowhere counted nothing is marked, and what was marked before is gone.
    dock.show_gene("C/c")
    person.wait(lambda: session_of(person.viewer).gene == "C/c")
    dock.above.mark.click()
    person.wait(lambda: not list(layers_of(person.viewer, "marked")))
    assert "nothing is marked" in dock.run_bar.label.text()


def test_nothing_is_marked_on_what_was_closed_meanwhile(person: Person, tmp_path: Path) -> None:
    person.drop(make_believed(tmp_path, held_out=True))
    dock = person.bench.open("genes")
    dock.show_gene("A")
    person.wait(lambda: session_of(person.viewer).gene == "A")
    dock.above.value.setValue(0.5)
    dock.above.mark.click()
    person.viewer.layers.clear()
    person.wait(lambda: not dock.run_bar.busy)
    assert not len(person.viewer.layers)
    assert "one was closed meanwhile: open it again" in dock.run_bar.error.text()


def test_what_is_answered_is_scrolled_to(person: Person, tmp_path: Path) -> None:
    person.drop(make_believed(tmp_path, held_out=True))
    dock = person.bench.open("genes")
    dock.show_gene("C/c")
    person.wait(lambda: session_of(person.viewer).gene == "C/c")
    person.bench.setFixedHeight(300)
    person.bot.wait(50)
    assert dock.run_bar.label.visibleRegion().isEmpty()
    dock.above.mark.click()
    person.wait(lambda: "nothing is marked" in dock.run_bar.label.text())
    person.wait(lambda: not dock.run_bar.label.visibleRegion().isEmpty(), 5)


def test_the_table_marks_what_cannot_be_told_from_depth(person: Person, tmp_path: Path) -> None:
    person.drop(make_believed(tmp_path, held_out=True))
    dock = person.bench.open("genes")
    model = dock.table.genes
    tips = Qt.ItemDataRole.ToolTipRole
    told, not_told, unknown = (model.index(row, 2) for row in range(3))
    assert [at.data() for at in (told, not_told, unknown)] == ["0.25", "n.s. 0.05", "–"]
    assert "cannot be told from depth" in not_told.data(tips)
    assert "cannot be told from depth" not in told.data(tips) + unknown.data(tips)
    assert "n.s." in model.headerData(2, Qt.Orientation.Horizontal, tips)
    # However low the least is that is asked for, as long as it is one.
    dock.least.setValue(0.01)
    dock.reliable.setChecked(True)
    assert [model.index(row, 0).data() for row in range(model.rowCount())] == ["A"]


def test_total_counts_are_shown_as_a_layer(person: Person, tmp_path: Path) -> None:
    person.drop(make_believed(tmp_path, held_out=True))
    dock = person.bench.open("genes")
    person.wait(dock.depth.isEnabled)
    dock.depth.click()
    person.wait(lambda: bool(list(layers_of(person.viewer, "depth"))))
    ((layer, _),) = layers_of(person.viewer, "depth")
    expected = Result.open(tmp_path / "one.stenhance.zarr").depth()
    np.testing.assert_allclose(np.asarray(layer.data[0]), expected)
    assert layer.visible
    said = person.viewer.canvas.overlays["stenhance_caption"].text
    assert "total counts of a spot, predicted" in said
    person.check_layer_comes_back("depth", dock.depth, "A")


def test_a_run_without_held_out_spots_marks_nothing(person: Person, tmp_path: Path) -> None:
    person.drop(make_believed(tmp_path, held_out=False))
    dock = person.bench.open("genes")
    dock.show_gene("A")
    person.wait(lambda: session_of(person.viewer).gene == "A")
    assert not dock.above.isEnabled()
    assert "9 in 10" not in dock.accuracy.text()
    why = "no held-out spots are kept with it, as with no run of older versions"
    assert f"no prediction interval: {why}" in dock.accuracy.text()
    assert dock.above.mark.toolTip() == f"Nothing can be marked: {why}."


@pytest.mark.parametrize("part", ["A above 0.5 (spot)", "C/c above 2 above 0 (8 spots)"])
def test_marks_are_read_as_they_are_named(part: str) -> None:
    gene, value, scale = read_mark(part)
    assert f"{gene} above {value:g} ({scale})" == part


@pytest.mark.parametrize(
    "part", ["", "A", "A above x (spot)", "A above 1 (slide)", "A above -1 (spot)"]
)
def test_what_names_no_mark_is_refused(part: str) -> None:
    with pytest.raises(InputError):
        read_mark(part)
