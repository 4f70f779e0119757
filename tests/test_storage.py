from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.pyramid import (
    any_pool,
    coarsen_all,
    create_levels,
    level_shapes,
    mean_pool,
    read_tile,
)
from napari_stenhance.storage.tiles import (
    is_done,
    missing_tiles,
    tiles_of,
    write_tile,
)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 17))
def test_tiles_cover_every_cell_once(rows: int, columns: int, size: int) -> None:
    hits = np.zeros((rows, columns), int)
    for tile in tiles_of((rows, columns), size):
        hits[tile.rows, tile.columns] += 1
        assert hits[tile.rows, tile.columns].shape == tile.shape
    assert (hits == 1).all()


def test_a_tile_equal_to_the_fill_value_is_written(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    (level,) = create_levels(group, (5, 7), tile=8, dtype="f4", fill_value=np.nan)
    assert not is_done(level, (0, 0))
    (tile,) = missing_tiles(level)
    write_tile(level, tile, np.full((5, 7), np.nan))
    assert is_done(level, (0, 0))
    assert missing_tiles(level) == []


@settings(max_examples=40)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=9),
        elements=st.floats(-100, 100, width=16) | st.just(np.nan),
    )
)
def test_mean_pool_is_the_mean_of_what_is_there(values: np.ndarray) -> None:
    pooled = mean_pool(values)
    assert pooled.shape[:2] == (-(-values.shape[0] // 2), -(-values.shape[1] // 2))
    for i, j in np.ndindex(*pooled.shape[:2]):
        block = values[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(-1, *values.shape[2:])
        there = np.isfinite(block)
        total = np.where(there, block, 0).sum(axis=0)
        with np.errstate(invalid="ignore"):
            expected = total / there.sum(axis=0)
        np.testing.assert_allclose(pooled[i, j], expected, rtol=1e-5, atol=1e-5)


def test_coarse_levels_are_built_from_their_children(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((37, 50)).astype("f4")
    levels = create_levels(zarr.create_group(tmp_path / "a.zarr"), values.shape, tile=8, dtype="f4")
    assert [level.shape for level in levels] == level_shapes((37, 50), 8)
    for tile in tiles_of(values.shape, 8):
        write_tile(levels[0], tile, values[tile.rows, tile.columns])
    built = coarsen_all(levels, mean_pool)
    assert built == sum(len(list(tiles_of(level.shape, 8))) for level in levels[1:])
    assert coarsen_all(levels, mean_pool) == 0
    expected = values
    for level in levels[1:]:
        expected = mean_pool(expected)
        np.testing.assert_array_equal(level[...], expected)


def test_a_pyramid_that_is_still_filling_reads_as_it_will_be(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((37, 50)).astype("f4")
    levels = create_levels(
        zarr.create_group(tmp_path / "a.zarr"), values.shape, tile=8, dtype="f4", fill_value=np.nan
    )
    there = np.full_like(values, np.nan)
    for tile in list(tiles_of(values.shape, 8))[:17]:
        write_tile(levels[0], tile, values[tile.rows, tile.columns])
        there[tile.rows, tile.columns] = values[tile.rows, tile.columns]
    expected = there
    for level, array in enumerate(levels):
        for tile in tiles_of((array.shape[0], array.shape[1]), 8):
            np.testing.assert_array_equal(
                read_tile(levels, level, tile.index, mean_pool), expected[tile.rows, tile.columns]
            )
        expected = mean_pool(expected)
    assert missing_tiles(levels[1]), "looking writes nothing"


def test_labels_survive_pooling() -> None:
    mask = np.zeros((5, 5), "u1")
    mask[4, 4] = 1
    assert any_pool(any_pool(mask)).sum() == 1


def test_an_entry_appears_only_when_it_is_whole(cache: Cache) -> None:
    def build(broken: bool) -> None:
        with cache.building("things", "key") as folder:
            (folder / "half").write_text("…")
            if broken:
                raise KeyError("power cut")

    with pytest.raises(KeyError):
        build(broken=True)
    assert list((cache.root / "things").iterdir()) == []
    build(broken=False)
    assert (cache.entry("things", "key") / "half").exists()
