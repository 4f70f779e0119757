"""Positions as others write them into an AnnData: where they are, and in which unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tifffile

from made_sections import write_image
from napari_stenhance.errors import InputError
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.storage.cache import Cache

XY = np.column_stack(
    [np.tile(np.arange(5), 4) * 50 + 31.5, np.repeat(np.arange(4), 5) * 50 + 20.25]
)


def table(obs: dict[str, Any] | None = None, **obsm: Any) -> ad.AnnData:
    return ad.AnnData(
        sp.csr_matrix(np.arange(40.0).reshape(20, 2)),
        obs=pd.DataFrame(obs or {}, index=[f"s{n}" for n in range(20)]),
        obsm=obsm,
    )


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns, index=[f"s{n}" for n in range(20)])


def at(section: Section) -> np.ndarray:
    return np.asarray(section.need_spots().obsm["spatial"])


@pytest.mark.parametrize(
    "obsm",
    [
        frame(x=XY[:, 0], y=XY[:, 1]),
        frame(imagerow=XY[:, 1], imagecol=XY[:, 0]),
        frame(pxl_row_in_fullres=XY[:, 1], pxl_col_in_fullres=XY[:, 0]),
        frame(a=XY[:, 0], b=XY[:, 1]),
        frame(y=XY[:, 1], x=XY[:, 0]),
        frame(row=XY[:, 1], col=XY[:, 0]),
        sp.csr_matrix(XY),
        sp.csc_matrix(XY),
        np.column_stack([XY, np.zeros(20)]),
    ],
    ids=["x-y", "seurat", "visium", "others", "y-x", "row-col", "csr", "csc", "three"],
)
def test_obsm_may_be_a_table_or_sparse(obsm: Any, tmp_path: Path) -> None:
    np.testing.assert_array_equal(at(open_section(table(spatial=obsm), mpp=2.0)), XY)
    if (isinstance(obsm, pd.DataFrame) and "a" in obsm) or sp.issparse(obsm):
        table(spatial=obsm).write_h5ad(tmp_path / "s.h5ad")
        np.testing.assert_array_equal(at(open_section(tmp_path / "s.h5ad", mpp=2.0)), XY)


def test_a_third_column_that_varies_is_said_to_be_left_out() -> None:
    layers = np.column_stack([XY, np.arange(20) % 3])
    section = open_section(table(spatial=layers), mpp=2.0)
    np.testing.assert_array_equal(at(section), XY)
    said = 'obsm["spatial"] has 3 columns: the first two are x and y, and the third, which varies, '
    assert f"{said}is not used." in section.doubts


def test_other_names_are_found_and_said() -> None:
    for spots, how in (
        (table(X_spatial=XY), 'obsm["X_spatial"], as full-resolution pixels'),
        (
            table({"imagerow": XY[:, 1], "imagecol": XY[:, 0]}),
            'obs["imagecol"] and obs["imagerow"]',
        ),
        (
            table({"pxl_row_in_fullres": XY[:, 1], "pxl_col_in_fullres": XY[:, 0].astype(str)}),
            'obs["pxl_col_in_fullres"] and obs["pxl_row_in_fullres"], as full-resolution pixels',
        ),
        (table({"X": XY[:, 0], "Y": XY[:, 1]}), 'obs["X"] and obs["Y"], as full-resolution pixels'),
    ):
        section = open_section(spots, mpp=2.0)
        np.testing.assert_array_equal(at(section), XY)
        assert any(doubt.startswith(f"Positions are {how}") for doubt in section.doubts)


def test_positions_in_um_become_pixels_of_the_slide(tmp_path: Path, cache: Cache) -> None:
    spots = table({"x_centroid": XY[:, 0], "y_centroid": XY[:, 1]})
    alone = open_section(spots)
    assert alone.mpp == 1
    np.testing.assert_array_equal(at(alone), XY)
    assert any("in µm, as there is no" in doubt for doubt in alone.doubts)
    given = open_section(spots, mpp=0.5)
    np.testing.assert_array_equal(at(given), XY * 2)
    assert given.geometry().pitch_um == 50
    # As squidpy writes it: obsm holds the very numbers of these columns.
    copied = table({"x_centroid": XY[:, 0], "y_centroid": XY[:, 1]}, spatial=XY)
    for same in (copied, table(spatial=frame(y_centroid=XY[:, 1], x_centroid=XY[:, 0]))):
        np.testing.assert_array_equal(at(open_section(same, mpp=0.5)), XY * 2)
        assert any(
            "in µm, as x_centroid and y_centroid are" in d for d in open_section(same).doubts
        )
    copied.obsm["spatial"] = XY * 2
    np.testing.assert_array_equal(at(open_section(copied, mpp=0.5)), XY * 2)
    spots.uns["microns_per_pixel"] = 2.0
    np.testing.assert_array_equal(at(open_section(spots)), XY / 2)
    # A slide that says its scale is asked, one that does not is asked for.
    del spots.uns["microns_per_pixel"]
    spots.write_h5ad(tmp_path / "s.h5ad")
    write_image(tmp_path / "s.png", np.full((400, 600, 3), 200, np.uint8))
    with pytest.raises(InputError, match=r"in µm, and nothing says how many.*s\.png") as asked:
        open_section(tmp_path / "s.h5ad", cache=cache)
    assert asked.value.option == "mpp"
    (tmp_path / "s.png").unlink()
    tifffile.imwrite(tmp_path / "s.tif", np.full((400, 600, 3), 200, np.uint8), photometric="rgb",
                     resolution=(20000, 20000), resolutionunit="CENTIMETER")  # fmt: skip
    scaled = open_section(tmp_path / "s.h5ad", cache=cache)
    assert (scaled.mpp, scaled.need_slide().path.name) == (0.5, "s.tif")
    np.testing.assert_array_equal(at(scaled), XY * 2)


def test_what_is_no_position_is_refused_with_the_columns_that_are_there() -> None:
    numbers = {"x": np.tile(np.arange(5), 4), "y": np.repeat(np.arange(4), 5)}
    with pytest.raises(InputError, match=r"number the array, from 0 to 4, and are no pixels"):
        open_section(table(numbers))
    # Also where they are not whole, as printed spots are found.
    printed = {"array_x": numbers["x"], "array_y": numbers["y"],
               "x": numbers["x"] + 0.1, "y": numbers["y"] - 0.2}  # fmt: skip
    with pytest.raises(InputError, match=r"number the array"):
        open_section(table(printed))
    with pytest.raises(InputError, match=r'obs\["pixel_x"\] .* some programs call the row x'):
        open_section(table({"pixel_x": XY[:, 1], "pixel_y": XY[:, 0]}))
    names = {"array_row": numbers["y"], "spatial1": XY[:, 0], "layer": 1, "X_coord": XY[:, 1]}
    with pytest.raises(InputError, match=r"is missing; there are .*array_row.*X_coord"):
        open_section(table(names, X_pca=XY))
    with pytest.raises(InputError, match=r"there are obs\[.sdimx.\], obs\[.sdimy.\]; write"):
        open_section(table({"sdimx": XY[:, 0], "sdimy": XY[:, 1]}))
    with pytest.raises(InputError, match=r"cells without positions are a reference for impute"):
        open_section(table(X_umap=XY))
    with pytest.raises(InputError, match=r'obs\["x"\] and obs\["y"\] are no numbers'):
        open_section(table({"x": ["left"] * 20, "y": XY[:, 1]}))
    with pytest.raises(InputError, match=r"imagerow, b; call them x and y"):
        open_section(table(spatial=frame(imagerow=XY[:, 1], b=XY[:, 0])))


def test_positions_that_number_the_array_have_no_place_on_a_slide(
    tmp_path: Path, cache: Cache
) -> None:
    numbers = np.column_stack([np.tile(np.arange(5), 4), np.repeat(np.arange(4), 5)])
    printed = {"array_x": numbers[:, 0], "array_y": numbers[:, 1]}
    for spots in (table(spatial=numbers), table(printed, spatial=numbers + 0.1)):
        spots.write_h5ad(tmp_path / "s.h5ad")
        section = open_section(tmp_path / "s.h5ad")
        np.testing.assert_array_equal(at(section), spots.obsm["spatial"])
        assert any('obsm["spatial"] numbers the array, from 0' in d for d in section.doubts)
    write_image(tmp_path / "s.png", np.full((400, 600, 3), 200, np.uint8))
    section = open_section(tmp_path / "s.h5ad", cache=cache, mpp=0.5)
    assert section.slide is None
    assert any("s.png was left out: obsm" in doubt for doubt in section.doubts)
    with pytest.raises(InputError, match=r"no pixels of a slide; write positions in pixels of s"):
        open_section(tmp_path / "s.h5ad", cache=cache, mpp=0.5, image=tmp_path / "s.png")
    # Bins of one pixel lie farther.
    far = open_section(table(spatial=numbers + 5000))
    assert not any("numbers the array" in doubt for doubt in far.doubts)


def test_x_and_y_that_were_exchanged_are_put_right_where_the_slide_shows_it(
    tmp_path: Path, cache: Cache
) -> None:
    where = XY + [300, 0]
    numbers = {"array_x": np.tile(np.arange(5), 4), "array_y": np.repeat(np.arange(4), 5)}
    named = {"pxl_col_in_fullres": where[:, 0], "pxl_row_in_fullres": where[:, 1]}
    tissue = np.full((600, 600, 3), 240, np.uint8)
    for x, y in where.astype(int):
        tissue[y - 9 : y + 9, x - 9 : x + 9] = (180, 110, 160)
    write_image(tmp_path / "wide.png", tissue[:250])
    write_image(tmp_path / "square.png", tissue)
    # Turned and mirrored, a slide is as positions say that seem exchanged.
    write_image(tmp_path / "mirrored.png", np.ascontiguousarray(tissue.transpose(1, 0, 2)))
    write_image(tmp_path / "grey.png", np.full((600, 600, 3), 200, np.uint8))
    for obs, why in (
        (numbers, "array_x grows along y and array_y along x"),
        (named, 'obs["pxl_col_in_fullres"] is y and obs["pxl_row_in_fullres"] x'),
    ):
        right, wrong = table(obs, spatial=where), table(obs, spatial=where[:, ::-1].copy())

        def opened(spots: ad.AnnData, name: str) -> Section:
            return open_section(spots, mpp=2.0, image=tmp_path / f"{name}.png", cache=cache)

        for name, proof in (("wide", "inside wide.png"), ("square", "on tissue")):
            section = opened(wrong, name)
            np.testing.assert_array_equal(at(section), where)
            said = f"are exchanged, and put right: {why}, and only so do spots lie {proof}."
            assert f"x and y of the positions {said}" in section.doubts
            section = opened(right, name)
            np.testing.assert_array_equal(at(section), where)
            assert not any("exchanged" in doubt for doubt in section.doubts)
        section = opened(wrong, "mirrored")
        np.testing.assert_array_equal(at(section), where[:, ::-1])
        assert not any("exchanged" in doubt for doubt in section.doubts)
        for untold in (opened(wrong, "grey"), open_section(wrong, mpp=2.0)):
            np.testing.assert_array_equal(at(untold), where[:, ::-1])
            assert any(d.startswith(f"{why}: x and y of the posit") for d in untold.doubts)


def test_positions_that_contradict_each_other_are_said_to() -> None:
    said = 'obsm["X_spatial"] holds other positions than obsm["spatial"]: it is not used.'
    for other, differs in (
        (XY, False),
        (XY * 0.1 + 7, False),
        (XY[:, ::-1].copy(), True),
        (XY[::-1].copy(), True),
        (XY * [1, -1], True),
        (np.full((20, 2), "a"), True),
    ):
        section = open_section(table(spatial=XY, X_spatial=other), mpp=2.0)
        np.testing.assert_array_equal(at(section), XY)
        assert (said in section.doubts) == differs


def test_spots_off_tissue_are_left_out_as_of_space_ranger() -> None:
    for off in (0, "0", False, "FALSE"):
        said = [off] * 3 + [1 if off in (0, "0") else True] * 17
        xy = XY.copy()
        # Off the tissue a position may be missing.
        xy[0] = np.nan
        section = open_section(table({"in_tissue": np.array(said, object).astype(str)}, spatial=xy))
        assert section.need_spots().n_obs == 17
        np.testing.assert_array_equal(at(section), XY[3:])
        assert section.need_spots().X[0, 0] == 6
        assert "3 spots off the tissue (in_tissue = 0) were left out." in section.doubts
    for said in (["yes", "no"], ["T", "F"]):
        on = np.where(np.arange(20) % 7 == 6, said[1], said[0])
        assert open_section(table({"in_tissue": on}, spatial=XY)).need_spots().n_obs == 18
    odd = open_section(table({"in_tissue": ["in", "out"] * 10}, spatial=XY))
    assert odd.need_spots().n_obs == 20
    assert "in_tissue holds in, out, and not 1 and 0 alone: spots off the tissue are kept." in (
        odd.doubts
    )
    every = open_section(table({"in_tissue": 0}, spatial=XY))
    assert "By in_tissue no spot lies on tissue: all are kept." in every.doubts
    assert every.need_spots().n_obs == 20


def test_pixels_of_a_picture_beside_scale_factors_are_refused() -> None:
    row, half = (a.ravel() for a in np.mgrid[:8, :8])
    numbers = {"array_row": row, "array_col": 2 * half + row % 2}
    full = np.column_stack([half + row % 2 / 2, row * np.sqrt(3) / 2]) * 200
    factors = {"fiducial_diameter_fullres": 210.0, "tissue_hires_scalef": 0.2,
               "tissue_lowres_scalef": 0.06}  # fmt: skip

    def spots(xy: np.ndarray) -> ad.AnnData:
        obs = pd.DataFrame(numbers, index=[f"s{n}" for n in range(64)])
        uns = {"spatial": {"a": {"scalefactors": factors}}}
        return ad.AnnData(np.ones((64, 2)), obs=obs, obsm={"spatial": xy}, uns=uns)

    assert open_section(spots(full)).mpp == pytest.approx(0.5)
    for printed in (120.0, 130.0, 140.0):
        factors = {"spot_diameter_fullres": printed, "tissue_hires_scalef": 0.2}
        assert open_section(spots(full)).mpp == pytest.approx(0.5)
        with pytest.raises(InputError, match=r"these are pixels of tissue_hires"):
            open_section(spots(full * 0.2))
    factors = {"fiducial_diameter_fullres": 210.0, "tissue_hires_scalef": 0.2,
               "tissue_lowres_scalef": 0.06}  # fmt: skip
    for factor, name in ((0.2, "hires"), (0.06, "lowres")):
        with pytest.raises(InputError, match=f"imply 200.0: these are pixels of tissue_{name}"):
            open_section(spots(full * factor))


def test_a_folder_of_sections_names_those_in_it(tmp_path: Path) -> None:
    for name in ("C2", "B1", "notes"):
        (tmp_path / name).mkdir()
    for name in ("C2", "B1"):
        table(spatial=XY).write_h5ad(tmp_path / name / "spots.h5ad")
    with pytest.raises(InputError, match=r"no section itself, but holds some: B1, C2; name one"):
        open_section(tmp_path)
