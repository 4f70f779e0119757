"""JPEG and PNG, and pictures that are stored turned."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image

from napari_stenhance.errors import InputError
from napari_stenhance.section.images.opening import open_image
from pixel_checks import (
    ALPHA,
    GREY,
    ON_WHITE,
    RGB,
    TILES,
    as_rgb,
    difference,
    read_image,
    write_flat,
)

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
    write_flat(tmp_path / "t.tif", RGB, extratags=[tag], **TILES)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(RGB).save(tmp_path / "p.png", exif=exif)
    Image.fromarray(RGB).save(tmp_path / "j.jpg", exif=exif, quality=98, subsampling=0)
    for name in ("t.tif", "p.png", "j.jpg"):
        shown, image = read_image(tmp_path / name)
        assert difference(shown, TURNED[orientation]) <= (4 if name == "j.jpg" else 0)
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
    shown, source = read_image(tmp_path / name)
    if mode.endswith("A"):
        rgba = np.asarray(image.convert("RGBA"))
        grey = rgba[..., :3].astype(float)
        expected = np.rint(grey * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None])
        assert source.conversions == ("transparency laid on white",)
    else:
        expected = as_rgb(GREY) if mode == "I;16" else np.asarray(image.convert("RGB"))
    assert difference(shown, expected.astype(np.uint8)) <= off


def test_a_png_of_16_bits_by_the_range_in_use(tmp_path: Path) -> None:
    for top, values in ((255, RGB), (4095, RGB.astype("u2") * 16), (65535, RGB.astype("u2") * 257)):
        path = tmp_path / f"{top}.png"
        path.write_bytes(imagecodecs.png_encode(values.astype("u2")))
        shown, image = read_image(path)
        assert difference(shown, RGB) <= (1 if top == 4095 else 0)
        assert image.conversions == ("16-bit samples, by the range in use, to 8 bits",)
    deep = np.dstack([RGB.astype("u2") * 16, ALPHA.astype("u2") * 257])
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    assert difference(read_image(tmp_path / "a.png")[0], ON_WHITE) <= 1


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
        raw, _ = read_image(tmp_path / name)
        assert difference(raw, RGB) <= 4
        expected = imagecodecs.cms_transform(
            raw, wide, imagecodecs.cms_profile("srgb"), colorspace="rgb", outcolorspace="rgb"
        )
        shown = np.concatenate(list(open_image(tmp_path / name).strips()))
        assert difference(shown, expected) == 0
        assert difference(shown, raw) > 5


def test_a_jpeg_of_cmyk(tmp_path: Path) -> None:
    ink = Image.fromarray(np.dstack([255 - RGB, np.zeros_like(GREY)]), "CMYK")
    ink.save(tmp_path / "s.jpg", quality=98, subsampling=0)
    shown, image = read_image(tmp_path / "s.jpg")
    usual = pyvips.Image.new_from_array(np.asarray(ink)).copy(interpretation="cmyk")
    assert difference(shown, usual.colourspace("srgb").numpy()) <= 6
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
        read_image(path)
