"""Tiles that a TIFF leaves out: white, or made from finer ones, and said; never black."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import slide_files
from napari_stenhance.section.images.opening import open_image
from napari_stenhance.section.images.tiff.holes import TileGrid, holes_of
from pixel_checks import by_openslide
from pixel_files import Pixels, gradient


def leave_out(path: Path, page: int, *tiles: int) -> None:
    """Let tiles of a page be of no bytes, as scanners write what they leave out."""
    with tifffile.TiffFile(path, mode="r+") as tif:
        one = tif.pages[page]
        counts = [0 if n in tiles else count for n, count in enumerate(one.databytecounts)]
        one.tags["TileByteCounts"].overwrite(counts)


def halved(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    mean = pixels.reshape(height // 2, 2, width // 2, 2, 3).astype(float).mean(axis=(1, 3))
    return np.floor(mean + 0.5).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["svs", "tif"])
def test_holes_of_coarse_levels_are_made_from_finer_ones(suffix: str, tmp_path: Path) -> None:
    path, pixels = tmp_path / "s.svs", gradient(512, 640)
    slide_files.svs(path, pixels, thumbnail=False, beside=0)
    if suffix == "tif":
        path = path.rename(tmp_path / "s.tif")
    # Of 8 × 10, 4 × 5 and 2 × 3 tiles: one of the finest, a whole level below it, one of the last.
    leave_out(path, 0, 25)
    leave_out(path, 1, *range(20))
    leave_out(path, 2, 1)
    image = open_image(path)
    fine, half, quarter = (level[:, :] for level in image.levels)
    expected = pixels.copy()
    expected[128:192, 320:384] = 255
    np.testing.assert_array_equal(fine, expected)
    assert np.abs(half.astype(int) - halved(expected)).max() <= 1
    made = quarter[:64, 64:128]
    assert np.abs(made.astype(int) - halved(half)[:64, 64:128]).max() <= 1
    np.testing.assert_array_equal(quarter[64:], pixels[::4, ::4][64:])
    # Whatever part is asked for.
    np.testing.assert_array_equal(image.levels[2][10:50, 60:101], quarter[10:50, 60:101])
    assert image.doubts == (
        "The file leaves out 1 of 80 tiles; it is white.",
        "The file leaves out 21 tiles of coarser levels; they are made from finer ones.",
    )
    if suffix == "svs":
        # OpenSlide does the same, with another filter.
        for level, shown in enumerate((fine, half, quarter)):
            off = np.abs(by_openslide(path, level).astype(int) - shown)
            assert np.quantile(off, 0.98) <= 4


def test_what_is_left_out_of_every_level_is_white_and_no_hole(tmp_path: Path) -> None:
    path, pixels = tmp_path / "s.svs", gradient(512, 640)
    slide_files.svs(path, pixels, thumbnail=False, beside=0)
    leave_out(path, 0, 0, 1, 10, 11)
    leave_out(path, 1, 0)
    image = open_image(path)
    assert image.doubts == ("The file leaves out 4 of 80 tiles; they are white.",)
    assert (image.levels[1][:64, :64] == 255).all()


def test_deep_samples_have_the_range_of_a_level_that_is_whole(tmp_path: Path) -> None:
    path, pixels = tmp_path / "s.tif", gradient(256, 256).astype(np.uint16) * 16
    options = {"photometric": "rgb", "metadata": None, "tile": (64, 64)}
    with tifffile.TiffWriter(path) as tif:
        for level in (pixels, pixels[::2, ::2]):
            tif.write(level, subfiletype=len(level) // 256 ^ 1, **options)
    leave_out(path, 1, *range(4))
    image = open_image(path)
    assert image.conversions == ("16-bit samples, 0 to 4095, to 8 bits",)
    np.testing.assert_array_equal(image.levels[0][:, :], np.rint(pixels * (255 / 4095)))
    assert np.abs(image.levels[1][:, :].astype(int) - halved(image.levels[0][:, :])).max() <= 1


def test_holes_are_found_where_anything_finer_is_stored() -> None:
    """Against a search of every tile, with tiles and sizes that divide nothing."""
    rng = np.random.default_rng(0)
    shapes = [(1000, 1300), (500, 650), (125, 162)]
    tiles = [(64, 48), (32, 80), (16, 16)]
    grids = [
        TileGrid(s, t, rng.random((-(-s[0] // t[0]), -(-s[1] // t[1]))) < share)
        for s, t, share in zip(shapes, tiles, (0.1, 0.3, 0.2), strict=True)
    ]
    holes = holes_of(grids)
    assert not holes[0].any()
    shown = grids[0].stored
    for n in (1, 2):
        step = shapes[0][0] // shapes[1][0] if n == 1 else 4
        for i, j in np.ndindex(grids[n].stored.shape):
            (th, tw), (fh, fw) = tiles[n], tiles[n - 1]
            under = shown[
                i * th * step // fh : -(-(i + 1) * th * step // fh),
                j * tw * step // fw : -(-(j + 1) * tw * step // fw),
            ]
            assert holes[n][i, j] == (not grids[n].stored[i, j] and under.any())
        shown = grids[n].stored | holes[n]
