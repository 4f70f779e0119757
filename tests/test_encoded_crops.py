"""Crops of a slide, encoded by a network and kept in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from made_sections import make_slide_pixels
from napari_stenhance.errors import Cancelled, InputError
from napari_stenhance.features.cropping import Crops, read_crops
from napari_stenhance.features.encoded import CHUNK, SAMPLE, EncodedCrops
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import Encoder, find_encoder
from napari_stenhance.features.source import CropLayout, FeatureSettings, FeatureSource
from napari_stenhance.running.job import Event, Job, Note, Progress
from napari_stenhance.section.images.image import Pixels
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache

# Its guards hold here too: no network is asked, and the user's weights are not seen.
from test_vit import CPU, RANDOM_CNN, RANDOM_VIT, _no_network, hub  # noqa: F401

MakeSlide = Callable[..., Slide]
SIZES = (40.0, 130.0)


class Counting:
    """An encoder that knows what it has encoded: the mean colour, and the last pixel's."""

    name, dim, side_px, batch, at_once = "counting", 6, 16, 4, 1

    def __init__(self) -> None:
        self.seen: list[NDArray[np.uint8]] = []

    def fingerprint(self) -> str:
        return "counting"

    def doubts(self, mpp: float, crop_um: float) -> tuple[str, ...]:
        return ()

    def encode(self, crops: Crops) -> NDArray[np.float32]:
        assert len(crops) <= self.batch
        crops = np.asarray(crops)
        assert crops.shape[1:] == (16, 16, 3)
        self.seen += list(crops)
        mean, last = crops.mean(axis=(1, 2)), crops[:, -1, -1]
        return np.concatenate([mean, last], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return make_slide_pixels((1500, 1200), 3)[0]


@pytest.fixture
def slide(make_slide: MakeSlide, picture: NDArray[np.uint8]) -> Slide:
    return make_slide(picture, mpp=0.8)


def over(
    slide: Slide,
    cache: Cache,
    encoder: Counting,
    job: Job,
    needed: NDArray[np.bool_] | None = None,
    pitch_um: float = 25.0,
    **more: Any,
) -> EncodedCrops:
    layout = CropLayout(SIZES, pitch_um)
    named = Encoder("counting", lambda: "counting", crops=lambda _device: encoder)
    settings = FeatureSettings(named, CPU, cache, crops=layout, **more)
    source = EncodedCrops(slide, settings, job, layout)
    source.extract(needed)
    return source


def direct(
    slide: Slide, xy_um: NDArray[np.float64], size_um: float, side: int
) -> NDArray[np.uint8]:
    """Crops one by one."""
    corner, step = -slide.scale() / 2, size_um / side
    found = []
    for x, y in xy_um:
        x0, y0 = (np.floor(round((v - corner) / step - side / 2, 6) + 0.5) * step for v in (x, y))
        box = (corner + x0, corner + y0, corner + x0 + side * step, corner + y0 + side * step)
        found.append(slide.read(box, step))
    return np.stack(found)


def test_crops_are_centred_and_white_beyond_the_slide(make_slide: MakeSlide) -> None:
    pixels = np.full((100, 120, 3), 90, np.uint8)
    pixels[40:44, 50:54] = [[10, 20, 30]]
    slide = make_slide(pixels, mpp=0.5)  # 1 pixel of a crop is 1 of these
    # The corner between pixels 41 and 42 is at 41.5 pixels of the world.
    (middle,) = np.asarray(read_crops(slide, np.array([[51.5, 41.5]]) * 0.5, 8.0, 16))
    np.testing.assert_array_equal(middle[6:10, 6:10], np.broadcast_to([10, 20, 30], (4, 4, 3)))
    assert (middle != 90).any(axis=2).sum() == 16
    at_edges = np.array([[-0.5, -0.5], [119.5, 50.5]]) * 0.5
    corner, right = np.asarray(read_crops(slide, at_edges, 8.0, 16))
    assert (corner[8:, 8:] == 90).all()
    assert (corner[:8] == 255).all()
    assert (corner[:, :8] == 255).all()
    assert (right[:, :8] == 90).all()
    assert (right[:, 8:] == 255).all()
    assert (
        np.asarray(read_crops(slide, np.array([[-900.0, 3.0], [9e4, 9e4]]), 8.0, 16)) == 255
    ).all()


def test_a_crop_does_not_depend_on_its_company(slide: Slide) -> None:
    xy = np.random.default_rng(1).uniform(-30, 1000, (60, 2))
    for size in SIZES:
        together = np.asarray(read_crops(slide, xy, size, 16))
        np.testing.assert_array_equal(together, direct(slide, xy, size, 16))
        order = np.random.default_rng(2).permutation(60)
        np.testing.assert_array_equal(read_crops(slide, xy[order], size, 16), together[order])
        np.testing.assert_array_equal(read_crops(slide, xy[7:9], size, 16), together[7:9])


def test_features_of_cells_and_of_positions_are_the_same(slide: Slide, cache: Cache) -> None:
    source = over(slide, cache, Counting(), Job())
    row, column = np.nonzero(source.tissue)
    assert len(row) > SAMPLE
    cells = source.superpixels(row, column, raw=True)
    at = source.at(source.grid.centres_um(row, column), raw=True)
    np.testing.assert_array_equal(cells, at)
    large = direct(slide, source.grid.centres_um(row[:5], column[:5]), SIZES[1], 16)
    np.testing.assert_allclose(cells[:5, 6:9], large.mean(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(cells[:5, 9:], large[:, -1, -1])
    scaled = source.superpixels(row, column)
    mean, sd = source.moments
    np.testing.assert_allclose(scaled * sd + mean, cells, rtol=1e-4, atol=1e-3)
    assert np.abs(scaled.mean(axis=0)).max() < 0.15
    order = np.random.default_rng(0).permutation(len(row))[:50]
    xy = source.grid.centres_um(row[order], column[order])
    np.testing.assert_array_equal(source.at(xy), scaled[order])
    np.testing.assert_array_equal(source.superpixels(row[order], column[order]), scaled[order])
    assert source.at(xy[:0]).shape == (0, 12)


def test_only_tissue_is_encoded_and_only_once(slide: Slide, cache: Cache) -> None:
    encoder = Counting()
    whole = over(slide, cache, encoder, Job())
    tissue = whole.tissue
    assert 0.1 < tissue.mean() < 0.7
    assert len(encoder.seen) == 2 * tissue.sum()
    over(slide, cache, encoder, Job())
    assert len(encoder.seen) == 2 * tissue.sum()
    centres = np.random.default_rng(0).uniform(100, 900, (40, 2))
    values = whole.at(centres, raw=True)
    assert len(encoder.seen) == 2 * (tissue.sum() + 40)
    np.testing.assert_array_equal(whole.at(centres, raw=True), values)
    assert len(encoder.seen) == 2 * (tissue.sum() + 40)


def test_a_part_costs_a_part_and_changes_no_value(slide: Slide, tmp_path: Path) -> None:
    whole = over(slide, Cache(tmp_path / "a"), Counting(), Job())
    tissue = whole.tissue
    needed = np.zeros(tissue.shape, bool)
    needed[20:26, 18:24] = True
    encoder = Counting()
    part = over(slide, Cache(tmp_path / "b"), encoder, Job(), needed=needed)
    row, column = np.nonzero(needed & tissue)
    assert len(row) == 36
    for raw in (True, False):
        np.testing.assert_array_equal(
            part.superpixels(row, column, raw=raw), whole.superpixels(row, column, raw=raw)
        )
    assert len(encoder.seen) < 2 * (SAMPLE + 36 + 5 * CHUNK) < 2 * tissue.sum()


def test_a_tile_of_the_slide_is_decoded_once(slide: Slide, cache: Cache) -> None:
    class Watched:
        """A level that lists what of it is read."""

        def __init__(self, level: Pixels) -> None:
            self.level, self.read = level, list[tuple[int, int]]()
            self.shape, self.dtype, self.ndim = level.shape, level.dtype, level.ndim
            self.chunks = (128, 128, 3)

        def __getitem__(self, key: Any) -> NDArray[np.uint8]:
            rows, columns = (range(n)[k] for n, k in zip(self.shape, key, strict=False))
            assert max(len(rows), len(columns)) <= 128
            self.read.append((rows[0] // 128, columns[0] // 128))
            return self.level[key]

    plain = over(slide, cache, Counting(), Job())
    levels = tuple(Watched(level) for level in slide.pixels)
    watched = replace(slide, pixels=levels)
    # Found in the cache, so that nothing else reads the levels.
    assert watched.key == slide.key
    layout = CropLayout(SIZES, 25.0)
    settings = FeatureSettings(plain.settings.encoder, CPU, cache, crops=layout)
    source = EncodedCrops(watched, settings, Job(), layout)
    xy = np.random.default_rng(4).uniform(200, 700, (300, 2))
    values = source.at(xy, raw=True)
    for size, part in zip(SIZES, np.split(values, 2, axis=1), strict=True):
        np.testing.assert_array_equal(part[:, 3:], direct(slide, xy, size, 16)[:, -1, -1])
    read = [(n, tile) for n, level in enumerate(levels) for tile in level.read]
    assert len(read) == len(set(read)) > 12


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cells", "positions"])
def test_what_was_stopped_goes_on(slide: Slide, tmp_path: Path, what: str) -> None:
    job, encoder, steps = Job(), Counting(), list[Progress]()

    def listen(event: Event) -> None:
        if isinstance(event, Progress):
            steps.append(event)
            if event.stage == "Encoding crops of slide with counting" and event.done == 3 * CHUNK:
                job.cancel()

    cache = Cache(tmp_path / "a")
    xy = np.random.default_rng(0).uniform(100, 900, (5 * CHUNK + 7, 2))
    job.listener = listen
    if what == "cells":
        with pytest.raises(Cancelled):
            over(slide, cache, encoder, job)
        total = steps[-1].total
        assert len(encoder.seen) == 2 * 3 * CHUNK
    else:
        source = over(slide, cache, encoder, Job())
        encoder.seen.clear()
        source = over(slide, cache, encoder, job)
        total = len(xy)
        with pytest.raises(Cancelled):
            source.at(xy, raw=True)
        assert len(encoder.seen) == 2 * 3 * CHUNK
    steps.clear()
    again = over(slide, cache, encoder, Job(listener=steps.append))  # type: ignore[arg-type]
    values = again.at(xy)
    encoding = [e for e in steps if isinstance(e, Progress) and e.stage.startswith("Encoding")]
    assert [e.done for e in encoding[:2]] == [0, 3 * CHUNK]
    assert encoding[-1].done == encoding[-1].total
    if what == "positions":
        assert len(encoder.seen) == 2 * total
    else:
        assert len(encoder.seen) == 2 * (total + len(xy))
    at_once = over(slide, Cache(tmp_path / "b"), Counting(), Job())
    np.testing.assert_array_equal(at_once.moments, again.moments)
    np.testing.assert_array_equal(at_once.at(xy), values)


def test_cancel_is_heard_between_batches(slide: Slide, cache: Cache) -> None:
    job = Job()

    class Slow(Counting):
        def encode(self, crops: Crops) -> NDArray[np.float32]:
            job.cancel()
            return super().encode(crops)

    encoder = Slow()
    with pytest.raises(Cancelled):
        over(slide, cache, encoder, job)
    assert len(encoder.seen) == encoder.batch


def test_a_slide_with_too_little_tissue_says_so(make_slide: MakeSlide, cache: Cache) -> None:
    bare = make_slide(np.full((300, 300, 3), 245, np.uint8), mpp=0.8)
    with pytest.raises(InputError, match="no tissue was found"):
        over(bare, cache, Counting(), Job())
    with pytest.raises(InputError, match="no such mask"):
        over(bare, cache, Counting(), Job(), tissue="magic")
    pixels, _ = make_slide_pixels((1500, 1200), 3)
    slide = make_slide(pixels, mpp=0.8, name="blob.png")
    with pytest.raises(InputError, match="no square of 5000 µm on the slide is half tissue"):
        over(slide, cache, Counting(), Job(), pitch_um=5000.0)


# --- the whole -----------------------------------------------------------------------------------


@pytest.fixture
def opened(slide: Slide, cache: Cache) -> Iterator[Callable[..., FeatureSource]]:
    def open_(encoder: str, job: Job | None = None, **more: Any) -> FeatureSource:
        layout = CropLayout((60.0, 200.0), 100.0)
        options: dict[str, Any] = {"cache": cache, "crops": layout} | more
        settings = FeatureSettings(find_encoder(encoder), CPU, **options)
        features = open_features(slide, settings, job or Job())
        features.extract()
        return features

    return open_


@pytest.mark.parametrize("encoder", ["stain", RANDOM_VIT, RANDOM_CNN])
def test_any_encoder_opens_as_a_map(opened: Callable[..., FeatureSource], encoder: str) -> None:
    events: list[Event] = []
    crops = opened(encoder, Job(listener=events.append))
    tile = crops.tile(slice(2, 6), slice(1, 5), halo=1)
    assert tile.values.shape == (6, 6, crops.dim)
    assert not tile.values[~tile.tissue].any()
    assert tile.tissue[tile.core].any()
    np.testing.assert_array_equal(crops.at(tile.centre_um[tile.tissue]), tile.values[tile.tissue])
    assert not any(isinstance(e, Note) for e in events)
    stages = {e.stage for e in events if isinstance(e, Progress)}
    if encoder == "stain":
        assert crops.doubts == ()
    else:
        (doubt,) = crops.doubts
        assert "60 µm are magnified 2.1 times" in doubt
        name = encoder.partition("?")[0]
        assert f"Encoding crops of slide with {name}" in stages


@pytest.mark.slow
def test_two_encoders_do_not_share_an_entry(opened: Callable[..., FeatureSource]) -> None:
    keys = {opened(e).key for e in ("stain", RANDOM_VIT, f"{RANDOM_VIT}&channels=bgr", RANDOM_CNN)}
    keys |= {opened(RANDOM_VIT, tissue="histosweep").key}
    assert len(keys) == 5


def test_an_encoder_without_weights_writes_nothing(
    opened: Callable[..., FeatureSource], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="its weights are not on this machine"):
        opened("timm:test_vit", cache=Cache(tmp_path / "untouched"))
    assert not (tmp_path / "untouched").exists()
