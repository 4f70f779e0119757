"""The table of the dock 'Genes': searched, sorted and walked, and what is reliable in it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_stenhance.plugin import region_values
from napari_stenhance.plugin.colours import lookup_table
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.gene_rows import GeneRows
from napari_stenhance.plugin.widgets.gene_table import GeneTable
from napari_stenhance.plugin.widgets.histogram import BINS
from napari_stenhance.results.field import GeneField
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.results.scale import sampled_level
from napari_stenhance.running.job import Job
from napari_stenhance.section.region import Region
from person import Person, check_truth
from tiny_result import RUN


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
    _check_a_sum(person, field)
    _check_a_region(person, field)
    # From the box, the arrow goes on to the table; with nothing chosen there, to its first row.
    other = next(gene for gene in ("G3", "G2") if gene not in session.gene)
    person.bot.keyClicks(dock.gene, other)
    first = _listed(person)[0]
    assert not table.currentIndex().isValid()
    person.bot.keyClick(dock.gene, Qt.Key.Key_Down)
    person.wait(lambda: session.gene == first)


def _check_a_sum(person: Person, field: GeneField) -> None:
    """Type sums of genes: image and spots show them on one scale, or the dock says why not."""
    session, dock = session_of(person.viewer), person.genes
    person.bot.keyClicks(dock.gene, "G39 + 2*g1")
    # The gene that is being typed is searched, and Enter means the sum.
    assert all("G1" in gene for gene in _listed(person))
    person.bot.keyClicks(dock.gene, "2 - G5")
    assert _listed(person) == ["G5"]
    person.bot.keyClick(dock.gene, Qt.Key.Key_Return)
    assert session.gene == "G39 + 2 * G12 - G5"
    assert session.title.startswith("G39 + 2 * G12 - G5 predicted (spots: measured), log1p CP10k")
    check_truth(person.viewer)
    browse, spots, colours = person.layer("browse"), person.layer("spots"), session.measured
    assert colours is not None
    assert browse.visible
    assert browse.colorbar.visible
    assert browse.name.startswith("G39 + 2 * G12 - G5 · Pixel2Gene")
    expected = field.image("G39") + 2 * field.image("G12") - field.image("G5")
    shown = np.asarray(browse.data[0])[: expected.shape[0], : expected.shape[1]]
    np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-4)
    measured = colours.values("G39") + 2 * colours.values("G12") - colours.values("G5")
    assert spots.visible
    steps = np.clip((measured - session.limits[0]) / np.ptp(session.limits) * 255, 0, 255)
    np.testing.assert_allclose(spots.face_color, lookup_table("magma")[steps.astype(int)])
    assert "how well it is predicted as a whole is not known" in dock.accuracy.text()
    assert not dock.uncertainty.isEnabled()
    # What cannot be read is said, and what was looked at stays.
    dock.gene.clear()
    person.type_gene("G1 + NOPE")
    assert dock.error.text().startswith("Gene 'NOPE' is not among these 40 genes")
    assert session.gene == "G39 + 2 * G12 - G5"
    dock.gene.clear()
    assert not dock.error.isVisibleTo(dock)
    # The uncertainty of one is not that of the other.
    person.type_gene("G3")
    dock.uncertainty.setChecked(True)
    assert session.what == "spread"
    person.type_gene("G3 - G1")
    assert (session.what, dock.uncertainty.isChecked()) == ("expression", False)
    check_truth(person.viewer)
    dock.gene.clear()


def _check_a_region(person: Person, field: GeneField) -> None:
    """Draw and select: the values in it are those of superpixels whose centres lie in it."""
    session, dock = session_of(person.viewer), person.genes
    person.click(person.enhance.draw)
    layer = person.layer("region")
    assert dock.histogram.region is None
    assert not dock.in_region.isVisibleTo(dock)
    mpp, grid = float(layer.scale[0]), field.grid
    rows, columns = np.mgrid[: grid.shape[0], : grid.shape[1]]
    y, x = (n * grid.pitch_um + (grid.pitch_um - mpp) / 2 for n in (rows, columns))
    boxes = [(100, 100, 300, 220), (280, 90, 400, 400)]
    inside = [(y > a) & (x > b) & (y < c) & (x < d) for a, b, c, d in boxes]
    for a, b, c, d in boxes:
        layer.add(np.array([[a, b], [a, d], [c, d], [c, b]]) / mpp, shape_type="polygon")

    def check(gene: str, mask: np.ndarray) -> None:
        values = field.image(gene)[mask].astype(float)
        values = values[np.isfinite(values)]
        of_all = np.nanmean(field.image(gene).astype(float))
        said = f"mean {values.mean():.2f} of {values.size:,} superpixels of 8 µm; "
        said += f"of all {of_all:.2f}"
        person.wait(lambda: dock.in_region.text().endswith(said))
        assert dock.histogram.isVisibleTo(dock)
        counts = np.histogram(values, BINS, dock.histogram.range)[0]
        np.testing.assert_array_equal(dock.histogram.region, counts)

    session.look_at(gene="G5")
    check("G5", inside[0] | inside[1])
    dock.grab()
    # What was of another gene, or another region, is gone at once.
    session.look_at(gene="G7")
    assert dock.histogram.region is None
    check("G7", inside[0] | inside[1])
    layer.selected_data = {1}
    assert dock.histogram.region is None
    check("G7", inside[1])
    assert dock.in_region.text().startswith("one region, selected: ")
    layer.selected_data = {0, 1}
    layer.remove_selected()
    assert dock.histogram.region is None
    assert not dock.in_region.isVisibleTo(dock)


@pytest.mark.slow
def test_values_in_a_region_are_those_of_the_level_that_is_looked_at(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FieldRun(ResultFolder.open(tiny), RUN)
    assert sampled_level(run.levels("A").shapes, 50) == 1
    monkeypatch.setattr(region_values, "sampled_level", lambda shapes: sampled_level(shapes, 50))
    circle = shapely.Point(500, 700).buffer(230)
    task = region_values._of_run(run, "A", "expression", Region(circle), 0.5)
    values, said, _ = task(Job())
    assert said == "superpixels of 32 µm"
    image = run.levels("A").part(1)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    y, x = rows * 32 + 15.5, columns * 32 + 15.5
    inside = np.hypot(x - 500, y - 700) < 229.9
    np.testing.assert_array_equal(values, image[inside])
    away = Region(shapely.box(-900, -900, -800, -800))
    assert not region_values._of_run(run, "A", "expression", away, 0.5)(Job())[0].size


@pytest.mark.slow
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
    assert dock.accuracy.text().startswith(f"Not reliable. {worst} on what was held out: r = ")
    assert f"with depth held constant {given[worst]:.2f}; it cannot be" in dock.accuracy.text()
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
    # Its score is the mean of its genes, by the name of the set.
    person.click(dock.list.score)
    session = session_of(person.viewer)
    colours = session.measured
    assert colours is not None
    assert session.gene == "ONE = mean(G1, G2)"
    assert session.title == "ONE: mean(G1, G2) measured, log1p CP10k"
    np.testing.assert_allclose(
        colours.values(session.gene), (colours.values("G1") + colours.values("G2")) / 2, rtol=1e-5
    )
    assert person.layer("spots").name == "ONE: mean(G1, G2) · measured · one"
    check_truth(person.viewer)
    # One that is too long to be read is refused, and not shown as something else.
    dock.list.scored.emit(f"mean({', '.join(['G1'] * 20_000)})")
    assert "it is longer than 65536 letters" in dock.error.text()
    assert session.gene == "ONE = mean(G1, G2)"
    # Enter reads the file once more.
    (tmp_path / "s.gmt").write_text("ONE\t\tG1\tG3\nTWO\t\tg39\n", "utf-8")
    person.bot.keyClick(dock.list.text, Qt.Key.Key_Return)
    assert _listed(person) == ["G1", "G3"]
    dock.list.sets.setCurrentIndex(1)
    assert _listed(person) == ["G39"]
    # Another section has the same list.
    person.drop(small_files[1])
    assert _listed(person) == ["G39"]
    # It lies beside the first; a region there has the spots that lie in it.
    session.look_at(gene="G39")
    section, colours = session.section, session.measured
    assert section is not None
    assert colours is not None
    assert session.place is not None
    assert session.place.origin != (0.0, 0.0)
    xy = np.asarray(section.need_spots().obsm["spatial"])
    corner = np.sort(xy[:, 0])[len(xy) // 2] + 1
    person.click(person.enhance.draw)
    region = next(la for la, i in layers_of(person.viewer, "region") if i.place is session.place)
    region.add(np.array([[-9, -9], [-9, corner], [900, corner], [900, -9]]), shape_type="polygon")
    inside = colours.values("G39")[xy[:, 0] < corner]
    said = f"two region: mean {inside.mean():.2f} of {len(inside)} spots; of all "
    said += f"{colours.values('G39').mean():.2f}"
    person.wait(lambda: dock.in_region.text() == said)
    type_list(f"@{tmp_path / 'gone.txt'}")
    assert "gone.txt: the list of genes cannot be read" in dock.list.error.text()
    assert dock.list.error.isVisibleTo(dock)
    assert len(_listed(person)) == 40
    type_list("G5")
    dock.list.text.clear()
    assert len(_listed(person)) == 40
    assert not dock.list.said.isVisibleTo(dock)
    assert not dock.list.score.isVisibleTo(dock)
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
            table.show_rows(rows, rows.order(**keywords), ["GENE77"])
            table.repaint()
            took.append(time.perf_counter() - start)
        # 12 ms on two busy cores.
        assert min(took) < 0.1
    assert table.genes.gene_at(0) == genes[int(np.argmax(rows.numbers["given"]))]
