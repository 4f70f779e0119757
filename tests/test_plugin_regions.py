"""The panel 'Regions': from what is drawn, or opened, to numbers, genes, predictions and files."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from qtpy.QtCore import Qt

import napari_stenhance as st
from made_regions import qupath, write
from napari_stenhance.plugin.drawn import add_regions, drawn_regions
from napari_stenhance.plugin.layer_info import Place, layer_info, layers_of
from napari_stenhance.plugin.regions import polygons_um, region_layer
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets.region_table import RegionTable
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import gene_run
from napari_stenhance.section.named_regions import NamedRegions
from person import Person, check_truth

NESTS = ((150, 160), (150, 330), (330, 330), (330, 160))
"""Corners (y, x) in µm."""


def test_a_region_that_is_drawn_has_the_numbers_of_summarise_and_can_be_predicted(
    person: Person, result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(person.viewer)
    person.drop(result)
    regions = person.bench.open("regions")
    assert regions.title.text().startswith("Draw a region")
    session.look_at(gene="G3")
    person.click(regions.draw)
    drawn = person.layer("region")
    person.wait(lambda: drawn.mode == "add_polygon")
    for corner in NESTS:
        before = sum(map(len, drawn.data))
        person.click_world(*corner)
        person.wait(lambda before=before: sum(map(len, drawn.data)) > before)
    person.bot.keyClick(person.viewer.window._qt_viewer.canvas.native, Qt.Key.Key_Escape)
    person.wait(lambda: person.region_texts(0) == ["Region 1"])
    person.wait_for_counts(1)
    # Renamed in the table, and it is so on the slide.
    model = regions.table.regions
    assert model.setData(model.index(0, 0), "Nest")
    assert drawn.features["name"].tolist() == ["Nest"]
    assert drawn.text.values.tolist() == ["Nest"]
    assert drawn.text.visible
    person.wait_for_counts(1)

    regions.files.save_regions(tmp_path / "nest.geojson")
    person.wait_for_regions()
    assert NamedRegions.read(tmp_path / "nest.geojson").names == ("Nest",)
    numbers = st.summarise(result, regions=tmp_path / "nest.geojson", genes="G3")
    pd.testing.assert_frame_equal(regions.counts.found.numbers, numbers, rtol=1e-9)
    row = numbers.iloc[0]
    assert row["superpixels"] > 50
    assert person.region_texts(1) == [f"{row['mean']:.2f} ± {row['sd']:.2f}"]
    assert person.region_texts(3) == [str(row["spots"])]
    assert person.region_texts(5) == [str(row["superpixels"])]
    assert regions.title.text() == "G3, mean ± SD, log1p CP10k."
    # Another gene, another number; of total counts, none.
    session.look_at(gene="G5")
    person.wait(lambda: regions.counts.found is not None and regions.counts.found.gene == "G5")
    image = gene_run(ResultFolder.open(result)).levels("G5").part()
    mask = st.Region.read(tmp_path / "nest.geojson").mask(session.run.grid)
    inside = image[mask & np.isfinite(image)]
    assert person.region_texts(1) == [f"{inside.mean():.2f} ± {inside.std(ddof=1):.2f}"]

    regions.files.export_numbers(tmp_path / "numbers.csv")
    person.wait_for_regions()
    assert pd.read_csv(tmp_path / "numbers.csv")["gene"].tolist() == ["G5"]

    # Top genes: those of summarise, and a click looks at one.
    person.click(regions.questions.top)
    person.wait_for_regions()
    top = st.summarise(result, regions=tmp_path / "nest.geojson", top=25)
    pd.testing.assert_frame_equal(regions.questions.genes.genes.numbers, top, rtol=1e-9)
    assert "(no measurements)" in regions.questions.title.text()
    monkeypatch.setattr(
        "napari_stenhance.plugin.widgets.region_questions.ask_where_to_save_table",
        lambda _parent: tmp_path / "top.csv",
    )
    person.click(regions.questions.export)
    person.wait_for_regions()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "top.csv"), top, check_dtype=False)
    regions.questions.genes.setCurrentIndex(regions.questions.genes.genes.index(2, 0))
    person.wait(lambda: session.gene == top["gene"][2])

    # The run that is shown predicts the whole slide already.
    person.click(regions.questions.predict)
    assert "has predicted all of one already" in regions.run_bar.error.text()
    assert ResultFolder.open(result).runs == (session.run.name,)


def test_a_model_that_predicted_one_region_predicts_another(
    person: Person, small: Path, result: Path, tmp_path: Path
) -> None:
    session = session_of(person.viewer)
    areas = np.array([shapely.box(50, 50, 230, 230), shapely.box(240, 60, 400, 230)], dtype=object)
    NamedRegions(("Here",), areas[:1]).write(tmp_path / "here.geojson")
    made = st.predict(
        result, small / "one.h5ad", region=tmp_path / "here.geojson", out=tmp_path / "part"
    )
    person.drop(made.path)
    regions = person.bench.open("regions")
    NamedRegions(("There",), areas[1:]).write(tmp_path / "there.geojson")
    regions.files.open_regions(tmp_path / "there.geojson")
    person.wait_for_regions()
    gene = session.gene
    person.click(regions.questions.predict)
    person.wait_for_regions()
    runs = ResultFolder.open(made.path).runs
    assert len(runs) == 2
    part = gene_run(ResultFolder.open(made.path))
    assert session.run.key == part.key
    assert part.name == runs[1]
    assert session.gene == gene
    mask = part.result.region(part.name).mask(part.grid)
    whole = gene_run(ResultFolder.open(result)).levels(gene).part()
    seen = part.levels(gene).part()
    assert np.isfinite(seen[mask]).any()
    assert not np.isfinite(seen[~mask]).any()
    np.testing.assert_allclose(
        seen[mask & np.isfinite(whole)], whole[mask & np.isfinite(whole)], rtol=1e-2, atol=1e-3
    )
    check_truth(person.viewer)


def test_the_model_that_is_shown_predicts_on_another_slide_in_its_region(
    person: Person, small: Path, result: Path, tmp_path: Path
) -> None:
    for name in ("two.h5ad", "two_he.jpg"):
        shutil.copy(small / name, tmp_path / name)
    session = session_of(person.viewer)
    person.drop(tmp_path / "two.h5ad")
    regions = person.bench.open("regions")
    other = session.section
    area = np.array([shapely.box(150, 150, 330, 330)], dtype=object)
    NamedRegions(("There",), area).write(tmp_path / "there.geojson")
    regions.files.open_regions(tmp_path / "there.geojson")
    person.wait_for_regions()
    person.bench.open("section")
    person.drop(result)
    person.bench.open("regions")
    said = [regions.questions.where.itemText(n) for n in range(regions.questions.where.count())]
    assert said[1:] == [f"{other.name}, the whole slide", f"{other.name}, in its regions"]
    regions.questions.where.setCurrentIndex(2)
    into = tmp_path / f"{other.name}.stenhance.zarr"
    assert regions.questions.into.text() == f"Written to {into}"
    person.click(regions.questions.predict)
    person.wait_for_regions()
    made = ResultFolder.open(tmp_path / f"{other.name}.stenhance.zarr")
    (run,) = made.runs
    assert made.region(run).area.equals(area[0])
    assert session.run.key[2] == run
    image = gene_run(made).levels("G1").part()
    assert np.isfinite(image).any()
    assert not np.isfinite(image[~made.region(run).mask(made.field(run).grid)]).any()
    assert "is in" in regions.run_bar.label.text()


def test_regions_of_qupath_are_listed_chosen_deleted_and_brought_back(
    person: Person, result: Path, tmp_path: Path
) -> None:
    session = session_of(person.viewer)
    person.drop(result)
    regions = person.bench.open("regions")
    file = write(tmp_path / "q.geojson", qupath())
    regions.files.open_regions(file)
    person.wait_for_regions()
    layer = person.layer("region")
    assert person.region_texts(0) == ["Nest 1", "Stroma", "Region 3"]
    read = NamedRegions.read(file, session.section.mpp)
    shown, _ = drawn_regions(layer, layer_info(layer).place)
    for name in ("names", "kinds", "colours", "measurements"):
        assert getattr(shown, name) == getattr(read, name)
    # Holes and parts, too.
    for one, other in zip(shown.areas, read.areas, strict=True):
        assert one.symmetric_difference(other).area < 1e-6
    person.wait_for_counts(3)

    # Row and shape: the one selects the other.
    regions.table.selectRow(1)
    person.wait(lambda: set(layer.selected_data) == {1})
    layer.selected_data = {0, 2}
    person.wait(lambda: regions.table.rows() == [0, 2])

    regions.files.save_regions(tmp_path / "back.geojson", for_qupath=True)
    person.wait_for_regions()
    back = NamedRegions.read(tmp_path / "back.geojson", session.section.mpp)
    assert (back.names, back.kinds, back.colours) == (read.names, read.kinds, read.colours)
    assert back.measurements[1]["Num Detections"] == 12
    numbers = regions.counts.found.numbers
    said = f"{session.gene} predicted mean, log1p CP10k"
    assert back.measurements[0][said] == pytest.approx(numbers["mean"][0])

    person.click(regions.delete)
    assert person.region_texts(0) == ["Stroma"]
    person.click(regions.undo)
    assert person.region_texts(0) == ["Stroma", "Nest 1", "Region 3"]
    person.wait_for_counts(3)
    again, _ = drawn_regions(layer, layer_info(layer).place)
    assert again.areas[1].symmetric_difference(read.areas[0]).area < 1e-6


def test_what_is_like_a_region_is_a_layer_of_its_own(
    person: Person, result: Path, tmp_path: Path
) -> None:
    session = session_of(person.viewer)
    person.drop(result)
    regions = person.bench.open("regions")
    area = np.array([shapely.box(150, 150, 330, 330)], dtype=object)
    NamedRegions(("Nest",), area).write(tmp_path / "nest.geojson")
    regions.files.open_regions(tmp_path / "nest.geojson")
    person.wait_for_regions()
    person.click(regions.questions.similar)
    person.wait_for_regions()
    layer = person.layer("similarity")
    assert layer.visible
    assert layer.name.startswith("similarity to Nest · ")
    image = np.asarray(layer.data[0])[: session.run.grid.shape[0], : session.run.grid.shape[1]]
    mask = st.Region(area[0]).mask(session.run.grid)
    known = np.isfinite(image)
    alike = st.Result.open(result).similar_to(tmp_path / "nest.geojson").to_numpy()
    np.testing.assert_allclose(image, alike, atol=1e-5)
    assert np.abs(image[known]).max() <= 1 + 1e-5
    assert image[mask & known].mean() > image[~mask & known].mean()
    # Nothing else is seen through it; the gene comes back when it is asked for.
    seen = [one for one, _ in layers_of(person.viewer, "browse", "gene", "spots") if one.visible]
    assert seen == []
    said = person.viewer.canvas.overlays["stenhance_caption"].text
    assert "similarity to Nest, predicted" in said
    session.look_at(gene="G2")
    assert person.layer("browse").visible
    assert not layer.visible
    # Its eye shows it again, by itself.
    layer.visible = True
    assert not person.layer("browse").visible
    assert layer.visible
    # The same region again replaces it.
    person.click(regions.questions.similar)
    person.wait_for_regions()
    assert len(list(layers_of(person.viewer, "similarity"))) == 1


def test_what_cannot_be_done_is_said(person: Person, small: Path, tmp_path: Path) -> None:
    regions = person.bench.open("regions")
    person.click(regions.draw)
    assert "Open the section to draw on" in regions.run_bar.error.text()
    person.click(regions.brush)
    assert "Open the slide to paint on" in regions.run_bar.error.text()
    person.click(regions.questions.predict)
    assert "Look at genes that were predicted" in regions.run_bar.error.text()
    person.bench.open("section")
    person.drop(small / "one.h5ad")
    person.bench.open("regions")
    write(tmp_path / "bad.geojson", {"type": "FeatureCollection", "features": []})
    regions.files.open_regions(tmp_path / "bad.geojson")
    person.wait(lambda: not regions.run_bar.busy)
    assert "it holds no polygon with an area" in regions.run_bar.error.text()
    # Spots alone: what they measured, and nothing predicted.
    area = np.array([shapely.box(100, 100, 400, 400)], dtype=object)
    NamedRegions(("All",), area).write(tmp_path / "all.geojson")
    regions.files.open_regions(tmp_path / "all.geojson")
    person.wait_for_regions()
    session_of(person.viewer).look_at_measured("G1")
    person.wait(lambda: regions.counts.found is not None and regions.counts.found.gene == "G1")
    assert person.region_texts(1) == ["–"]
    nest = np.array([shapely.box(100, 100, 300, 300)], dtype=object)
    NamedRegions(("Nest",), nest).write(tmp_path / "nest.geojson")
    regions.files.open_regions(tmp_path / "nest.geojson")
    person.wait_for_regions()
    regions.table.selectRow(1)
    person.wait(lambda: regions.counts.found is not None)
    person.click(regions.questions.top)
    person.wait_for_regions()
    said = regions.questions.title.text()
    assert said.startswith("Nest against the rest of the tissue: measured at ")
    # Most different first, as Wilcoxon's test has it.
    assert regions.questions.genes.genes.numbers["q"].is_monotonic_increasing
    assert person.region_texts(2)[0] != "–"


def test_what_is_refused_is_scrolled_to(person: Person, result: Path, tmp_path: Path) -> None:
    person.drop(result)
    regions = person.bench.open("regions")
    area = np.array([shapely.box(150, 150, 330, 330)], dtype=object)
    NamedRegions(("Nest",), area).write(tmp_path / "nest.geojson")
    regions.files.open_regions(tmp_path / "nest.geojson")
    person.wait_for_regions()
    person.wait_for_counts(1)
    person.bench.setFixedHeight(300)
    person.bot.wait(50)
    assert regions.run_bar.error.visibleRegion().isEmpty()
    regions.files.export_numbers(tmp_path / "nest.geojson")
    person.wait(lambda: not regions.run_bar.busy)
    assert "something lies here already" in regions.run_bar.error.text()
    person.wait(lambda: not regions.run_bar.error.visibleRegion().isEmpty(), 5)


def test_ten_thousand_regions_are_listed_without_lag(qtbot) -> None:
    table = RegionTable(None)
    qtbot.addWidget(table)
    table.show()
    number = 10_000
    numbers = pd.DataFrame(
        {
            name: np.arange(number, dtype=float)
            for name in ("area_um2", "superpixels", "mean", "sd", "spots", "measured_mean")
        }
    ).assign(measured_sd=np.nan, origin="predicted")
    began = time.perf_counter()
    table.show_names([f"Cell {n}" for n in range(number)])
    table.regions.show_numbers(numbers)
    table.choose([9_000])
    table.grab()
    assert time.perf_counter() - began < 0.5
    assert table.rows() == [9_000]
    assert table.regions.index(9_000, 2).data() == "9000.00"


def test_what_is_too_small_for_a_shape_is_no_region_and_the_panel_goes_on(
    person: Person, result: Path, tmp_path: Path
) -> None:
    person.drop(result)
    regions = person.bench.open("regions")
    areas = np.array(
        [shapely.box(200, 200, 200 + 1e-9, 200 + 1e-9), shapely.box(150, 150, 300, 300)]
    )
    tiny = NamedRegions(("speck", "nest"), areas)
    tiny.write(tmp_path / "tiny.geojson")
    regions.files.open_regions(tmp_path / "tiny.geojson")
    person.wait_for_regions()
    person.wait_for_counts(1)
    assert person.region_texts(0) == ["nest"]


def test_what_is_compared_with_stays_the_same_region_whatever_it_is_called(
    person: Person, result: Path, tmp_path: Path
) -> None:
    person.drop(result)
    regions = person.bench.open("regions")
    areas = np.array([shapely.box(150 + n, 150, 300 + n, 300) for n in (0, 20, 40)])
    NamedRegions(("A", "A", "B"), areas).write(tmp_path / "same.geojson")
    regions.files.open_regions(tmp_path / "same.geojson")
    person.wait_for_regions()
    person.wait_for_counts(3)
    against, model = regions.questions.against, regions.table.regions
    against.setCurrentIndex(2)
    assert model.setData(model.index(2, 0), "C")
    assert against.currentIndex() == 2
    assert model.setData(model.index(1, 0), "Nest")
    assert against.currentText() == "Nest"


def test_shapes_keep_holes_and_parts() -> None:
    from napari.layers import Image, Shapes

    ring = shapely.box(0, 0, 100, 100).difference(shapely.box(20, 20, 40, 40))
    other = shapely.box(200, 0, 250, 50).difference(shapely.box(210, 10, 220, 20))
    both = shapely.union_all([ring, other])
    data, attributes, _ = region_layer("one", 0.5)
    layer = Shapes(data, **attributes)
    place = Place("one", (0.0, 0.0))
    areas = np.array([ring, both, shapely.box(5, 5, 9, 9)], dtype=object)
    add_regions(layer, NamedRegions(("a", "b", "c"), areas), 0.5)
    shown, at = drawn_regions(layer, place)
    assert at.tolist() == [0, 1, 2]
    assert shapely.equals(shown.areas, areas).all()
    # The same for whoever predicts in them.
    slide = Image(np.zeros((9, 9)), scale=(0.5, 0.5))
    assert shapely.equals(polygons_um(layer, slide), areas).all()
