"""Every codec of tiles gives the pixels, or says that they are not all there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import pyvips
import tifffile

from napari_stenhance.errors import InputError
from napari_stenhance.section.images.opening import open_image
from napari_stenhance.section.images.tiff import jpeg_xr
from napari_stenhance.section.images.tiff.claims import claims_of
from pixel_checks import (
    GREY,
    RGB,
    STRIPS,
    TILES,
    as_rgb,
    by_openslide,
    difference,
    read_image,
    write_flat,
)
from pixel_files import (
    codestream,
    gradient,
    image_tags,
    to_ycbcr,
    with_markers,
    without_tables,
    write_tiff,
    ycbcr_blocks,
)

# Codecs

LOSSLESS = {
    "none": {},
    "lzw": {"compression": "lzw"},
    "deflate": {"compression": "zlib"},
    "adobe deflate": {"compression": "deflate"},
    "packbits": {"compression": "packbits"},
    "zstd": {"compression": "zstd"},
    "lzma": {"compression": "lzma"},
    "webp": {"compression": "webp", "compressionargs": {"lossless": True}},
    "jpeg 2000": {"compression": "jpeg2000", "compressionargs": {"level": 0}},
    "jpeg 2000 of gdal": {"compression": 33004, "compressionargs": {"level": 0}},
    "jpeg 2000 of aperio": {"compression": 33005, "compressionargs": {"level": 0}},
    "jpeg xr": {"compression": "jpegxr"},
    "jpeg xr of ndpi": {"compression": 22610},
    "jpeg xl": {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    "lerc": {"compression": "lerc"},
    "png": {"compression": "png"},
}


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
@pytest.mark.parametrize("codec", LOSSLESS)
def test_every_codec_gives_the_pixels(codec: str, layout: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    write_flat(path, RGB, **LOSSLESS[codec], **layout)
    shown, image = read_image(path)
    assert difference(shown, RGB) == 0
    assert (image.conversions, image.doubts) == ((), ())


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_predictors_and_orders_of_bytes(
    byteorder: str, bigtiff: bool, dtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "s.tif"
    options = {"byteorder": byteorder, "bigtiff": bigtiff}
    values = RGB.astype(dtype) * (257 if dtype == "u2" else 1)
    for more in ({}, {"predictor": True, "compression": "lzw"}):
        write_flat(path, values, **options, **more, **TILES)
        assert difference(read_image(path)[0], RGB) == 0


@pytest.mark.parametrize("codec", [1, 5, 32773])
def test_bits_that_come_in_the_other_order(codec: int, tmp_path: Path) -> None:
    encode = {1: bytes, 5: imagecodecs.lzw_encode, 32773: imagecodecs.packbits_encode}[codec]
    strip = imagecodecs.bitorder_encode(encode(RGB.tobytes()))
    tags = image_tags((96, 128), 2, codec, rows=96) | {266: ("H", 2)}
    write_tiff(tmp_path / "s.tif", tags, [bytes(strip)])
    assert difference(read_image(tmp_path / "s.tif")[0], RGB) == 0


def test_fax_of_two_tones(tmp_path: Path) -> None:
    black = np.kron(np.eye(8, 10, dtype=np.uint8), np.ones((8, 8), np.uint8))
    image = pyvips.Image.new_from_array(255 - 255 * black).copy(interpretation="b-w")
    image.tiffsave(str(tmp_path / "s.tif"), compression="ccittfax4", bitdepth=1)
    assert difference(read_image(tmp_path / "s.tif")[0], as_rgb(255 - 255 * black)) == 0


@pytest.mark.parametrize(
    ("codec", "zeros"),
    [
        *((c, True) for c in ("jpeg", "png", "jpeg2000", "jpegxl", "lzw", "zlib", "lzma")),
        *((codec, False) for codec in (*LOSSLESS, "jpeg")),
    ],
)
def test_a_tile_that_is_cut_inside_is_said(codec: str, zeros: bool, tmp_path: Path) -> None:
    """Decoders would fill the rest with grey or black, or take what was there before."""
    path = tmp_path / "s.tif"
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    with tifffile.TiffWriter(path) as tif:
        how = LOSSLESS.get(codec, {"compression": codec})
        options = {"photometric": "rgb", "metadata": None, **how, **TILES}
        tif.write(noise, subifds=1, **options)
        tif.write(noise[::2, ::2], subfiletype=1, **options)
    with tifffile.TiffFile(path, mode="r+") as tif:
        page = tif.pages.first
        offset, (first, count, *more) = page.dataoffsets[1], page.databytecounts
        if not zeros:
            page.tags["TileByteCounts"].overwrite((first, count * 2 // 3, *more))
    if zeros:
        content = bytearray(path.read_bytes())
        content[offset + count * 2 // 3 : offset + count] = bytes(count - count * 2 // 3)
        path.write_bytes(content)
    level = open_image(path).levels[0]
    level[64:, :], level[:64, :64]  # the others are there
    with pytest.raises(InputError, match=r"s\.tif: a tile of the image cannot be read"):
        level[:64, 64:]


@pytest.mark.parametrize("size", [(64, 64), (40, 64), (300, 200), (96, 128), (1100, 9)])
def test_what_a_tile_claims_is_known_before_it_is_decoded(size: tuple[int, int]) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[::3] = 9
    encoded = [
        (34933, imagecodecs.png_encode(pixels)),
        (34934, imagecodecs.jpegxr_encode(pixels)),
        (50001, imagecodecs.webp_encode(pixels)),
        (50001, imagecodecs.webp_encode(pixels, lossless=True)),
        (50001, imagecodecs.webp_encode(np.dstack([pixels, pixels[..., :1]]))),
        (34887, imagecodecs.lerc_encode(pixels)),
        (50002, imagecodecs.jpegxl_encode(pixels)),
        (50002, imagecodecs.jpegxl_encode(pixels, usecontainer=True)),
    ]
    for codec, data in encoded:
        assert set(claims_of(codec, bytes(data))) == {size}


def test_a_tile_that_claims_more_than_it_may_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    write_flat(path, np.zeros((64, 64, 3), np.uint8), compression="png", **TILES)
    huge = np.zeros((4096, 4096, 3), np.uint8)
    bomb = bytes(imagecodecs.png_encode(huge))
    content = path.read_bytes()
    path.write_bytes(content + bomb)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["TileOffsets"].overwrite(len(content))
        tif.pages.first.tags["TileByteCounts"].overwrite(len(bomb))
    with pytest.raises(InputError, match=r"it holds \(4096, 4096\) px instead of \(64, 64\)"):
        read_image(path)


# JPEG


def _jpegs(
    space: str, subsampling: str, *, jfif: bool = False, adobe: int | None = None
) -> Iterator[bytes]:
    for y in (0, 64):
        for x in (0, 64):
            part = RGB[y : y + 64, x : x + 64]
            tile = np.pad(part, ((0, 64 - len(part)), (0, 0), (0, 0)), mode="edge")
            options = {"outcolorspace": space, "subsampling": subsampling}
            jpeg = imagecodecs.jpeg8_encode(tile, level=98, colorspace="rgb", **options)
            yield with_markers(jpeg, jfif=jfif, adobe=adobe)


def _write_jpegs(path: Path, photometric: int, codec: int, tiles: Iterator[bytes]) -> None:
    tags = image_tags((96, 128), photometric, codec, tile=(64, 64))
    write_tiff(path, tags, list(tiles), tiled=True)


@pytest.mark.parametrize("adobe", [None, 0, 1])
@pytest.mark.parametrize("jfif", [False, True])
@pytest.mark.parametrize(
    ("photometric", "space", "subsampling"),
    [(6, "ycbcr", "444"), (6, "ycbcr", "422"), (6, "ycbcr", "420"), (2, "rgb", "444")],
)
def test_jpeg_is_of_the_colours_that_the_tiff_says(
    photometric: int, space: str, subsampling: str, jfif: bool, adobe: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "s.tif"
    tiles = _jpegs(space, subsampling, jfif=jfif, adobe=adobe)
    _write_jpegs(path, photometric, 7, tiles)
    shown, image = read_image(path)
    assert difference(shown, RGB) <= 4
    assert difference(shown, by_openslide(path)) <= 2
    # Else that would be a guess.
    assert any("JFIF" in doubt for doubt in image.doubts) == (jfif and photometric == 2)


def test_jpeg_whose_chroma_is_subsampled_is_ycbcr_whatever_the_tiff_says(tmp_path: Path) -> None:
    _write_jpegs(tmp_path / "s.tif", 2, 7, _jpegs("ycbcr", "420"))
    assert difference(read_image(tmp_path / "s.tif")[0], RGB) <= 4


@pytest.mark.parametrize("photometric", [2, 6])
def test_jpeg_of_old_is_ycbcr(photometric: int, tmp_path: Path) -> None:
    _write_jpegs(tmp_path / "s.tif", photometric, 6, _jpegs("ycbcr", "420"))
    assert difference(read_image(tmp_path / "s.tif")[0], RGB) <= 4


def test_jpeg_with_its_tables_apart(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    parts = [without_tables(tile) for tile in _jpegs("ycbcr", "420")]
    tags = image_tags((96, 128), 6, 7, tile=(64, 64)) | {347: ("B", list(parts[0][0]))}
    tags |= {530: ("H", [2, 2])}
    write_tiff(path, tags, [rest for _, rest in parts], tiled=True)
    shown, _ = read_image(path)
    assert difference(shown, RGB) <= 4
    assert difference(shown, by_openslide(path)) <= 2


@pytest.mark.parametrize("kind", ["grey", "planes", "cmyk"])
def test_jpeg_of_other_colours(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    options = {"compression": "jpeg", "compressionargs": {"level": 98}, **TILES}
    if kind == "grey":
        write_flat(path, GREY, **{**options, "photometric": "minisblack"})
        assert difference(read_image(path)[0], as_rgb(GREY)) <= 3
    elif kind == "planes":
        planes = np.ascontiguousarray(np.moveaxis(RGB, -1, 0))
        write_flat(path, planes, planarconfig="separate", **options)
        assert difference(read_image(path)[0], RGB) <= 3
    else:
        ink = np.dstack([255 - RGB, np.zeros_like(GREY)])
        write_flat(path, ink, **{**options, "photometric": "separated"})
        whole = pyvips.Image.new_from_array(ink).copy(interpretation="cmyk")
        assert difference(read_image(path)[0], whole.colourspace("srgb").numpy()) <= 6


# YCbCr without JPEG


@pytest.mark.parametrize("codec", [1, 5, 8])
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("factors", [(1, 1), (2, 1), (2, 2), (4, 2), None])
def test_ycbcr_that_no_codec_of_images_holds(
    factors: tuple[int, int] | None, tiled: bool, codec: int, tmp_path: Path
) -> None:
    path = tmp_path / "s.tif"
    encode = {1: bytes, 5: imagecodecs.lzw_encode, 8: imagecodecs.zlib_encode}[codec]
    # In blocks of one colour, no chroma is lost.
    coarse = gradient(24, 32)
    rgb = np.kron(coarse, np.ones((4, 4, 1), np.uint8))[:90]
    ycbcr = to_ycbcr(rgb)
    # What nobody states is 2 × 2.
    across, down = factors or (2, 2)
    if tiled:
        padded = np.pad(ycbcr, ((0, 128 - 90), (0, 0), (0, 0)))
        parts = [padded[y : y + 64, x : x + 64] for y in (0, 64) for x in (0, 64)]
    else:
        parts = [ycbcr[y : y + 40] for y in (0, 40, 80)]
    tags = image_tags((90, 128), 6, codec, rows=40, **({"tile": (64, 64)} if tiled else {}))
    tags |= {530: ("H", list(factors))} if factors else {}
    tags |= {532: ("2I", [0, 255, 128, 255, 128, 255])}
    segments = [encode(ycbcr_blocks(part, across, down)) for part in parts]
    write_tiff(path, tags, segments, tiled=tiled)
    shown, image = read_image(path)
    assert difference(shown, rgb) <= 2
    assert "YCbCr to RGB" in image.conversions
    if tiled and factors:
        assert difference(shown, by_openslide(path)) <= 2


def test_ycbcr_of_another_range_and_other_coefficients(tmp_path: Path) -> None:
    """As digital video (BT.709) has it: black at 16, white at 235, chroma up to 240."""
    r, g, b = np.moveaxis(RGB / 255, -1, 0)
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    # TIFF's chroma is 127 steps of its range, not 128.
    cb, cr = (b - y) / 1.8556 * 2, (r - y) / 1.5748 * 2
    planes = [16 + 219 * y, 128 + 112 * cb * 127.5 / 127, 128 + 112 * cr * 127.5 / 127]
    ycbcr = np.rint(np.stack(planes, axis=-1)).astype(np.uint8)
    tags = image_tags((96, 128), 6, 1, rows=96) | {530: ("H", [1, 1])}
    tags |= {529: ("2I", [0.2126, 0.7152, 0.0722]), 532: ("2I", [16, 235, 128, 240, 128, 240])}
    write_tiff(tmp_path / "s.tif", tags, [ycbcr.tobytes()])
    assert difference(read_image(tmp_path / "s.tif")[0], RGB) <= 3


# JPEG XR


def test_a_decoder_that_dies_takes_nobody_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = jpeg_xr.JpegXrDecoder()
    data = imagecodecs.jpegxr_encode(RGB)
    decoded = decoder.decode(data)
    assert difference(decoded, RGB) == 0
    with pytest.raises(ValueError, match=r"JxrlibError|WMP"):
        decoder.decode(data[:20])
    # Of what it had decoded before: the tile itself is well.
    assert decoder._process is not None
    decoder._process.kill()
    np.testing.assert_array_equal(decoder.decode(data), decoded)
    (tmp_path / "dies.py").write_text("import os\nos.abort()\n")
    monkeypatch.setattr(jpeg_xr, "_PROGRAM", tmp_path / "dies.py")
    with pytest.raises(ValueError, match="its decoder died of it"):
        jpeg_xr.JpegXrDecoder().decode(data)


# JPEG 2000


@pytest.mark.parametrize("step", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("codec", [33003, 33005])
def test_jpeg_2000_of_aperio(codec: int, step: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "s.svs"
    rgb = gradient(128, 128)
    values = to_ycbcr(rgb) if codec == 33003 else rgb

    def tiles() -> Iterator[bytes]:
        for y in (0, 64):
            for x in (0, 64):
                y_, *chroma = np.moveaxis(values[y : y + 64, x : x + 64], -1, 0)
                coarse = [plane[:: step[1], :: step[0]] for plane in chroma]
                yield codestream([y_, *coarse], [(1, 1), step, step])

    about = "Aperio Image Library v12.0\r\n128x128 (64x64) J2K/YUV16 Q=30|AppMag = 20|MPP = 0.5"
    options = {"shape": rgb.shape, "dtype": np.uint8, "description": about, **TILES}
    write_flat(path, tiles(), compression=codec, **options)
    if codec == 33005 and step != (1, 1):
        with pytest.raises(InputError, match="its colours are subsampled, though"):
            read_image(path)
        return
    shown, _ = read_image(path)
    assert difference(shown, rgb) <= (2 if step == (1, 1) else 6)
    assert difference(shown, by_openslide(path)) <= 2
