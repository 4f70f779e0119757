"""A section is laid over another: the turn and the shift are found, or it is said that none is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner

import napari_stenhance as st
from made_sections import GLASS, MPP, make_slide_pixels, make_spots, write_image
from napari_stenhance.cli import app

SHAPE = (1500, 1800)


def turned_by(
    turned_deg: float, moved: tuple[float, float], *, mirrored: bool = False
) -> NDArray[np.float64]:
    """Return the map of pixels (x, y, 1) that turns around the middle of a slide, and moves."""
    angle = np.deg2rad(turned_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        turn = turn @ np.diag([-1, 1])
    middle = np.array(SHAPE[::-1]) / 2
    return np.column_stack([turn, middle + np.array(moved) - turn @ middle])


def serial(
    folder: Path,
    name: str,
    turned_deg: float,
    moved: tuple[float, float],
    *,
    mirrored: bool = False,
    pixels: NDArray[np.uint8] | None = None,
) -> NDArray[np.float64]:
    """Write what lies beside a slide in its block: turned, moved, perhaps mirrored; and spots.

    Returns the map from pixels (x, y, 1) of the first section to those of this one.
    """
    made, amounts = make_slide_pixels(SHAPE, 1)
    pixels = made if pixels is None else pixels
    matrix = turned_by(turned_deg, moved, mirrored=mirrored)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    yx = back[::-1][:, [1, 0, 2]]
    seen = np.stack(
        [
            ndimage.affine_transform(
                pixels[..., n], yx[:, :2], yx[:, 2], order=1, cval=float(GLASS[n])
            )
            for n in range(3)
        ],
        axis=-1,
    )
    write_image(folder / f"{name}_he.jpg[Q=90]", seen)
    spots = make_spots(amounts, 1)
    spots.obsm["spatial"] = np.asarray(spots.obsm["spatial"]) @ matrix[:, :2].T + matrix[:, 2]
    # Cut somewhat elsewhere: not the same counts.
    spots.X = spots.X.astype(np.float32)
    spots.X.data = np.random.default_rng(3).poisson(spots.X.data).astype(np.float32)
    inside = (spots.obsm["spatial"] > 0).all(axis=1)
    inside &= (spots.obsm["spatial"] < np.array(SHAPE[::-1]) - 1).all(axis=1)
    spots = spots[inside].copy()
    del spots.obs["array_x"], spots.obs["array_y"]
    spots.write_h5ad(folder / f"{name}.h5ad")
    return matrix


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A section, and another of its block, turned by 70°."""
    folder = tmp_path_factory.mktemp("block")
    pixels, amounts = make_slide_pixels(SHAPE, 1)
    write_image(folder / "one_he.jpg[Q=90]", pixels)
    make_spots(amounts, 1).write_h5ad(folder / "one.h5ad")
    np.save(folder / "turned.npy", serial(folder, "turned", 70, (90, -60)))
    return folder


def off_um(found: st.Alignments, to_section: NDArray[np.float64]) -> float:
    """How far landmarks of the tissue lie from where they belong, at most, in µm."""
    corners = np.array([(600, 500), (1200, 500), (600, 1000), (1200, 1000)], float)
    there = corners @ to_section[:, :2].T + to_section[:, 2]
    matrix = np.array(found.sections[0].to_dict()["matrix_px"])
    back = there @ matrix[:, :2].T + matrix[:, 2]
    return float(np.hypot(*(back - corners).T).max() * MPP)


def test_a_turned_section_is_laid_where_it_belongs(block: Path) -> None:
    found = st.align(block / "one.h5ad", block / "turned.h5ad")
    (laid,) = found.sections
    assert laid.is_clear, laid.said
    assert off_um(found, np.load(block / "turned.npy")) < 15
    best = laid.alignment.best
    assert not best.mirrored
    assert best.turned_deg == pytest.approx(-70, abs=1)
    assert re.search(r"turned by (69|70)\.\d° counter-clockwise", laid.said)
    # Nothing was fitted to it, and it says the same.
    assert laid.aligned is not None
    assert laid.as_they_lie is not None
    assert laid.aligned.r > laid.as_they_lie.r + 0.2


def test_a_mirrored_section_is_mirrored(block: Path, tmp_path: Path) -> None:
    matrix = serial(tmp_path, "mirrored", -25, (-40, 30), mirrored=True)
    found = st.align(block / "one.h5ad", tmp_path / "mirrored.h5ad")
    assert found.sections[0].is_clear
    assert found.sections[0].alignment.best.mirrored
    assert off_um(found, matrix) < 15


def test_another_image_is_laid_over_the_slide_at_a_scale_that_is_fitted(
    block: Path, tmp_path: Path
) -> None:
    """Fluorescence, of which no file says the scale."""
    seen = np.asarray(Image.open(block / "turned_he.jpg").reduce(3)).astype(float)
    light = np.zeros_like(seen)
    light[..., 2] = 6 + 200 * -np.log10((seen[..., 0] + 1) / 256)
    dark = tmp_path / "dapi.png"
    write_image(dark, np.clip(light, 0, 255).astype(np.uint8))
    (laid,) = st.align(block / "one.h5ad", dark).sections
    assert laid.is_clear, laid.said
    assert laid.mpp == pytest.approx(3 * MPP, rel=0.02)
    assert "µm per pixel, as it fits" in laid.said
    corners = np.array([(600, 500), (1200, 500), (600, 1000), (1200, 1000)], float)
    matrix = np.load(block / "turned.npy")
    there = (corners @ matrix[:, :2].T + matrix[:, 2] + 0.5) / 3 - 0.5
    back = np.array(laid.to_dict()["matrix_px"])
    off = there @ back[:, :2].T + back[:, 2] - corners
    assert np.hypot(*off.T).max() * MPP < 25
    # By micrometres of its own scale it comes to the same.
    matrix_um = np.array(laid.matrix_um)
    um = there * laid.mpp @ matrix_um[:, :2].T + matrix_um[:, 2]
    np.testing.assert_allclose(um, (off + corners) * MPP, atol=1e-6)
    turn = matrix_um[:, :2]
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-9)


def test_what_is_no_neighbour_is_not_believed(block: Path, tmp_path: Path) -> None:
    pixels, amounts = make_slide_pixels(SHAPE, 2)
    write_image(tmp_path / "two_he.jpg[Q=90]", pixels)
    make_spots(amounts, 2).write_h5ad(tmp_path / "two.h5ad")
    (laid,) = st.align(block / "one.h5ad", tmp_path / "two.h5ad").sections
    assert not laid.is_clear, laid.said
    assert "do not trust this" in laid.said


def test_the_command_says_it(block: Path) -> None:
    one, turned = (str(block / f"{name}.h5ad") for name in ("one", "turned"))
    said = CliRunner().invoke(app, ["align", one, turned])
    assert said.exit_code == 0, said.output
    assert re.search(r"turned over one: turned by (69|70)\.\d° counter-clock", said.stdout)
    written = json.loads(CliRunner().invoke(app, ["align", one, turned, "--json"]).stdout)
    assert (written[0]["clear"], written[0]["mirrored"]) == (True, False)
    spots = ad.read_h5ad(turned).obsm["spatial"] * MPP
    matrix = np.array(written[0]["matrix_um"])
    laid = spots @ matrix[:, :2].T + matrix[:, 2]
    true = ad.read_h5ad(one)
    known = true[ad.read_h5ad(turned).obs_names].obsm["spatial"] * MPP
    assert np.hypot(*(laid - known).T).max() < 15
    alone = CliRunner().invoke(app, ["align", one])
    assert alone.exit_code == 2


def test_a_registration_of_one_section_is_not_taken_for_all(block: Path, tmp_path: Path) -> None:
    st.Registration.moved(40, 0).write(tmp_path / "moved.json")
    sections = block / "one.h5ad", block / "turned.h5ad"
    with pytest.raises(st.InputError, match="places the spots of one section"):
        st.align(*sections, registration=tmp_path / "moved.json")


def test_a_section_over_itself_is_not_said_to_turn(block: Path) -> None:
    (laid,) = st.align(block / "one.h5ad", block / "one.h5ad").sections
    assert laid.said.endswith(": its middle moved by +0 µm in x and +0 µm in y.")


def test_a_section_over_itself_shares_all_also_where_tissue_reaches_the_edge(
    small_files: list[Path],
) -> None:
    # At 24 µm a row at the edge of the slide is a twentieth of this tissue.
    (laid,) = st.align(small_files[0], small_files[0]).sections
    assert laid.alignment.best.overlap == pytest.approx(1, abs=1e-3)
    assert laid.alignment.best.r == pytest.approx(1, abs=1e-3)
