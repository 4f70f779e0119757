"""The table of the dock 'Genes': searched, sorted and walked, and what is reliable in it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.gene_rows import GeneRows
from napari_stenhance.plugin.widgets.gene_table import GeneTable
from napari_stenhance.plugin.widgets.histogram import BINS
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from person import Person, check_truth


def _listed(person: Person, column: int = 0) -> list[str]:
    model = person.genes.table.genes
    return [model.index(row, column).data() for row in range(model.rowCount())]


def _sort(person: Person, column: int) -> None:
    """Click a header."""
    header = person.genes.table.horizontalHeader()
    x = header.sectionViewportPosition(column) + header.sectionSize(column) // 2
    at = header.viewport().rect().center()
    at.setX(x)
    person.bot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=at)


def test_the_table_is_sorted_and_walked_and_the_row_follows(person: Person, small: Path) -> None:
    session = session_of(person.viewer)
    person.drop(small / "one.stenhance.zarr")
    dock = person.bench.open("genes")
    table = dock.table
    field = ResultFolder.open(small / "one.stenhance.zarr").field("pixel2gene-stain-robust")
    r, given = field.decoder.held_out_r, field.decoder.held_out_r_given_depth
    assert _listed(person) == list(field.genes)
    said = _listed(person, 1)
    assert [text == "–" for text in said] == list(np.isnan(r))
    assert "-0.00" not in said
    for text, value in zip(said, r, strict=True):
        assert text == "–" or float(text) == pytest.approx(value, abs=0.0051)
    assert [table.isColumnHidden(n) for n in range(6)] == [False] * 3 + [True] * 3

    # Numbers downwards first, then upwards, then as they came; what is not known comes last.
    down = [field.genes[n] for n in np.argsort(-given, kind="stable")]
    up = [field.genes[n] for n in np.argsort(given, kind="stable")]
    for expected in (down, up, list(field.genes), down):
        _sort(person, 2)
        assert _listed(person) == expected
    # The row of what is looked at is the current one, wherever it has gone.
    assert table.genes.gene_at(table.currentIndex().row()) == session.gene
    person.type_gene("g1")
    assert session.gene == "G1"
    assert _listed(person) == [gene for gene in down if "G1" in gene]
    assert table.genes.gene_at(table.currentIndex().row()) == "G1"
    dock.gene.clear()
    assert _listed(person) == down

    # A key that is held: what is under it at last is shown, and nothing queues.
    shown: list[str] = []
    session.changed.connect(lambda: shown.append(session.gene))
    at = table.currentIndex().row()
    step, key = (1, Qt.Key.Key_Down) if at < 20 else (-1, Qt.Key.Key_Up)
    for _ in range(10):
        QApplication.sendEvent(
            table, QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier)
        )
    person.wait(lambda: bool(shown))
    assert shown == [down[at + 10 * step]]
    assert session.gene == down[at + 10 * step]
    check_truth(person.viewer)
    # How often each of its values occurs, as numpy counts them.
    values = field.image(session.gene).astype(float)
    values, colours = values[np.isfinite(values)], session.measured
    assert colours is not None
    at_spots = colours.values(session.gene).astype(float)
    both = np.concatenate([values, at_spots])
    for counts, counted in ((dock.histogram.image, values), (dock.histogram.spots, at_spots)):
        expected = np.histogram(counted, BINS, (both.min(), both.max()))[0]
        np.testing.assert_array_equal(counts, expected)
    assert dock.histogram.isVisibleTo(dock)
    # From the box, the arrow goes on to the table; with nothing chosen there, to its first row.
    other = next(gene for gene in ("G3", "G2") if gene not in session.gene)
    person.bot.keyClicks(dock.gene, other)
    first = _listed(person)[0]
    assert not table.currentIndex().isValid()
    person.bot.keyClick(dock.gene, Qt.Key.Key_Down)
    person.wait(lambda: session.gene == first)


def test_what_is_not_reliable_is_hidden_or_washed_out(
    person: Person, small: Path, tmp_path: Path
) -> None:
    session, dock = session_of(person.viewer), person.genes
    person.drop(small / "one.h5ad")
    out = shutil.copytree(small / "one.stenhance.zarr", tmp_path / "one.stenhance.zarr")
    person.drop(out)
    decoder = ResultFolder.open(out).field("pixel2gene-stain-robust").decoder
    given = dict(zip(decoder.genes, map(float, decoder.held_out_r_given_depth), strict=True))
    ranked = sorted((g for g in given if not np.isnan(given[g])), key=given.__getitem__)
    worst, best = ranked[0], ranked[-1]
    least = round((given[worst] + given[best]) / 2, 2)
    dock.least.setValue(least)
    dock.reliable.setChecked(True)
    assert _listed(person) == [g for g in decoder.genes if given[g] >= least]
    dock.reliable.setChecked(False)
    assert _listed(person) == list(decoder.genes)

    model = dock.table.genes
    cells = {g: model.index(model.place_of(g), 0) for g in (worst, best)}
    assert cells[worst].data(Qt.ItemDataRole.FontRole).italic()
    assert cells[worst].data(Qt.ItemDataRole.DecorationRole) is not None
    assert cells[best].data(Qt.ItemDataRole.FontRole) is None
    assert cells[best].data(Qt.ItemDataRole.DecorationRole) is None

    browse = person.layer("browse")
    person.type_gene(best)
    browse.opacity = 0.9
    assert "not reliable" not in session.title
    person.type_gene(worst)
    assert browse.opacity < 0.5
    assert session.title.endswith("– not reliable")
    said = f"Not reliable: r given depth {given[worst]:.2f} on held-out spots."
    assert dock.accuracy.text().startswith(said)
    # What was measured of it is as reliable as ever.
    assert person.layer("spots").opacity == pytest.approx(0.8)
    person.click(dock.pin)
    person.wait(lambda: not dock.run_bar.busy)
    pinned = person.layer("gene", gene=worst)
    assert pinned.visible
    assert pinned.opacity < 0.5
    check_truth(person.viewer)
    # Another threshold is another judgement, at once.
    dock.least.setValue(-1)
    assert pinned.opacity == pytest.approx(0.75)
    assert "eliable" not in session.title + dock.accuracy.text()
    person.type_gene(best)
    assert browse.opacity == pytest.approx(0.9)
    # Measured spots are nothing to be doubted.
    dock.source.setCurrentIndex(dock.source.count() - 1)
    assert not dock.reliable.isEnabled()
    assert session.reliability == "measured"
    assert dock.histogram.image is None
    colours = session.measured
    assert colours is not None
    counted = np.histogram(colours.values(best).astype(float), BINS)[0]
    np.testing.assert_array_equal(dock.histogram.spots, counted)
    dock.grab()


def test_lists_and_sets_of_genes_filter_the_table(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    person.drop(small_files[0])
    dock = person.genes

    def type_list(text: str) -> None:
        dock.list.text.clear()
        person.bot.keyClicks(dock.list.text, text)
        person.bot.keyClick(dock.list.text, Qt.Key.Key_Return)

    type_list("g3, G12 NOPE")
    assert _listed(person) == ["G3", "G12"]
    assert dock.list.said.text() == "2 of 3 genes are here. NOPE: not among these genes."
    person.bot.keyClicks(dock.gene, "1")
    assert _listed(person) == ["G12"]
    dock.gene.clear()
    (tmp_path / "s.gmt").write_text("ONE\t\tG1\tG2\nTWO\t\tg39\n", "utf-8")
    type_list(f"@{tmp_path / 's.gmt'}")
    assert _listed(person) == ["G1", "G2"]
    assert dock.list.sets.isVisibleTo(dock)
    dock.list.sets.setCurrentIndex(1)
    assert _listed(person) == ["G39"]
    # Another section has the same list.
    person.drop(small_files[1])
    assert _listed(person) == ["G39"]
    type_list(f"@{tmp_path / 'gone.txt'}")
    assert "gone.txt: the list of genes cannot be read" in dock.list.error.text()
    assert dock.list.error.isVisibleTo(dock)
    assert len(_listed(person)) == 40
    type_list("G5")
    dock.list.text.clear()
    assert len(_listed(person)) == 40
    assert not dock.list.said.isVisibleTo(dock)
    assert not dock.list.error.isVisibleTo(dock)


def test_statistics_are_computed_on_demand(person: Person, small: Path) -> None:
    dock = person.bench.open("genes")
    table = dock.table
    person.drop(small / "one.h5ad")
    person.drop(small / "one.stenhance.zarr")
    run = session_of(person.viewer).genes
    assert run is not None
    person.click(dock.statistics)
    person.wait(lambda: not dock.run_bar.busy)
    expected = FieldRun(run.result, run.name).statistics
    assert [table.isColumnHidden(n) for n in range(6)] == [False] * 5 + [True]
    for column, values in ((3, expected.mean), (4, expected.moran)):
        shown = np.array(_listed(person, column), float)
        np.testing.assert_allclose(shown, values, atol=0.0051)
    way = Qt.Orientation.Horizontal
    assert "at 8 µm" in table.genes.headerData(3, way, Qt.ItemDataRole.ToolTipRole)
    _sort(person, 4)
    assert _listed(person)[0] == run.genes[int(np.argmax(expected.moran))]
    # Of the spots, others are known once they are asked for.
    dock.source.setCurrentIndex(dock.source.count() - 1)
    assert table.isColumnHidden(3)
    person.click(dock.statistics)
    person.wait(lambda: not dock.run_bar.busy)
    assert not table.isColumnHidden(3)
    assert "measured" in table.genes.headerData(4, way, Qt.ItemDataRole.ToolTipRole)
    dock.source.setCurrentIndex(0)
    assert not table.isColumnHidden(3)
    assert "8 µm" in table.genes.headerData(3, way, Qt.ItemDataRole.ToolTipRole)


def test_twenty_thousand_genes_are_listed_at_once(qtbot: Any) -> None:
    number, rng = 20_000, np.random.default_rng(0)
    genes = tuple(f"GENE{n}" for n in range(number))
    kinds = np.array(["reliable", "not reliable"], dtype=object)
    rows = GeneRows(
        genes,
        kinds[rng.integers(0, 2, number)],
        {name: rng.random(number) for name in ("r", "given", "mean", "moran")},
    )
    parent = QWidget()
    qtbot.addWidget(parent)
    table = GeneTable(parent)
    table.resize(300, 400)
    parent.show()
    for keywords in ({}, {"text": "77"}, {"by": "given", "descending": True}):
        took = []
        for _ in range(3):
            start = time.perf_counter()
            table.show_rows(rows, rows.order(**keywords), "GENE77")
            table.repaint()
            took.append(time.perf_counter() - start)
        # 12 ms on two busy cores.
        assert min(took) < 0.1
    assert table.genes.gene_at(0) == genes[int(np.argmax(rows.numbers["given"]))]
