"""Which image of a file is the slide, and at what scale; what is refused."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import slide_files as made
from fuzz_images import write_pyramid
from made_sections import write_image
from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.section.images.opening import image_size, open_image
from napari_stenhance.section.pyramids import cached_pyramid
from napari_stenhance.section.section import open_section
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.hashing import FileState

Pixels = NDArray[np.uint8]
LOSSLESS = {"photometric": "rgb", "compression": "zlib"}


def _pixels(shape: tuple[int, int] = (300, 400), seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def _at(mpp: float, y: float | None = None) -> dict[str, Any]:
    resolution = (1e4 / mpp, 1e4 / (y or mpp))
    return {"resolution": resolution, "resolutionunit": "CENTIMETER", "metadata": None, **LOSSLESS}


def _size(mpp: float, name: str = "", unit: str = "µm") -> dict[str, Any]:
    about = {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    about |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    return {"axes": "YXS", **({"Name": name} if name else {}), **about}


def _thumbnail_first_pyramid(path: Path, pixels: Pixels) -> None:
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels[::16, ::16], **_at(8.0))
        tif.write(pixels, tile=(64, 64), **_at(0.5))
        tif.write(pixels[::2, ::2], tile=(64, 64), subfiletype=1, **_at(1.0))


def _thumbnail_first_flat(path: Path, pixels: Pixels) -> None:
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels[::16, ::16], **_at(8.0))
        tif.write(pixels, **_at(0.5))


def _flat_whose_second_page_states_nothing(path: Path, pixels: Pixels) -> None:
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels[::16, ::16], **_at(8.0))
        tif.write(pixels, **{**_at(8.0), "resolution": None, "resolutionunit": None})


def _reduced_larger_than_the_slide(path: Path, pixels: Pixels) -> None:
    with tifffile.TiffWriter(path) as tif:
        tif.write(_pixels((700, 900), 1), subfiletype=1, **_at(8.0))
        tif.write(pixels, **_at(0.5))


def _large_label_in_ome(path: Path, pixels: Pixels) -> None:
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(_pixels((600, 700), 1), metadata=_size(16.0, "label image"), **LOSSLESS)
        tif.write(pixels, metadata=_size(500.0, "label-free", "nm"), **LOSSLESS)


def _two_images_of_one_size_in_ome(path: Path, pixels: Pixels) -> None:
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(_pixels((300, 400), 1), metadata=_size(4.0, "overview"), **LOSSLESS)
        tif.write(pixels, metadata=_size(0.5, "slide"), **LOSSLESS)


@pytest.mark.parametrize(
    ("write", "name", "mpp"),
    [
        (_thumbnail_first_pyramid, "s.tif", 0.5),
        (_thumbnail_first_flat, "s.tif", 0.5),
        (_flat_whose_second_page_states_nothing, "s.tif", None),
        (_reduced_larger_than_the_slide, "s.tif", 0.5),
        (_large_label_in_ome, "s.ome.tif", 0.5),
        (_two_images_of_one_size_in_ome, "s.ome.tif", 0.5),
    ],
)
def test_pixels_size_and_scale_are_of_one_image(
    write: Callable[[Path, Pixels], None],
    name: str,
    mpp: float | None,
    tmp_path: Path,
    cache: Cache,
) -> None:
    pixels = _pixels()
    write(tmp_path / name, pixels)
    slide = Slide.open(tmp_path / name, cache=cache)
    assert image_size(tmp_path / name) == slide.shape == (300, 400)
    np.testing.assert_array_equal(slide.levels[0].compute(), pixels)
    assert slide.mpp == (mpp and pytest.approx(mpp))
    assert slide.doubts == ()


def test_a_pyramid_in_the_cache_is_of_its_page(tmp_path: Path, cache: Cache) -> None:
    _thumbnail_first_flat(tmp_path / "s.tif", _pixels())
    image = open_image(tmp_path / "s.tif")
    state = FileState.of(image.path, cache)
    for part in (image.part, "0"):
        cached_pyramid(replace(image, part=part), state, cache, Job())
    assert len(list((cache.root / "pyramids3").iterdir())) == 2


def test_opening_a_pyramid_reads_no_more_than_its_headers(tmp_path: Path, cache: Cache) -> None:
    """A file on a slow share is seen before all of it is read."""
    write_pyramid(tmp_path / "s.tif", _pixels())
    slide = Slide.open(tmp_path / "s.tif", cache=cache)
    assert not cache.root.exists()
    before = slide.sha256
    assert before == hashlib.sha256((tmp_path / "s.tif").read_bytes()).hexdigest()
    (tmp_path / "s.tif").write_bytes((tmp_path / "s.tif").read_bytes() + b" ")
    changed = Slide.open(tmp_path / "s.tif", cache=cache)
    assert not changed.same_as(slide)
    assert changed.sha256 != before
    slide = Slide.open(tmp_path / "s.tif", cache=cache)
    (tmp_path / "s.tif").write_bytes(b"II*\0")
    with pytest.raises(InputError, match=r"s\.tif: this file has changed since it was opened"):
        slide.sha256  # noqa: B018


@pytest.mark.parametrize("said", ["0", "-0.5", "1000", "nan", "inf", "none"])
def test_a_nonsensical_scale_is_said_and_stops_no_given_one(
    said: str, tmp_path: Path, cache: Cache
) -> None:
    made.svs(tmp_path / "s.svs", _pixels(), f"MPP = {said}")
    section = open_section(tmp_path / "s.svs", cache=cache)
    assert section.mpp is None
    assert any("cannot be right for a slide" in doubt for doubt in section.doubts)
    given = open_section(tmp_path / "s.svs", mpp=0.5, cache=cache)
    assert (given.mpp, given.need_slide().mpp_source) == (0.5, "given")


def test_pixels_that_are_not_square_have_no_scale(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "s.ome.tif"
    about = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.52}
    tifffile.imwrite(path, _pixels(), metadata=about, **LOSSLESS)
    tags = tmp_path / "t.tif"
    tifffile.imwrite(tags, _pixels(), **_at(0.5, 0.25))
    for slide in (Slide.open(path, cache=cache), Slide.open(tags, cache=cache)):
        assert slide.mpp is None
        assert "not square" in slide.doubts[0]
        assert slide.with_mpp(0.5, "given").mpp == 0.5


@pytest.mark.parametrize("rows", [64, 7])
def test_strips_of_few_bits_and_a_short_last_one(rows: int, tmp_path: Path, cache: Cache) -> None:
    pixels = _pixels((100, 130))
    tifffile.imwrite(tmp_path / "s.tif", pixels, photometric="rgb", rowsperstrip=rows)
    tifffile.imwrite(
        tmp_path / "w.tif", pixels.astype("u2") * 257, rowsperstrip=rows, photometric="rgb"
    )
    for name in ("s.tif", "w.tif"):
        read = Slide.open(tmp_path / name, cache=cache).levels[0].compute()
        np.testing.assert_array_equal(read, pixels)
    bits = pixels[..., 0] > 127
    tifffile.imwrite(tmp_path / "b.tif", bits, photometric="minisblack", rowsperstrip=rows)
    read = Slide.open(tmp_path / "b.tif", cache=cache).levels[0].compute()
    np.testing.assert_array_equal(read, np.repeat(bits[..., None] * np.uint8(255), 3, axis=2))


def test_colours_apart_and_transparency(tmp_path: Path, cache: Cache) -> None:
    pixels = _pixels()
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "c.ome.tif", planes, metadata={"axes": "CYX"})
    for name in ("p.tif", "c.ome.tif"):
        read = Slide.open(tmp_path / name, cache=cache).levels[0].compute()
        np.testing.assert_array_equal(read, pixels)
    glass = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    glass[:100] = 0
    write_pyramid(tmp_path / "a.tif", glass, compression="zlib", extrasamples=["unassalpha"])
    read = Slide.open(tmp_path / "a.tif", cache=cache).levels[0].compute()
    assert (read[:100] == 255).all()
    np.testing.assert_array_equal(read[100:], pixels[100:])


def test_tiles_that_are_left_out_are_white(tmp_path: Path, cache: Cache) -> None:
    pixels = _pixels((128, 128))
    path = tmp_path / "s.tif"
    write_pyramid(path, pixels)
    with tifffile.TiffFile(path, mode="r+") as tif:
        counts = tif.pages.first.tags["TileByteCounts"]
        counts.overwrite((0, *counts.value[1:]))
    slide = Slide.open(path, cache=cache)
    read = slide.levels[0].compute()
    assert (read[:64, :64] == 255).all()
    np.testing.assert_array_equal(read[64:], pixels[64:])
    # Whatever is asked of a level, as NumPy answers.
    for key in (np.s_[70:100:3, 5:80], np.s_[100, 3:9], np.s_[64:, :, 1], np.s_[-5:, -7]):
        np.testing.assert_array_equal(slide.levels[0][key].compute(), read[key])
        np.testing.assert_array_equal(slide.pixels[0][key], read[key])


# Damage


def _set_tags(path: Path, **values: Any) -> None:
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name, value in values.items():
            tif.pages.first.tags[name].overwrite(value)


def _huge_png(path: Path, side: int = 900_000) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 1)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9999))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b""))


def _beyond_png(path: Path) -> None:
    _huge_png(path, 2**31 - 1)


def _empty(path: Path) -> None:
    path.touch()


def _huge_jpeg(path: Path) -> None:
    write_image(Path(f"{path}[interlace]"), _pixels())
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc2")
    content[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    path.write_bytes(content)


def _huge_tiff(path: Path) -> None:
    tifffile.imwrite(path, _pixels((50, 50)), photometric="rgb")
    _set_tags(path, ImageWidth=10**6, ImageLength=10**6, RowsPerStrip=10**6)


def _huge_tiles(path: Path) -> None:
    write_pyramid(path, _pixels(), compression="zlib")
    _set_tags(path, TileWidth=60_000, TileLength=60_000)


def _many_tiles(path: Path) -> None:
    write_pyramid(path, _pixels(), compression="zlib")
    _set_tags(path, TileWidth=16, TileLength=16)


def _tiles_beyond_the_end(path: Path) -> None:
    write_pyramid(path, _pixels(), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        counts = tif.pages.first.tags["TileByteCounts"]
        counts.overwrite((*counts.value[:-1], 10**6))


def _jpeg_in_tile(path: Path) -> None:
    """A tile of 64 px whose own header says 65,000."""
    write_pyramid(path, _pixels(), compression="jpeg")
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages.first.dataoffsets[0]
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc0", offset)
    content[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    path.write_bytes(content)


def _bomb(path: Path) -> None:
    """A strip that deflates to 64 MB, for an image of 50 × 50 px."""
    tifffile.imwrite(path, _pixels((50, 50)), compression="zlib", photometric="rgb", metadata=None)
    deflate = zlib.compressobj()
    parts = [deflate.compress(bytes(2**20)) for _ in range(64)]
    bomb = b"".join([*parts, deflate.flush()])
    content = path.read_bytes()
    path.write_bytes(content + bomb)
    _set_tags(path, StripOffsets=len(content), StripByteCounts=len(bomb))


def _circle(path: Path, number: int = 150) -> None:
    """Pages of which the last says that the first is next."""
    with tifffile.TiffWriter(path) as tif:
        for _ in range(number):
            tif.write(_pixels((4, 4)), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path) as tif:
        first, last = tif.pages[0].offset, tif.pages[-1].offset
        tags = len(tif.pages[0].tags)
    content = bytearray(path.read_bytes())
    at = last + 2 + 12 * tags
    assert content[at : at + 4] == bytes(4)
    content[at : at + 4] = struct.pack("<I", first)
    path.write_bytes(content)


def _cut_pyramid(path: Path) -> None:
    write_pyramid(path, _pixels(), compression="zlib")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "name", "said"),
    [
        (_huge_png, "s.png", "claims 900000 × 900000 px, more than the file can hold"),
        (_empty, "s.svs", "cannot be read (it is empty)"),
        (_empty, "s.jp2", "cannot be read (it is empty)"),
        (_beyond_png, "s.png", "cannot be read (it is damaged)"),
        (_huge_jpeg, "s.jpg", "claims 65000 × 65000 px, more than the file can hold"),
        (_huge_tiff, "s.tif", "it claims more pixels than the file can hold"),
        (_huge_tiles, "s.tif", "too large"),
        (_many_tiles, "s.tif", "of its 475 tiles"),
        (_tiles_beyond_the_end, "s.tif", "the file ends before"),
        (_jpeg_in_tile, "s.tif", "it holds (65000, 65000) px instead of (64, 64)"),
        (_bomb, "s.tif", "a tile of the image cannot be read"),
        (_circle, "s.tif", "in a circle"),
        (_cut_pyramid, "s.tif", "cannot be read"),
    ],
)
def test_absurd_and_torn_files(
    spoil: Callable[[Path], None], name: str, said: str, tmp_path: Path, cache: Cache
) -> None:
    path = tmp_path / name
    spoil(path)
    with pytest.raises(InputError) as error:
        Slide.open(path, cache=cache).levels[0].compute()
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)
    assert list((cache.root / "pyramids3").glob("*")) == []
