"""Spots are placed on their slide by a registration: made, refused, kept, and taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from numpy.typing import NDArray

import napari_stenhance as st
from made_sections import MPP
from napari_stenhance.results.inputs import find_section
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.section.registration import STATED
from napari_stenhance.section.source import SectionSource
from test_cli import files_of, run
from test_script import repeat
from xenium_bundles import write_boundaries, write_bundle

QUICK = {"epochs": 2, "device": "cpu"}
HEIGHT, WIDTH = 800 - 1, 670 - 1
MIDDLE = (WIDTH / 2, HEIGHT / 2)
CORNERS = np.array([(0, 0), (10_000, 0), (0, 10_000), (10_000, 10_000)]) / 0.5


def a_registration() -> st.Registration:
    turned = st.Registration.turned(33, about=(4000, 9000))
    return turned.then(st.Registration.mirrored("x", about=(7000, 0)))


def pairs_of(true: st.Registration, number: int, noise_um: float, seed: int) -> NDArray[np.float64]:
    """Landmarks all over a section of 10 mm, at 0.5 µm per pixel, set with an error."""
    rng = np.random.default_rng(seed)
    stated = rng.uniform(CORNERS[0], CORNERS[3], (number, 2))
    return np.column_stack([stated, true(stated) + rng.normal(0, noise_um / 0.5, (number, 2))])


@pytest.mark.parametrize(("kind", "number"), [("rigid", 150), ("similarity", 240), ("affine", 400)])
def test_landmarks_with_noise_place_the_corners(kind: Any, number: int) -> None:
    """Of 20 µm along each axis: so many pairs leave less than 10 µm at the corners."""
    true, off = a_registration(), []
    for seed in range(20):
        found = st.Registration.from_pairs(pairs_of(true, number, 20, seed), kind)
        off.append(np.linalg.norm(found(CORNERS) - true(CORNERS), axis=1) * 0.5)
        rms = float(np.sqrt((found.residuals() ** 2).mean())) * 0.5
        assert rms == pytest.approx(20 * np.sqrt(2), rel=0.15)
    assert np.max(off) < 10
    # Another order of axes, or half the noise, would not pass for it.
    assert np.max(off) > 2


def test_exact_landmarks_are_met_however_few() -> None:
    true = a_registration()
    for kind in ("rigid", "similarity", "affine"):
        found = st.Registration.from_pairs(pairs_of(true, 3, 0, 1), kind)
        np.testing.assert_allclose(found.matrix, true.matrix, atol=1e-6)
        assert found.residuals().max() < 1e-6


def test_least_squares_leave_no_better_affine() -> None:
    pairs = pairs_of(a_registration(), 12, 200, 0)
    found = st.Registration.from_pairs(pairs)
    for at in np.ndindex(2, 3):
        for step in (-1, 1):
            other = np.array(found.matrix)
            other[at] += step * (1e-4 if at[1] < 2 else 1.0)
            moved = st.Registration.from_array(other, "", found.pairs)
            assert (moved.residuals() ** 2).sum() > (found.residuals() ** 2).sum()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x,y,x_slide,y_slide\n1,2,3,4\n5,6,7,8\n", "2 landmark pairs cannot say"),
        ("x,y,x_slide,y_slide\n" + "".join(f"{n},{n},{n},{n}\n" for n in range(5)), "on a line"),
        ("x,y,x_slide,y_slide\n1,2,3,4\n5,six,7,8\n9,1,2,3\n", "row 3: y is 'six'"),
        ("x,y,x_slide,y_slide\n1,2,3,4\n\n5,6,nan,8\n9,1,2,3\n", "row 4: x_slide is 'nan'"),
        ("x,y,x_slide,y_slide\n1,2,3\n5,6,7,8\n9,1,2,3\n", "row 2: y_slide is empty"),
        ("x,y,x_slide,y_slide\n0,0,0,0\n1,0,900,0\n0,1,0,900\n", "scales tissue by 900"),
        ("x,y,x_slide,y_slide\n0,0,0,0\n100,0,100,0\n0,100,0,9\n", "stretches tissue 11.1 times"),
        ("a,b\n1,2\n", "this is no registration"),
        ("", "this is no registration"),
        ('{"x": 1}', "no registration that napari-stenhance wrote"),
        ('{"stenhance_registration": 9}', "update napari-stenhance"),
        ('{"stenhance_registration": 1}', "damaged"),
        ('{"stenhance_registration": 1, "matrix": [[1, 0, NaN], [0, 1, 0]]}', "all finite"),
        ('{"stenhance_registration": 1, "matrix": [[1, 0, 0], [1, 0, 0]]}', "flattens"),
        ('{"stenhance_registration": 1, "matrix": [[1, 0, 0], [0, 1, 0]], "pairs": 5}', "damaged"),
        ("1,0,0\n0,0,0\n0,0,1\n", "flatten"),
        ("1,0,0\n0,1,0\n1,0,1\n", "end in 0, 0, 1"),
    ],
)
def test_what_cannot_be_is_refused_with_file_and_row(
    tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(content, "utf-8")
    with pytest.raises(st.InputError) as error:
        st.Registration.read(file)
    assert said in str(error.value)
    assert str(error.value).startswith(str(file))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(st.InputError, match=r"none\.csv: there is no such file"):
        st.Registration.read(tmp_path / "none.csv")


def test_a_file_of_which_only_a_part_would_be_read_is_refused(tmp_path: Path) -> None:
    """The part that is read would be another fit than the whole."""
    rows = "".join(f"{x},{x % 7},{x},{x % 7}\n" for x in range(1, 1000))
    for name, text in (
        ("pairs.csv", "x,y,x_slide,y_slide\n" + rows * 600),
        ("m.json", "{" * 2**23),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(st.InputError, match=f"{name}: this is larger than 4 MB"):
            st.Registration.read(tmp_path / name)
    with pytest.raises(st.InputError, match="this is a folder"):
        st.Registration.read(tmp_path)


def test_landmarks_that_are_met_are_said_to_be() -> None:
    pairs = [(0, 0, 6000.1, 6000.3), (1000, 0, 7000.1, 6000.3), (0, 990, 6000.1, 6990.3)]
    said = st.Registration.from_pairs(pairs).doubt(np.array([[5.0, 7.0]]), 0.5)
    assert said.endswith("landmarks are off by 0 µm (RMS), 0 µm at most.")


def test_files_of_others_are_read(tmp_path: Path) -> None:
    true = a_registration()
    pairs = pairs_of(true, 5, 0, 2)
    rows = "\n".join(";".join(map(repr, map(float, pair))) for pair in pairs[:, [2, 3, 0, 1]])
    (tmp_path / "p.csv").write_text(f"# of C2\nx_slide;y_slide;x;y\n{rows}\n")
    (tmp_path / "k.csv").write_text(
        "fixedX,fixedY,alignmentX,alignmentY\n"
        + "\n".join(",".join(map(str, pair)) for pair in pairs)
    )
    # Xenium Explorer takes the H&E to the image that was measured on.
    matrix = np.linalg.inv([*true.matrix, (0, 0, 1)])
    np.savetxt(tmp_path / "m.csv", matrix, delimiter=",", fmt="%.12g")
    for name in ("p.csv", "k.csv", "m.csv"):
        found = st.Registration.read(tmp_path / name)
        np.testing.assert_allclose(found(CORNERS), true(CORNERS), atol=1e-3)
        assert found.made.startswith(f"{name} (")
        assert str(tmp_path) not in found.made


def test_it_is_written_and_nothing_of_others_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "c2.json"
    found = st.Registration.from_pairs(pairs_of(a_registration(), 4, 20, 3), where="C2")
    found.write(file)
    found.write(file)
    again = st.Registration.read(file)
    assert (again.matrix, again.pairs) == (found.matrix, found.pairs)
    assert again.made == f"c2.json ({found.made})"
    file.write_text('{"mine": 1}')
    with pytest.raises(st.InputError, match="something lies here"):
        found.write(file)
    assert json.loads(file.read_text()) == {"mine": 1}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (st.Registration.identity(), "left as they are stated"),
        (st.Registration.moved(3, -4), "moved by +1.5 µm in x and -2 µm in y"),
        (st.Registration.moved(3, -1e-9), "moved by +1.5 µm in x and +0 µm in y"),
        (st.Registration.turned(90, (5, 5)), "turned by 90° clockwise"),
        (st.Registration.turned(180, (5, 5)), "turned by 180°"),
        (st.Registration.turned(-30, (5, 5)), "turned by 30° counter-clockwise"),
        (st.Registration.mirrored("x", (5, 5)), "mirrored left to right"),
        (st.Registration.mirrored("y", (5, 5)), "mirrored top to bottom"),
        (st.Registration(((2, 0, -5), (0, 2, -5))), "scaled by 2"),
        (
            st.Registration.mirrored("x", (5, 5)).then(st.Registration.turned(90, (5, 5))),
            "mirrored left to right, turned by 90° clockwise",
        ),
    ],
)
def test_it_says_what_it_does(step: st.Registration, said: str) -> None:
    stated = np.array([(0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)])
    assert step.describe(stated, 0.5) == said
    assert step.then(step.inverse()).describe(stated, 0.5) == "left as they are stated"
    # What is said is what happens: of two landmarks, left is left of right.
    left, right = step([(0, 5), (10, 5)])
    if said == "turned by 90° clockwise":
        assert left[1] < right[1]
    if "left to right" in said and "turned" not in said:
        assert left[0] > right[0]


@pytest.fixture
def turned(here: Path) -> Path:
    """The first section with its spots turned by 180° on their slide."""
    spots = ad.read_h5ad("one.h5ad")
    spots.obsm["spatial"] = st.Registration.turned(180, MIDDLE)(spots.obsm["spatial"])
    spots.write_h5ad(here / "turned.h5ad")
    return here / "turned.h5ad"


@pytest.fixture
def half_turn(here: Path) -> Path:
    """Landmarks that put it right."""
    stated = np.array([(50.0, 60.0), (600.0, 90.0), (300.0, 700.0), (420.0, 333.0)])
    pairs = np.column_stack([stated, st.Registration.turned(180, MIDDLE)(stated)])
    rows = "\n".join(",".join(map(repr, map(float, row))) for row in pairs)
    (here / "pairs.csv").write_text(f"x,y,x_slide,y_slide\n{rows}\n")
    return here / "pairs.csv"


def opened(turned: Path, registration: object) -> st.Section:
    return st.read(turned, image="one_he.jpg", registration=registration)


def test_a_section_that_is_put_right_is_the_true_one(turned: Path, half_turn: Path) -> None:
    true, right, wrong = st.read("one.h5ad"), opened(turned, half_turn), opened(turned, None)
    np.testing.assert_allclose(right.spots.obsm["spatial"], true.spots.obsm["spatial"], atol=1e-6)
    np.testing.assert_array_equal(right.spots.obsm[STATED], wrong.spots.obsm["spatial"])
    assert right.geometry() == true.geometry()
    (doubt,) = [one for one in right.doubts if "placed by" in one]
    assert "placed by pairs.csv (affine fit of 4 landmark pairs): turned by 180°" in doubt
    assert f"Doubt: {doubt}" in st.info(right)
    assert not any("placed by" in one for one in wrong.doubts)
    # The places are part of what tells one input from another.
    assert right.counts_sha256 not in {true.counts_sha256, wrong.counts_sha256}
    exact = wrong.registered(st.Registration.turned(180, MIDDLE))
    placed = np.abs(exact.spots.obsm["spatial"] - true.spots.obsm["spatial"]).max()
    assert placed < 1e-9


def test_it_is_edited_and_taken_back(turned: Path, half_turn: Path) -> None:
    right, wrong = opened(turned, half_turn), opened(turned, None)
    assert wrong.registered(right.registration).counts_sha256 == right.counts_sha256
    back = right.registered(None)
    assert back.counts_sha256 == wrong.counts_sha256
    assert (back.doubts, back.registration) == (wrong.doubts, None)
    assert STATED not in back.spots.obsm
    other = right.registered(st.Registration.moved(5, 0))
    assert np.ptp(other.spots.obsm["spatial"] - wrong.spots.obsm["spatial"], axis=0).max() < 1e-9
    assert other.source.registration == other.registration
    # A section that is made of it again places nothing twice.
    renamed = st.read(right.source.path, image="one_he.jpg", registration=half_turn, name="mine")
    assert renamed.counts_sha256 == right.counts_sha256
    source = SectionSource.from_json(json.loads(json.dumps(right.source.to_json())))
    assert source == right.source


def test_outlines_of_cells_lie_where_these_are_placed(tmp_path: Path) -> None:
    cells = write_bundle(tmp_path / "S1", 3)
    write_boundaries(tmp_path / "S1", cells, 3)
    section, step = st.read(tmp_path / "S1"), st.Registration.turned(10, (200, 200))
    for placed in (section.registered(step), st.read(tmp_path / "S1", registration=step)):
        stated, outlines = section.placed_outlines(), placed.placed_outlines()
        np.testing.assert_allclose(outlines.xy, step(stated.xy), atol=1e-2)
        np.testing.assert_allclose(
            placed.spots.obsm["spatial"], step(section.spots.obsm["spatial"]), atol=1e-9
        )


def test_sizes_follow_a_registration_that_scales(here: Path) -> None:
    """Positions in pixels of half the size are put right: so are pitch and diameter."""
    spots = ad.read_h5ad("one.h5ad")
    true = st.read("one.h5ad").geometry()
    for key in ("spot_pitch_um", "spot_diameter_um"):
        del spots.uns[key]
    spots.obsm["spatial"] = spots.obsm["spatial"] / 2
    spots.write_h5ad(here / "half.h5ad")
    wrong = st.read("half.h5ad", image="one_he.jpg")
    assert wrong.geometry().pitch_um == pytest.approx(true.pitch_um / 2)
    twice = st.Registration(((2, 0, 0), (0, 2, 0)))
    right = st.read("half.h5ad", image="one_he.jpg", registration=twice)
    assert right.geometry().pitch_um == pytest.approx(true.pitch_um)
    again = wrong.registered(twice)
    assert (again.geometry(), again.counts_sha256) == (right.geometry(), right.counts_sha256)
    assert again.registered(None).geometry() == wrong.geometry()
    assert again.doubts == right.doubts


def test_most_spots_must_lie_inside_then(turned: Path) -> None:
    with pytest.raises(st.InputError, match="outside the slide, as they are placed by hand"):
        opened(turned, st.Registration.moved(600, 0))
    # And where they are stated is no reason to refuse.
    spots = ad.read_h5ad("one.h5ad")
    spots.obsm["spatial"] = spots.obsm["spatial"] + 5000
    spots.write_h5ad("far.h5ad")
    with pytest.raises(st.InputError, match="outside"):
        st.read("far.h5ad", image="one_he.jpg")
    back = st.Registration.moved(-5000, -5000)
    placed = st.read("far.h5ad", image="one_he.jpg", registration=back)
    assert placed.slide is not None


def test_one_registration_is_of_one_section(turned: Path, half_turn: Path) -> None:
    with pytest.raises(st.InputError, match="One registration places the spots of one section"):
        st.enhance(["one.h5ad", "two.h5ad"], registration=half_turn, **QUICK)
    with pytest.raises(st.InputError, match="open already"):
        st.enhance(st.read("one.h5ad"), registration=half_turn, **QUICK)
    with pytest.raises(st.InputError, match="without spots"):
        st.read("one_he.jpg", registration=half_turn)
    with pytest.raises(st.InputError, match="no spots that could be placed"):
        st.predict("one.stenhance.zarr", "two_he.jpg", mpp=MPP, registration=half_turn)
    with pytest.raises(st.InputError, match="spots are not read"):
        st.export("one.h5ad", "o.ome.tif", to="ome-tiff", registration=half_turn)
    with pytest.raises(st.InputError, match="says itself how"):
        st.info("one.stenhance.zarr", registration=half_turn)


def test_a_prediction_is_that_of_the_true_section_and_survives(
    turned: Path, half_turn: Path, here: Path
) -> None:
    """Run, reopened, repeated and exported: spots lie where they were placed."""
    command = ["--image", "one_he.jpg", "--epochs", "2", "--device", "cpu"]
    command += ["--registration", "pairs.csv", "--out", "t.stenhance.zarr"]
    run("enhance", "turned.h5ad", *command)
    true = st.Result.open("one.stenhance.zarr")
    made = st.Result.open("t.stenhance.zarr")
    np.testing.assert_allclose(made["G1"], true["G1"], atol=2e-3, equal_nan=True)
    lines = st.info("t.stenhance.zarr")
    assert any("placed by pairs.csv" in line for line in lines)
    # Reopened.
    found = find_section(ResultFolder.open(Path("t.stenhance.zarr")))
    assert not found.said
    assert found.section.registration.pairs
    right = opened(turned, half_turn)
    assert found.section.counts_sha256 == right.counts_sha256
    # Exported: at spots where they were placed.
    table = ad.read_h5ad(st.export(made, "s.h5ad", at_spots=turned, registration=half_turn))
    np.testing.assert_allclose(table.obsm["spatial"], right.spots.obsm["spatial"], atol=1e-6)
    # Repeated, by the command, and by Python where a section was open.
    text = st.script("t.stenhance.zarr")
    assert f"--registration {here / 'pairs.csv'}" in text
    repeat(text)
    assert files_of(Path("again/turned.stenhance.zarr")) == files_of(made.path)


def test_a_damaged_log_says_so(turned: Path) -> None:
    right = opened(turned, None).registered(st.Registration.turned(180, MIDDLE))
    said = right.source.to_json()
    said["registration"]["matrix"][0][0] = None
    with pytest.raises(ValueError, match="finite"):
        SectionSource.from_json(said)


def test_what_is_written_of_it_lies_where_it_was_placed(turned: Path, half_turn: Path) -> None:
    right = opened(turned, half_turn)
    placed = right.spots.obsm["spatial"]
    st.downsample(right, "thin.h5ad", mean=0.5)
    right.spots.write_h5ad("whole.h5ad")
    for name in ("thin.h5ad", "whole.h5ad"):
        again = st.read(name, image="one_he.jpg")
        np.testing.assert_allclose(again.spots.obsm["spatial"], placed, atol=1e-6)
        # Which is what is stated there.
        half = again.registered(st.Registration.turned(180, MIDDLE))
        np.testing.assert_allclose(half.spots.obsm[STATED], placed, atol=1e-6)
    st.convert(right, "prefix")
    prefixed = st.read("prefix")
    assert np.abs(prefixed.spots.obsm["spatial"] - placed).max() < 1


@pytest.mark.slow
def test_python_repeats_what_was_placed_by_hand(turned: Path) -> None:
    right = opened(turned, None).registered(st.Registration.turned(180, MIDDLE))
    result = st.domains(right, n_domains=2, runs=1, out="d.stenhance.zarr", **QUICK)
    assert "only Python can say where" in st.script(result)
    lines = st.script(result, python=True)
    assert "registration=st.Registration(matrix=((-1.0, " in lines
    exec(compile(lines, "script", "exec"), {})
    assert files_of(Path("again/turned.stenhance.zarr")) == files_of(result.path)
    # Without its files, what the result keeps of its spots lies where they were placed.
    turned.unlink()
    found = find_section(ResultFolder.open(result.path))
    assert found.section.counts_sha256 == right.counts_sha256
