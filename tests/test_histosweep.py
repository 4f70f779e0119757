from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.feature import graycomatrix, graycoprops
from skimage.filters import threshold_otsu
from sklearn.mixture import GaussianMixture

from made_sections import GLASS, make_slide_pixels, make_spots, stain_features, write_image
from napari_stenhance.errors import Cancelled, InputError
from napari_stenhance.features import histosweep
from napari_stenhance.features.encoders.stain import StainEncoder
from napari_stenhance.features.histosweep import (
    flat_patches,
    glass_coloured,
    histosweep_mask,
    patch_statistics,
    rare_patches,
    texture,
    tissue_texture,
    weighted_brightness,
)
from napari_stenhance.features.tissue import tissue_mask
from napari_stenhance.results.predictions import at_spots, at_superpixels
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Event, Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import open_section
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from test_cli import events_of, run

MakeSlide = Callable[..., Slide]


# Each step, plainly


def plain_statistics(pixels: NDArray[np.uint8]) -> tuple[NDArray, NDArray]:
    rows, columns = (n // 16 for n in pixels.shape[:2])
    sd, mean = np.empty((rows, columns)), np.empty((rows, columns, 3))
    for r in range(rows):
        for c in range(columns):
            patch = pixels[16 * r : 16 * r + 16, 16 * c : 16 * c + 16].astype(float)
            sd[r, c], mean[r, c] = patch.std(), patch.mean(axis=(0, 1))
    return sd, mean


def plain_rare(brightness: NDArray, sd: NDArray, bins: int, below: float) -> NDArray:
    edges = [np.linspace(v.min(), v.max(), bins + 1) for v in (brightness, sd)]
    count = np.zeros((bins, bins))
    for values in zip(brightness.ravel(), sd.ravel(), strict=True):
        at = [
            min(int(np.searchsorted(e, v, side="right")) - 1, bins - 1)
            for e, v in zip(edges, values, strict=True)
        ]
        count[at[0], at[1]] += 1
    density = ndimage.gaussian_filter(count, max(1, int(0.02 * bins)))
    rare = np.zeros(sd.shape, bool)
    for index in np.ndindex(sd.shape):
        i, j = (
            int(np.searchsorted(e, v[index], side="left")) - 1
            for e, v in zip(edges, (brightness, sd), strict=True)
        )
        rare[index] = (density[i, j] if min(i, j) >= 0 else 0) < below
    return rare


def plain_texture(patch: NDArray[np.uint8]) -> list[float]:
    grey = (rgb2gray(patch) * 255).astype(np.uint8)
    level = np.array([[int(v) * 63 // 255 for v in line] for line in grey], np.uint8)
    matrix = graycomatrix(level, [1], [0], levels=64, symmetric=True, normed=True)
    p = matrix[..., 0, 0][matrix[..., 0, 0] > 0]
    return [
        graycoprops(matrix, "homogeneity")[0, 0],
        graycoprops(matrix, "energy")[0, 0],
        -(p * np.log2(p)).sum(),
    ]


def minmax(values: NDArray) -> NDArray:
    return (values - values.min(axis=0)) / (values.max(axis=0) - values.min(axis=0))


def plain_mask(pixels: NDArray[np.uint8], bins: int, below: float) -> tuple[NDArray, int, int]:
    """Return the mask, how many patches went to the mixture, and how many were rescued."""
    sd, mean = plain_statistics(pixels)
    variance = [mean[..., c].var() for c in range(3)]
    brightness = sum(mean[..., c] * variance[c] for c in range(3)) / sum(variance)
    ratio = (minmax(sd.ravel()) + 1) / (minmax(brightness.ravel()) + 1)
    ratio = minmax(ratio).reshape(sd.shape)
    rare = plain_rare(brightness, sd, bins, below)
    doubtful, values = [], []
    for r, c in np.argwhere(rare):
        red, green, blue = mean[r, c]
        if green > red + 20 and green > blue + 20:
            continue
        if mean[r, c].std() < 10 or min(red, green, blue) > 230:
            continue
        doubtful.append((r, c))
        values.append(plain_texture(pixels[16 * r : 16 * r + 16, 16 * c : 16 * c + 16]))
    scaled = minmax(np.array(values))
    label = GaussianMixture(4, random_state=45, max_iter=1000).fit_predict(scaled)
    scores = [
        scaled[label == k, 1].mean() + scaled[label == k, 0].mean() - scaled[label == k, 2].mean()
        for k in range(4)
    ]
    rescued = 0
    for place, k in zip(doubtful, label, strict=True):
        if k in np.argsort(scores)[:2]:
            rare[place] = False
            rescued += 1
    kept = ratio[~rare]
    flat = ratio < threshold_otsu(kept[kept < np.percentile(kept, 90)])
    pieces, number = ndimage.label(~(rare | flat), np.ones((3, 3)))
    mask = np.zeros(sd.shape, bool)
    for piece in range(1, number + 1):
        if (pieces == piece).sum() >= 10:
            mask[pieces == piece] = True
    return mask, len(doubtful), rescued


def test_the_whole_mask_is_the_plain_one(
    make_slide: MakeSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On 50 × 40 patches, with as many bins, and as thin ones, as a large slide has."""
    pixels, _ = make_slide_pixels((800, 640), 3)
    slide = make_slide(pixels, mpp=0.5)
    grid = Grid.over(slide)
    monkeypatch.setattr(histosweep, "BINS_PER_PATCH", 60 / 2000)
    monkeypatch.setattr(histosweep, "RARE_BELOW", 1.5)
    expected, doubtful, rescued = plain_mask(pixels, 60, 1.5)
    assert doubtful > 100
    assert 0 < rescued < doubtful
    mask = histosweep_mask(slide, grid, Job())
    assert mask.shape == grid.shape == (50, 40)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(mask, expected)
    # Tiles are read one at a time, and change nothing.
    largest = 0
    read = Slide.read

    def watched(self: Slide, region: tuple[float, ...], mpp: float) -> NDArray[np.uint8]:
        nonlocal largest
        seen = read(self, region, mpp)  # type: ignore[arg-type]
        largest = max(largest, seen.shape[0], seen.shape[1])
        return seen

    monkeypatch.setattr(Slide, "read", watched)
    monkeypatch.setattr(histosweep, "_TILE", 7)
    np.testing.assert_array_equal(histosweep_mask(slide, grid, Job()), expected)
    assert largest == 7 * 16


def test_patch_statistics_are_mean_and_standard_deviation() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3 * 16, 5 * 16, 3), np.uint8)
    pixels[:16, :16] = 255
    sd, mean = patch_statistics(pixels.reshape(3, 16, 5, 16, 3))
    expected_sd, expected_mean = plain_statistics(pixels)
    np.testing.assert_allclose(sd, expected_sd, rtol=1e-12)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-12)
    assert sd[0, 0] == 0


def test_brightness_weighs_the_channels_that_vary() -> None:
    # Variances 4, 1 and 0.
    mean = np.array([[[10, 5, 7], [14, 7, 7]]], np.float32)
    np.testing.assert_allclose(weighted_brightness(mean), [[(40 + 5) / 5, (56 + 7) / 5]], rtol=1e-6)
    np.testing.assert_allclose(weighted_brightness(np.full((2, 2, 3), 9, np.float32)), 9.0)


@pytest.mark.parametrize("patches, bins", [(20_000, 1), (100_000, 5)])
def test_rare_patches_lie_in_thin_bins(patches: int, bins: int) -> None:
    rng = np.random.default_rng(patches)
    brightness = rng.normal(200, 20, (patches // 100, 100))
    sd = rng.gamma(4, 5, brightness.shape).astype(np.float32)
    rare = rare_patches(brightness, sd)
    np.testing.assert_array_equal(rare, plain_rare(brightness, sd, bins, 100))
    # Bins hold their upper edge: the darkest and the flattest are in none.
    assert rare.flat[brightness.argmin()]
    assert rare.flat[sd.argmin()]
    assert rare.sum() == 2 if bins == 1 else rare.sum() >= 2


def test_below_20000_patches_none_is_rare() -> None:
    rng = np.random.default_rng(0)
    assert not rare_patches(rng.random((1, 19_999)), rng.random((1, 19_999))).any()


def test_glass_is_green_grey_or_bright() -> None:
    colours = {
        (100, 121, 100): True,
        (100, 120, 100): True,  # grey
        (70, 121, 101): False,
        (60, 121, 100): True,
        (128, 128, 128): True,
        (231, 235, 255): True,
        (230, 235, 255): False,
        (180, 120, 170): False,
    }
    found = glass_coloured(np.array([list(colours)], np.float32))
    assert found.tolist() == [list(colours.values())]


def test_texture_is_that_of_the_cooccurrence_matrix() -> None:
    rng = np.random.default_rng(1)
    patches = rng.integers(0, 256, (6, 16, 16, 3), np.uint8)
    patches[1] = 200
    patches[2] = np.arange(16)[:, None] * 15
    patches[3] = np.arange(16)[:, None, None] * 15
    patches[4] = ndimage.gaussian_filter(patches[4].astype(float), (2, 2, 0)).astype(np.uint8)
    patches[5, :, ::2] = 0
    found = texture(patches)
    np.testing.assert_allclose(found, [plain_texture(p) for p in patches], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[1], [1, 1, 0], atol=1e-12)


def test_the_two_most_irregular_components_are_tissue() -> None:
    rng = np.random.default_rng(2)
    # Homogeneity, energy, entropy: from even to irregular.
    centres = np.array([[0.9, 0.9, 0.5], [0.7, 0.5, 2.5], [0.4, 0.2, 5.0], [0.2, 0.1, 7.0]])
    kind = np.arange(400) % 4
    found = tissue_texture(centres[kind] + rng.normal(0, 0.01, (400, 3)))
    np.testing.assert_array_equal(found, kind >= 2)
    # Fewer different textures than components: none is rescued, and nothing is fitted.
    assert not tissue_texture(centres[kind % 3]).any()


def test_flat_patches_lie_below_otsus_threshold() -> None:
    rng = np.random.default_rng(3)
    ratio = np.concatenate([rng.normal(0.1, 0.02, 500), rng.normal(0.6, 0.05, 500)])
    none = np.zeros(1000, bool)
    np.testing.assert_array_equal(flat_patches(ratio, none), np.arange(1000) < 500)
    kept = ratio[ratio < np.percentile(ratio, 90)]
    np.testing.assert_array_equal(flat_patches(ratio, none), ratio < threshold_otsu(kept))
    # Rare patches have no say in the threshold.
    wild = np.concatenate([ratio, np.full(3000, 40.0)])
    np.testing.assert_array_equal(flat_patches(wild, wild > 30)[:1000], np.arange(1000) < 500)
    # Digital white, and little tissue.
    white = np.concatenate([np.zeros(950), rng.normal(0.6, 0.05, 50)])
    np.testing.assert_array_equal(flat_patches(white, none), np.arange(1000) < 950)
    assert flat_patches(np.zeros(5), np.zeros(5, bool)).all()
    assert flat_patches(np.zeros(5), np.ones(5, bool)).all()


# Slides


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (16, 32), (40, 70), (160, 160), (250, 333)])
def test_small_slides_of_any_size(make_slide: MakeSlide, shape: tuple[int, int]) -> None:
    white = np.full((*shape, 3), 255, np.uint8)
    noise = np.random.default_rng(4).integers(0, 256, (*shape, 3), np.uint8)
    both = white.copy()
    both[:, : shape[1] // 2] = noise[:, : shape[1] // 2]
    masks = []
    for n, pixels in enumerate((white, noise, both)):
        slide = make_slide(pixels, mpp=0.5, name=f"{n}.png")
        grid = Grid.over(slide)
        masks.append(histosweep_mask(slide, grid, Job()))
        assert masks[-1].shape == grid.shape == tuple(-(-side // 16) for side in shape)
        assert masks[-1].dtype == bool
    assert not masks[0].any()
    if min(shape) >= 160:
        half = masks[2].shape[1] // 2
        assert masks[2][:, : half - 1].all()
        assert not masks[2][:, half + 1 :].any()


@pytest.mark.parametrize("mpp", [0.5, 0.8, 2.0])
def test_tissue_of_a_small_slide_is_what_is_stained(make_slide: MakeSlide, mpp: float) -> None:
    pixels, amounts = make_slide_pixels((1003, 777), 5)
    slide = make_slide(pixels, mpp=mpp)
    grid = Grid.over(slide)
    mask = histosweep_mask(slide, grid, Job())
    at = [
        np.minimum(((np.arange(n) + 0.5) * 8 / mpp).astype(int), side - 1)
        for n, side in zip(grid.shape, amounts.shape[1:], strict=True)
    ]
    stained = ndimage.gaussian_filter((amounts[1] > 0).astype(float), 8 / mpp)[np.ix_(*at)]
    assert mask[stained > 0.95].mean() > 0.95
    assert mask[stained < 0.05].mean() < 0.05


def test_a_slide_is_white_beyond_its_edge(make_slide: MakeSlide) -> None:
    pixels, _ = make_slide_pixels((1003, 777), 6)
    ragged = make_slide(pixels, mpp=0.5)
    filled = make_slide(
        np.pad(pixels, [(0, 5), (0, 7), (0, 0)], constant_values=255), mpp=0.5, name="filled.png"
    )
    masks = [histosweep_mask(s, Grid.over(s), Job()) for s in (ragged, filled)]
    assert masks[0].shape == (63, 49)
    np.testing.assert_array_equal(*masks)


def test_it_stops_when_it_is_cancelled(
    make_slide: MakeSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = make_slide(np.full((320, 320, 3), GLASS, np.uint8), mpp=0.5)
    monkeypatch.setattr(histosweep, "_TILE", 2)
    job = Job()
    seen = []

    def listen(event: Event) -> None:
        seen.append(event)
        if len(seen) == 3:
            job.cancel()

    job.listener = listen
    with pytest.raises(Cancelled):
        histosweep_mask(slide, Grid.over(slide), job)
    assert len(seen) == 3


def test_on_a_real_section_it_agrees_with_the_default(data: Path) -> None:
    section = open_section(data / "her2st" / "C2")
    slide = section.need_slide()
    grid = Grid.over(slide)
    started = time.perf_counter()
    usual = tissue_mask(slide, grid, Job())
    between = time.perf_counter()
    mask = histosweep_mask(slide, grid, Job())
    took = time.perf_counter() - between
    agree = (mask == usual).mean()
    print(
        f"C2, {mask.size} superpixels: tissue {mask.mean():.4f}, by density {usual.mean():.4f}; "
        f"{agree:.4f} agree; {took:.1f} s, by density {between - started:.1f} s"
    )
    at = np.rint(grid.position(section.spots_um())).astype(int)
    assert mask[at[:, 0], at[:, 1]].mean() > 0.9
    assert agree > 0.9


# The option


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A section of 0.6 × 0.5 mm."""
    file = tmp_path_factory.mktemp("small") / "small.h5ad"
    pixels, amounts = make_slide_pixels((800, 670), 0)
    write_image(file.with_suffix(".png"), pixels)
    make_spots(amounts, 0).write_h5ad(file)
    return file


def test_features_of_each_mask_are_kept_apart(small_file: Path, session_cache: Cache) -> None:
    slide = open_section(small_file).need_slide()
    encoder, grid = StainEncoder(0.8), Grid.over(slide)
    usual = stain_features(slide, session_cache)
    swept = stain_features(slide, session_cache, "histosweep")
    stem = f"{slide.sha256[:32]}-{encoder.fingerprint()}"
    assert usual.key == f"{stem}-tissue1-{grid.key()}"
    assert swept.key == f"{stem}-histosweep1-{grid.key()}"
    np.testing.assert_array_equal(swept.tissue, histosweep_mask(slide, grid, Job()))
    assert (swept.tissue != usual.tissue).any()
    assert swept.superpixels(*np.nonzero(swept.tissue), raw=True).any(axis=-1).all()
    with pytest.raises(InputError, match="choose one of density, histosweep"):
        stain_features(slide, session_cache, "umi")  # type: ignore[arg-type]


def test_a_run_learns_and_predicts_on_the_mask_that_was_asked_for(
    small_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "one.stenhance.zarr"
    shared = ("enhance", small_file, "--out", out, "--epochs", "2", "--device", "cpu")
    run(*shared)
    run(*shared, "--tissue", "histosweep")
    result = ResultFolder.open(out)
    usual, swept = result.runs
    assert "tissue" not in result.run_attributes(usual)["identity"]
    assert result.run_attributes(swept)["identity"]["tissue"] == "histosweep"
    assert "histosweep1" in result.run_attributes(swept)["feature_key"]
    # Another mask is another model.
    assert events_of(out).count("trained") == 2
    masks = {}
    slide = open_section(small_file).need_slide()
    for name, find in ((usual, tissue_mask), (swept, histosweep_mask)):
        masks[name] = find(slide, Grid.over(slide), Job())
        np.testing.assert_array_equal(result.tissue(name), masks[name])
        np.testing.assert_array_equal(np.isfinite(result.field(name).image("G1")), masks[name])
    assert (masks[usual] != masks[swept]).any()
    np.testing.assert_array_equal(result.tissue(), masks[usual])
    assert "already complete" in run(*shared, "--tissue", "histosweep").stderr

    # A model predicts on the kind of mask that it learned on.
    other = tmp_path / "other.stenhance.zarr"
    run("predict", out, "--run", swept, "--on", small_file, "--out", other, "--device", "cpu")
    predicted = ResultFolder.open(other)
    np.testing.assert_array_equal(predicted.tissue(), masks[swept])
    image = predicted.field(predicted.runs[0]).image("G1")
    np.testing.assert_array_equal(np.isfinite(image), masks[swept])

    assert "histosweep" in run(*shared, "--tissue", "umi", code=2).stderr


def test_the_label_image_is_the_mask_of_the_first_run(small_file: Path, tmp_path: Path) -> None:
    section = open_section(small_file)
    slide, out = section.need_slide(), tmp_path / "r"
    grid = Grid.over(slide)
    shared = {"sections": section, "out": out, "epochs": 2, "device": "cpu"}
    enhance(EnhanceOptions(**shared, tissue="histosweep"))
    (result,) = enhance(EnhanceOptions(**shared))
    assert events_of(out).count("trained") == 2
    swept, usual = result.runs
    np.testing.assert_array_equal(result.tissue(), histosweep_mask(slide, grid, Job()))
    np.testing.assert_array_equal(result.tissue(swept), result.tissue())
    np.testing.assert_array_equal(result.tissue(usual), tissue_mask(slide, grid, Job()))
    assert {f.name for f in out.glob("tissue*")} == {"tissue", "tissue-density"}
    for name in result.runs:
        table = at_superpixels(result, name, ["G1"], Job())
        assert table.n_obs == result.tissue(name).sum()
        assert np.isfinite(at_spots(result, name, section, ["G1"]).X).all()
