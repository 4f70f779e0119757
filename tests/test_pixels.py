"""Every kind of pixels that an image may hold is shown as it is meant, or refused in a sentence."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import pyvips
import skimage.color
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fuzz_images import write_svs
from napari_stenhance.errors import InputError
from napari_stenhance.section.images.image import ImageSource
from napari_stenhance.section.images.opening import open_image
from napari_stenhance.section.images.tiff import tiles
from napari_stenhance.section.images.tiff.claims import claims_of
from napari_stenhance.section.images.tiff.tiles import TiffReader
from pixel_files import (
    Pixels,
    codestream,
    gradient,
    image_tags,
    to_ycbcr,
    with_markers,
    without_tables,
    write_ndpi,
    write_tiff,
    ycbcr_blocks,
)
from vendor_files import write_bif, write_philips, write_qptiff, write_scn

RGB = gradient()
GREY = RGB[..., 0]
ALPHA = np.repeat(np.array([0, 128, 255], np.uint8), 32)[:, None] * np.ones((1, 128), np.uint8)
ON_WHITE = np.rint(RGB * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None]).astype(np.uint8)
TILES = {"tile": (64, 64)}
STRIPS = {"rowsperstrip": 40}


def _as_rgb(grey: NDArray[Any]) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8)


def _shown(path: Path) -> tuple[Pixels, ImageSource]:
    """Read all of an image, before any colour profile."""
    image = open_image(path, icc=False)
    if image.levels:
        return image.levels[0][:, :], image
    return np.concatenate(list(image.strips())), image


def _difference(shown: Pixels, expected: Pixels) -> int:
    assert shown.shape == expected.shape
    return int(np.abs(shown.astype(int) - expected).max())


def _by_openslide(path: Path, level: int = 0) -> Pixels:
    with openslide.OpenSlide(path) as slide:
        region = slide.read_region((0, 0), level, slide.level_dimensions[level])
    return np.asarray(Image.alpha_composite(Image.new("RGBA", region.size, "white"), region))[
        ..., :3
    ]


def _write(path: Path, data: Any, **options: Any) -> None:
    tifffile.imwrite(path, data, **{"photometric": "rgb", "metadata": None, **options})


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
    _write(path, RGB, **LOSSLESS[codec], **layout)
    shown, image = _shown(path)
    assert _difference(shown, RGB) == 0
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
        _write(path, values, **options, **more, **TILES)
        assert _difference(_shown(path)[0], RGB) == 0


@pytest.mark.parametrize("codec", [1, 5, 32773])
def test_bits_that_come_in_the_other_order(codec: int, tmp_path: Path) -> None:
    encode = {1: bytes, 5: imagecodecs.lzw_encode, 32773: imagecodecs.packbits_encode}[codec]
    strip = imagecodecs.bitorder_encode(encode(RGB.tobytes()))
    tags = image_tags((96, 128), 2, codec, rows=96) | {266: ("H", 2)}
    write_tiff(tmp_path / "s.tif", tags, [bytes(strip)])
    assert _difference(_shown(tmp_path / "s.tif")[0], RGB) == 0


def test_fax_of_two_tones(tmp_path: Path) -> None:
    black = np.kron(np.eye(8, 10, dtype=np.uint8), np.ones((8, 8), np.uint8))
    image = pyvips.Image.new_from_array(255 - 255 * black).copy(interpretation="b-w")
    image.tiffsave(str(tmp_path / "s.tif"), compression="ccittfax4", bitdepth=1)
    assert _difference(_shown(tmp_path / "s.tif")[0], _as_rgb(255 - 255 * black)) == 0


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
    shown, image = _shown(path)
    assert _difference(shown, RGB) <= 4
    assert _difference(shown, _by_openslide(path)) <= 2
    # Else that would be a guess.
    assert any("JFIF" in doubt for doubt in image.doubts) == (jfif and photometric == 2)


def test_jpeg_whose_chroma_is_subsampled_is_ycbcr_whatever_the_tiff_says(tmp_path: Path) -> None:
    _write_jpegs(tmp_path / "s.tif", 2, 7, _jpegs("ycbcr", "420"))
    assert _difference(_shown(tmp_path / "s.tif")[0], RGB) <= 4


@pytest.mark.parametrize("photometric", [2, 6])
def test_jpeg_of_old_is_ycbcr(photometric: int, tmp_path: Path) -> None:
    _write_jpegs(tmp_path / "s.tif", photometric, 6, _jpegs("ycbcr", "420"))
    assert _difference(_shown(tmp_path / "s.tif")[0], RGB) <= 4


def test_jpeg_with_its_tables_apart(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    parts = [without_tables(tile) for tile in _jpegs("ycbcr", "420")]
    tags = image_tags((96, 128), 6, 7, tile=(64, 64)) | {347: ("B", list(parts[0][0]))}
    tags |= {530: ("H", [2, 2])}
    write_tiff(path, tags, [rest for _, rest in parts], tiled=True)
    shown, _ = _shown(path)
    assert _difference(shown, RGB) <= 4
    assert _difference(shown, _by_openslide(path)) <= 2


@pytest.mark.parametrize("kind", ["grey", "planes", "cmyk"])
def test_jpeg_of_other_colours(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    options = {"compression": "jpeg", "compressionargs": {"level": 98}, **TILES}
    if kind == "grey":
        _write(path, GREY, **{**options, "photometric": "minisblack"})
        assert _difference(_shown(path)[0], _as_rgb(GREY)) <= 3
    elif kind == "planes":
        planes = np.ascontiguousarray(np.moveaxis(RGB, -1, 0))
        _write(path, planes, planarconfig="separate", **options)
        assert _difference(_shown(path)[0], RGB) <= 3
    else:
        ink = np.dstack([255 - RGB, np.zeros_like(GREY)])
        _write(path, ink, **{**options, "photometric": "separated"})
        whole = pyvips.Image.new_from_array(ink).copy(interpretation="cmyk")
        assert _difference(_shown(path)[0], whole.colourspace("srgb").numpy()) <= 6


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
    shown, image = _shown(path)
    assert _difference(shown, rgb) <= 2
    assert "YCbCr to RGB" in image.conversions
    if tiled and factors:
        assert _difference(shown, _by_openslide(path)) <= 2


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
    assert _difference(_shown(tmp_path / "s.tif")[0], RGB) <= 3


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
    _write(path, tiles(), compression=codec, **options)
    if codec == 33005 and step != (1, 1):
        with pytest.raises(InputError, match="its colours are subsampled, though"):
            _shown(path)
        return
    shown, _ = _shown(path)
    assert _difference(shown, rgb) <= (2 if step == (1, 1) else 6)
    assert _difference(shown, _by_openslide(path)) <= 2


# Depths


@pytest.mark.parametrize(
    ("values", "said", "off"),
    [
        (RGB.astype("u2") * 257, "16-bit samples, 0 to 65535, to 8 bits", 0),
        (RGB.astype("u2"), "16-bit samples, 0 to 255, to 8 bits", 0),
        (RGB.astype("u2") * 16, "16-bit samples, 0 to 4095, to 8 bits", 1),
        (RGB.astype("u2") * 4, "16-bit samples, 0 to 1023, to 8 bits", 1),
        (RGB.astype("i2") * 128, "16-bit samples, 0 to 32767, to 8 bits", 1),
        ((RGB // 2).astype("i1"), "8-bit samples, 0 to 127, to 8 bits", 1),
        (RGB.astype("u4") * 257, "32-bit samples, 0 to 65535, to 8 bits", 0),
        (RGB.astype("u4") * 16843009, "32-bit samples, 0 to 4.29497e+09, to 8 bits", 0),
        ((RGB / 255).astype("f2"), "floating-point samples, 0 to 1, to 8 bits", 0),
        ((RGB / 255).astype("f4"), "floating-point samples, 0 to 1, to 8 bits", 0),
        (RGB / 255, "floating-point samples, 0 to 1, to 8 bits", 0),
        (RGB.astype("f4"), "floating-point samples, 0 to 255, to 8 bits", 0),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_samples_of_more_than_8_bits_by_the_range_in_use(
    values: NDArray[Any], said: str, off: int, tmp_path: Path
) -> None:
    for n, layout in enumerate((TILES, STRIPS, {"compression": "zlib", "predictor": True})):
        _write(tmp_path / f"{n}.tif", values, **layout)
        shown, image = _shown(tmp_path / f"{n}.tif")
        assert _difference(shown, RGB) <= off
        assert image.conversions == (said,)


def test_all_levels_have_one_range(tmp_path: Path) -> None:
    """Of its coarsest: a speck that is brighter, as dirt on a camera is, changes nothing."""
    values = RGB.astype("u2") * 16
    coarse = values[::2, ::2].copy()
    values[0, 0] = 60_000
    with tifffile.TiffWriter(tmp_path / "s.tif") as tif:
        options = {"photometric": "rgb", "metadata": None, "tile": (16, 16)}
        tif.write(values, subifds=1, **options)
        tif.write(coarse, subfiletype=1, **options)
    image = open_image(tmp_path / "s.tif")
    assert image.conversions == ("16-bit samples, 0 to 4095, to 8 bits",)
    assert _difference(image.levels[0][1:, :], RGB[1:]) <= 1
    assert _difference(image.levels[1][:, :], RGB[::2, ::2]) <= 1
    assert image.levels[0][0, 0].tolist() == [255, 255, 255]


def test_the_range_of_a_large_flat_image_is_of_parts_all_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.zeros((400, 300, 3), np.uint16)
    values[:300:5] = 4000
    _write(tmp_path / "s.tif", values)
    monkeypatch.setattr(tiles, "_PEEKED", 2**16)
    counts: list[int] = []
    read = TiffReader.bytes_at

    def counting(self: TiffReader, offset: int, count: int) -> bytes:
        counts.append(count)
        return read(self, offset, count)

    monkeypatch.setattr(TiffReader, "bytes_at", counting)
    image = open_image(tmp_path / "s.tif")
    assert image.conversions == ("16-bit samples, 0 to 4095, to 8 bits",)
    assert len(counts) >= 16
    assert sum(counts) <= 2**17


def test_the_range_that_metadata_states(tmp_path: Path) -> None:
    dark = RGB.astype("u2")
    stated = tmp_path / "s.tif"
    _write(stated, dark * 8, extratags=[(281, "H", 3, (4000,) * 3, True)])
    ome = tmp_path / "s.ome.tif"
    about = {"axes": "YXS", "SignificantBits": 12}
    tifffile.imwrite(ome, dark * 8, photometric="rgb", metadata=about)
    # Whoever states all that fits says nothing.
    filled = tmp_path / "f.tif"
    _write(filled, dark, extratags=[(281, "H", 3, (65535,) * 3, True)])
    for path, top in ((stated, 4000), (ome, 4095)):
        shown, image = _shown(path)
        assert image.conversions == (f"16-bit samples, 0 to {top}, to 8 bits",)
        assert _difference(shown, np.rint(dark * 8 * (255 / top)).astype(np.uint8)) == 0
    assert _difference(_shown(filled)[0], RGB) == 0


def test_what_is_no_number_is_white(tmp_path: Path) -> None:
    values = (RGB / 255).astype("f4")
    values[:8, :8, 0], values[8, 0, 1] = np.nan, np.inf
    _write(tmp_path / "s.tif", values, **TILES)
    shown, _ = _shown(tmp_path / "s.tif")
    assert (shown[:8, :8] == 255).all()
    assert (shown[8, 0] == 255).all()
    assert _difference(shown[9:], RGB[9:]) == 0


@pytest.mark.parametrize(
    "values",
    [RGB / 255 - 0.5, RGB * 1e4, RGB.astype("i2") - 100, RGB.astype("u4") * 10_000],
    ids=["float-negative", "float-large", "int-negative", "int-large"],
)
def test_samples_without_a_range_are_refused(values: NDArray[Any], tmp_path: Path) -> None:
    kind = values.astype("f4") if values.dtype.kind == "f" else values
    _write(tmp_path / "s.tif", kind)
    with pytest.raises(InputError, match="nothing says which are black and white"):
        _shown(tmp_path / "s.tif")


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("inverted", [False, True])
def test_grey_of_few_bits(bits: int, inverted: bool, tmp_path: Path) -> None:
    values = GREY >> (8 - bits)
    stored = 2**bits - 1 - values if inverted else values
    stored = stored.astype(bool) if bits == 1 else stored
    kind = "miniswhite" if inverted else "minisblack"
    _write(tmp_path / "s.tif", stored, photometric=kind, bitspersample=bits)
    expected = _as_rgb(values.astype(int) * 255 // (2**bits - 1))
    assert _difference(_shown(tmp_path / "s.tif")[0], expected) == 0


# Kinds of colours


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_palettes(bits: int, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2**bits, 3), dtype=np.uint8)
    values = np.arange(96 * 128).reshape(96, 128) % 2**bits
    if bits == 4:
        # Two of a byte; no library at hand writes that.
        tags = image_tags((96, 128), 3, 1, rows=96) | {258: ("H", 4), 277: ("H", 1)}
        tags |= {320: ("H", [int(v) * 257 for v in colours.T.ravel()])}
        packed = (values[:, ::2] << 4 | values[:, 1::2]).astype(np.uint8)
        write_tiff(tmp_path / "s.tif", tags, [packed.tobytes()])
    else:
        map_ = np.ascontiguousarray(colours.T.astype("u2") * 257)
        values = values.astype(f"u{bits // 8}")
        _write(tmp_path / "s.tif", values, photometric="palette", colormap=map_, **TILES)
    shown, image = _shown(tmp_path / "s.tif")
    assert _difference(shown, colours[values]) == 0
    assert image.conversions == ("a palette to RGB",)


def test_a_palette_of_8_bits_where_tiff_has_16(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint8)
    _write(tmp_path / "s.tif", GREY, photometric="palette", colormap=colours.astype("u2"))
    assert _difference(_shown(tmp_path / "s.tif")[0], colours.T[GREY]) == 0


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["cielab", "icclab"])
def test_lab(kind: str, bits: int, tmp_path: Path) -> None:
    rgb = (RGB // 2 + 64).astype(np.uint8)
    lab, step = skimage.color.rgb2lab(rgb), 2 ** (bits - 8)
    chroma = np.rint(lab[..., 1:] * step).astype(f"i{bits // 8}")
    if kind == "icclab":
        chroma = chroma.astype(int) + 128 * step
    full = 2**bits - 1 if kind == "cielab" else 255 * step
    light = np.rint(lab[..., :1] * (full / 100))
    values = np.concatenate([light, chroma], axis=-1).astype(int).astype(f"u{bits // 8}")
    _write(tmp_path / "s.tif", values, photometric=kind, **TILES)
    shown, image = _shown(tmp_path / "s.tif")
    assert _difference(shown, rgb) <= (6 if bits == 8 else 1)
    assert image.conversions == ("Lab to sRGB",)


def test_cmyk_by_its_profile_or_as_is_usual(tmp_path: Path) -> None:
    ink = np.dstack([255 - RGB, np.full_like(GREY, 30)])
    usual = pyvips.Image.new_from_array(ink).copy(interpretation="cmyk").colourspace("srgb").numpy()
    _write(tmp_path / "u.tif", ink, photometric="separated", **TILES)
    shown, image = _shown(tmp_path / "u.tif")
    assert _difference(shown, usual) == 0
    assert image.conversions == ("CMYK to sRGB",)
    profile = bytes(pyvips.Operation.call("profile_load", "cmyk"))
    _write(tmp_path / "p.tif", ink, photometric="separated", iccprofile=profile, **TILES)
    shown, image = _shown(tmp_path / "p.tif")
    expected = imagecodecs.cms_transform(
        ink, profile, imagecodecs.cms_profile("srgb"), colorspace="cmyk", outcolorspace="rgb"
    )
    assert _difference(shown, expected) == 0
    assert _difference(shown, usual) > 5
    assert image.conversions == ("CMYK to sRGB by the file's profile",)
    wrong = imagecodecs.cms_profile("srgb")
    _write(tmp_path / "w.tif", ink, photometric="separated", iccprofile=wrong, **TILES)
    shown, image = _shown(tmp_path / "w.tif")
    assert _difference(shown, usual) == 0
    assert image.doubts == (
        "The image's colour profile is not applied: it is of RGB, not of CMYK.",
    )


# Transparency


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize("codec", [None, "lzw", "png", "jpeg2000", "jpegxl", "webp"])
def test_transparency_is_laid_on_white(kind: str, codec: str | None, tmp_path: Path) -> None:
    rgb = np.rint(RGB * (ALPHA[..., None] / 255)) if kind == "assocalpha" else RGB
    args = {"lossless": True} if codec in ("webp", "jpegxl") else {}
    options = {"compression": codec, "compressionargs": args, "extrasamples": [kind], **TILES}
    _write(tmp_path / "s.tif", np.dstack([rgb.astype(np.uint8), ALPHA]), **options)
    shown, image = _shown(tmp_path / "s.tif")
    assert _difference(shown, ON_WHITE) <= 1
    assert image.conversions == ("transparency laid on white",)


def test_transparency_of_16_bits_and_of_grey(tmp_path: Path) -> None:
    deep = np.dstack([RGB.astype("u2") * 16, ALPHA.astype("u2") * 257])
    _write(tmp_path / "d.tif", deep, extrasamples=["unassalpha"])
    assert _difference(_shown(tmp_path / "d.tif")[0], ON_WHITE) <= 1
    grey = np.dstack([GREY, ALPHA])
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    _write(tmp_path / "g.tif", grey, extrasamples=["unassalpha"], **options)
    expected = np.rint(GREY * (ALPHA / 255) + 255 - ALPHA)
    assert _difference(_shown(tmp_path / "g.tif")[0], _as_rgb(expected)) <= 1


def test_a_fourth_sample_that_is_no_transparency_hides_nothing(tmp_path: Path) -> None:
    infrared = gradient(96, 128)[..., 1]
    _write(tmp_path / "i.tif", np.dstack([RGB, infrared]), extrasamples=["unspecified"])
    shown, image = _shown(tmp_path / "i.tif")
    assert _difference(shown, RGB) == 0
    assert "unknown meaning" in image.doubts[0]
    nothing = np.zeros_like(GREY)
    _write(tmp_path / "n.tif", np.dstack([RGB, nothing]), extrasamples=["unassalpha"])
    shown, image = _shown(tmp_path / "n.tif")
    assert _difference(shown, RGB) == 0
    assert "all of it is transparent" in image.doubts[0]


# Planes, pages, channels


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_colours_in_planes_and_channels(dtype: str, layout: dict[str, Any], tmp_path: Path) -> None:
    planes = np.ascontiguousarray(np.moveaxis(RGB, -1, 0)).astype(dtype) * (
        257 if dtype == "u2" else 1
    )
    _write(tmp_path / "p.tif", planes, planarconfig="separate", **layout)
    grey = {"photometric": "minisblack", **layout}
    tifffile.imwrite(tmp_path / "c.ome.tif", planes, metadata={"axes": "CYX"}, **grey)
    named = {"axes": "CYX", "Channel": {"Name": ["Red", "Green", "Blue"]}}
    tifffile.imwrite(tmp_path / "n.ome.tif", planes, metadata=named, **grey)
    about = {"axes": "CYX", "mode": "composite"}
    tifffile.imwrite(tmp_path / "i.tif", planes, imagej=True, metadata=about)
    alike = {"axes": "CYX", "Channel": {"Name": ["H&E"] * 3}}
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, metadata=alike, **grey)
    for name in ("p.tif", "c.ome.tif", "n.ome.tif", "a.ome.tif", "i.tif"):
        shown, image = _shown(tmp_path / name)
        assert _difference(shown, RGB) == 0
        assert image.doubts == ()
    for plane in planes:
        tifffile.imwrite(tmp_path / "g.tif", plane, append=True, metadata=None, **grey)
    shown, image = _shown(tmp_path / "g.tif")
    assert _difference(shown, RGB) == 0
    assert image.doubts == ("Three grey pages of one size are taken for its red, green and blue.",)


def _fluorescence(path: Path, **about: Any) -> None:
    values = np.stack([GREY] * 3).astype("u2")
    metadata = {"axes": "CYX", "Channel": about}
    tifffile.imwrite(path, values, photometric="minisblack", metadata=metadata)


@pytest.mark.parametrize(
    ("write", "name", "said"),
    [
        (lambda p: _fluorescence(p, Name=["DAPI", "FITC", "Cy5"]), "s.ome.tif", "DAPI, FITC, Cy5"),
        (
            lambda p: _fluorescence(p, Color=[65535, 16711935, -16776961]),
            "s.ome.tif",
            "(axes CYX) are blue, green, red, not red",
        ),
        (
            lambda p: tifffile.imwrite(
                p,
                np.stack([GREY] * 3),
                imagej=True,
                metadata={"axes": "CYX", "Labels": ["c:1/3 - Hoechst", "c:2/3 - GFP", "c:3/3 - x"]},
            ),
            "s.tif",
            "Hoechst, GFP, x",
        ),
        (
            lambda p: tifffile.imwrite(p, np.stack([GREY] * 5), metadata={"axes": "CYX"}),
            "s.ome.tif",
            "5 channels (axes CYX)",
        ),
        (
            lambda p: tifffile.imwrite(p, np.stack([GREY] * 2), metadata={"axes": "CYX"}),
            "s.ome.tif",
            "2 channels (axes CYX)",
        ),
        (
            lambda p: tifffile.imwrite(
                p, np.stack([RGB] * 4), photometric="rgb", metadata={"axes": "ZYXS"}
            ),
            "s.ome.tif",
            "axes ZYXS (4, 96, 128, 3), a stack of 4 focal planes",
        ),
        (
            lambda p: tifffile.imwrite(p, np.stack([GREY] * 4), metadata={"axes": "TYX"}),
            "s.ome.tif",
            "axes TYX (4, 96, 128), a stack of 4 times",
        ),
        (
            lambda p: tifffile.imwrite(p, np.stack([GREY] * 5), metadata=None),
            "s.tif",
            "5 grey pages",
        ),
        (
            lambda p: _write(p, np.dstack([RGB, RGB]), extrasamples=["unspecified"] * 3),
            "s.tif",
            "6 samples",
        ),
    ],
)
def test_stacks_and_fluorescence_are_refused(
    write: Callable[[Path], None], name: str, said: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError) as error:
        open_image(tmp_path / name)
    assert said in str(error.value)


# Turned

TURNED = {
    1: RGB,
    2: RGB[:, ::-1],
    3: RGB[::-1, ::-1],
    4: RGB[::-1],
    5: RGB.swapaxes(0, 1),
    6: np.rot90(RGB, -1),
    7: np.rot90(RGB, 2).swapaxes(0, 1),
    8: np.rot90(RGB),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_it_says(orientation: int, tmp_path: Path) -> None:
    tag = (274, "H", 1, orientation, True)
    _write(tmp_path / "t.tif", RGB, extratags=[tag], **TILES)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(RGB).save(tmp_path / "p.png", exif=exif)
    Image.fromarray(RGB).save(tmp_path / "j.jpg", exif=exif, quality=98, subsampling=0)
    for name in ("t.tif", "p.png", "j.jpg"):
        shown, image = _shown(tmp_path / name)
        assert _difference(shown, TURNED[orientation]) <= (4 if name == "j.jpg" else 0)
        assert image.shape == shown.shape[:2]
        said = () if orientation == 1 else (f"turned, from orientation {orientation}",)
        assert image.conversions == said
        assert len(image.doubts) == len(said)


def test_a_turned_pyramid_answers_as_numpy(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "s.tif") as tif:
        options = {"photometric": "rgb", "metadata": None, "tile": (32, 32)}
        tif.write(RGB, subifds=1, extratags=[(274, "H", 1, 8, True)], **options)
        tif.write(RGB[::2, ::2], subfiletype=1, **options)
    image = open_image(tmp_path / "s.tif")
    expected = np.rot90(RGB)
    assert [level.shape for level in image.levels] == [(128, 96, 3), (64, 48, 3)]
    assert image.downsamples == (1, 2)
    for key in (
        np.s_[70:100:3, 5:80],
        np.s_[100, 3:9],
        np.s_[64:, :, 1],
        np.s_[-5:, -7],
        np.s_[9:9, :],
    ):
        np.testing.assert_array_equal(image.levels[0][key], expected[key])
    np.testing.assert_array_equal(image.levels[1][:, :], np.rot90(RGB[::2, ::2]))


# JPEG and PNG


def _saved(**options: Any) -> Callable[[Path, Image.Image], None]:
    return lambda path, image: image.save(path, **options)


@pytest.mark.parametrize(
    ("mode", "name", "off"),
    [
        ("RGB", "s.jpg", 4),
        ("L", "s.jpg", 3),
        ("RGB", "s.png", 0),
        ("L", "s.png", 0),
        ("P", "s.png", 0),
        ("1", "s.png", 0),
        ("RGBA", "s.png", 1),
        ("LA", "s.png", 1),
        ("I;16", "s.png", 0),
    ],
)
def test_flat_pictures_of_every_kind(mode: str, name: str, off: int, tmp_path: Path) -> None:
    whole = np.dstack([RGB, ALPHA])
    image = Image.fromarray(whole if mode.endswith("A") else RGB)
    if mode == "I;16":
        image = Image.fromarray(GREY.astype("u2"))
    else:
        image = image.quantize(60) if mode == "P" else image.convert(mode)
    image.save(tmp_path / name, **({"quality": 98, "subsampling": 0} if name == "s.jpg" else {}))
    shown, source = _shown(tmp_path / name)
    if mode.endswith("A"):
        rgba = np.asarray(image.convert("RGBA"))
        grey = rgba[..., :3].astype(float)
        expected = np.rint(grey * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None])
        assert source.conversions == ("transparency laid on white",)
    else:
        expected = _as_rgb(GREY) if mode == "I;16" else np.asarray(image.convert("RGB"))
    assert _difference(shown, expected.astype(np.uint8)) <= off


def test_a_png_of_16_bits_by_the_range_in_use(tmp_path: Path) -> None:
    for top, values in ((255, RGB), (4095, RGB.astype("u2") * 16), (65535, RGB.astype("u2") * 257)):
        path = tmp_path / f"{top}.png"
        path.write_bytes(imagecodecs.png_encode(values.astype("u2")))
        shown, image = _shown(path)
        assert _difference(shown, RGB) <= (1 if top == 4095 else 0)
        assert image.conversions == ("16-bit samples, by the range in use, to 8 bits",)
    deep = np.dstack([RGB.astype("u2") * 16, ALPHA.astype("u2") * 257])
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    assert _difference(_shown(tmp_path / "a.png")[0], ON_WHITE) <= 1


def test_profiles_of_flat_pictures_are_applied(tmp_path: Path) -> None:
    wide = imagecodecs.cms_profile(
        "rgb",
        primaries=[0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1],
        whitepoint=[0.3127, 0.329, 1],
        gamma=2.2,
    )
    Image.fromarray(RGB).save(tmp_path / "s.png", icc_profile=wide)
    Image.fromarray(RGB).save(tmp_path / "s.jpg", icc_profile=wide, quality=98, subsampling=0)
    for name in ("s.png", "s.jpg"):
        raw, _ = _shown(tmp_path / name)
        assert _difference(raw, RGB) <= 4
        expected = imagecodecs.cms_transform(
            raw, wide, imagecodecs.cms_profile("srgb"), colorspace="rgb", outcolorspace="rgb"
        )
        shown = np.concatenate(list(open_image(tmp_path / name).strips()))
        assert _difference(shown, expected) == 0
        assert _difference(shown, raw) > 5


def test_a_jpeg_of_cmyk(tmp_path: Path) -> None:
    ink = Image.fromarray(np.dstack([255 - RGB, np.zeros_like(GREY)]), "CMYK")
    ink.save(tmp_path / "s.jpg", quality=98, subsampling=0)
    shown, image = _shown(tmp_path / "s.jpg")
    usual = pyvips.Image.new_from_array(np.asarray(ink)).copy(interpretation="cmyk")
    assert _difference(shown, usual.colourspace("srgb").numpy()) <= 6
    assert image.conversions == ("CMYK to sRGB",)


def _holed(content: bytes) -> bytes:
    # No code of JPEG is all ones.
    half = len(content) // 2
    return content[:half] + b"\xff\x00" * 900 + content[half + 1800 :]


@pytest.mark.parametrize("format_", ["jpeg", "png"])
@pytest.mark.parametrize("spoil", [lambda c: c[: len(c) * 2 // 3], _holed], ids=["cut", "holed"])
def test_flat_pictures_that_end_early_or_have_a_hole(
    format_: str, spoil: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, format_)
    path = tmp_path / f"s.{format_}"
    path.write_bytes(spoil(content.getvalue()))
    with pytest.raises(InputError, match="this image cannot be read"):
        _shown(path)


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
    assert _difference(part, pixels[300:324, 260:300]) <= 3
    # 4 rows of parts of 8 × 128 px, of which the third column is in view.
    assert len(counts) == 4
    assert sum(counts) <= 4 * max(lengths)
    monkeypatch.undo()
    for n, level in enumerate(image.levels):
        shown = level[:, :]
        assert _difference(shown, pixels[:: 2**n, :: 2**n]) <= 3
        assert _difference(shown, _by_openslide(tmp_path / "s.ndpi", n)) <= 2


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
        assert _difference(shown, pixels[::down, ::down]) <= 8
        if known:
            assert _difference(shown, _by_openslide(tmp_path / name, n)) <= 2
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
    with pytest.raises(InputError, match="its tiles overlap by up to 24 px, and are not joined"):
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
        assert _difference(level[:, :], _as_rgb(GREY[:: 2**n, :: 2**n])) == 0


@pytest.mark.parametrize("length", [1, 60])
def test_levels_of_other_shapes_are_refused(length: int, tmp_path: Path) -> None:
    write_svs(tmp_path / "s.svs", gradient(160, 240))
    with tifffile.TiffFile(tmp_path / "s.svs", mode="r+") as tif:
        tif.pages.first.tags["ImageLength"].overwrite(length)
    with pytest.raises(InputError, match=rf"is no smaller one of 240 × {length} px"):
        open_image(tmp_path / "s.svs")


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
    _write(path, np.zeros((64, 64, 3), np.uint8), compression="png", **TILES)
    huge = np.zeros((4096, 4096, 3), np.uint8)
    bomb = bytes(imagecodecs.png_encode(huge))
    content = path.read_bytes()
    path.write_bytes(content + bomb)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["TileOffsets"].overwrite(len(content))
        tif.pages.first.tags["TileByteCounts"].overwrite(len(bomb))
    with pytest.raises(InputError, match=r"it holds \(4096, 4096\) px instead of \(64, 64\)"):
        _shown(path)
