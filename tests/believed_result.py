"""A result that keeps held-out spots, made without training anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from PIL import Image

from napari_stenhance.methods.calibration import with_held_out
from napari_stenhance.methods.decoder import Decoder, DepthChannel
from napari_stenhance.methods.held_out import HeldOutSpots
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.pyramid import coarsen_all, mean_pool
from napari_stenhance.storage.tiles import missing_tiles, write_tile
from tiny_result import make_decoder


def keep_spots(spots: int = 400) -> HeldOutSpots:
    """Keep spots of three genes: one that latents tell, one that they do not, one not counted."""
    rng = np.random.default_rng(5)
    latents = rng.standard_normal((spots, 2)).astype("f4")
    rate = np.exp(1 + latents[:, 0])
    counts = np.stack([rng.poisson(rate), rng.poisson(3, spots), np.zeros(spots)], 1)
    whole = sp.csc_array(counts.astype("f4"))
    side = int(spots**0.5)
    arrays = {
        "latents": latents,
        "counts": whole.data,
        "spots": whole.indices.astype("i4"),
        "starts": whole.indptr.astype("i8"),
        "depth": np.full(spots, 1e4),
        "xy_um": np.stack([np.arange(spots) % side, np.arange(spots) // side], 1) * 200.0,
        "section": np.zeros(spots, "i4"),
        "diameter_um": np.array([100.0]),
    }
    return HeldOutSpots(lambda: arrays)


def believed_decoder() -> Decoder:
    """Make a decoder of those genes, of which the first can be told from depth by 400 spots."""
    return replace(
        make_decoder(),
        weights=np.array([[0.9, 0, 0], [0, 0.1, 0]], "f4"),
        bias=np.array([1.4, 1.4, 0], "f4"),
        held_out_r_given_depth=np.array([0.25, 0.05, np.nan], "f4"),
        depth=DepthChannel(7.0, 0.5),
    )


def make_believed(path: Path, *, held_out: bool) -> Path:
    """Make a result of those genes, and return where it lies."""
    decoder = with_held_out(believed_decoder(), keep_spots() if held_out else None, Job())
    grid = Grid(8.0, (50, 50), 1.0)
    Image.fromarray(np.full((400, 400, 3), 200, "u1")).save(path / "one.png")
    slide = Slide.open(path / "one.png", mpp=1.0)
    folder = path / "one.stenhance.zarr"
    identity = {"method": "pixel2gene", "recipe": {"folds": 5}, "learned_from": []}
    provenance = {"seed": 0, "versions": {}, "doubts": []}
    with ResultFolder.writing(folder, slide, "run") as result:
        run = result.start_run("run", identity, provenance, grid)
        result.write_tissue(np.ones(grid.shape, bool), grid)
        field = result.create_field(run, decoder, grid)
        rng = np.random.default_rng(1)
        for raster in (field.spread, field.latent):
            for tile in missing_tiles(raster[0]):
                values = np.abs(rng.standard_normal((*tile.shape, 2)))
                write_tile(raster[0], tile, values.astype("f4"))
            coarsen_all(raster, mean_pool)
        result.complete_run(run, Job())
    return folder
