"""Spots that lie elsewhere than they belong are found, and where they belong is named."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import matplotlib.image as plt
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import napari_stenhance as st
from made_sections import MPP, make_slide_pixels, make_spots, write_image
from napari_stenhance.cli import app
from napari_stenhance.tasks import placement_doubt
from napari_stenhance.tasks.placement_doubt import with_placement_doubt

SHAPE = (2000, 2400)
HEIGHT, WIDTH = SHAPE[0] - 1, SHAPE[1] - 1
SHIFT = 200 / MPP


@pytest.fixture(scope="module")
def true(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A section whose spots lie where they belong."""
    folder = tmp_path_factory.mktemp("doctor")
    pixels, amounts = make_slide_pixels(SHAPE, 1)
    write_image(folder / "true.jpg[Q=90]", pixels)
    make_spots(amounts, 1).write_h5ad(folder / "true.h5ad")
    return folder / "true.h5ad"


def displaced(true: Path, to: Path, x: tuple[float, ...], y: tuple[float, ...]) -> Path:
    """Write the section with positions that are `(x, y, 1)` times these."""
    spots = ad.read_h5ad(true)
    xy = np.asarray(spots.obsm["spatial"], float)
    old = np.column_stack([xy, np.ones(len(xy))])
    spots.obsm["spatial"] = old @ np.array([x, y]).T
    spots.write_h5ad(to)
    return to


def diagnose(true: Path, spots: Path) -> st.Diagnosis:
    return st.doctor(spots, image=true.with_suffix(".jpg"), mpp=MPP)


def test_spots_that_lie_where_they_belong_are_well(true: Path) -> None:
    found = st.doctor(true, mpp=MPP)
    assert found.is_well
    assert found.placement.best is found.placement.stated
    assert found.placement.stated.on_tissue > 0.9
    assert "no other way" in found.said
    assert "cannot be told" not in found.said


@pytest.mark.parametrize(
    ("x", "y", "name"),
    [
        ((-1, 0, WIDTH), (0, 1, 0), "mirrored left to right"),
        ((0, -1, HEIGHT), (-1, 0, WIDTH), "x and y exchanged, and turned by 180°"),
        ((0, -1, HEIGHT), (1, 0, 0), "turned by 90° counter-clockwise"),
        ((2, 0, 0), (0, 2, 0), "scaled by 0.5"),
        ((1, 0, SHIFT), (0, 1, 0), "moved by -200 µm in x and +0 µm in y"),
    ],
)
def test_where_they_belong_is_named(
    true: Path, tmp_path: Path, x: tuple[float, ...], y: tuple[float, ...], name: str
) -> None:
    spots = displaced(true, tmp_path / "spots.h5ad", x, y)
    found = diagnose(true, spots)
    assert not found.is_well
    best = found.placement.best
    where: NDArray[np.float64] = np.asarray(ad.read_h5ad(spots).obsm["spatial"], float)
    matrix = np.array(found.matrix_px(best))
    put_right = where @ matrix[:, :2].T + matrix[:, 2]
    off = np.abs(put_right - ad.read_h5ad(true).obsm["spatial"]).max()
    assert off * MPP < 40
    if "moved" not in name:
        assert best.way.name == name
        assert off < 1e-6
    assert best.way.name in found.said


def test_counts_that_the_stain_does_not_tell_are_no_reason(true: Path, tmp_path: Path) -> None:
    """Of spots that were dealt out anew nothing fits, and nothing is offered."""
    spots = ad.read_h5ad(true)
    xy = np.asarray(spots.obsm["spatial"])
    for seed in range(3):
        dealt = spots[np.random.default_rng(seed).permutation(spots.n_obs)].copy()
        dealt.obsm["spatial"] = xy
        dealt.write_h5ad(tmp_path / f"{seed}.h5ad")
        found = diagnose(true, tmp_path / f"{seed}.h5ad")
        assert found.is_well
        # Nor is it said that they lie well.
        assert "whether they lie well cannot be told" in found.said


def test_the_command_ends_with_what_it_found(true: Path, tmp_path: Path) -> None:
    turned = displaced(true, tmp_path / "s.h5ad", (-1, 0, WIDTH), (0, -1, HEIGHT))
    common = ["--image", str(true.with_suffix(".jpg")), "--mpp", str(MPP)]
    well = CliRunner().invoke(app, ["doctor", str(true), *common])
    assert well.exit_code == 0, well.output
    ill = CliRunner().invoke(app, ["doctor", str(turned), *common])
    assert ill.exit_code == 1
    assert "turned by 180°" in ill.stdout
    assert f"new x = −x + {WIDTH}, new y = −y + {HEIGHT}" in ill.stdout.replace("\n", " ")
    printed = CliRunner().invoke(app, ["doctor", str(turned), *common, "--json"])
    said = json.loads(printed.stdout)
    assert (said["fits_as_stated"], said["best"]) == (False, "turned by 180°")
    assert said["ways"][0]["name"] == "as stated"
    alone = CliRunner().invoke(app, ["doctor", str(turned), "--mpp", str(MPP)])
    assert alone.exit_code == 2
    assert "name the image" in alone.output


def test_what_it_found_is_saved_and_puts_them_right(true: Path, tmp_path: Path) -> None:
    twice = displaced(true, tmp_path / "s.h5ad", (2, 0, 0), (0, 2, 0))
    file = tmp_path / "placed.json"
    common = [str(twice), "--image", str(true.with_suffix(".jpg")), "--mpp", str(MPP)]
    ill = CliRunner().invoke(app, ["doctor", *common, "--save", str(file)])
    assert ill.exit_code == 1, ill.output
    well = CliRunner().invoke(app, ["doctor", *common, "--registration", str(file)])
    assert well.exit_code == 0, well.output
    assert "better than where they are placed" in " ".join(well.stdout.split())
    # Nothing that is said of placed spots is said of where they are stated.
    assert "as placed" in well.stdout
    assert "as stated" not in well.stdout
    section = st.read(twice, image=true.with_suffix(".jpg"), mpp=MPP, registration=file)
    right = ad.read_h5ad(true).obsm["spatial"]
    np.testing.assert_allclose(section.spots.obsm["spatial"], right, atol=1e-6)
    # What another turn would be is told from where the spots are placed now.
    turned = section.registered(section.registration.then(half_turn()))
    found = st.doctor(turned)
    again = found.registration
    said = json.loads(found.to_json())
    assert said["ways"][0]["name"] == "as placed"
    assert said["registration"]["matrix"] == [list(row) for row in turned.registration.matrix]
    np.testing.assert_allclose(again(section.spots.obsm["spatial_stated"]), right, atol=1e-6)
    # Of what is well, nothing is written.
    notes: list[str] = []
    job = st.Job(lambda event: notes.append(getattr(event, "text", "")))
    st.doctor(true, mpp=MPP, save=tmp_path / "none.json", job=job)
    assert not (tmp_path / "none.json").exists()
    assert [note for note in notes if "none.json: not written" in note]


def half_turn() -> st.Registration:
    return st.Registration.turned(180, (WIDTH / 2, HEIGHT / 2))


def test_spots_outside_are_refused_but_by_the_doctor(true: Path, tmp_path: Path) -> None:
    twice = displaced(true, tmp_path / "s.h5ad", (2, 0, 0), (0, 2, 0))
    with pytest.raises(st.InputError, match="lie outside"):
        st.read(twice, image=true.with_suffix(".jpg"), mpp=MPP)


def test_a_picture_shows_both_and_overwrites_nothing(true: Path, tmp_path: Path) -> None:
    turned = displaced(true, tmp_path / "s.h5ad", (-1, 0, WIDTH), (0, -1, HEIGHT))
    drawn = tmp_path / "both.png"
    found = st.doctor(turned, image=true.with_suffix(".jpg"), mpp=MPP, picture=drawn)
    both = plt.imread(drawn)
    alone = tmp_path / "alone.png"
    st.doctor(true, mpp=MPP, picture=alone)
    # As stated and as they fit; of spots that are well, as stated alone.
    assert both.shape[1] > 1.6 * plt.imread(alone).shape[1]
    assert not found.is_well
    for path, said in ((drawn, "both.png"), (tmp_path / "p.jpg", "ends in .png")):
        with pytest.raises(st.InputError, match=said):
            st.doctor(true, mpp=MPP, picture=path)


def test_a_section_without_a_slide_is_judged_on_its_picture(true: Path, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(true.with_suffix(".jpg")).resize((200, 167)))
    spots = ad.read_h5ad(true)
    spots.uns["spatial"] = {
        "s": {
            "images": {"hires": pixels},
            "scalefactors": {"tissue_hires_scalef": 200 / SHAPE[1], "spot_diameter_fullres": 68.75},
        }
    }
    section = st.Section(spots=spots, mpp=MPP, name="pictured")
    assert section.slide is None
    found = st.doctor(section)
    assert found.is_well
    assert found.placement.stated.on_tissue > 0.9
    xy = np.asarray(spots.obsm["spatial"], float)
    spots.obsm["spatial"] = np.array([WIDTH, HEIGHT]) - xy
    turned = st.doctor(st.Section(spots=spots, mpp=MPP, name="turned"))
    assert turned.placement.best.way.name == "turned by 180°"


def test_the_doubt_comes_first_and_is_found_once(
    true: Path, tmp_path: Path, cache: st.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = displaced(true, tmp_path / "turned.h5ad", (-1, 0, WIDTH), (0, -1, HEIGHT))
    well, ill = (st.read(one, image=true.with_suffix(".jpg"), mpp=MPP) for one in (true, turned))
    assert with_placement_doubt(well, cache, st.Job()) is well
    doubted = with_placement_doubt(ill, cache, st.Job())
    assert "clearly better turned by 180°" in doubted.doubts[0]
    assert doubted.doubts[1:] == ill.doubts
    assert doubted.counts_sha256 == ill.counts_sha256
    # The same spots on the same slide, but placed there: not said to be stated so.
    half = st.Registration.turned(180, (WIDTH / 2, HEIGHT / 2))
    placed = with_placement_doubt(well.registered(half), cache, st.Job())
    assert "than as placed (" in placed.doubts[0]
    assert "than as stated (" in doubted.doubts[0]

    def never(*_args: object, **_how: object) -> None:
        raise AssertionError

    monkeypatch.setattr(placement_doubt, "judge_placement", never)
    assert with_placement_doubt(ill, cache, st.Job()).doubts == doubted.doubts
    few = st.Section(slide=ill.slide, spots=ill.need_spots()[:40].copy(), mpp=MPP)
    assert with_placement_doubt(few, cache, st.Job()) is few


@pytest.mark.slow
def test_what_is_learned_from_misplaced_spots_is_doubted_first(true: Path, tmp_path: Path) -> None:
    turned = displaced(true, tmp_path / "turned.h5ad", (-1, 0, WIDTH), (0, -1, HEIGHT))
    for spots, ill in ((turned, True), (true, False)):
        said: list[str] = []
        job = st.Job(lambda event, said=said: said.append(getattr(event, "text", "")))
        section = st.read(spots, image=true.with_suffix(".jpg"), mpp=MPP)
        out = tmp_path / f"{spots.stem}.stenhance.zarr"
        result = st.enhance(
            section, out=out, epochs=1, device="cpu", quality=False, region=_corner(), job=job
        )
        notes = [text for text in said if text]
        assert ("clearly better turned by 180°" in " ".join(notes[:1])) == ill
        assert any("clearly better turned by 180°" in d for d in result.doubts) == ill
        # What is open stays what it is.
        assert not any("clearly better" in doubt for doubt in section.doubts)


def _corner() -> st.Region:
    return st.Region(shapely.box(700, 600, 900, 800))
