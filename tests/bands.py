"""Spots whose genes follow four bands, the domains that are to be found, and a field of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

import napari_stenhance as st
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.results.domains import DomainRun
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.pyramid import coarsen_all, mean_pool
from napari_stenhance.storage.tiles import missing_tiles, write_tile
from napari_stenhance.tasks.domains import DomainsOptions
from napari_stenhance.tasks.domains import domains as run_domains

PITCH = 100.0
# Enough for four bands.
QUICK = ("--runs", 2, "--epochs", 5, "--device", "cpu", "--clustering", "kmeans")


def banded(
    seed: int = 0,
    offset: tuple[float, float] = (0, 0),
    mpp: float | None = 0.5,
    side: int = 14,
    genes: Sequence[int] = range(24),
) -> ad.AnnData:
    """Spots of a square lattice whose genes follow four bands, and say which band they are in."""
    rng = np.random.default_rng(seed)
    row, column = (each.ravel() for each in np.mgrid[:side, :side])
    # Bands of different widths, so that their sizes are.
    band = np.searchsorted([2, 5, 9], row, side="right")
    rate = np.ones((side * side, 24))
    for n in range(4):
        rate[band == n, 6 * n : 6 * n + 6] = 12
    counts = rng.poisson(rate * rng.gamma(20, 1 / 20, (side * side, 1)))
    label = pd.Categorical([f"L{n}" for n in band])
    spots = ad.AnnData(
        X=sp.csr_matrix(counts[:, list(genes)].astype(np.float32)),
        obs=pd.DataFrame(
            {"band": label, "note": np.arange(side * side)},
            index=[f"s{n}" for n in range(side * side)],
        ),
        var=pd.DataFrame(
            {"gene_symbol": [f"SYM{n}" for n in genes]}, index=[f"G{n}" for n in genes]
        ),
        obsm={
            "spatial": np.column_stack([column, row]) * PITCH / (mpp or 1) + offset,
            "X_pca": rng.random((side * side, 3)),
        },
        uns={"about": {"donor": "a"}},
    )
    if mpp is not None:
        spots.uns["microns_per_pixel"] = mpp
    return spots


def write_spots(folder: Path, spots: ad.AnnData, name: str = "bands") -> Path:
    folder.mkdir(exist_ok=True)
    spots.write_h5ad(folder / f"{name}.h5ad")
    return folder / f"{name}.h5ad"


def find(*sections: object, **options: Any) -> tuple[DomainRun, ...]:
    return run_domains(quick(sections, **options))


def quick(sections: object, **options: Any) -> DomainsOptions:
    few = {"runs": 2, "epochs": 5, "device": "cpu", "clustering": "kmeans"}
    return DomainsOptions(sections=sections, **{**few, **options})  # type: ignore[arg-type]


def write_field(
    out: Path, section: st.Section, cache: Cache, pitch_um: float = 8.0, size: float = 0.02
) -> ResultFolder:
    """Write a field as `enhance` does, but for what it predicts: three tissues in a blob."""
    slide = section.need_slide()
    grid = Grid.over(slide, pitch_um)
    y, x = np.mgrid[: grid.shape[0], : grid.shape[1]]
    tissue = ((y / grid.shape[0] - 0.5) ** 2 + (x / grid.shape[1] - 0.5) ** 2) < size
    latent = (
        np.stack([y // 20 % 3 == n for n in range(3)], axis=-1) + 0.1 * np.sin(x / 9)[..., None]
    )
    rng = np.random.default_rng(0)
    decoder = Decoder(
        genes=tuple(f"G{n}" for n in range(40)),
        weights=rng.random((3, 40)).astype("f4"),
        bias=np.ones(40, "f4"),
        unit="log1p CP10k",
        held_out_r=np.zeros(40, "f4"),
        held_out_r_given_depth=np.zeros(40, "f4"),
        spread_scale=np.ones(40, "f4"),
    )
    with ResultFolder.writing(out, slide, "m-e-p") as result:
        run_name = result.start_run("m-e-p", {"seed": 0}, {"doubts": []}, grid)
        result.write_tissue(tissue, grid)
        field = result.create_field(run_name, decoder, grid)
        for raster in (field.spread, field.latent):
            for tile in missing_tiles(raster[0]):
                here = tile.rows, tile.columns
                write_tile(raster[0], tile, np.where(tissue[here][..., None], latent[here], np.nan))
            coarsen_all(raster, mean_pool)
        result.complete_run(run_name, Job())
    return ResultFolder.open(out)


def find_bands(folder: Path) -> Path:
    """Write a result with four domains."""
    out = folder / "bands.stenhance.zarr"
    find(write_spots(folder, banded()), out=out, n_domains=4)
    return out
