"""Tiles of fields in memory: one bound for all, and a key that holds all of a grid."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_stenhance.results.field import GeneField
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.pyramid import create_levels
from napari_stenhance.storage.tile_cache import TileCache
from tiny_result import (
    RUN,
    make_decoder,
)


def _field(folder: Path, tiles: TileCache, seed: int) -> GeneField:
    group = zarr.create_group(folder / f"{seed}.zarr")
    levels = create_levels(group, (256, 256), tile=64, dtype="f2", channels=3)
    levels[0][...] = np.random.default_rng(seed).random((256, 256, 3))
    return GeneField(Grid(8.0, (256, 256), 0.5), make_decoder(), (levels[0],), (levels[0],), tiles)


def test_fields_that_share_a_cache_stay_under_one_bound(tmp_path: Path) -> None:
    each = 64 * 64 * 3 * 4
    tiles = TileCache(20 * each)
    one, other = _field(tmp_path, tiles, 0), _field(tmp_path, tiles, 1)
    images = [field.image("A") for field in (one, other)]
    assert tiles.nbytes == 20 * each
    assert not np.array_equal(*images), "tiles of one are not taken for those of the other"
    threads = [threading.Thread(target=f.image, args=(g,)) for f in (one, other) for g in "ABAB"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tiles.nbytes <= 20 * each
    np.testing.assert_array_equal(one.image("A"), images[0])
    np.testing.assert_array_equal(other.image("A"), images[1])


def test_tiles_of_a_field_that_is_gone_are_forgotten(tmp_path: Path) -> None:
    tiles = TileCache()
    one, other = _field(tmp_path, tiles, 0), _field(tmp_path, tiles, 1)
    one.image("A")
    kept = tiles.nbytes
    other.image("A")
    assert tiles.nbytes == 2 * kept
    del other
    gc.collect()
    assert tiles.nbytes == kept


def test_all_fields_of_an_opened_result_share_a_cache(tiny: Path) -> None:
    result = ResultFolder.open(tiny)
    assert result.field(RUN).tiles is result.field(RUN).tiles is result.tiles
    tiles = TileCache()
    assert ResultFolder.open(tiny, tiles).field(RUN).tiles is tiles


def test_results_in_one_viewer_share_a_cache(tiny: Path) -> None:
    from napari.components import ViewerModel

    from napari_stenhance.plugin.layer_info import layers_of, viewer_tiles
    from napari_stenhance.plugin.layers import open_layers
    from napari_stenhance.plugin.scene import add_layers

    viewer = ViewerModel()
    for _ in range(2):
        layers, *_ = open_layers(tiny, tiles=viewer_tiles(viewer))
        add_layers(
            viewer, [one for one in layers if one[1]["metadata"]["stenhance"].role.name == "browse"]
        )
    runs = [info.run for _, info in layers_of(viewer, "browse")]
    fields = [run.field for run in runs if isinstance(run, FieldRun)]
    assert len(fields) == 2
    assert len(runs) == 4, "and the imputation"
    assert fields[0] is not fields[1]
    assert fields[0].tiles is fields[1].tiles is viewer_tiles(viewer)


_LENGTHS = st.floats(0.01, 1e4)


@given(st.lists(st.tuples(_LENGTHS, _LENGTHS, st.floats(-1e6, 1e6), st.booleans()), min_size=2))
def test_no_two_grids_have_one_key(several: list[tuple[float, float, float, bool]]) -> None:
    grids = {
        Grid(pitch, (3, 4), mpp, (at, 0.0), "pixel" if bare else "micrometer")
        for pitch, mpp, at, bare in several
    }
    assert len({grid.key() for grid in grids}) == len(grids)


def test_the_key_of_a_grid_holds_all_of_it() -> None:
    grid = Grid(8.0, (3, 4), 0.5)
    others = [
        Grid(8.000000001, (3, 4), 0.5),
        Grid(8.0, (3, 4), 0.500000001),
        Grid(8.0, (4, 3), 0.5),
        Grid(8.0, (3, 4), 0.5, (8.0, 0.0)),
        Grid(8.0, (3, 4), 0.5, (0.0, 8.0)),
        Grid(8.0, (3, 4), 0.5, unit="pixel"),
    ]
    assert len({grid.key(), *(other.key() for other in others)}) == 7
    assert all("/" not in other.key() for other in others)
