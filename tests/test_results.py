from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import ome_zarr_models.v05 as ome
import pytest
import zarr

from made_sections import make_slide_pixels
from napari_stenhance.errors import InputError
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.results.export_format import export_table
from napari_stenhance.results.genes import gene_group, gene_id, write_gene
from napari_stenhance.results.inputs import find_section
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun, field_run
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.pyramid import coarsen_all, mean_pool
from napari_stenhance.storage.tiles import missing_tiles, write_tile
from napari_stenhance.tasks.info import InfoOptions, info

STRANGE = "HLA-A/B .%:"


@pytest.fixture
def slide(make_slide: Callable[..., Slide]) -> Slide:
    return make_slide(make_slide_pixels((600, 500), 0)[0], mpp=0.5)


def _decoder() -> Decoder:
    rng = np.random.default_rng(0)
    return Decoder(
        genes=("A", STRANGE),
        weights=rng.standard_normal((3, 2)).astype("f4"),
        bias=np.ones(2, "f4"),
        unit="log1p CP10k",
        held_out_r=np.array([0.5, np.nan], "f4"),
        held_out_r_given_depth=np.array([0.25, np.nan], "f4"),
        spread_scale=np.ones(2, "f4"),
        doubts=("It was cloudy.",),
    )


def _fill(result: ResultFolder, run: str, grid: Grid) -> None:
    field = result.create_field(run, _decoder(), grid)
    rng = np.random.default_rng(1)
    for raster in (field.spread, field.latent):
        for tile in missing_tiles(raster[0]):
            values = rng.random((*tile.shape, 3))
            values[:, :10] = np.nan
            write_tile(raster[0], tile, values)
        coarsen_all(raster, mean_pool)


def test_a_result_is_created_opened_and_continued(
    slide: Slide, cache: Cache, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "s.stenhance.zarr"
    grid = Grid(2.0, (300, 520), 0.5)
    with ResultFolder.writing(path, slide, "m-e-p") as result:
        run = result.start_run("m-e-p", {"seed": 0, "genes": ["A"]}, {"versions": {}}, grid)
        _fill(result, run, grid)
    with ResultFolder.writing(path, slide, "m-e-p") as result:
        assert result.start_run("m-e-p", {"genes": ["A"], "seed": 0}, {}, grid) == run
        assert result.start_run("m-e-p", {"genes": ["B"], "seed": 0}, {}, grid) == "m-e-p-2"
        # Predicted from long vectors, in small tiles.
        sides = [result.create_field(r, _decoder(), grid, 600).latent[0].chunks[0]
                 for r in (run, "m-e-p-2")]  # fmt: skip
        assert sides == [256, 128]
    result = ResultFolder.open(path)
    assert result.runs == ("m-e-p", "m-e-p-2")
    assert result.attributes["slide"]["sha256"] == slide.sha256
    field = result.field(run)
    assert field.genes == ("A", STRANGE)
    assert field.grid == grid
    assert np.isnan(field.decoder.held_out_r[1])
    assert field.decoder.held_out_r_given_depth[0] == 0.25
    assert field.decoder.only("A")[0].held_out_r_given_depth == 0.25
    assert field.decoder.doubts == ("It was cloudy.",)
    # Written before these were kept.
    group = zarr.open_group(path / "fields" / run / "decoder", mode="r+")
    del group["held_out_r_given_depth"]
    del group.attrs["doubts"]
    older = ResultFolder.open(path).field(run).decoder
    np.testing.assert_array_equal(older.held_out_r_given_depth, [np.nan, np.nan])
    assert older.held_out_r[0] == 0.5
    assert older.doubts == ()
    assert np.isfinite(field.image("A")[:, 10:256]).all()
    with pytest.raises(InputError, match="no run in this result is complete"):
        field_run(result)
    with pytest.raises(InputError, match="there are: m-e-p, m-e-p-2"):
        result.field("other")


def test_what_is_not_ours_is_refused_and_untouched(
    slide: Slide, make_slide: Callable[..., Slide], cache: Cache, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "zarr.json").write_text('{"attributes": {"ome": {}}}')
    with pytest.raises(InputError, match="not a result of napari-stenhance"):
        with ResultFolder.writing(theirs, slide, "m-e-p"):
            pytest.fail("written into another's folder")
    assert [f.name for f in theirs.iterdir()] == ["zarr.json"]
    with pytest.raises(InputError, match="no result"):
        ResultFolder.open(theirs)
    ours = tmp_path / "ours"
    with ResultFolder.writing(ours, slide, "m-e-p"):
        with pytest.raises(InputError, match="writing here already"):
            with ResultFolder.writing(ours, slide, "m-e-p"):
                pytest.fail("two writers")
    other = make_slide(make_slide_pixels((300, 200), 1)[0], mpp=0.5, name="other.png")
    for wrong, match in ((other, "another slide"), (slide.with_mpp(0.6, "given"), "µm per pixel")):
        with pytest.raises(InputError, match=match):
            with ResultFolder.writing(ours, wrong, "m-e-p"):
                pytest.fail("a result of another slide")


def test_a_newer_format_is_refused(slide: Slide, cache: Cache, tmp_path: Path) -> None:
    with ResultFolder.writing(tmp_path / "r", slide, "m-e-p") as result:
        result.group.attrs["stenhance"] = {**result.attributes, "format_version": 99}
    with pytest.raises(InputError, match="format 99"):
        ResultFolder.open(tmp_path / "r")


@pytest.mark.parametrize(("gene", "folder"), [("ERBB2", "ERBB2"), (STRANGE, "HLA-A%2FB%20.%25%3A")])
def test_gene_images_are_valid_ome_zarr_where_they_should_be(
    slide: Slide, cache: Cache, tmp_path: Path, gene: str, folder: str
) -> None:
    assert gene_id(gene) == folder
    assert gene_id("..") == "%2E."
    path = tmp_path / "r.zarr"
    grid = Grid(2.0, (300, 520), 0.5)
    with ResultFolder.writing(path, slide, "m-e-p") as result:
        run = result.start_run("m", {}, {}, grid)
        _fill(result, run, grid)
        write_gene(FieldRun(result, run), STRANGE, Job())
    result = ResultFolder.open(path)
    group = gene_group(FieldRun(result, run), STRANGE)
    assert group is not None
    assert group.attrs["stenhance"] == {"gene": STRANGE, "unit": "log1p CP10k", "run": run}
    image = ome.Image.from_zarr(group)
    multiscale = image.ome_attributes.multiscales[0]
    assert image.ome_attributes.version == "0.5"
    assert [(a.name, a.type, a.unit) for a in multiscale.axes] == [
        ("y", "space", "micrometer"),
        ("x", "space", "micrometer"),
    ]
    shapes = []
    for level, dataset in enumerate(multiscale.datasets):
        scale, translation = dataset.coordinateTransformations
        pitch = 2.0 * 2**level
        assert scale.scale == [pitch, pitch]
        assert translation.translation == [(pitch - 0.5) / 2] * 2
        array = group[dataset.path]
        assert array.metadata.dimension_names == ("y", "x")
        shapes.append(array.shape)
    assert shapes == [(300, 520), (150, 260), (75, 130)]
    field = result.field(run)
    np.testing.assert_array_equal(group["s0"][...], field.image(STRANGE))
    np.testing.assert_allclose(
        group["s1"][...], mean_pool(field.image(STRANGE)), rtol=1e-6, equal_nan=True
    )


def test_the_tissue_is_a_valid_label_image(slide: Slide, cache: Cache, tmp_path: Path) -> None:
    grid = Grid(2.0, (300, 520), 0.5)
    tissue = np.zeros(grid.shape, bool)
    tissue[40:80, 100:200] = True
    with ResultFolder.writing(tmp_path / "r", slide, "m-e-p") as result:
        result.write_tissue(tissue, grid)
        result.write_tissue(tissue, grid)
        np.testing.assert_array_equal(result.tissue(), tissue)
    label = ome.ImageLabel.from_zarr(zarr.open_group(tmp_path / "r" / "tissue", mode="r"))
    assert label.ome_attributes.version == "0.5"
    assert label.ome_attributes.multiscales[0].datasets[0].path == "s0"


def test_only_the_log_holds_times_hosts_and_paths(
    slide: Slide, cache: Cache, tmp_path: Path
) -> None:
    with ResultFolder.writing(tmp_path / "r", slide, "m-e-p") as result:
        result.log("tile", index=(0, 1))
        threads = [threading.Thread(target=result.log, args=("x",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = (tmp_path / "r" / "files" / "log.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert len(lines) == 5
    assert first["event"] == "tile"
    assert first["index"] == [0, 1]
    assert str(tmp_path) not in (tmp_path / "r" / "zarr.json").read_text()


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    table = ad.AnnData(np.ones((2, 2), "f4"))
    out = tmp_path / "new" / "t.h5ad"
    export_table(table, out)
    before = out.read_bytes()
    with pytest.raises(InputError, match="lies here already"):
        export_table(table, out)
    assert out.read_bytes() == before
    assert [f.name for f in out.parent.iterdir()] == ["t.h5ad"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        export_table(table, tmp_path / "file" / "t.h5ad")


def test_a_slide_that_cannot_be_opened_is_not_said_to_be_gone(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = ResultFolder.open(small / "one.stenhance.zarr")
    (tmp_path / "file").touch()
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "file"))
    found = find_section(result)
    assert found.section is None
    (said,) = found.said
    assert "cannot be opened where it was" in said
    assert "this cannot be written (Not a directory)" in said


@pytest.mark.parametrize("given", [{"mpp": 0.5}, {"series": "1"}, {"icc": False}, {"image": "i"}])
def test_how_a_slide_is_opened_is_not_asked_of_a_result(given: dict[str, Any], small: Path) -> None:
    with pytest.raises(InputError, match="a result says itself how its slide was opened") as raised:
        info(InfoOptions(path=small / "one.stenhance.zarr", **given))
    assert raised.value.option == next(iter(given))
