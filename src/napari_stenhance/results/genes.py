"""Gene images: OME-Zarr images of genes that were pinned or asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import zarr

from napari_stenhance.methods.field import GeneField
from napari_stenhance.results.ome import describe_image
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Job
from napari_stenhance.storage.pyramid import coarsen_all, create_levels, mean_pool, open_levels
from napari_stenhance.storage.tiles import Tile, missing_tiles, tile_size, write_tile


def gene_id(gene: str) -> str:
    """Return the percent-encoded name of a gene's folder; a leading dot is encoded too."""
    encoded = quote(gene, safe="")
    return encoded.replace(".", "%2E", 1) if encoded.startswith(".") else encoded


def gene_group(result: ResultFolder, run: str, gene: str) -> zarr.Group | None:
    """Return the image group of a gene, if it was written."""
    found = result.run_group(run).get(f"genes/{gene_id(gene)}")
    return found if isinstance(found, zarr.Group) else None


def create_gene(
    result: ResultFolder, run: str, field: GeneField, gene: str
) -> list[zarr.Array[Any]]:
    """Make the levels of a gene's image, or open them if they are there."""
    group = gene_group(result, run, gene)
    if group is None or not group.attrs.get("created"):
        group = result.run_group(run).create_group(f"genes/{gene_id(gene)}", overwrite=True)
        # The field's own tiles: one that was predicted is one that can be written.
        tile = tile_size(field.latent[0])
        levels = create_levels(group, field.grid.shape, tile=tile, dtype="f4", fill_value=np.nan)
        describe_image(group, levels, field.grid)
        group.attrs["stenhance"] = {"gene": gene, "unit": field.unit, "run": run}
        group.attrs["created"] = True
    return open_levels(group)


def write_gene_tile(
    levels: Sequence[zarr.Array[Any]], field: GeneField, gene: str, tile: Tile
) -> None:
    """Write one tile of a gene's image, from latents that are written."""
    write_tile(levels[0], tile, field.image(gene, 0, tile.rows, tile.columns))


def write_gene(result: ResultFolder, run: str, field: GeneField, gene: str, job: Job) -> None:
    """Write one gene of a field as an OME-Zarr image, tile by tile; go on where it stopped."""
    levels = create_gene(result, run, field, gene)
    missing = missing_tiles(levels[0])
    with job.stage(f"Writing {gene}", len(missing)) as stage:
        for tile in missing:
            write_gene_tile(levels, field, gene, tile)
            stage.advance()
    coarsen_all(levels, mean_pool)


def written_genes(result: ResultFolder, run: str) -> tuple[str, ...]:
    """Name the genes of a run whose images were begun, in the order of their names."""
    group = result.run_group(run).get("genes")
    if not isinstance(group, zarr.Group):
        return ()
    about: list[Any] = [image.attrs.get("stenhance") for _, image in group.groups()]
    return tuple(sorted(str(each["gene"]) for each in about if each is not None))
