"""A tissue mask that somebody gives: read right or refused, used by every verb, known by hash."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from typer.testing import CliRunner

import napari_stenhance as st
from napari_stenhance.cli import app
from napari_stenhance.errors import InputError
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.tissue_mask import TissueMask
from napari_stenhance.tasks.trained import Trained
from ome_zarr_slides import write_ome_zarr

Mask = NDArray[np.bool_]
HEIGHT, WIDTH = 400, 330


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Slide:
    """A white slide of 0.5 µm per pixel: 25 × 21 superpixels, of which the last column is cut."""
    path = tmp_path_factory.mktemp("slide") / "he.tif"
    pixels = np.full((HEIGHT, WIDTH, 3), 240, np.uint8)
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", compression="zlib")
    return Slide.open(path, mpp=0.5)


def _full() -> Mask:
    """Tissue in rows 48–207 and columns 160–329: superpixels 3–12 and 10–20."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[48:208, 160:] = True
    return mask


def _wanted() -> Mask:
    mask = np.zeros((25, 21), bool)
    mask[3:13, 10:] = True
    return mask


def _png(path: Path, values: NDArray[Any]) -> Path:
    path.write_bytes(imagecodecs.png_encode(values))
    return path


def _tiff(path: Path, values: NDArray[Any], **options: Any) -> Path:
    tifffile.imwrite(path, values, **{"photometric": "minisblack", **options})
    return path


def _geojson(path: Path) -> Path:
    corners = [[79.5, 23.5], [200, 23.5], [200, 103.5], [79.5, 103.5], [79.5, 23.5]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [corners]}), "utf-8")
    return path


def _labels(path: Path, values: NDArray[Any], um: float) -> Path:
    """Write a label image of OME-Zarr 0.5, as others do: whole numbers of 32 bits."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    placed = [{"type": "scale", "scale": [um, um]}]
    dataset = {"path": "0", "coordinateTransformations": placed}
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": [dataset]}],
        "image-label": {},
    }
    array = group.create_array("0", shape=values.shape, dtype="i4", dimension_names=("y", "x"))
    array[...] = values.astype("i4") * 70000
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda _: _full(),
        lambda _: _wanted().astype(np.int64) * 3,
        lambda p: _png(p / "m.png", _full().astype(np.uint8)),
        lambda p: _png(p / "m.png", np.repeat(_full()[..., None] * np.uint8(255), 3, axis=-1)),
        lambda p: _png(p / "m.png", _full()[8::16, 8::16].astype(np.uint16) * 40000),
        lambda p: _tiff(p / "m.tif", _full()[::2, ::2].astype(np.uint8), compression="zstd"),
        lambda p: _tiff(p / "m.ome.tif", _full()[None].astype(np.int32), metadata={"axes": "CYX"}),
        lambda p: _geojson(p / "m.geojson"),
        lambda p: _labels(p / "m.zarr", _full()[1::2, 1::2], 1.0),
        lambda p: _labels(p / "m.zarr", _wanted(), 8.0),
    ],
)
def test_a_mask_of_any_scale_is_laid_over_the_slide(
    make: Callable[[Path], Any], slide: Slide, tmp_path: Path
) -> None:
    given = TissueMask.given(make(tmp_path), slide)
    assert given.grid == Grid.over(slide)
    np.testing.assert_array_equal(given.values, _wanted())
    assert given.sha256 == TissueMask(_wanted(), Grid.over(slide)).sha256
    # On a coarser grid, a superpixel that is half covered is tissue.
    coarse = given.on(Grid.over(slide, 16.0))
    assert coarse.shape == (13, 11)
    rows, columns = np.nonzero(coarse)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 6, 5, 10)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: np.ones((400, 300), bool), "has 300 × 400 px, which is no size of that slide"),
        (lambda _: _full().T, "it has 400 × 330 px, which is no size of that slide: he has 330"),
        (lambda _: np.ones((1, 1), bool), "coarser than 32 µm"),
        (lambda _: np.zeros((25, 21), bool), "mask is empty: nothing of the slide is tissue"),
        (lambda _: _full().astype(float), "is an array .* and not 2 axes of float64"),
        (lambda _: _full()[None], "and not 3 axes of bool"),
        (lambda _: np.zeros((0, 0), bool), "and not one of no pixel"),
        (lambda p: _tiff(p / "m.tif", _full() * np.float32(np.nan)), "are float32, not whole num"),
        (lambda p: p / "none.png", "there is no such mask"),
        (lambda p: _png(p / "m.png", np.ones((40, 20), np.uint8)), "no size of that slide"),
        (
            lambda p: _png(p / "m.png", np.tile(np.uint8([1, 2, 3]), (25, 21, 1))),
            "it is in colours, or transparent",
        ),
        (
            lambda p: _tiff(p / "m.tif", _full().astype(np.uint8) * 9, compression="jpeg"),
            "may change labels",
        ),
        (lambda p: _tiff(p / "m.tif", np.ones((2, 25, 21), np.uint8)), "several images, or axes"),
        (lambda p: _labels(p / "m.zarr", _wanted(), 4.0), "no size of that slide"),
        (
            lambda p: write_ome_zarr(p / "m.zarr", np.ones((25, 21, 3), np.uint8)),
            "a mask is one plane in one channel",
        ),
    ],
)
def test_a_mask_that_cannot_be_of_the_slide_is_refused(
    make: Callable[[Path], Any], why: str, slide: Slide, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=why):
        TissueMask.given(make(tmp_path), slide)


def test_damaged_masks_are_sentences(slide: Slide, tmp_path: Path) -> None:
    huge = bytearray(_png(tmp_path / "m.png", _full().astype(np.uint8)).read_bytes())
    for size in (8, 40, len(huge) - 30):
        (tmp_path / "cut.png").write_bytes(huge[:size])
        with pytest.raises(InputError, match=r"cut\.png: this"):
            TissueMask.given(tmp_path / "cut.png", slide)
    huge[16:24] = (100_000).to_bytes(4, "big") * 2
    (tmp_path / "huge.png").write_bytes(huge)
    with pytest.raises(InputError, match="it has 100000 × 100000 px, and a mask at most 64 mill"):
        TissueMask.given(tmp_path / "huge.png", slide)
    whole = _tiff(tmp_path / "m.tif", _full().astype(np.uint8), compression="zlib").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.tif: this mask"):
        TissueMask.given(tmp_path / "cut.tif", slide)


def test_on_coarser_superpixels_the_result_keeps_both(slide: Slide, tmp_path: Path) -> None:
    mask, grid = TissueMask(_wanted(), Grid.over(slide)), Grid.over(slide, 16.0)
    with ResultFolder.writing(tmp_path / "r", slide, "run") as result:
        for number in range(2):
            identity = {"tissue_sha256": mask.sha256} if number else {}
            run = result.start_run("run", identity, {}, grid)
            kind = mask.name if number else "density"
            result.write_tissue(mask.on(grid) if number else ~mask.on(grid), grid, kind)
        result.write_tissue(mask.values, mask.grid, mask.name)
        names = [f"tissue-{mask.name}", f"tissue-{mask.name}-8um"]
        assert result.tissue_names(run) == names
        np.testing.assert_array_equal(result.tissue(run), mask.on(grid))
        np.testing.assert_array_equal(result.given_tissue(run), mask.values)
        np.testing.assert_array_equal(result.tissue(), ~mask.on(grid))
        assert result.given_tissue("run") is None
    again = TissueMask.given(tmp_path / "r" / names[1], slide)
    assert again.sha256 == mask.sha256


def _run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == code, done.output
    return " ".join((done.stdout + done.stderr).split())


def test_every_verb_uses_the_mask_and_the_result_keeps_it(here: Path) -> None:
    slide = st.read("one.h5ad").need_slide()
    grid = Grid.over(slide)
    found = st.Result.open("one.stenhance.zarr")
    tissue = ResultFolder.open(found.path).tissue()
    mask = tissue.copy()
    mask[:, : mask.shape[1] // 2] = False
    _png(here / "half.png", mask.astype(np.uint8))

    # Learned and predicted on the mask alone; the same again is complete.
    command = ("enhance", "one.h5ad", "--out", "given", "--epochs", 1, "--device", "cpu")
    _run(*command, "--tissue", "half.png")
    result = ResultFolder.open(here / "given")
    (run,) = result.runs
    sha = TissueMask(mask, grid).sha256
    identity = result.run_attributes(run)["identity"]
    assert identity["tissue_sha256"] == identity["learned_from"][0]["tissue_sha256"] == sha
    np.testing.assert_array_equal(result.tissue(run), mask)
    np.testing.assert_array_equal(result.given_tissue(run), mask)
    np.testing.assert_array_equal(np.isfinite(result.field(run).image("G1")), mask)
    assert "already complete" in _run(*command, "--tissue", "given/tissue")
    assert f"Tissue as given: tissue (given-{sha[:12]})" in _run("info", "given")
    assert st.read("one.h5ad", tissue=mask).need_slide().tissue.sha256 == sha

    # A model predicts with a mask of the slide that it is used on, beside what was found there.
    _run("predict", "one.stenhance.zarr", "--on", "one.h5ad", "--out", "p", "--device", "cpu")
    predict = ("predict", "one.stenhance.zarr", "--on", "one.h5ad", "--out", "p", "--device", "cpu")
    _run(*predict, "--tissue", "half.png")
    predicted = ResultFolder.open(here / "p")
    usual, given = predicted.runs
    assert "tissue_sha256" not in predicted.run_attributes(usual)["identity"]
    np.testing.assert_array_equal(predicted.tissue(usual), tissue)
    assert predicted.given_tissue(usual) is None
    np.testing.assert_array_equal(predicted.tissue(given), mask)
    of = [predicted.field(name).image("G1") for name in (usual, given)]
    np.testing.assert_array_equal(np.isfinite(of[1]), mask)
    assert predicted.tissue_names(given) == [f"tissue-given-{sha[:12]}"]
    # A model that is taken from such a run learned without the mask of its slide.
    assert Trained.open(here / "p", given).identity == Trained.open(here / "p", usual).identity

    # What a mask is of is said before anything is computed.
    _png(here / "wrong.png", mask[:, :-9].astype(np.uint8))
    _png(here / "empty.png", np.zeros_like(mask, np.uint8))
    far = [[9e5, 9e5], [9.1e5, 9e5], [9.1e5, 9.1e5], [9e5, 9e5]]
    (here / "far.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [far]}))
    for name, said in (
        ("wrong.png", "which is no size of that slide"),
        ("empty.png", "The tissue mask is empty"),
        ("far.geojson", "no superpixel of one has its centre in these polygons"),
        ("umi", "no such mask; give its file, or how tissue is found: density or histosweep"),
    ):
        assert f"{said}" in _run(*command, "--tissue", name, code=2)
    for two in (
        ("enhance", "one.h5ad", "two.h5ad", "--tissue", "half.png"),
        ("enhance", "one.h5ad", "--predict", "two.h5ad", "--tissue", "half.png"),
        ("predict", "one.stenhance.zarr", "--on", "one.h5ad", "--on", "two.h5ad",
         "--tissue", "half.png"),
    ):  # fmt: skip
        assert "One tissue mask is of one slide, and there are 2" in _run(*two, code=2)
    said = _run("evaluate", "one.h5ad", "--tissue", "half.png", code=2)
    assert "Tissue: an option of" in said
