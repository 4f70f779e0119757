"""Gene images: OME-Zarr images of genes that were pinned or asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import zarr

from napari_stenhance.methods.field import GeneField
from napari_stenhance.results.about import ADVICE, KEY
from napari_stenhance.results.ome import describe_image
from napari_stenhance.results.proof import is_recorded, record_files
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Job
from napari_stenhance.storage.checked import folder_of, has_node, open_node
from napari_stenhance.storage.pyramid import coarsen_all, create_levels, mean_pool, open_levels
from napari_stenhance.storage.reading import reading
from napari_stenhance.storage.tiles import Tile, missing_tiles, tile_size, write_tile


def gene_id(gene: str) -> str:
    """Return the percent-encoded name of a gene's folder; a leading dot is encoded too."""
    encoded = quote(gene, safe="")
    return encoded.replace(".", "%2E", 1) if encoded.startswith(".") else encoded


def gene_group(result: ResultFolder, run: str, gene: str) -> zarr.Group | None:
    """Return the image group of a gene, if it was written."""
    group, name = result.run_group(run), f"genes/{gene_id(gene)}"
    return open_node(group, name, zarr.Group) if has_node(group, name) else None


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
    return open_levels(group, field.grid.shape)


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
    if result.run_attributes(run)["complete"]:
        record_files(result.path, "fields", run, [_part(run, gene)], job)


def is_written(result: ResultFolder, run: str, gene: str) -> bool:
    """Tell whether the image of a gene is there as a whole, and its files are recorded."""
    group = gene_group(result, run, gene)
    return (
        group is not None
        and not any(missing_tiles(level) for level in open_levels(group))
        and is_recorded(result.path, "fields", run, _part(run, gene))
    )


def _part(run: str, gene: str) -> str:
    return f"fields/{run}/genes/{gene_id(gene)}"


def written_genes(result: ResultFolder, run: str) -> tuple[str, ...]:
    """Name the genes of a run whose images were begun, in the order of their names."""
    return genes_in(result.run_group(run))


def genes_in(group: zarr.Group) -> tuple[str, ...]:
    """Name the genes whose images a group holds, in the order of their names."""
    if not has_node(group, "genes"):
        return ()
    images = open_node(group, "genes", zarr.Group)
    genes: list[str] = []
    for folder in folder_of(images).iterdir():
        # One without attributes was being made when the process was killed.
        if (folder / "zarr.json").is_file():
            about: Any = open_node(images, folder.name, zarr.Group).attrs.get(KEY)
            with reading(folder / "zarr.json", advice=ADVICE):
                genes += [] if about is None else [str(about["gene"])]
    return tuple(sorted(genes))
