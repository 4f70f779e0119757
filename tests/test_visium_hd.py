"""Visium HD: bins of every size, and the cells of Space Ranger 4, with known counts."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hd_folders import MPP, SHAPE, Bins, write_cells, write_run, write_square
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.section.section import Section, open_section
from visium_folders import FEATURES, HIRES, NAMES, check, known, picture, write_outs


def _check(section: Section, bins: Bins, size: float = 8.0) -> None:
    spots = section.need_spots()
    assert list(spots.obs_names) == bins.barcodes
    assert list(spots.var_names) == NAMES
    assert list(spots.var["gene_id"]) == [f[0] for f in FEATURES[:5]]
    np.testing.assert_array_equal(spots.X.toarray(), bins.counts[:, :5])
    assert spots.X.dtype == np.float32
    # Pixel (0, 0) is centred at 0 in a section, and at 0.5 in the file.
    np.testing.assert_allclose(spots.obsm["spatial"], bins.corner_xy - 0.5, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(spots.obs[["array_row", "array_col"]], bins.array)
    assert (spots.obs["in_tissue"] == 1).all()
    assert section.mpp == MPP
    assert spots.uns["stenhance"] == {
        "spot_diameter_um": size,
        "spot_shape": "square",
        "pitch_um": size,
        "unit": "micrometer",
    }


def test_of_a_whole_run_the_bins_of_8_um_are_opened(tmp_path: Path) -> None:
    bins = write_run(tmp_path / "S1")
    section = open_section(tmp_path / "S1")
    _check(section, bins)
    assert section.name == "S1"
    assert (
        "Of this run the bins of 8 µm were opened (square_008um); segmented_outputs, square_002um, "
        "square_016um can be opened by their folders, or as its samples."
    ) in section.doubts
    coarse = open_section(tmp_path / "S1", sample="square_016um")
    assert coarse.name == "S1-16um"
    assert coarse.geometry().pitch_um == 16
    assert not any("Of this run" in doubt for doubt in coarse.doubts)
    with pytest.raises(InputError, match="no sample 'square_024um' by its folder; there"):
        open_section(tmp_path / "S1", sample="square_024um")
    assert section.picture is not None
    assert section.picture.factor == HIRES
    assert get_reader(str(tmp_path / "S1")) is not None


@pytest.mark.parametrize(
    "part",
    [
        "outs",
        "outs/binned_outputs",
        "outs/binned_outputs/square_008um",
        "outs/binned_outputs/square_008um/filtered_feature_bc_matrix.h5",
    ],
)
def test_a_part_of_a_run_opens_by_its_path(part: str, tmp_path: Path) -> None:
    bins = write_square(tmp_path / "S1" / "outs" / "binned_outputs")
    section = open_section(tmp_path / "S1" / part)
    _check(section, bins)
    assert section.name == "S1"
    assert not any("Of this run" in doubt for doubt in section.doubts)


def test_other_sizes_open_by_their_folder(tmp_path: Path) -> None:
    write_square(tmp_path / "S1")
    for size, name in ((16, "S1-16um"), (2, "S1-2um"), (24, "S1-24um")):
        bins = write_square(tmp_path / "S1", size)
        section = open_section(tmp_path / "S1" / f"square_{size:03d}um")
        _check(section, bins, size)
        assert section.name == name
    shutil.rmtree(tmp_path / "S1" / "square_008um")
    assert open_section(tmp_path / "S1").name == "S1-16um"


def test_bins_are_told_by_their_factors_in_a_folder_of_any_name(tmp_path: Path) -> None:
    bins = write_square(tmp_path)
    (tmp_path / "square_008um").rename(tmp_path / "tumour")
    section = open_section(tmp_path / "tumour")
    _check(section, bins)
    assert section.name == "tumour"


def test_the_slide_beside_a_run_is_found(tmp_path: Path) -> None:
    bins = write_square(tmp_path / "S1" / "binned_outputs")
    picture(tmp_path / "S1" / "tissue.tif", shape=SHAPE)
    section = open_section(tmp_path / "S1")
    _check(section, bins)
    assert section.slide is not None
    assert section.slide.path.name == "tissue.tif"
    assert section.slide.mpp == MPP
    # One of another size is not taken.
    picture(tmp_path / "S1" / "tissue.tif", shape=(SHAPE[0] + 40, SHAPE[1]))
    doubts = open_section(tmp_path / "S1").doubts
    assert any("does not agree with tissue_hires_image.png" in doubt for doubt in doubts)


def test_a_scale_that_is_not_stated_follows_from_the_size_of_bins(tmp_path: Path) -> None:
    bins = write_square(tmp_path / "a", microns_per_pixel=0)
    section = open_section(tmp_path / "a")
    _check(section, bins)
    write_square(tmp_path / "b", microns_per_pixel=0, spot_diameter_fullres=0)
    section = open_section(tmp_path / "b")
    assert section.mpp == pytest.approx(MPP, rel=1e-9)
    assert any("inferred from the lattice of bins: 16.00 px = 8 µm" in d for d in section.doubts)


def test_of_a_raw_matrix_the_bins_under_tissue_are_kept(tmp_path: Path) -> None:
    bins = write_square(tmp_path / "S1", raw=True)
    section = open_section(tmp_path / "S1")
    _check(section, bins)
    said = f"of the raw one, the {len(bins.barcodes)} bins under tissue (in_tissue = 1) were kept"
    assert any(said in doubt for doubt in section.doubts)


@pytest.mark.parametrize("kind", ["bytes", "categories"])
def test_barcodes_are_joined_however_they_are_stored(kind: str, tmp_path: Path) -> None:
    bins = write_square(tmp_path / "S1")
    path = tmp_path / "S1/square_008um/spatial/tissue_positions.parquet"
    table = pd.read_parquet(path).sample(frac=1, random_state=0)
    if kind == "bytes":
        table["barcode"] = [barcode.encode() for barcode in table["barcode"]]
    else:
        table["barcode"] = table["barcode"].astype("category")
    table.to_parquet(path, index=False)
    _check(open_section(tmp_path / "S1"), bins)


def test_bins_without_coordinates_or_positions_are_left_out_and_counted(tmp_path: Path) -> None:
    bins = write_square(tmp_path / "S1")
    path = tmp_path / "S1/square_008um/spatial/tissue_positions.parquet"
    table = pd.read_parquet(path)
    table.loc[table["barcode"] == bins.barcodes[0], "pxl_row_in_fullres"] = np.nan
    table[table["barcode"] != bins.barcodes[1]].to_parquet(path, index=False)
    section = open_section(tmp_path / "S1")
    assert list(section.need_spots().obs_names) == bins.barcodes[2:]
    np.testing.assert_array_equal(section.need_spots().X.toarray(), bins.counts[2:, :5])
    assert "tissue_positions.parquet: 1 bin without coordinates was left out." in section.doubts
    number = len(bins.barcodes)
    assert f"2 of {number} barcodes have no position and were left out." in section.doubts


def test_segmented_cells_lie_at_the_centres_of_their_outlines(tmp_path: Path) -> None:
    ids, xy, counts = write_cells(tmp_path / "S1")
    section = open_section(tmp_path / "S1" / "segmented_outputs")
    assert section.name == "S1-cells"
    spots = section.need_spots()
    assert list(spots.obs_names) == ids
    np.testing.assert_array_equal(spots.X.toarray(), counts[:, :5])
    np.testing.assert_allclose(spots.obsm["spatial"], xy - 0.5, rtol=0, atol=1e-9)
    assert (spots.obs["area_px"] == 48).all()
    assert section.mpp == MPP
    geometry = section.geometry()
    assert (geometry.spot_shape, geometry.unit) == ("disc", "micrometer")
    # A disc of 48 px² = 12 µm²; the point beside the cells changes no median.
    assert geometry.spot_diameter_um == pytest.approx(np.sqrt(12 * 4 / np.pi))
    assert "1 of 12 cells has no outline and was left out." in section.doubts
    assert section.outlines is not None
    outlines = section.outlines()
    assert list(outlines.ids) == ids
    assert (outlines.corners == 7).all()
    ring = np.array([(0, 0), (8, 0), (8, 4), (4, 4), (4, 8), (0, 8), (0, 0)])
    np.testing.assert_allclose(outlines.xy[14:21], ring + xy[2] - 10 / 3 - 0.5, atol=1e-3)
    # Where there are no bins, the run is its cells.
    assert open_section(tmp_path / "S1").name == "S1-cells"
    # GeoJSON may say that a feature has no geometry, or an empty one; others stay.
    drawn = tmp_path / "S1" / "segmented_outputs" / "cell_segmentations.geojson"
    said = json.loads(drawn.read_text())
    said["features"][3]["geometry"] = None
    said["features"][4]["geometry"] = {"type": "Polygon", "coordinates": []}
    drawn.write_text(json.dumps(said))
    section = open_section(tmp_path / "S1")
    kept = [*ids[:3], *ids[5:]]
    assert list(section.need_spots().obs_names) == list(section.outlines().ids) == kept
    assert f"{drawn.name}: 2 cells without coordinates were left out." in section.doubts
    for feature in said["features"]:
        feature["geometry"] = None
    drawn.write_text(json.dumps(said))
    with pytest.raises(InputError, match="outlines of cells in it have no coordinates"):
        open_section(tmp_path / "S1")


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("spatial/tissue_positions.parquet", "spatial/tissue_positions.parquet is missing"),
        ("filtered_feature_bc_matrix.h5", "there are no counts; put filtered_feature_bc_matrix.h5"),
    ],
)
def test_what_a_part_lacks_is_said(lost: str, said: str, tmp_path: Path) -> None:
    write_square(tmp_path / "S1")
    (tmp_path / "S1" / "square_008um" / lost).unlink()
    with pytest.raises(InputError, match=said):
        open_section(tmp_path / "S1")


def test_an_empty_run_and_strange_counts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "S1" / "binned_outputs").mkdir(parents=True)
    with pytest.raises(InputError, match="there are no bins in it"):
        open_section(tmp_path / "S1")
    write_square(tmp_path / "S2")
    write_square(tmp_path / "S2", 16)
    matrix = "filtered_feature_bc_matrix.h5"
    shutil.copy(tmp_path / "S2/square_016um" / matrix, tmp_path / "S2/square_008um" / matrix)
    with pytest.raises(InputError, match=r"none of its barcodes .*s_016um_.*do not belong"):
        open_section(tmp_path / "S2")


def test_visium_of_spots_may_have_its_positions_in_parquet(tmp_path: Path) -> None:
    what = known()
    outs = write_outs(tmp_path / "S1", what)
    text = outs / "spatial" / "tissue_positions.csv"
    pd.read_csv(text).to_parquet(text.with_suffix(".parquet"), index=False)
    text.unlink()
    check(open_section(outs), what)
    # As GEO names them.
    flat = tmp_path / "GSE1"
    flat.mkdir()
    for name in ("filtered_feature_bc_matrix.h5", "spatial/tissue_positions.parquet"):
        shutil.copy(outs / name, flat / f"GSM1_A_{Path(name).name}")
    factors = (outs / "spatial/scalefactors_json.json").read_bytes()
    (flat / "GSM1_A_scalefactors_json.json.gz").write_bytes(gzip.compress(factors))
    section = open_section(flat)
    check(section, what)
    assert section.name == "GSM1_A"
    assert json.loads(factors)["tissue_hires_scalef"] == HIRES
