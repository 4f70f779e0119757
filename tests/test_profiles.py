"""Colours are converted by the profile that a slide holds, and said to be."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_stenhance.section.images.profile import CONVERTED
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from pixel_files import gradient
from slide_files import LOSSLESS


def test_colours_are_converted_by_the_profile_unless_they_are_not_to_be(
    tmp_path: Path, cache: Cache
) -> None:
    """Adobe RGB has sRGB's red and blue, and a greener green."""
    wide = {"whitepoint": [0.3127, 0.329, 1], "gamma": 2.2}
    profile = imagecodecs.cms_profile(
        "rgb", primaries=[0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1], **wide
    )
    pixels = np.full((200, 300, 3), (128, 200, 128), np.uint8)
    pixels[:, 150:] = 200
    for name, options in {"flat": {}, "tiled": {"tile": (64, 64)}}.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, pixels, iccprofile=profile, **LOSSLESS, **options)
        slide = Slide.open(path, cache=cache)
        # By hand: linear light of Adobe RGB (gamma 2.2) through both matrices to sRGB's curve.
        green, grey = slide.pixels[0][:1, 0:1][0, 0], slide.pixels[0][0:1, 299:][0, 0]
        assert np.abs(green.astype(int) - _adobe_to_srgb((128, 200, 128))).max() <= 1
        assert np.abs(grey.astype(int) - 200).max() <= 2
        raw = Slide.open(path, icc=False, cache=cache)
        assert raw.pixels[0][0:1, 0:1][0, 0].tolist() == [128, 200, 128]
        assert raw.key != slide.key
        assert raw.conversions == ()
        assert slide.identity()["slide_conversions"] == [CONVERTED]


def test_grey_is_converted_by_a_profile_of_grey(tmp_path: Path, cache: Cache) -> None:
    profile = imagecodecs.cms_profile("gray", whitepoint=[0.3127, 0.329, 1], gamma=1.8)
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(4, axis=0).repeat(4, axis=1)
    options = {"photometric": "minisblack", "metadata": None, "iccprofile": profile}
    tifffile.imwrite(tmp_path / "s.tif", grey, tile=(32, 32), **options)
    Image.fromarray(grey).save(tmp_path / "s.png", icc_profile=profile)
    Image.fromarray(grey).save(tmp_path / "s.jpg", icc_profile=profile, quality=100)
    # By hand: the light of such samples on the curve of sRGB.
    light = (np.arange(256) / 255) ** 1.8
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    expected = np.rint(255 * curve)[grey]
    for name in ("s.tif", "s.png", "s.jpg"):
        slide = Slide.open(tmp_path / name, cache=cache)
        shown = slide.pixels[0][:, :].astype(int)
        # JPEG is off by one, and the curve steeper in the dark.
        off = np.abs(shown - expected[..., None])[grey > (40 if name == "s.jpg" else 0)]
        assert off.max() <= 2
        assert (slide.conversions, slide.doubts) == ((CONVERTED,), ())
        raw = Slide.open(tmp_path / name, icc=False, cache=cache).pixels[0][:, :]
        assert np.abs(raw.astype(int) - grey[..., None]).max() <= 1
    # Three grey pages are colours, and such a profile not theirs.
    for _ in range(3):
        tifffile.imwrite(tmp_path / "p.tif", grey, append=True, **options)
    assert "it is of GRAY, not of RGB" in Slide.open(tmp_path / "p.tif", cache=cache).doubts[-1]


def _adobe_to_srgb(colour: tuple[int, int, int]) -> NDArray[np.int64]:
    to_xyz = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    to_srgb = [
        [3.24045, -1.53714, -0.49853],
        [-0.96927, 1.87601, 0.04156],
        [0.05564, -0.20403, 1.05723],
    ]
    light = (np.array(colour) / 255) ** 2.2
    light = np.clip(np.array(to_srgb) @ np.array(to_xyz) @ light, 0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * curve).astype(int)


def test_a_profile_of_srgb_changes_nothing_and_one_that_is_none_is_a_doubt(
    tmp_path: Path, cache: Cache
) -> None:
    pixels = gradient()
    same = imagecodecs.cms_profile("srgb")
    for profile, said in ((same, ""), (b"nothing" * 30, "colour profile is not applied")):
        path = tmp_path / f"{len(profile)}.tif"
        tifffile.imwrite(path, pixels, tile=(64, 64), iccprofile=profile, **LOSSLESS)
        slide = Slide.open(path, cache=cache)
        np.testing.assert_array_equal(slide.levels[0].compute(), pixels)
        assert slide.conversions == ()
        assert [said in doubt for doubt in slide.doubts] == [True] * bool(said)
