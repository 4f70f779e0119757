from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from made_sections import GLASS, make_slide_pixels
from napari_stenhance.errors import Cancelled, InputError
from napari_stenhance.features.encoders.stain import ENCODER, StainEncoder, stain_matrix
from napari_stenhance.features.masks import TissueKind, find_tissue
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import CropLayout, FeatureSettings
from napari_stenhance.features.superpixels import TileFeatures
from napari_stenhance.features.tissue import tissue_mask
from napari_stenhance.running.job import Event, Job, Progress
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import open_section
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache

MakeSlide = Callable[..., Slide]


def test_stain_matrix_separates_the_pure_stains() -> None:
    haematoxylin, eosin = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
    haematoxylin /= np.linalg.norm(haematoxylin)
    eosin /= np.linalg.norm(eosin)
    amounts = np.stack([2 * haematoxylin, 3 * eosin]) @ stain_matrix()
    np.testing.assert_allclose(amounts[:, :3], [[2, 0, 0], [0, 3, 0]], atol=1e-12)
    assert amounts[0, 3] == pytest.approx(2 * haematoxylin.mean())


@pytest.mark.parametrize("scale", range(4))
def test_stain_features_match_scipy(scale: int) -> None:
    pixels, _ = make_slide_pixels((8 * 6 + 232, 8 * 5 + 232), 5)
    features = StainEncoder(0.5).encode(pixels)
    assert features.shape == (6, 5, 162)
    order = features[..., :144].reshape(6, 5, 4, 3, 4, 3)[:, :, scale]  # σ, filter, stain, pooling
    sigma_um, px_um = ((1, 1), (2, 1), (4, 2), (8, 4))[scale]
    sigma, side = sigma_um / px_um, 8 // px_um
    density = -np.log10((pixels.astype(float) + 1) / 256) @ stain_matrix()
    rows, columns = (n // px_um for n in pixels.shape[:2])
    density = density.reshape(rows, px_um, columns, px_um, 4).mean(axis=(1, 3))
    for stain in range(4):
        smooth = ndimage.gaussian_filter(density[..., stain], sigma, truncate=4)
        down, right = np.gradient(smooth)
        laplacian = np.abs(ndimage.convolve(smooth, [[0, 1, 0], [1, -4, 1], [0, 1, 0]]))
        maps = (smooth, sigma * np.hypot(down, right), sigma**2 * laplacian)
        for kind, image in enumerate(maps):
            edge = 116 // px_um
            core = image[edge:-edge, edge:-edge].reshape(6, side, 5, side).mean(axis=(1, 3))
            np.testing.assert_allclose(order[:, :, kind, stain, 0], core, atol=2e-5)
            r, c = edge + side * 2, edge + side * 3  # superpixel (2, 3)
            near = image[r - 4 * side : r + 5 * side, c - 4 * side : c + 5 * side]
            wide = image[r - 10 * side : r + 11 * side, c - 10 * side : c + 11 * side]
            assert order[2, 3, kind, stain, 1] == pytest.approx(near.std(), abs=2e-4)
            assert order[2, 3, kind, stain, 2] == pytest.approx(wide.mean(), abs=2e-5)


def test_a_coarse_slide_repeats_its_finest_scale() -> None:
    pixels, _ = make_slide_pixels((8 * 3 + 232, 8 * 3 + 232), 5)
    fine, coarse = (StainEncoder(mpp).encode(pixels) for mpp in (0.5, 3.2))
    by_scale = fine[..., :144].reshape(3, 3, 4, 36)[:, :, [2, 2, 2, 3]]
    np.testing.assert_array_equal(coarse[..., :144].reshape(3, 3, 4, 36), by_scale)
    np.testing.assert_array_equal(coarse[..., 144:], fine[..., 144:])
    assert "grains of 5 µm and less are not seen" in StainEncoder(3.2).doubts()[0]
    assert "grains" not in StainEncoder(1.5).doubts()[0]


def test_a_stain_feature_depends_on_nothing_outside_window_and_halo() -> None:
    pixels, _ = make_slide_pixels((8 * 20 + 232, 8 * 90 + 232), 6)
    encoder = StainEncoder(0.5)
    whole = encoder.encode(pixels)
    part = encoder.encode(pixels[8 * 4 : 8 * 13 + 232, 8 * 60 : 8 * 71 + 232])
    np.testing.assert_array_equal(part, whole[4:13, 60:71])


def test_a_coarse_slide_loses_the_finest_scales_and_says_so() -> None:
    fine, coarse = StainEncoder(0.5), StainEncoder(2.76)
    assert fine.sigmas_um == (1, 2, 4, 8)
    assert coarse.sigmas_um == (2, 2, 4, 8)
    assert StainEncoder(3.2).sigmas_um == (4, 4, 4, 8)
    assert fine.doubts() == ()
    assert "2.76" in coarse.doubts()[0]
    assert fine.fingerprint() != coarse.fingerprint()
    assert StainEncoder(0.69).fingerprint() == fine.fingerprint()


def _slide_and_truth(
    make_slide: MakeSlide, shape: tuple[int, int] = (1000, 800)
) -> tuple[Slide, np.ndarray]:
    pixels, amounts = make_slide_pixels(shape, 2)
    return make_slide(pixels, mpp=0.8), amounts[1] > 0


def test_tissue_is_what_is_stained(make_slide: MakeSlide) -> None:
    slide, truth = _slide_and_truth(make_slide, (1400, 1100))
    grid = Grid.over(slide)
    mask = tissue_mask(slide, grid, Job())
    rows, columns = grid.shape
    blocks = truth[: rows * 10, : columns * 10].reshape(rows, 10, columns, 10).mean(axis=(1, 3))
    assert mask[blocks == 1].mean() > 0.99
    assert mask[blocks == 0].mean() < 0.03


def test_black_paint_and_bare_glass_are_no_tissue(make_slide: MakeSlide, cache: Cache) -> None:
    pixels, amounts = make_slide_pixels((1000, 800), 2)
    black = pixels.copy()
    black[ndimage.distance_transform_edt(amounts[1] == 0) > 30] = 0
    plain = make_slide(pixels, mpp=0.8)
    painted = make_slide(black, mpp=0.8, name="black.png")
    grid = Grid.over(plain)
    a, b = tissue_mask(plain, grid, Job()), tissue_mask(painted, grid, Job())
    assert (a & b).sum() / (a | b).sum() > 0.95  # ink takes a rim of one superpixel
    strip = np.full((400, pixels.shape[1], 3), GLASS, np.uint8)
    y, x = np.mgrid[:400, : pixels.shape[1]]
    strip[(y - 200) ** 2 + (x - 200) ** 2 < 150**2] = (190, 188, 189)
    dusty = make_slide(np.concatenate([strip, pixels]), mpp=0.8, name="dust.png")
    mask = tissue_mask(dusty, Grid.over(dusty), Job())
    assert not mask[:40].any()
    assert mask[40:].sum() == pytest.approx(a.sum(), rel=0.02)
    bare = make_slide(np.full((300, 300, 3), GLASS, np.uint8), mpp=0.8, name="bare.png")
    assert not tissue_mask(bare, Grid.over(bare), Job()).any()
    with pytest.raises(InputError, match="no tissue was found"):
        find_tissue(bare, Grid.over(bare), "density", cache, Job())


@pytest.mark.parametrize("path", ["her2st/C2", "her2st/C3", "her2st/C4", "mob/rep11.h5ad"])
def test_tissue_of_real_sections_holds_their_spots(data: Path, path: str) -> None:
    section = open_section(data / path)
    slide = section.need_slide()
    grid = Grid.over(slide)
    mask = tissue_mask(slide, grid, Job())
    at = np.rint(grid.position(section.spots_um())).astype(int)
    assert mask[at[:, 0], at[:, 1]].all()
    # Glass beyond 400 µm of any spot; the bulb has a scrap of tissue and unmeasured rims there.
    near = np.zeros(grid.shape, bool)
    near[at[:, 0], at[:, 1]] = True
    far = ndimage.distance_transform_edt(~near) > 400 / grid.pitch_um
    assert mask[far].mean() < 0.02
    assert 0.15 < mask.mean() < 0.30


def test_tissue_on_a_thumbnail_with_black_background(data: Path) -> None:
    folder = data / "her2st" / "A1"
    slide = Slide.open(folder / "image_lowres2000_dark.png", mpp=3.2)
    grid = Grid.over(slide)
    mask = tissue_mask(slide, grid, Job())
    table = pd.read_csv(folder / "selection.tsv", sep="\t")
    xy = table[["pixel_x", "pixel_y"]].to_numpy() * 0.2876 * 3.2
    at = np.rint(grid.position(xy)).astype(int)
    assert mask[at[:, 0], at[:, 1]].mean() > 0.98
    pixels = slide.read(grid.box_um(*(slice(0, n) for n in grid.shape)), 8.0)
    assert not mask[pixels.max(axis=2) < 40].any()
    # The second picture, pasted at the top right: its glass is no tissue.
    assert not mask[:55, 610:].any()
    assert not mask[185:205, 610:].any()


def _features(
    slide: Slide,
    cache: Cache,
    tile: int = 128,
    needed: np.ndarray | None = None,
    job: Job | None = None,
) -> TileFeatures:
    settings = FeatureSettings(ENCODER, torch.device("cpu"), cache)
    features = TileFeatures(slide, settings, job or Job(), side=tile)
    features.extract(needed)
    return features


def _raw(features: TileFeatures) -> np.ndarray:
    rows, columns = (slice(0, n) for n in features.grid.shape)
    return features.tile(rows, columns, raw=True).values


def test_two_tile_sizes_give_the_same_features(make_slide: MakeSlide, tmp_path: Path) -> None:
    slide, _ = _slide_and_truth(make_slide)
    one = _features(slide, Cache(tmp_path / "a"), tile=32)
    two = _features(slide, Cache(tmp_path / "b"), tile=128)
    np.testing.assert_array_equal(_raw(one), _raw(two))
    np.testing.assert_array_equal(one.moments, two.moments)


def test_glass_is_skipped_and_regions_change_no_value(
    make_slide: MakeSlide, tmp_path: Path
) -> None:
    slide, _ = _slide_and_truth(make_slide)
    whole = _features(slide, Cache(tmp_path / "a"), tile=16)
    assert not _raw(whole)[~whole.tissue].any()
    needed = np.zeros(whole.grid.shape, bool)
    needed[60:64, 50:54] = True
    part = _features(slide, Cache(tmp_path / "b"), tile=16, needed=needed)
    np.testing.assert_array_equal(part.moments, whole.moments)
    np.testing.assert_array_equal(_raw(part)[60:64, 50:54], _raw(whole)[60:64, 50:54])
    written = [f for f in (tmp_path / "b").rglob("c/*/*/0") if "values" in f.parts]
    assert len(written) == 1


def test_a_stopped_extraction_goes_on(make_slide: MakeSlide, cache: Cache, tmp_path: Path) -> None:
    slide, _ = _slide_and_truth(make_slide)
    events: list[Progress] = []
    job = Job()

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.stage.startswith("Extracting"):
            events.append(event)
            if event.done == 5:
                job.cancel()

    job.listener = listen
    with pytest.raises(Cancelled):
        _features(slide, cache, 16, job=job)
    events.clear()
    again = _features(slide, cache, 16, job=Job(listener=listen))
    assert events[1].done == 5  # the first is the start, the second what was skipped
    assert events[-1].done == events[-1].total
    events.clear()
    _features(slide, cache, 16, job=Job(listener=listen))
    assert events == []
    at_once = _features(slide, Cache(tmp_path / "other"), 16)
    np.testing.assert_array_equal(again.moments, at_once.moments)
    assert _raw(again)[again.tissue].any(axis=-1).all()


def test_tiles_are_standardised_and_padded_beyond_the_grid(
    make_slide: MakeSlide, cache: Cache
) -> None:
    slide, _ = _slide_and_truth(make_slide)
    features = _features(slide, cache)
    rows, columns = (slice(0, n) for n in features.grid.shape)
    tile = features.tile(rows, columns, halo=3)
    assert tile.values.shape == (features.grid.shape[0] + 6, features.grid.shape[1] + 6, 162)
    assert not tile.values[~tile.tissue].any()
    assert not tile.tissue[:3].any()
    np.testing.assert_array_equal(tile.tissue[tile.core], features.tissue)
    values = tile.values[tile.tissue]
    # Moments come from a sample of the tissue.
    assert np.abs(values.mean(axis=0)).max() < 0.4
    assert 0.7 < values.std(axis=0).mean() < 1.3
    np.testing.assert_allclose(tile.centre_um[3, 3], [features.grid.translation_um()] * 2)


def test_positions_have_the_features_of_their_superpixel(
    make_slide: MakeSlide, cache: Cache
) -> None:
    slide, _ = _slide_and_truth(make_slide)
    features = _features(slide, cache)
    row, column = (n[::97] for n in np.nonzero(features.tissue))
    xy_um = features.grid.centres_um(row, column) + [3.9, -3.9]
    for raw in (True, False):
        np.testing.assert_array_equal(
            features.at(xy_um, raw=raw), features.superpixels(row, column, raw=raw)
        )
    assert not features.at(np.array([[-50.0, 100.0], [10.0, 10.0], [1e6, 5.0]])).any()


@pytest.mark.parametrize("kind", ["density", "histosweep"])
def test_tissue_is_found_once_for_a_slide(
    make_slide: MakeSlide, cache: Cache, kind: TissueKind
) -> None:
    """Crops of any size, and superpixels, share what was found on the grid of 8 µm."""
    slide, _ = _slide_and_truth(make_slide)
    stages: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.done == 0 and "issue" in event.stage:
            stages.append(event.stage)

    settings = FeatureSettings(ENCODER, torch.device("cpu"), cache, kind)
    found = open_features(slide, settings, Job(listener=listen)).tissue
    assert stages
    stages.clear()
    for encoder in (ENCODER, find_encoder("timm:test_vit?pretrained=false")):
        for pitch_um in (16.0, 40.0):
            crops = replace(settings, encoder=encoder, crops=CropLayout((30.0,), pitch_um))
            assert open_features(slide, crops, Job(listener=listen)).tissue.any()
    again = open_features(slide, settings, Job(listener=listen)).tissue
    np.testing.assert_array_equal(again, found)
    assert not stages
    assert len(list((cache.root / "tissue").iterdir())) == 1
