"""Xenium bundles of every version, on their H&E and without it, with known counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.section.section import Section, open_section
from visium_folders import picture
from xenium_bundles import (
    HE_SHAPE,
    PIXEL,
    SQUARE,
    TURN,
    Cells,
    write_boundaries,
    write_bundle,
    write_transcripts,
)

ALIGNMENT = "S1_he_imagealignment.csv"


def _check(section: Section, cells: Cells, xy: np.ndarray, mpp: float) -> None:
    spots = section.need_spots()
    assert list(spots.obs_names) == cells.ids
    assert list(spots.var_names) == ["ACTB", "EPCAM"]
    assert list(spots.var["gene_id"]) == ["ENSG01", "ENSG02"]
    np.testing.assert_array_equal(spots.X.toarray(), cells.counts[:, :2])
    np.testing.assert_allclose(spots.obsm["spatial"], xy, rtol=0, atol=1e-9)
    assert section.mpp == pytest.approx(mpp, rel=1e-12)
    geometry = section.geometry()
    assert geometry.spot_shape == "disc"
    assert geometry.spot_diameter_um == pytest.approx(np.sqrt(50 * 4 / np.pi))
    assert any("2 features that are no genes" in doubt for doubt in section.doubts)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_cells_lie_on_the_h_and_e_by_its_matrix(version: int, tmp_path: Path) -> None:
    cells = write_bundle(tmp_path / "S1", version)
    section = open_section(tmp_path / "S1")
    assert section.slide is not None
    assert section.slide.path.name == "S1_he_image.ome.tif"
    assert section.slide.mpp == pytest.approx(1.6 * PIXEL)
    _check(section, cells, cells.he_xy(), 1.6 * PIXEL)
    obs = section.need_spots().obs
    assert list(obs["transcript_counts"]) == list(cells.counts[:, :2].sum(axis=1))
    assert obs["nucleus_area"].isna().sum() == 6
    assert "x_centroid" not in obs
    assert get_reader(str(tmp_path / "S1")) is not None


@pytest.mark.parametrize("version", [1, 2, 3])
def test_cells_have_the_outlines_of_their_corners(version: int, tmp_path: Path) -> None:
    root = tmp_path / "S1"
    cells = write_bundle(root, version)
    table = write_boundaries(root, cells, version)
    section = open_section(root)
    assert section.outlines is not None
    outlines = section.outlines()
    assert list(outlines.ids) == cells.ids
    assert list(outlines.corners) == [0, *[5] * (len(cells.ids) - 1)]
    there = Cells(cells.ids, cells.um[7] + SQUARE, cells.counts).he_xy()
    np.testing.assert_allclose(outlines.xy[30:35], there, atol=1e-3)
    table.drop(columns="vertex_y").to_parquet(root / "cell_boundaries.parquet", index=False)
    with pytest.raises(InputError, match=r"cell_boundaries.*outlines.*no column vertex_y"):
        open_section(root).outlines()


def test_keypoints_are_fitted(tmp_path: Path) -> None:
    cells = write_bundle(tmp_path / "S1")
    points = np.array([[10.0, 20], [400, 30], [50, 350], [300, 300]])
    fixed = np.column_stack([points, np.ones(4)]) @ TURN[:2].T
    lines = ["fixedX,fixedY,alignmentX,alignmentY"]
    lines += [",".join(map(repr, map(float, row))) for row in np.hstack([fixed, points])]
    (tmp_path / "S1" / ALIGNMENT).write_text("\n".join(lines) + "\n")
    _check(open_section(tmp_path / "S1"), cells, cells.he_xy(), 1.6 * PIXEL)


def test_without_an_h_and_e_cells_lie_in_pixels_of_the_morphology_image(tmp_path: Path) -> None:
    cells = write_bundle(tmp_path / "S1" / "outs", he=False)
    section = open_section(tmp_path / "S1")
    assert section.name == "S1"
    assert section.slide is None
    _check(section, cells, cells.um / PIXEL, PIXEL)
    assert "No H&E image (…_he_image.ome.tif) was found in the bundle: give it." in section.doubts


def test_an_h_and_e_from_elsewhere_brings_its_alignment(tmp_path: Path) -> None:
    cells = write_bundle(tmp_path / "S1")
    (tmp_path / "slides").mkdir()
    for name in (ALIGNMENT, "S1_he_image.ome.tif"):
        (tmp_path / "S1" / name).rename(tmp_path / "slides" / name)
    section = open_section(tmp_path / "S1", image=tmp_path / "slides" / "S1_he_image.ome.tif")
    _check(section, cells, cells.he_xy(), 1.6 * PIXEL)
    # Without, it is taken to lie there as it is, which is said.
    (tmp_path / "slides" / ALIGNMENT).unlink()
    height, width = np.ceil((cells.um / PIXEL).max(axis=0)[::-1]).astype(int) + 2
    large = picture(tmp_path / "slides" / "he.tif", shape=(int(height), int(width)))
    section = open_section(tmp_path / "S1", image=large)
    _check(section, cells, cells.um / PIXEL, PIXEL)
    assert any("he.tif has no alignment beside it" in doubt for doubt in section.doubts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,0,3\n0,1\n0,0,1\n", "S1_he_imagealignment.csv: the alignment cannot be read"),
        ("1,0,0\n1,0,0\n0,0,1\n", "it takes an image to a line"),
        ("1,0,0\n0,1,0\n0,1,1\n", "neither a matrix of 3 × 3 that ends in 0, 0, 1 nor"),
        (
            "fixedX,fixedY,alignmentX,alignmentY\n1,2,3,4\n2,3,4,5\n",
            "2 points, or points on a",
        ),
        ("inverse", "by its inverse inside; it must take pixels of the H&E"),
    ],
)
def test_an_alignment_that_cannot_be_right_is_refused(text: str, said: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "S1")
    if text == "inverse":
        rows = np.linalg.inv(TURN)
        text = "\n".join(",".join(map(repr, map(float, row))) for row in rows)
    (tmp_path / "S1" / ALIGNMENT).write_text(text)
    with pytest.raises(InputError, match=said):
        open_section(tmp_path / "S1")


def test_several_h_and_e_images_are_asked_about(tmp_path: Path) -> None:
    cells = write_bundle(tmp_path / "S1")
    picture(tmp_path / "S1" / "HE_second.tif", shape=HE_SHAPE)
    section = open_section(tmp_path / "S1")
    assert section.slide is None
    said = "Several images could be the H&E: HE_second.tif, S1_he_image.ome.tif; name it."
    assert said in section.doubts
    section = open_section(tmp_path / "S1", image=tmp_path / "S1" / "S1_he_image.ome.tif")
    _check(section, cells, cells.he_xy(), 1.6 * PIXEL)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("cell_feature_matrix.h5", "no counts of cells; copy cell_feature_matrix.h5 there"),
        ("cells.parquet", "does not say where its cells lie; copy cells.parquet there"),
    ],
)
def test_what_a_bundle_lacks_is_said(lost: str, said: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "S1")
    (tmp_path / "S1" / lost).unlink()
    with pytest.raises(InputError, match=said):
        open_section(tmp_path / "S1")


@pytest.mark.parametrize("kind", ["names", "bytes", "categories", "codewords"])
def test_transcripts_are_summed_at_8_um(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "S1", he=False)
    counted = write_transcripts(tmp_path / "S1", kind)
    # Several blocks, so that their sums are summed.
    monkeypatch.setattr("napari_stenhance.section.formats.xenium.transcripts._AT_ONCE", 20)
    section = open_section(tmp_path / "S1" / "transcripts.parquet")
    assert section.name == "S1-8um"
    spots = section.need_spots()
    assert list(spots.var_names) == ["ACTB", "EPCAM"]
    found = {}
    places = spots.obs[["array_row", "array_col"]].to_numpy()
    for n, (row, column) in enumerate(places):
        for gene, count in zip(spots.var_names, spots.X[[n]].toarray()[0], strict=True):
            if count:
                found[int(row), int(column), gene] = int(count)
    assert found == counted
    np.testing.assert_allclose(
        spots.obsm["spatial"], (places[:, ::-1] + 0.5) * 8 / PIXEL, rtol=0, atol=1e-9
    )
    assert spots.uns["stenhance"]["spot_shape"] == "square"
    assert spots.uns["stenhance"]["pitch_um"] == 8.0
    total = sum(counted.values())
    assert any(
        f"{total} of 400 transcripts are summed in bins of 8 µm" in d for d in section.doubts
    )
