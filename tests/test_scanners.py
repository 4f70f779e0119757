"""Slides as scanners of several makers write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import slide_files as made
from napari_stenhance.errors import InputError
from napari_stenhance.section.images.opening import open_image
from pixel_checks import (
    GREY,
    RGB,
    as_rgb,
    by_openslide,
    difference,
)
from pixel_files import (
    gradient,
    write_ndpi,
)

# NDPI


def test_ndpi_reads_only_the_parts_in_view(tmp_path: Path, bytes_read: list[int]) -> None:
    pixels = np.kron(gradient(32, 48), np.ones((16, 16, 1), np.uint8))
    lengths = write_ndpi(tmp_path / "s.ndpi", pixels, pixels[::2, ::2], interval=16)
    image = open_image(tmp_path / "s.ndpi")
    assert (image.shape, image.mpp, len(image.levels)) == ((512, 768), 0.5, 2)
    bytes_read.clear()
    part = image.levels[0][300:324, 260:300]
    assert difference(part, pixels[300:324, 260:300]) <= 3
    # 4 rows of parts of 8 × 128 px, of which the third column is in view.
    assert len(bytes_read) == 4
    assert sum(bytes_read) <= 4 * max(lengths)
    for n, level in enumerate(image.levels):
        shown = level[:, :]
        assert difference(shown, pixels[:: 2**n, :: 2**n]) <= 3
        assert difference(shown, by_openslide(tmp_path / "s.ndpi", n)) <= 2


def test_an_ndpi_whose_part_is_cut_is_said(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 256, 3), dtype=np.uint8)
    lengths = write_ndpi(tmp_path / "s.ndpi", pixels, pixels[::2, ::2])
    content = bytearray((tmp_path / "s.ndpi").read_bytes())
    end = content.index(b"\xff\xd1")
    content[end - lengths[1] // 2 : end + 2] = bytes(lengths[1] // 2 + 2)
    (tmp_path / "s.ndpi").write_bytes(content)
    level = open_image(tmp_path / "s.ndpi").levels[0]
    level[8:, :]
    with pytest.raises(InputError, match="it ends early"):
        level[:8, 64:128]


# Other makers' slides


def test_padding_of_philips_is_not_shown(tmp_path: Path) -> None:
    """A level of 128 × 128 px lies in a tile of 256 × 256, of which the rest is black."""
    pixels = np.full((256, 256, 3), 200, np.uint8)
    pixels[:, 128:] = 100
    made.philips(tmp_path / "s.tiff", pixels, tile=256)
    image = open_image(tmp_path / "s.tiff")
    coarse = image.levels[1][:, :]
    assert coarse.shape == (128, 128, 3)
    assert coarse.min() >= 98


@pytest.mark.parametrize("codec", ["jpeg", "jpeg2000", "lzw", None])
@pytest.mark.parametrize("part", ["TileByteCounts", "TileOffsets"])
def test_a_tile_that_the_file_leaves_out_is_white(
    part: str, codec: str | None, tmp_path: Path
) -> None:
    with tifffile.TiffWriter(tmp_path / "s.tif") as tif:
        options = {"photometric": "rgb", "metadata": None, "compression": codec, "tile": (32, 32)}
        tif.write(RGB // 2, subifds=1, **options)
        tif.write(RGB[::2, ::2] // 2, subfiletype=1, **options)
    with tifffile.TiffFile(tmp_path / "s.tif", mode="r+") as tif:
        tag = tif.pages.first.tags[part]
        tag.overwrite((0, *tag.value[1:]))
    shown = open_image(tmp_path / "s.tif").levels[0][:, :]
    assert (shown[:32, :32] == 255).all()
    assert (shown[32:] < 160).all()
    assert (shown[:32, 32:] < 160).all()


def test_levels_of_one_image_may_be_stored_in_other_ways(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "s.tif") as tif:
        options = {"metadata": None, "tile": (32, 32)}
        tif.write(255 - GREY, subifds=1, photometric="miniswhite", **options)
        tif.write(GREY[::2, ::2], subfiletype=1, photometric="minisblack", **options)
    for n, level in enumerate(open_image(tmp_path / "s.tif").levels):
        assert difference(level[:, :], as_rgb(GREY[:: 2**n, :: 2**n])) == 0


@pytest.mark.parametrize("length", [1, 60])
def test_levels_of_other_shapes_are_refused(length: int, tmp_path: Path) -> None:
    made.svs(tmp_path / "s.svs", gradient(160, 240))
    with tifffile.TiffFile(tmp_path / "s.svs", mode="r+") as tif:
        tif.pages.first.tags["ImageLength"].overwrite(length)
    with pytest.raises(InputError, match=rf"is no smaller one of 240 × {length} px"):
        open_image(tmp_path / "s.svs")
