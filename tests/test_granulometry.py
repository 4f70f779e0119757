"""Grains and gaps of known widths, against openings of another library."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from made_sections import make_slide_pixels
from napari_stenhance.features.encoders.stain import StainEncoder
from napari_stenhance.features.granulometry import REACH_PX, WIDTHS_UM, pattern_spectrum


def octagon(width: int) -> np.ndarray:
    """Cut the corners of a square so that all sides are about as long."""
    half = width // 2
    far = np.abs(np.arange(-half, half + 1))
    cut = half - round(half * (np.sqrt(2) - 1))
    return far[:, None] + far[None] <= 2 * half - cut


def superpixel_sums(values: np.ndarray) -> np.ndarray:
    core = values[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX].astype(int)
    rows, columns = (n // 8 for n in core.shape)
    return core.reshape(rows, 8, columns, 8).sum(axis=(1, 3))


def test_what_openings_take_and_closings_add_is_as_scipy_finds_it() -> None:
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=(8 * 4 + 96, 8 * 5 + 96)), 2.5)
    amount = np.clip(120 + 400 * noise, 0, 240).astype(np.uint8)
    spectrum = pattern_spectrum(amount)
    assert spectrum.shape == (4, 5, 9, 2)
    assert (spectrum >= 0).all()
    assert (spectrum.sum(axis=(0, 1)) > 0).all()
    for n, width in enumerate(WIDTHS_UM):
        shape = octagon(width)
        taken = superpixel_sums(amount) - superpixel_sums(
            ndimage.grey_opening(amount, footprint=shape)
        )
        added = superpixel_sums(ndimage.grey_closing(amount, footprint=shape)) - superpixel_sums(
            amount
        )
        np.testing.assert_array_equal(spectrum[..., : n + 1, 0].sum(axis=2), taken)
        np.testing.assert_array_equal(spectrum[..., : n + 1, 1].sum(axis=2), added)


@pytest.mark.parametrize(("radius", "width"), [(4, 9), (6, 13), (12, 25)])
def test_discs_are_found_at_their_width(radius: int, width: int) -> None:
    far = np.abs(np.arange(-100, 100) + 0.5)
    disc = np.hypot(far[:, None], far[None]) <= radius
    grains, gaps = pattern_spectrum(np.where(disc, 200, 10).astype(np.uint8)).sum(axis=(0, 1)).T
    # It is left by what is as wide, and taken by the next.
    assert WIDTHS_UM[int(grains.argmax())] in (width, next(w for w in WIDTHS_UM if w > width))
    assert grains.max() > 0.6 * grains.sum()
    assert gaps.sum() < 0.05 * grains.sum()


def test_a_grain_depends_on_nothing_outside_its_reach_or_on_the_tile() -> None:
    pixels, _ = make_slide_pixels((8 * 70 + 232, 8 * 75 + 232), 6)
    encoder = StainEncoder(0.5)
    whole = encoder.encode(pixels)[..., 144:]
    low, high, left, right = 61, 69, 58, 72  # over the edge of a block
    part = pixels[8 * low : 8 * high + 232, 8 * left : 8 * right + 232].copy()
    near = encoder.encode(part)[..., 144:]
    np.testing.assert_array_equal(near, whole[low:high, left:right])
    edge = 116 - REACH_PX
    part[:edge], part[:, -edge:] = 0, 255
    np.testing.assert_array_equal(encoder.encode(part)[..., 144:], near)
    assert near.std(axis=(0, 1)).min() > 0
