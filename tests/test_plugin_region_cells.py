"""Cells of a file, labels and domains are listed, outlined and coloured as regions are."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import shapely

import napari_stenhance as st
from napari_stenhance.plugin.layer_info import layer_info
from napari_stenhance.plugin.session import session_of
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import gene_run
from napari_stenhance.section.named_regions import NamedRegions
from person import Person, check_truth


def test_cells_of_a_file_are_coloured_and_listed_by_the_gene_that_is_looked_at(
    person: Person, result: Path, tmp_path: Path
) -> None:
    session = session_of(person.viewer)
    person.drop(result)
    regions = person.bench.open("regions")
    rng = np.random.default_rng(0)
    at = rng.uniform(150, 400, (400, 2))
    cells = shapely.buffer(shapely.points(at), rng.uniform(3, 7, 400), quad_segs=4)
    NamedRegions(tuple(f"c{n}" for n in range(400)), cells).write(tmp_path / "cells.geojson")
    session.look_at(gene="G2")
    regions.files.open_cells(tmp_path / "cells.geojson")
    person.wait_for_regions()
    layer = person.layer("cells")
    assert layer.visible
    assert layer.name == f"G2 · cells of cells.geojson · {session.run.result.name}"
    assert regions.what.currentText() == "Cells of cells.geojson"
    person.wait_for_counts(400)
    expected = st.summarise(result, cells=tmp_path / "cells.geojson", genes="G2")
    numbers = regions.counts.found.numbers
    np.testing.assert_allclose(numbers["mean"], expected["mean"], rtol=1e-6)
    assert person.region_texts(0)[:2] == ["c0", "c1"]
    # What is seen of a cell is its mean, also of the next gene.
    for gene in ("G2", "G5"):
        session.look_at(gene=gene)
        assert layer.name.startswith(f"{gene} · cells")
        means = st.summarise(result, cells=tmp_path / "cells.geojson", genes=gene)["mean"]
        info = layer_info(layer)
        np.testing.assert_allclose(info.colours.values(gene), means, rtol=1e-5)
        y, x = at[7, ::-1] + info.place.origin
        row, column = np.rint(layer.world_to_data((y, x))).astype(int)
        seen = float(np.asarray(layer.data[0][row, column]))
        assert np.isclose(seen, means, rtol=1e-5).any()
        assert tuple(layer.contrast_limits) == session.limits
    layer.data_level = 0
    layer.corner_pixels = np.array([[0, 0], layer.data[0].shape])
    layer.refresh()
    said = layer.get_status(np.array([y, x]), world=True)["value"]
    assert "G5 predicted, mean in each cell, log1p CP10k: " in said
    assert not regions.delete.isEnabled()
    regions.what.setCurrentIndex(0)
    assert person.region_texts(0) == []


def test_a_layer_of_labels_is_outlined_as_cells(person: Person, result: Path) -> None:
    session = session_of(person.viewer)
    person.drop(result)
    regions = person.bench.open("regions")
    labels = np.zeros((60, 60), np.int32)
    labels[10:20, 10:30], labels[40:45, 40:45] = 4, 9
    where = {"scale": (6.0, 6.0), "translate": (60.0, 90.0), "units": ("micrometer",) * 2}
    person.viewer.add_labels(labels, name="stardist", **where)
    at = regions.what.findText("Labels stardist …")
    regions.what.setCurrentIndex(at)
    person.wait_for_regions()
    person.wait_for_counts(2)
    assert person.region_texts(0) == ["Cell 4", "Cell 9"]
    # The centre of the first pixel lies at its translation.
    area = shapely.box(87 + 60, 57 + 60, 87 + 180, 57 + 120)
    assert regions.what.currentData().cells.areas[0].equals(area)
    inside = st.Region(area).mask(session.run.grid)
    image = gene_run(ResultFolder.open(result)).levels(session.gene).part()
    mean = image[inside & np.isfinite(image)].mean()
    assert regions.counts.found.numbers["mean"][0] == pytest.approx(mean, rel=1e-5)


def test_domains_are_listed_as_regions_are(person: Person, tiny: Path) -> None:
    person.drop(tiny)
    regions = person.bench.open("regions")
    session = session_of(person.viewer)
    run = next(run for run in session.runs() if run.kind == "fields")
    session.look_at(run=run, gene="A")
    said = [regions.what.itemText(n) for n in range(regions.what.count())]
    at = next(n for n, text in enumerate(said) if text.startswith("Domains "))
    regions.what.setCurrentIndex(at)
    domains = regions.what.currentData()
    person.wait_for_counts(len(domains.domains))
    expected = st.summarise(tiny, domains=domains.name, genes="A", run=run.name)
    np.testing.assert_allclose(regions.counts.found.numbers["mean"], expected["mean"])
    assert person.region_texts(0) == [one.name for one in domains.domains]
    # While domains are looked at, which have no genes, what is predicted is there as well.
    session.look_at(run=domains)
    assert session.genes is None
    person.wait(lambda: regions.counts.found is not None)
    assert regions.counts.found.run.key == run.key
    numbers = regions.counts.found.numbers
    np.testing.assert_array_equal(numbers["superpixels"], expected["superpixels"])
    # A gene of the list that is clicked meanwhile is seen.
    regions.table.selectRow(0)
    person.click(regions.questions.top)
    person.wait_for_regions()
    person.wait(lambda: regions.questions.genes.genes.numbers is not None)
    first = regions.questions.genes.genes.numbers["gene"][0]
    regions.questions.genes.chosen.emit(first)
    assert (session.run.key, session.gene) == (run.key, first)
    check_truth(person.viewer)


@pytest.mark.slow
def test_half_a_million_cells_take_another_gene_s_colours_in_a_tenth_of_a_second(
    small: Path,
) -> None:
    from napari_stenhance.plugin.cell_means import cells_layer

    run = gene_run(ResultFolder.open(small / "one.stenhance.zarr"))
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 500, (500_000, 2))
    cells = shapely.buffer(shapely.points(xy), 0.3, quad_segs=2)
    regions = NamedRegions(tuple(map(str, range(len(xy)))), cells)
    _, attributes, _ = cells_layer(run, regions, "many", "G1", st.Job())
    info = attributes["metadata"]["stenhance"]
    began = time.perf_counter()
    values = info.colours.values("G2")
    image = info.raster.image(values)
    _ = np.asarray(image[-1])
    assert time.perf_counter() - began < 0.3
