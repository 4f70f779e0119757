"""Slides as scanners of several makers write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fuzz_images import write_svs
from napari_stenhance.errors import InputError
from napari_stenhance.section.images.opening import open_image
from napari_stenhance.section.images.tiff.tiles import TiffReader
from pixel_checks import (
    GREY,
    RGB,
    as_rgb,
    by_openslide,
    difference,
)
from pixel_files import (
    Pixels,
    gradient,
    write_ndpi,
)
from vendor_files import write_bif, write_philips, write_qptiff, write_scn

# NDPI


def test_ndpi_reads_only_the_parts_in_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.kron(gradient(32, 48), np.ones((16, 16, 1), np.uint8))
    lengths = write_ndpi(tmp_path / "s.ndpi", pixels, pixels[::2, ::2], interval=16)
    image = open_image(tmp_path / "s.ndpi")
    assert (image.shape, image.mpp, len(image.levels)) == ((512, 768), 0.5, 2)
    counts: list[int] = []
    read = TiffReader.bytes_at

    def counting(self: TiffReader, offset: int, count: int) -> bytes:
        counts.append(count)
        return read(self, offset, count)

    monkeypatch.setattr(TiffReader, "bytes_at", counting)
    part = image.levels[0][300:324, 260:300]
    assert difference(part, pixels[300:324, 260:300]) <= 3
    # 4 rows of parts of 8 × 128 px, of which the third column is in view.
    assert len(counts) == 4
    assert sum(counts) <= 4 * max(lengths)
    monkeypatch.undo()
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


@pytest.mark.parametrize(
    ("write", "name", "step", "known"),
    [
        (write_svs, "s.svs", 4, True),
        (write_scn, "s.scn", 4, False),
        (write_bif, "s.bif", 2, False),
        (write_philips, "s.tiff", 2, True),
        (write_qptiff, "s.qptiff", 2, False),
    ],
)
def test_levels_of_slides_as_their_makers_write_them(
    write: Callable[[Path, Pixels], None], name: str, step: int, known: bool, tmp_path: Path
) -> None:
    pixels = np.kron(gradient(16, 24), np.ones((16, 16, 1), np.uint8))
    write(tmp_path / name, pixels)
    image = open_image(tmp_path / name)
    assert image.downsamples == (1, step)
    for n, down in enumerate((1, step)):
        shown = image.levels[n][:, :]
        assert difference(shown, pixels[::down, ::down]) <= 8
        if known:
            assert difference(shown, by_openslide(tmp_path / name, n)) <= 2
    assert image.doubts == ()


def test_padding_of_philips_is_not_shown(tmp_path: Path) -> None:
    """A level of 128 × 128 px lies in a tile of 256 × 256, of which the rest is black."""
    pixels = np.full((256, 256, 3), 200, np.uint8)
    pixels[:, 128:] = 100
    write_philips(tmp_path / "s.tiff", pixels, tile=256)
    image = open_image(tmp_path / "s.tiff")
    coarse = image.levels[1][:, :]
    assert coarse.shape == (128, 128, 3)
    assert coarse.min() >= 98


def test_a_bif_whose_tiles_overlap_is_refused(tmp_path: Path) -> None:
    """Side by side, all seams would be shown twice, and places would move apart."""
    pixels = np.kron(gradient(16, 24), np.ones((16, 16, 1), np.uint8))
    write_bif(tmp_path / "s.bif", pixels, overlap=24)
    with pytest.raises(InputError, match="tiles of this image overlap by up to 24 px"):
        open_image(tmp_path / "s.bif")


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
    write_svs(tmp_path / "s.svs", gradient(160, 240))
    with tifffile.TiffFile(tmp_path / "s.svs", mode="r+") as tif:
        tif.pages.first.tags["ImageLength"].overwrite(length)
    with pytest.raises(InputError, match=rf"is no smaller one of 240 × {length} px"):
        open_image(tmp_path / "s.svs")
