"""Decode one gene of 1,000,000 superpixels whose latent tiles are in memory.

Baseline: copying the same latents, which is the least that any decoder must read.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import zarr
from timing import median_seconds

from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.results.field import GeneField
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.pyramid import create_levels
from napari_stenhance.storage.tiles import tiles_of, write_tile

SHAPE = (1000, 1000)
GENES = 15_000


def _field(folder: Path, rank: int) -> GeneField:
    rng = np.random.default_rng(0)
    group = zarr.create_group(folder / f"{rank}.zarr")
    levels = create_levels(group, SHAPE, tile=256, dtype="f2", channels=rank)
    for tile in tiles_of(SHAPE, 256):
        write_tile(levels[0], tile, rng.standard_normal((*tile.shape, rank)))
    decoder = Decoder(
        genes=tuple(f"G{n}" for n in range(GENES)),
        weights=rng.standard_normal((rank, GENES)).astype("f4"),
        bias=np.zeros(GENES, "f4"),
        unit="log1p CP10k",
        held_out_r=np.zeros(GENES, "f4"),
        held_out_r_given_depth=np.zeros(GENES, "f4"),
        spread_scale=np.ones(GENES, "f4"),
    )
    return GeneField(Grid(8.0, SHAPE, 0.5), decoder, (levels[0],), (levels[0],))


def main() -> None:
    print("| rank | decode, ms | copy, ms | decode ÷ copy |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for rank in (8, 32, 64, 256):
            field = _field(Path(folder), rank)
            field.image("G7")
            latents = np.ones((*SHAPE, rank), np.float32)
            decode = median_seconds(lambda f=field: f.image("G9000"))
            copy = median_seconds(lambda a=latents: a.copy())
            print(f"| {rank} | {decode * 1e3:.0f} | {copy * 1e3:.0f} | {decode / copy:.2f} |")


if __name__ == "__main__":
    main()
