"""Scales and sizes that files and users state: one check, whatever door they come in by."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.spatial import cKDTree

import slide_files
from bands import banded
from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.section.scale import as_number
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.spots import SpotGeometry, are_bins, geometry_of
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.inference import open_for
from napari_stenhance.tasks.info import describe_section
from napari_stenhance.tasks.options import SlideOptions
from test_cli import run

NO_SCALES: list[Any] = [-1, 0, 0.01, 300, math.nan, math.inf, "0.5 mm", b"x", [0.5, 0.9], {}, True]


def spots_at(
    xy: np.ndarray, uns: dict[str, Any] | None = None, obs: dict[str, Any] | None = None
) -> ad.AnnData:
    counts = np.random.default_rng(0).poisson(3, (len(xy), 4)).astype(np.float32)
    names = [f"s{n}" for n in range(len(xy))]
    return ad.AnnData(
        X=sp.csr_matrix(counts),
        obs=pd.DataFrame(obs or {}, index=names),
        obsm={"spatial": np.asarray(xy, float)},
        uns=uns or {},
    )


def square(step: float, side: int = 8) -> np.ndarray:
    return np.column_stack([a.ravel() for a in np.mgrid[:side, :side]]) * step


def visium(step: float = 50.0, side: int = 10) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return positions and array numbers of a Visium lattice."""
    row, half = (a.ravel() for a in np.mgrid[:side, :side])
    column = 2 * half + row % 2
    xy = np.column_stack([column / 2, row * np.sqrt(3) / 2]) * step
    return xy, {"array_row": row, "array_col": column}


def scale_factors(**factors: Any) -> dict[str, Any]:
    return {"spatial": {"lib": {"images": {}, "scalefactors": factors}}}


def test_a_number_is_one_finite_number() -> None:
    for value in (2, 2.0, "2.0", b"2", np.float32(2), np.array([2]), np.array(2.0), [[2]]):
        assert as_number(value) == 2
    for value in ("2 µm", [2, 2], [], math.nan, "nan", -math.inf, None, True, {}, {"a": 2}, 2j,
                  [[1], [2, 3]], object()):  # fmt: skip
        assert as_number(value) is None


def test_a_scale_may_be_text_or_one_for_each_side() -> None:
    for said in ("2.76 um", "2,76 µm / px", "2.76 microns per pixel", np.array([2.76, 2.76]),
                 [2.76, "2.76"], np.array(["2.76", "2.76"], object), b"2.76um", "2,76",
                 np.array(2.76)):  # fmt: skip
        assert Section(spots=spots_at(square(4), {"microns_per_pixel": said})).mpp == 2.76


@pytest.mark.parametrize("mpp", NO_SCALES, ids=str)
def test_no_door_takes_a_scale_that_cannot_be_right(
    mpp: Any, tmp_path: Path, make_slide: Callable[..., Slide]
) -> None:
    slide = make_slide(np.full((40, 50, 3), 200, np.uint8))
    spots = spots_at(square(4))
    stated = spots_at(square(4), {"microns_per_pixel": mpp})
    doors: list[Callable[[], Any]] = [
        lambda: Section(spots=spots, mpp=mpp),
        lambda: Section(slide=slide, mpp=mpp),
        lambda: Section(spots=stated),
        lambda: slide.with_mpp(mpp, "given"),
        lambda: Slide.open(slide.path, mpp=mpp),
        lambda: open_section(slide.path, mpp=mpp),
    ]
    for door in doors:
        with pytest.raises(InputError, match="a scale of") as caught:
            door()
        assert caught.value.option == "mpp"


@pytest.mark.parametrize("mpp", ["2.76 mm", np.array([2.76, 0.5]), math.nan], ids=str)
def test_a_stated_scale_that_is_none_is_named_and_another_helps(
    mpp: Any, tmp_path: Path, small_files: list[Path]
) -> None:
    spots = ad.read_h5ad(small_files[0])
    spots.uns["microns_per_pixel"] = mpp
    spots.write_h5ad(tmp_path / "s.h5ad")
    for command in ("info", "domains"):
        out = ("--out", tmp_path / "o") if command == "domains" else ()
        ran = run(command, tmp_path / "s.h5ad", *out, code=2)
        assert 'uns["microns_per_pixel"]' in ran.stderr
    assert open_section(tmp_path / "s.h5ad", mpp=0.8).mpp == 0.8
    # With its slide, too, and where only the slide is wanted.
    shutil.copy(small_files[0].parent / "one_he.jpg", tmp_path / "s_he.jpg")
    for spots_too in (True, False):
        with pytest.raises(InputError, match="microns_per_pixel"):
            open_section(tmp_path / "s.h5ad", spots=spots_too)
        assert open_section(tmp_path / "s.h5ad", mpp=0.8, spots=spots_too).mpp == 0.8


def test_scales_in_other_fields_are_named(tmp_path: Path) -> None:
    uns = scale_factors(microns_per_pixel="half")
    with pytest.raises(InputError, match=r'\["lib"\]\["scalefactors"\]\["microns_per_pixel"\]'):
        Section(spots=spots_at(square(4), uns))
    assert Section(spots=spots_at(square(4), scale_factors(microns_per_pixel=0.25))).mpp == 0.25
    # Nothing stated, whatever lies there.
    for other in ({"spatial": "x"}, {"spatial": {"lib": 3}}, {"spatial": {"lib": {}}}):
        assert Section(spots=spots_at(square(4), other)).mpp is None


def test_areas_are_not_computed_with_a_scale_that_cannot_be(tmp_path: Path) -> None:
    banded(mpp=None).write_h5ad(tmp_path / "s.h5ad")
    for mpp in (-1, 0, "nan", 1e6):
        ran = run("domains", tmp_path / "s.h5ad", "--mpp", mpp, "--out", tmp_path / "o", code=2)
        assert "a scale of" in ran.stderr
        assert not (tmp_path / "o").exists()


def test_a_section_that_is_open_has_its_scale(cache: Cache) -> None:
    section = Section(spots=spots_at(square(4)), mpp=0.5)
    parts: dict[str, Any] = {"spots": True, "slide": False, "cache": cache, "job": Job()}
    assert open_for(section, SlideOptions(mpp=0.5), **parts) is section
    with pytest.raises(InputError, match=r"open already, with a scale of 0\.5") as caught:
        open_for(section, SlideOptions(mpp=0.7), **parts)
    assert caught.value.option == "mpp"


GEOMETRY = {"spot_diameter_um": 3.0, "spot_shape": "disc", "pitch_um": 4.0, "unit": "micrometer"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("spot_diameter_um", "80 µm"),
        ("spot_diameter_um", math.nan),
        ("spot_diameter_um", -80),
        ("pitch_um", [4, 4]),
        ("pitch_um", math.inf),
        ("spot_shape", "hexagon"),
        ("spot_shape", 3),
        ("unit", "um"),
        ("unit", np.array(["micrometer", "pixel"])),
    ],
)
def test_a_geometry_checks_itself(field: str, value: Any) -> None:
    wrong = {**GEOMETRY, field: value}
    with pytest.raises(InputError, match=rf'uns\["stenhance"\]\["{field}"\] is'):
        SpotGeometry(**wrong)
    spots = spots_at(square(4), {"stenhance": wrong})
    with pytest.raises(InputError, match=rf'bulb: uns\["stenhance"\]\["{field}"\] is'):
        Section(spots=spots, mpp=1.0, origin="bulb")
    with pytest.raises(InputError, match=field):
        geometry_of(spots)


def test_a_geometry_that_is_not_whole_is_said() -> None:
    for known in ({"pitch_um": 4.0}, "text", {}):
        section = Section(spots=spots_at(square(4), {"stenhance": known}), mpp=10.0)
        assert section.geometry() == SpotGeometry(20, "disc", 40, "micrometer")
        assert any('uns["stenhance"] lacks' in doubt for doubt in section.doubts)
        with pytest.raises(InputError, match="lacks"):
            geometry_of(spots_at(square(4), {"stenhance": known}))
    part = {name: GEOMETRY[name] for name in ("spot_diameter_um", "pitch_um")}
    section = Section(spots=spots_at(square(4), {"stenhance": {**part, "more": 1}}), mpp=1.0)
    assert asdict(section.geometry()) == GEOMETRY
    assert section.doubts == (
        'uns["stenhance"] lacks spot_shape and unit: disc and micrometer is taken.',
    )
    assert Section(spots=spots_at(square(4), {"stenhance": GEOMETRY}), mpp=1.0).doubts == ()


def test_sizes_in_pixels_become_micrometres_with_a_scale() -> None:
    known = {"spot_diameter_um": 2.0, "spot_shape": "disc", "pitch_um": 4.0, "unit": "pixel"}
    spots = spots_at(square(4), {"stenhance": known})
    assert Section(spots=spots).geometry() == SpotGeometry(2, "disc", 4, "pixel")
    scaled = Section(spots=spots, mpp=0.5)
    assert scaled.geometry() == SpotGeometry(1, "disc", 2, "micrometer")
    assert scaled.positions()[1] == 2


@pytest.mark.parametrize("field", ["spot_pitch_um", "spot_diameter_um"])
def test_lengths_in_uns_are_checked(field: str) -> None:
    for value in ("wide", -1, math.nan, [1, 2]):
        with pytest.raises(InputError, match=rf'uns\["{field}"\] is'):
            Section(spots=spots_at(square(4), {field: value}), mpp=10.0)
    with pytest.raises(InputError, match=r'\["scalefactors"\]\["spot_diameter_fullres"\] is'):
        Section(spots=spots_at(square(4), scale_factors(spot_diameter_fullres="x")), mpp=10.0)


def test_a_pitch_that_does_not_fit_the_positions_is_said() -> None:
    uns = {"spot_pitch_um": 100.0, "spot_diameter_um": 55.0}
    (doubt,) = Section(spots=spots_at(square(4), uns), mpp=1.0).doubts
    assert "should be 100 µm, but the nearest of them lie 4 µm apart: check the scale" in doubt
    assert Section(spots=spots_at(square(100), uns), mpp=1.0).doubts == ()


def test_the_diameter_that_is_stated_is_taken() -> None:
    stated = scale_factors(spot_diameter_fullres=30.0)
    section = Section(spots=spots_at(square(100), stated), mpp=0.5)
    assert section.geometry() == SpotGeometry(15, "disc", 50, "micrometer")
    assert section.doubts == ()
    # Without a scale, in pixels.
    assert Section(spots=spots_at(square(100), stated)).geometry() == SpotGeometry(
        30, "disc", 100, "pixel"
    )
    # Bins of Visium HD state their side.
    hd = scale_factors(spot_diameter_fullres=29.2, microns_per_pixel=0.274, bin_size_um=8)
    bins = Section(spots=spots_at(square(29.2), hd)).geometry()
    assert bins.spot_shape == "square"
    assert bins.spot_diameter_um == bins.pitch_um == pytest.approx(8, rel=1e-3)


def test_spots_that_are_wider_than_they_lie_apart_are_said() -> None:
    factors = {"scalefactors": {"spot_diameter_fullres": 65.0}}
    for step, said in ((10.0, True), (100.0, False)):
        section = Section(spots=spots_at(square(step=step), {"spatial": {"lib": factors}}))
        assert any("65 px wide, but lie 10 px apart" in d for d in section.doubts) is said


def test_a_diameter_that_is_guessed_is_said() -> None:
    section = Section(spots=spots_at(square(100)), mpp=0.5)
    assert section.geometry() == SpotGeometry(25, "disc", 50, "micrometer")
    assert section.doubts == (
        "The spots' diameter is not stated: half of their pitch, 25 µm, is taken.",
    )
    pixels, scale = Section(spots=spots_at(square(100))).doubts
    assert "scale is unknown" in scale
    assert "half of their pitch, 50 px" in pixels
    (bins,) = Section(spots=spots_at(square(16)), mpp=0.5).doubts
    assert "squares of their pitch, 8 µm" in bins


def test_cells_are_called_cells_at_any_scale(tmp_path: Path) -> None:
    xy = np.random.default_rng(0).uniform(0, 2000, (400, 2))
    apart = float(np.median(cKDTree(xy).query(xy, k=2)[0][:, 1]))
    for mpp, unit in ((None, "px"), (0.1, "µm"), (2.0, "µm")):
        section = Section(spots=spots_at(xy), mpp=mpp)
        wide = apart * (mpp or 1)
        assert section.geometry().spot_diameter_um == pytest.approx(wide)
        assert section.geometry().spot_shape == "disc"
        assert any(f"as cells do: discs as wide as the distance to the nearest, {wide:.4g} {unit}"
                   in doubt for doubt in section.doubts)  # fmt: skip
        line = describe_section(section)[2]
        assert line.startswith("Cells, or beads, as they lie on no lattice: 400 × ")
        assert line.endswith(f"discs of {wide:.4g} {unit}, the nearest {wide:.4g} {unit} away in "
                             "the median")  # fmt: skip
    # Nor do cells that keep their distance from each other, for their rows lead nowhere.
    kept: list[Any] = []
    for one in np.random.default_rng(2).uniform(0, 2000, (6000, 2)):
        if not kept or (np.hypot(*(np.array(kept) - one).T) > 80).all():
            kept.append(one)
    line = describe_section(Section(spots=spots_at(np.array(kept))))[2]
    assert line.startswith("Cells, or beads, as they lie on no lattice: ")
    # However they lie, what assays of cells write of each tells.
    cells = spots_at(square(50, side=20))
    cells.obs["cell_area"] = 30.0
    section = Section(spots=cells, mpp=1.0)
    line = describe_section(section)[2]
    assert section.observed == "cell"
    assert line.startswith("Cells: 400 × ")
    assert line.endswith("the nearest 50 µm away in the median")
    assert describe_section(Section(spots=spots_at(square(8)), mpp=1.0))[2].startswith("Bins: 64 ×")
    # Printed spots, and those of a lattice with many empty places, are none.
    rng = np.random.default_rng(1)
    for spots in (square(50, side=20) + rng.normal(0, 4, (400, 2)),
                  square(50, side=60)[rng.random(3600) < 0.25]):  # fmt: skip
        line = describe_section(Section(spots=spots_at(spots)))[2]
        assert line.startswith("Spots: ")
        assert "at a pitch of" in line


def test_visium_spots_are_as_wide_as_they_are_printed() -> None:
    xy, numbers = visium()
    uns = scale_factors(spot_diameter_fullres=32.5, fiducial_diameter_fullres=52.5)
    section = Section(spots=spots_at(xy, uns, numbers))
    assert section.mpp == pytest.approx(2.0)
    assert section.geometry() == SpotGeometry(55, "disc", 100, "micrometer")
    scale, size = section.doubts
    assert "inferred" in scale
    assert "it is 55 µm; spot_diameter_fullres, 65 µm, is not" in size
    # One that says the same is not set against it.
    same = scale_factors(spot_diameter_fullres=27.5, fiducial_diameter_fullres=52.5)
    (_, size) = Section(spots=spots_at(xy, same, numbers)).doubts
    assert size.endswith("Visium by their lattice: it is 55 µm.")
    # With a scale that the lattice contradicts, the positions are believed.
    other = Section(spots=spots_at(xy, uns, numbers), mpp=0.5)
    assert other.geometry().spot_diameter_um == 16.25
    assert other.geometry().pitch_um == pytest.approx(25)
    assert "at 0.5 µm per pixel these lie 25 µm apart: check the scale" in other.doubts[0]


def test_cells_are_no_squares() -> None:
    rng = np.random.default_rng(0)
    cells = rng.uniform(0, 600, (1500, 2))
    section = Section(spots=spots_at(cells), mpp=0.8)
    geometry = section.geometry()
    assert geometry.spot_shape == "disc"
    assert geometry.spot_diameter_um == geometry.pitch_um < 20
    assert any("no square lattice, as cells do" in doubt for doubt in section.doubts)
    bins = square(7.3, 40)
    turned = bins @ np.array([[0.9, -np.sqrt(0.19)], [np.sqrt(0.19), 0.9]])
    sparse = bins[rng.random(len(bins)) < 0.6]
    for there in (bins, turned, sparse, np.rint(bins), np.repeat(bins, 3, axis=0)):
        pitch = 7.0 if there is not bins and (there == np.rint(there)).all() else 7.3
        assert are_bins(there, pitch)
    assert not are_bins(visium(7.3, 40)[0], 7.3)
    assert not are_bins(cells, 7.3)
    assert not are_bins(np.zeros((5, 2)), 0)


def test_array_numbers_that_are_none_or_exchanged_are_said_and_put_right() -> None:
    xy, numbers = visium()
    text = {**numbers, "array_row": np.array(["NA", *map(str, numbers["array_row"][1:])], object)}
    missing = {**numbers, "array_col": pd.array([None, *numbers["array_col"][1:]], "Int64")}
    for wrong in (text, missing):
        section = Section(spots=spots_at(xy, obs=wrong), mpp=2.0)
        assert any(
            d.startswith("array_row and array_col are not numbers for every")
            for d in section.doubts
        )
        # The others tell the scale, but not if more than a few lack theirs.
        assert Section(spots=spots_at(xy, obs=wrong)).mpp == pytest.approx(2.0)
    few = {**numbers, "array_row": np.array([*["NA"] * 11, *numbers["array_row"][11:]], object)}
    assert Section(spots=spots_at(xy, obs=few)).mpp is None
    # Numbers as text are numbers.
    words = {name: pd.Categorical(values.astype(str)) for name, values in numbers.items()}
    assert Section(spots=spots_at(xy, obs=words)).mpp == pytest.approx(2.0)
    exchanged = {"array_row": numbers["array_col"], "array_col": numbers["array_row"]}
    section = Section(spots=spots_at(xy, obs=exchanged))
    assert section.mpp == pytest.approx(2.0)
    assert section.geometry() == SpotGeometry(55, "disc", 100, "micrometer")
    assert any("are exchanged, as spots lie nearer" in doubt for doubt in section.doubts)
    assert list(section.need_spots().obs["array_row"]) == list(numbers["array_row"])


def test_numbers_of_other_spots_tell_no_scale_and_are_said() -> None:
    xy, numbers = visium()
    order = np.random.default_rng(0).permutation(len(xy))
    mixed = Section(spots=spots_at(xy[order], obs=numbers))
    assert mixed.mpp is None
    assert any("put spots elsewhere than their positions" in doubt for doubt in mixed.doubts)
    # A few that were exchanged, and slides that are bent, are no such thing.
    xy[[3, 60]] = xy[[60, 3]]
    bent = Section(spots=spots_at(xy + 10 * np.sin(xy / 300), obs=numbers))
    assert bent.mpp == pytest.approx(2.0, rel=0.1)
    assert not any("elsewhere" in doubt for doubt in bent.doubts)


def test_fiducials_that_are_no_number_are_not_used(tmp_path: Path) -> None:
    spots = banded()
    spots.uns |= scale_factors(fiducial_diameter_fullres="wide")
    spots.write_h5ad(tmp_path / "s.h5ad")
    run("domains", tmp_path / "s.h5ad", "--out", tmp_path / "o", "--n-domains", 4, "--runs", 1,
        "--epochs", 1, "--device", "cpu")  # fmt: skip


def test_a_given_scale_that_is_far_from_the_files_is_doubted_and_used(
    tmp_path: Path, cache: Cache
) -> None:
    path, pixels = tmp_path / "s.svs", np.full((300, 400, 3), 200, np.uint8)
    slide_files.svs(path, pixels, "MPP = 0.5")
    for mpp, doubts in (
        (0.54, ()),
        (0.46, ()),
        (0.25, ("The image states 0.5 µm per pixel (Aperio's MPP); 0.25 (given) is used.",)),
        (5.0, ("The image states 0.5 µm per pixel (Aperio's MPP); 5 (given) is used.",)),
    ):
        section = open_section(path, mpp=mpp, cache=cache)
        assert (section.mpp, section.doubts) == (mpp, doubts)
        assert section.need_slide().mpp_source == "given"
    assert open_section(path, cache=cache).mpp == 0.5
