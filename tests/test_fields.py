"""Fields of genes: decoded from latents, read across tiles, kept in memory within bounds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_stenhance.errors import InputError
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.results.field import GeneField
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.pyramid import coarsen_all, create_levels, mean_pool
from napari_stenhance.storage.tile_cache import TileCache
from napari_stenhance.storage.tiles import tiles_of, write_tile


@pytest.fixture
def make_field(tmp_path: Path) -> Callable[..., GeneField]:
    def make(shape: tuple[int, int] = (70, 53), r: int = 4, genes: int = 6) -> GeneField:
        rng = np.random.default_rng(0)
        group = zarr.create_group(tmp_path / "field.zarr")
        decoder = Decoder(
            genes=tuple(f"gène {n}" for n in range(genes)),
            weights=rng.standard_normal((r, genes)).astype("f4"),
            bias=rng.random(genes).astype("f4"),
            unit="log1p CP10k",
            held_out_r=np.full(genes, np.nan, "f4"),
            held_out_r_given_depth=np.full(genes, np.nan, "f4"),
            spread_scale=np.ones(genes, "f4"),
        )
        decoder.write(group.create_group("decoder"))
        rasters = []
        for name in ("latent", "spread"):
            values = rng.standard_normal((*shape, r)).astype("f2") ** (2 if name == "spread" else 1)
            values[:9, :9] = np.nan
            levels = create_levels(
                group.create_group(name), shape, tile=16, dtype="f2", channels=r, fill_value=np.nan
            )
            for tile in tiles_of(shape, 16):
                write_tile(levels[0], tile, values[tile.rows, tile.columns])
            coarsen_all(levels, mean_pool)
            rasters.append(tuple(levels))
        return GeneField(Grid(8.0, shape, 0.5), Decoder.read(group["decoder"]), *rasters)  # type: ignore[arg-type]

    return make


def test_a_gene_image_is_decoded_from_the_latents(make_field: Callable[..., GeneField]) -> None:
    field = make_field()
    assert field.genes[2] == "gène 2"
    raw = np.asarray(field.latent[0][...]).astype("f4")
    expected = np.maximum(raw @ field.decoder.weights[:, 2] + field.decoder.bias[2], 0)
    np.testing.assert_allclose(field.image("gène 2"), expected, rtol=1e-5, atol=1e-5)
    assert np.isnan(field.image("gène 2")[:9, :9]).all()
    window = slice(5, 41), slice(13, 53)
    # Matrix products of another shape may differ in the last bit.
    np.testing.assert_allclose(
        field.image("gène 2", 0, *window), field.image("gène 2")[window], rtol=1e-4, atol=1e-6
    )
    assert field.image("gène 2", level=1).shape == (35, 27)
    variance_of = np.asarray(field.spread[0][...]).astype("f4")
    spread = np.sqrt(variance_of @ field.decoder.weights[:, 2] ** 2)
    np.testing.assert_allclose(field.image("gène 2", what="spread"), spread, rtol=1e-5)


def test_single_superpixels_are_read_across_tiles(make_field: Callable[..., GeneField]) -> None:
    field = make_field()
    row, column = np.array([69, 0, 17, 31]), np.array([52, 20, 15, 16])
    raw = np.asarray(field.latent[0][...])
    np.testing.assert_array_equal(field.latent_of(row, column), raw[row, column])


def test_unknown_genes_are_refused_with_a_hint(make_field: Callable[..., GeneField]) -> None:
    field = make_field()
    with pytest.raises(InputError, match="did you mean gène 1"):
        field.image("GÈNE 1")
    with pytest.raises(InputError, match="not among these 6 genes"):
        field.image("XYZ")


def test_tiles_in_memory_do_not_grow_without_bound(make_field: Callable[..., GeneField]) -> None:
    field = make_field()
    size = field.tile("latent", 0, 0, 0).nbytes
    bounded = replace(field, tiles=TileCache(5 * size // 2))
    for i, j in itertools.product(range(3), range(3)):
        bounded.tile("latent", 0, i, j)
    assert bounded.tiles.nbytes == 2 * size
