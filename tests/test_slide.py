from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from made_sections import write_image
from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Event, Job, Progress
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.resample import area_weights
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache

MakeSlide = Callable[..., Slide]


def _noise(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@given(
    start=st.floats(-5, 25),
    step=st.floats(0.2, 7),
    count=st.integers(1, 12),
    size=st.integers(1, 20),
)
def test_area_weights_are_the_overlaps(start: float, step: float, count: int, size: int) -> None:
    found = area_weights(start, step, count, 0, size)
    weights = np.zeros((count, size))
    for k, tap in zip(*np.nonzero(found.weights), strict=True):
        weights[k, found.first[k] + tap] = found.weights[k, tap]
    for k in range(count):
        low, high = start + k * step, start + (k + 1) * step
        for j in range(size):
            overlap = max(0.0, min(high, j + 1) - max(low, j))
            assert weights[k, j] == pytest.approx(overlap / step, abs=1e-4)


def test_pixels_that_need_no_averaging_are_as_they_are(make_slide: MakeSlide) -> None:
    pixels = _noise((90, 70))
    slide = make_slide(pixels, mpp=0.5)
    x0, y0 = 10 * 0.5 - 0.25, 20 * 0.5 - 0.25
    inside = slide.read((x0, y0, x0 + 15, y0 + 20), 0.5)
    np.testing.assert_array_equal(inside, pixels[20:60, 10:40])
    inside[:] = 0  # the caller's own
    np.testing.assert_array_equal(slide.read((x0, y0, x0 + 15, y0 + 20), 0.5)[0, 0], pixels[20, 10])
    beyond = slide.read((x0, y0, x0 + 50, y0 + 20), 0.5)
    np.testing.assert_array_equal(beyond[:, :60], pixels[20:60, 10:])
    assert (beyond[:, 60:] == 255).all()
    between = slide.read((x0 + 0.25, y0, x0 + 15.25, y0 + 20), 0.5).astype(float)
    mean = (pixels[20:60, 10:40].astype(float) + pixels[20:60, 11:41]) / 2
    np.testing.assert_allclose(between, mean, atol=0.51)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg[Q=100]"])
def test_a_flat_image_gets_a_pyramid_once(tmp_path: Path, cache: Cache, suffix: str) -> None:
    pixels = np.kron(_noise((80, 65)), np.ones((16, 16, 1), np.uint8))
    path = tmp_path / f"slide{suffix}"
    write_image(path, pixels)
    path = Path(str(path).split("[")[0])
    stages: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress):
            stages.append(event.stage)

    slide = Slide.open(path, mpp=0.5, cache=cache, job=Job(listener=listen))
    assert slide.shape == (1280, 1040)
    assert [level.shape[:2] for level in slide.levels] == [(1280, 1040), (640, 520), (320, 260)]
    assert slide.downsamples == (1, 2, 4)
    tolerance = 40 if path.suffix == ".jpg" else 0
    difference = np.abs(slide.levels[0].compute().astype(int) - pixels)
    assert difference.max() <= tolerance
    np.testing.assert_allclose(
        slide.levels[2].compute().astype(int), pixels[::4, ::4].astype(int), atol=tolerance + 1
    )
    assert stages
    stages.clear()
    Slide.open(path, mpp=0.5, cache=cache, job=Job(listener=listen))
    assert stages == []


def test_odd_sizes_stream_into_every_level(make_slide: MakeSlide) -> None:
    pixels = _noise((1111, 777))
    slide = make_slide(pixels)
    assert [level.shape[:2] for level in slide.levels] == [(1111, 777), (556, 389), (278, 195)]
    np.testing.assert_array_equal(slide.levels[0].compute(), pixels)
    even = pixels[:1110, :776].astype(float)
    half = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    np.testing.assert_allclose(slide.levels[1].compute()[:555, :388], half, atol=0.51)


def test_read_averages_over_area_and_is_white_outside(make_slide: MakeSlide) -> None:
    pixels = _noise((96, 64))
    slide = make_slide(pixels, mpp=0.5)
    # World 0 is the centre of pixel (0, 0): its outer corner lies at −mpp / 2.
    whole = slide.read(slide.extent_um(), 0.5)
    np.testing.assert_array_equal(whole, pixels)
    x0, y0, _, _ = slide.extent_um()
    quarter = slide.read((x0, y0, x0 + 32, y0 + 48), 2.0)
    expected = pixels.reshape(24, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(quarter - expected).max() <= 0.5001
    around = slide.read((x0 - 4, y0 - 4, x0 + 36, y0 + 52), 0.5)
    assert (around[:8] == 255).all()
    assert (around[-8:] == 255).all()
    assert (around[:, :8] == 255).all()
    np.testing.assert_array_equal(around[8:-8, 8:-8], pixels)


def test_read_at_odd_ratios_matches_brute_force(make_slide: MakeSlide) -> None:
    pixels = _noise((60, 50))
    slide = make_slide(pixels, mpp=0.688)
    x0, y0, _, _ = slide.extent_um()
    got = slide.read((x0 + 5, y0 + 3, x0 + 25, y0 + 33), 1.0)
    fine = np.kron(pixels, np.ones((43, 43, 1)))  # 0.016 µm per pixel
    step = 0.688 / 43
    for row, column in ((0, 0), (7, 11), (29, 19)):
        top, left = round((3 + row) / step), round((5 + column) / step)
        side = round(1 / step)
        mean = fine[top : top + side, left : left + side].mean(axis=(0, 1))
        assert np.abs(got[row, column] - mean).max() < 5


def test_two_windows_read_the_same_pixels(make_slide: MakeSlide) -> None:
    slide = make_slide(_noise((700, 600)), mpp=0.688)
    grid = Grid.over(slide)
    whole = slide.read(grid.box_um(slice(0, 40), slice(0, 40)), 1.0)
    part = slide.read(grid.box_um(slice(16, 32), slice(8, 40)), 1.0)
    np.testing.assert_array_equal(part, whole[128:256, 64:320])


def test_a_coarse_read_takes_a_coarse_level(make_slide: MakeSlide) -> None:
    pixels = np.full((2048, 2048, 3), 200, np.uint8)
    pixels[:1024] = 100
    slide = make_slide(pixels)
    assert slide.read(slide.extent_um(), 256.0)[:, 0, 0].tolist() == [100] * 4 + [200] * 4


def _write_pyramid(path: Path, pixels: NDArray[np.uint8], **metadata: object) -> None:
    with tifffile.TiffWriter(path) as tif:
        options = {"photometric": "rgb", "tile": (128, 128), **metadata}
        tif.write(pixels, subifds=1, **options)
        tif.write(pixels[::2, ::2], subfiletype=1, **options)


def test_a_pyramidal_tiff_is_read_as_it_is(tmp_path: Path, cache: Cache) -> None:
    pixels = _noise((512, 384))
    path = tmp_path / "slide.tif"
    _write_pyramid(path, pixels, resolution=(20000, 20000), resolutionunit="CENTIMETER")
    slide = Slide.open(path, cache=cache)
    assert slide.mpp == pytest.approx(0.5)
    assert slide.mpp_source == "resolution tags"
    assert slide.downsamples == (1, 2)
    assert not (cache.root / "pyramids3").exists()
    np.testing.assert_array_equal(slide.read(slide.extent_um(), 0.5), pixels)


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        ((72, 72), "INCH", None),
        ((300, 300), "INCH", None),
        ((50000, 50000), "INCH", 0.508),
        ((40000, 20000), "CENTIMETER", None),
        ((1, 1), "NONE", None),
    ],
)
def test_resolution_tags_count_only_when_they_mean_something(
    tmp_path: Path, cache: Cache, resolution: tuple[int, int], unit: str, expected: float | None
) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path, _noise((64, 64)), photometric="rgb", resolution=resolution, resolutionunit=unit
    )
    assert Slide.open(path, cache=cache).mpp == (expected and pytest.approx(expected))


def test_ome_tiff_states_its_scale(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "slide.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm"}
    tifffile.imwrite(path, _noise((64, 64)), photometric="rgb", metadata=metadata)
    assert Slide.open(path, cache=cache).mpp == pytest.approx(0.25)


@pytest.mark.parametrize("mpp", [0.0, -1, 0.001, 400])
def test_absurd_scales_are_refused(make_slide: MakeSlide, mpp: float) -> None:
    with pytest.raises(InputError, match="cannot be right"):
        make_slide(_noise((16, 16)), mpp=mpp)


def test_no_scale_is_no_scale(tmp_path: Path, cache: Cache) -> None:
    slide = Slide.open(write_image(tmp_path / "a.png", _noise((16, 16))), cache=cache)
    assert slide.mpp is None
    with pytest.raises(InputError, match="the slide's scale is unknown"):
        slide.scale()


def test_damaged_and_missing_files_say_so(tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(InputError, match="no such image"):
        Slide.open(tmp_path / "nothing.jpg", cache=cache)
    whole = write_image(tmp_path / "whole.jpg", _noise((900, 900)))
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(whole.read_bytes()[:60_000])
    with pytest.raises(InputError, match=r"torn\.jpg: this image cannot be read"):
        Slide.open(torn, cache=cache)
    assert list((cache.root / "pyramids3").glob("*")) == []
    text = tmp_path / "text.tif"
    text.write_text("this is no TIFF")
    with pytest.raises(InputError, match=r"it is no .* or TIFF"):
        Slide.open(text, cache=cache)


def test_grid_follows_the_conventions_of_space(make_slide: MakeSlide) -> None:
    slide = make_slide(_noise((100, 79)), mpp=0.5)
    grid = Grid.over(slide, 8.0)
    assert grid.shape == (7, 5)
    # Superpixel (0, 0) covers pixels [0, 16): its centre lies at (pitch − mpp) / 2.
    assert grid.translation_um() == pytest.approx((8 - 0.5) / 2)
    assert grid.translation_um(2) == pytest.approx((32 - 0.5) / 2)
    np.testing.assert_allclose(grid.position(np.array([[3.75, 11.75]])), [[1, 0]])
    np.testing.assert_allclose(grid.centres_um(np.array([1]), np.array([0])), [[3.75, 11.75]])
    assert grid.box_um(slice(0, 1), slice(2, 3)) == pytest.approx((15.75, -0.25, 23.75, 7.75))
