"""Numbers in regions, cells and domains, as anyone counts by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import pyvips
import shapely
import xarray as xr

import napari_stenhance as st
from made_regions import square, write
from napari_stenhance.results.domains import domain_run
from napari_stenhance.results.region_cover import RegionCover
from napari_stenhance.results.region_genes import gene_differences
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun, gene_run
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.named_regions import NamedRegions
from test_cli import run as command

GENES = ("G1", "G2", "G1 - 0.5 * G3")


@pytest.mark.parametrize("tile", [7, 64])
def test_superpixels_lie_in_a_region_by_their_centres(tile: int) -> None:
    grid = Grid(8.0, (40, 50), 0.5)
    rng = np.random.default_rng(0)
    blobs = [
        shapely.Point(*xy).buffer(r)
        for xy, r in zip(rng.uniform(0, 380, (60, 2)), rng.uniform(1, 90, 60), strict=True)
    ]
    areas = np.array([*blobs, shapely.box(-500, -500, -400, -400)], dtype=object)
    areas[3] = areas[3].difference(areas[4].buffer(5))
    cover = RegionCover.under(areas, grid, tile, st.Job())
    masks = np.zeros((len(areas), *grid.shape), bool)
    for part in cover.tiles:
        rows, columns = np.unravel_index(part.place, part.tile.shape)
        masks[part.area, rows + part.tile.rows.start, columns + part.tile.columns.start] = True
    for area, mask in zip(areas, masks, strict=True):
        expected = st.Region(area).mask(grid)
        if not expected.any() and area.bounds[0] > -100:
            at = np.rint(grid.position(shapely.get_coordinates(area.point_on_surface())))[0]
            r, c = at.astype(int)
            if 0 <= r < 40 and 0 <= c < 50:
                expected[r, c] = True
        np.testing.assert_array_equal(mask, expected)


@pytest.fixture
def regions(here: Path) -> Path:
    """Three regions on the tissue, of which the first has a hole, and one where there is none."""
    polygons = {
        "nest": [square(95, 145, 280), square(165, 165, 60)],
        "stroma": [square(220, 300, 270)],
        "speck": [square(301, 301, 3)],
        "off": [square(-900, -900, 50)],
    }
    features = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {"type": "Polygon", "coordinates": rings},
        }
        for name, rings in polygons.items()
    ]
    return write(here / "regions.geojson", {"type": "FeatureCollection", "features": features})


def inside(file: Path, name: str, xy_um: np.ndarray) -> np.ndarray:
    read = NamedRegions.read(file)
    return shapely.contains_xy(read.areas[read.names.index(name)], xy_um[:, 0], xy_um[:, 1])


def superpixels() -> tuple[pd.DataFrame, np.ndarray]:
    """Return what is predicted of all superpixels, as export writes it, and where they lie."""
    table = ad.read_h5ad(st.export("one.stenhance.zarr", "all.h5ad", genes=("G1", "G2", "G3")))
    frame = table.to_df().astype(float)
    frame["G1 - 0.5 * G3"] = frame["G1"] - 0.5 * frame["G3"]
    return frame, np.asarray(table.obsm["spatial"]) * table.uns["microns_per_pixel"]


def measured() -> tuple[pd.DataFrame, np.ndarray]:
    section = st.read("one.h5ad")
    spots = section.need_spots()
    counts = pd.DataFrame(spots.X.toarray(), columns=spots.var_names).astype(float)
    frame = np.log1p(counts.div(counts.sum(axis=1), axis=0) * 1e4)
    frame["G1 - 0.5 * G3"] = frame["G1"] - 0.5 * frame["G3"]
    return frame, section.spots_um()


def test_numbers_of_a_region_are_those_that_one_counts_by_hand(regions: Path) -> None:
    result = st.Result.open("one.stenhance.zarr")
    numbers = result.summarise(regions=regions, genes=GENES).set_index(["region", "gene"])
    assert len(numbers) == 4 * len(GENES)
    predicted, at = superpixels()
    spots, spots_at = measured()
    for name in ("nest", "stroma"):
        within, of_spots = inside(regions, name, at), inside(regions, name, spots_at)
        assert within.sum() > 100
        assert of_spots.sum() > 2
        for gene in GENES:
            row = numbers.loc[name, gene]
            assert row["superpixels"] == within.sum()
            assert row["spots"] == of_spots.sum()
            assert row["mean"] == pytest.approx(predicted[gene][within].mean(), rel=1e-5)
            assert row["sd"] == pytest.approx(predicted[gene][within].std(), rel=1e-4)
            assert row["measured_mean"] == pytest.approx(spots[gene][of_spots].mean(), rel=1e-5)
            assert row["measured_sd"] == pytest.approx(spots[gene][of_spots].std(), rel=1e-4)
    row = numbers.loc["nest", "G1"]
    assert row["area_um2"] == pytest.approx(280**2 - 60**2)
    assert (row["origin"], row["unit"], row["measured_unit"]) == ("predicted", *["log1p CP10k"] * 2)
    # Where no superpixel's centre lies: that under it, and no standard deviation.
    speck = numbers.loc["speck", "G1"]
    image = result["G1"].sel(x=302.5, y=302.5, method="nearest")
    assert speck["mean"] == pytest.approx(float(image))
    assert speck["superpixels"] == 1
    assert speck[["sd", "measured_mean", "measured_sd"]].isna().all()
    off = numbers.loc["off", "G1"]
    assert (off["superpixels"], off["spots"]) == (0, 0)
    assert off[["mean", "sd", "measured_mean"]].isna().all()


def test_a_region_is_compared_with_the_rest_and_with_another(regions: Path) -> None:
    from scipy import stats

    predicted, at = superpixels()
    spots, spots_at = measured()
    nest, stroma = (inside(regions, name, at) for name in ("nest", "stroma"))
    for against, others in (("rest", ~nest), ("stroma", stroma & ~nest)):
        table = st.summarise("one.stenhance.zarr", regions=regions, genes="G1", against=against)
        row = table.set_index("region").loc["nest"]
        one, other = predicted["G1"][nest], predicted["G1"][others]
        assert row["against"] == against
        assert row["difference"] == pytest.approx(one.mean() - other.mean(), rel=1e-4, abs=1e-7)
        freedom = len(one) + len(other) - 2
        pooled = ((len(one) - 1) * one.var() + (len(other) - 1) * other.var()) / freedom
        effect = (one.mean() - other.mean()) / np.sqrt(pooled)
        assert row["effect"] == pytest.approx(effect, rel=1e-4)
        in_nest = inside(regions, "nest", spots_at)
        elsewhere = (
            ~in_nest if against == "rest" else (inside(regions, "stroma", spots_at) & ~in_nest)
        )
        genes = [gene for gene in spots.columns if gene != GENES[2]]
        p = [
            stats.mannwhitneyu(
                spots[gene][in_nest],
                spots[gene][elsewhere],
                method="asymptotic",
                use_continuity=False,
            ).pvalue
            for gene in genes
        ]
        q = stats.false_discovery_control(np.nan_to_num(p, nan=1.0))
        assert row["q"] == pytest.approx(q[genes.index("G1")], rel=1e-3)
        difference = spots["G1"][in_nest].mean() - spots["G1"][elsewhere].mean()
        assert row["measured_difference"] == pytest.approx(difference, rel=1e-4)
    with pytest.raises(st.InputError, match=r"'nst': no region is called so; there are: nest,"):
        st.summarise("one.stenhance.zarr", regions=regions, genes="G1", against="nst")
    NamedRegions.from_region(st.Region(shapely.box(0, 0, 90, 90)), "rest").write(Path("rest.json"))
    with pytest.raises(st.InputError, match="A region is called rest, too"):
        st.summarise("one.stenhance.zarr", regions="rest.json", genes="G1", against="rest")


def test_top_genes_are_those_that_differ_most(regions: Path) -> None:
    result = st.Result.open("one.stenhance.zarr")
    table = result.summarise(regions=regions, top=5).set_index("region")
    differences = table.loc["nest", "difference"].to_numpy()
    assert len(differences) == 5
    assert (differences > 0).all()
    assert (np.diff(differences) <= 0).all()
    # As of all genes that are not clipped, counted by hand.
    field = gene_run(result.folder).field
    read = NamedRegions.read(regions)
    cover = RegionCover.under(read.areas, field.grid, 256, st.Job())
    found = gene_differences(field, cover, 0, None, st.Job())
    latent = field.tile("latent", 0, 0, 0).astype(float)
    values = latent @ field.decoder.weights + field.decoder.bias
    mask = st.Region(read.areas[0]).mask(field.grid)
    known = np.isfinite(latent[..., 0])
    one, other = values[mask & known], values[~mask & known]
    by_hand = one.mean(axis=0) - other.mean(axis=0)
    np.testing.assert_allclose(found, by_hand, rtol=1e-6)
    assert list(table.loc["nest", "gene"]) == [field.genes[n] for n in np.argsort(-by_hand)[:5]]


def test_what_lies_nowhere_and_of_which_run_numbers_are_is_said(here: Path) -> None:
    path = here / "own.stenhance.zarr"
    shutil.copytree(Path("one.stenhance.zarr").resolve(), path)
    away = NamedRegions.from_region(st.Region(shapely.box(9000, 9000, 9100, 9100)), "away")
    away.write(Path("away.geojson"))
    notes: list[str] = []
    job = st.Job(lambda event: notes.append(str(getattr(event, "text", ""))))
    table = st.summarise(path, regions="away.geojson", top=3, job=job)
    # Columns are there where no gene is.
    assert (len(table), table.columns[0]) == (0, "region")
    assert {"gene", "difference", "q"} <= {*table.columns}
    assert any("1 of 1 region has no row: no gene is predicted higher there" in n for n in notes)
    st.summarise(path, regions="away.geojson", genes="G1", job=job)
    assert any(
        "1 of 1 region lies where nothing is predicted. Are its coordinates" in n for n in notes
    )
    # One of a region is a part of others, and is taken unasked only where no other is there.
    part = st.Region(shapely.box(100, 100, 400, 300))
    whole = st.Result.open(path)["G1"]
    st.predict(path, on="one.h5ad", out=path, region=part, device="cpu")
    assert len(st.Result.open(path).runs) == 2
    xr.testing.assert_equal(st.Result.open(path)["G1"], whole)
    alone = "predicted in a region alone"
    notes.clear()
    st.summarise(path, regions=part, genes="G1", job=job)
    assert not any(alone in n for n in notes)
    new = here / "new.stenhance.zarr"
    st.predict(path, on="one.h5ad", out=new, region=part, device="cpu")
    st.summarise(new, regions=part, genes="G1", job=job)
    assert any(alone in n for n in notes)


def test_like_a_region_is_what_deviates_from_the_mean_as_it_does(regions: Path) -> None:
    field = gene_run(ResultFolder.open("one.stenhance.zarr")).field
    read = NamedRegions.read(regions)
    nest = st.Region(read.areas[0])
    image = st.Result.open("one.stenhance.zarr").similar_to(nest).to_numpy()
    latent = field.tile("latent", 0, 0, 0).astype(float)
    values = latent @ field.decoder.weights.astype(float)
    known = np.isfinite(latent[..., 0])
    away = values[known] - values[known].mean(axis=0)
    mask = st.Region(read.areas[0]).mask(field.grid)[known]
    mean = away[mask].mean(axis=0)
    by_hand = away @ mean / np.linalg.norm(away, axis=1) / np.linalg.norm(mean)
    np.testing.assert_allclose(image[known], by_hand, atol=1e-5)
    assert np.isnan(image[~known]).all()
    assert image[known][mask].mean() > image[known][~mask].mean()


def test_a_region_of_qupath_is_predicted_in_where_it_was_drawn(here: Path) -> None:
    section = st.read("one.h5ad")
    ring = square(300, 300, 200)
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "name": "Here"},
    }
    file = write(here / "qupath.geojson", [feature])
    notes: list[str] = []
    job = st.Job(lambda event: notes.append(event.text) if hasattr(event, "text") else None)
    given = {"on": "one.h5ad", "region": file, "out": "part.stenhance.zarr", "device": "cpu"}
    made = st.predict("one.stenhance.zarr", **given, job=job)
    low, high = (299.5 * section.mpp, 499.5 * section.mpp)
    assert made.folder.region(made.run_name).area.bounds == pytest.approx((low, low, high, high))
    assert sum("QuPath wrote its coordinates in pixels" in note for note in notes) == 1


def test_the_command_writes_the_table_and_qupath_s_annotations(regions: Path) -> None:
    ran = command(
        "summarise",
        "one.stenhance.zarr",
        "--regions",
        regions,
        "--genes",
        "G1,G2",
        "--csv",
        "numbers.csv",
        "--qupath",
        "back.geojson",
    )
    assert ran.stdout == "numbers.csv\n"
    table = pd.read_csv("numbers.csv")
    expected = st.summarise("one.stenhance.zarr", regions=regions, genes=("G1", "G2"))
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    mpp = gene_run(ResultFolder.open("one.stenhance.zarr")).grid.mpp
    back = NamedRegions.read("back.geojson", mpp)
    said = back.measurements[0]
    assert said["G1 predicted mean, log1p CP10k"] == pytest.approx(expected.loc[0, "mean"])
    assert said["G1 measured mean, log1p CP10k"] == pytest.approx(expected.loc[0, "measured_mean"])
    ran = command("summarise", "one.stenhance.zarr", "--regions", regions, "--genes", "G1")
    assert ran.stdout.splitlines()[0].startswith("region,number,area_um2,gene,origin,")
    assert len(ran.stdout.splitlines()) == 5


def test_what_does_not_say_of_what_is_refused(regions: Path) -> None:
    result = "one.stenhance.zarr"
    ran = command("summarise", result, "--genes", "G1", code=2)
    assert "Name one of these: a file of regions" in ran.stderr
    ran = command("summarise", result, "--regions", regions, code=2)
    assert "Name the genes" in ran.stderr
    assert "(--genes)" in ran.stderr
    ran = command(
        "summarise", result, "--regions", regions, "--genes", "G1", "--csv", regions, code=2
    )
    assert "something lies here already" in ran.stderr


def test_without_its_section_a_result_gives_what_is_predicted(regions: Path) -> None:
    shutil.copytree("one.stenhance.zarr", "alone.stenhance.zarr")
    Path("alone.stenhance.zarr/files/log.jsonl").unlink()
    notes: list[str] = []
    job = st.Job(lambda event: notes.append(event.text) if hasattr(event, "text") else None)
    table = st.summarise("alone.stenhance.zarr", regions=regions, genes="G1", job=job)
    assert table["mean"].notna().any()
    assert table[["spots", "measured_mean", "measured_sd"]].isna().all().all()
    assert any("only predicted numbers are given" in note for note in notes)


def test_spots_of_another_section_are_not_those_of_the_result(regions: Path) -> None:
    # Without an image, too: their own are known again, and where they lie is of no other slide.
    for name in ("one", "two"):
        shutil.copy(Path(f"{name}.h5ad").resolve(), f"{name}_alone.h5ad")
    asked = {"regions": regions, "genes": "G1"}
    mpp = st.read("one.h5ad").mpp
    kept = st.summarise("one.stenhance.zarr", **asked)
    again = st.summarise("one.stenhance.zarr", section="one_alone.h5ad", mpp=mpp, **asked)
    pd.testing.assert_frame_equal(again, kept)
    with pytest.raises(st.InputError, match="two_alone: it is not that of this result"):
        st.summarise("one.stenhance.zarr", section="two_alone.h5ad", mpp=mpp, **asked)
    # What says how a section is opened is not left unheard.
    for more in ({"mpp": 1.0}, {"registration": "placed.json"}):
        with pytest.raises(st.InputError, match="how a section is opened, and none is named"):
            st.summarise("one.stenhance.zarr", **asked, **more)


def test_domains_have_numbers_too(tiny: Path) -> None:
    result = next(tiny.rglob("*.stenhance.zarr")) if not tiny.name.endswith(".zarr") else tiny
    folder = ResultFolder.open(result)
    domains = domain_run(folder)
    run = next(r for r in [gene_run(folder)] if isinstance(r, FieldRun))
    gene = run.genes[0]
    table = st.summarise(result, domains=domains.name, genes=gene, run=run.name)
    assert list(table["domain"]) == [one.name for one in domains.domains]
    areas = domains.summary()["area_mm2"].to_numpy() * 1e6
    np.testing.assert_allclose(table["area_um2"], areas)
    image = run.levels(gene).part()
    rows, columns = np.indices(run.grid.shape)
    at = np.rint(domains.grid.position(run.grid.centres_um(rows, columns))).astype(int)
    labels = np.asarray(domains.levels[0][:])
    held = ((at >= 0) & (at < labels.shape)).all(axis=-1)
    label = np.zeros(run.grid.shape, int)
    label[held] = labels[at[held][:, 0], at[held][:, 1]]
    for row, one in zip(table.itertuples(), domains.domains, strict=True):
        values = image[(label == one.value) & np.isfinite(image)]
        assert row.superpixels == len(values)
        if len(values):
            assert row.mean == pytest.approx(values.mean(), rel=1e-4)


def test_cells_may_be_labels_of_the_slide_at_any_scale(here: Path) -> None:
    section = st.read("one.h5ad")
    height, width = section.need_slide().shape
    labels = np.zeros((height // 5, width // 5), np.uint16)
    labels[40:60, 50:80], labels[60:70, 50:60], labels[90:93, 100:103] = 3, 3, 700
    pyvips.Image.new_from_array(labels).write_to_file("labels.tif")
    table = st.summarise("one.stenhance.zarr", cells="labels.tif", genes="G1").set_index("cell")
    assert table.index.tolist() == ["Cell 3", "Cell 700"]
    pixel = 5 * section.mpp
    np.testing.assert_allclose(table["area_um2"], [700 * pixel**2, 9 * pixel**2], rtol=1e-6)
    predicted, at = superpixels()
    row, column = np.floor((at[:, ::-1] + section.mpp / 2) / pixel).astype(int).T
    inside = labels[np.minimum(row, labels.shape[0] - 1), np.minimum(column, labels.shape[1] - 1)]
    assert table.loc["Cell 3", "superpixels"] == (inside == 3).sum()
    mean = predicted["G1"][inside == 3].mean()
    assert table.loc["Cell 3", "mean"] == pytest.approx(mean, rel=1e-5)
    pyvips.Image.new_from_array(labels[:, :50]).write_to_file("half.tif")
    ran = command("summarise", "one.stenhance.zarr", "--cells", "half.tif", "--genes", "G1", code=2)
    assert "which is no size of this slide" in ran.stderr
