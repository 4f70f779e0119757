"""Gene images: OME-Zarr images of genes that were pinned or asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import zarr

from napari_stenhance.errors import InputError
from napari_stenhance.results.attributes import ADVICE, KEY
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.ome import describe_image
from napari_stenhance.results.proof import is_recorded, record_files
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.checked import folder_of, has_node, open_node
from napari_stenhance.storage.pyramid import coarsen_all, create_levels, mean_pool, open_levels
from napari_stenhance.storage.reading import reading
from napari_stenhance.storage.tiles import Tile, missing_tiles, write_tile

_LONGEST = 250


def gene_id(gene: str) -> str:
    """Return the percent-encoded name of a gene's folder; a leading dot is encoded too.

    Raises
    ------
    InputError
        If it is longer than names of folders may be, as that of a sum of many genes.
    """
    encoded = quote(gene, safe="")
    if len(encoded) > _LONGEST:
        msg = f"{gene[:40]} …: its name is too long for a folder, and no image of it is written."
        raise InputError(msg)
    return encoded.replace(".", "%2E", 1) if encoded.startswith(".") else encoded


def gene_group(run: GeneSource, gene: str) -> zarr.Group | None:
    """Return the image group of a gene, if it was written."""
    name = f"genes/{gene_id(gene)}"
    return open_node(run.group, name, zarr.Group) if has_node(run.group, name) else None


def create_gene(run: GeneSource, gene: str) -> list[zarr.Array[Any]]:
    """Make the levels of a gene's image, or open them if they are there."""
    said = {"gene": gene, "unit": run.unit, "run": run.name}
    # The tiles that it is looked at in: one that is there is one that can be written.
    tile = run.levels(gene).tile
    return create_image(run.group, f"genes/{gene_id(gene)}", run.grid, tile, said)


def create_image(
    parent: zarr.Group, name: str, grid: Grid, tile: int, said: dict[str, Any]
) -> list[zarr.Array[Any]]:
    """Make the levels of an image that says what it is, or open them if they are there."""
    group = open_node(parent, name, zarr.Group) if has_node(parent, name) else None
    if group is None or not group.attrs.get("created"):
        group = parent.create_group(name, overwrite=True)
        levels = create_levels(group, grid.shape, tile=tile, dtype="f4", fill_value=np.nan)
        describe_image(group, levels, grid)
        group.attrs[KEY] = said
        group.attrs["created"] = True
    return open_levels(group, grid.shape)


def write_gene_tile(
    levels: Sequence[zarr.Array[Any]], run: GeneSource, gene: str, tile: Tile
) -> None:
    """Write one tile of a gene's image, from what is there."""
    write_tile(levels[0], tile, run.levels(gene).read(0, *tile.index))


def write_gene(run: GeneSource, gene: str, job: Job) -> None:
    """Write one gene as an OME-Zarr image, tile by tile; go on where it stopped.

    Raises
    ------
    InputError
        If there is no such gene.
    """
    if is_written(run, gene):
        return
    images, levels = create_gene(run, gene), run.levels(gene)
    alike = images[:1] if run.pooled else images
    missing = [(n, tile) for n, image in enumerate(alike) for tile in missing_tiles(image)]
    with job.stage(f"Writing {gene}", len(missing)) as stage:
        for n, tile in missing:
            write_tile(images[n], tile, levels.read(n, *tile.index))
            stage.advance()
    if run.pooled:
        coarsen_all(images, mean_pool)
    if run.complete:
        record_files(run.result.path, run.kind, run.name, [_part(run, gene)], job)


def is_written(run: GeneSource, gene: str) -> bool:
    """Tell whether the image of a gene is there as a whole, and its files are recorded."""
    group = gene_group(run, gene)
    return (
        group is not None
        and not any(missing_tiles(level) for level in open_levels(group))
        and is_recorded(run.result.path, run.kind, run.name, _part(run, gene))
    )


def _part(run: GeneSource, gene: str) -> str:
    return f"{run.kind}/{run.name}/genes/{gene_id(gene)}"


def written_genes(run: GeneSource) -> tuple[str, ...]:
    """Name the genes of a run whose images were begun, in the order of their names."""
    if not has_node(run.group, "genes"):
        return ()
    images = open_node(run.group, "genes", zarr.Group)
    genes: list[str] = []
    for folder in folder_of(images).iterdir():
        # One without attributes was being made when the process was killed.
        if (folder / "zarr.json").is_file():
            said: Any = open_node(images, folder.name, zarr.Group).attrs.get(KEY)
            with reading(folder / "zarr.json", advice=ADVICE):
                genes += [] if said is None else [str(said["gene"])]
    return tuple(sorted(genes))
