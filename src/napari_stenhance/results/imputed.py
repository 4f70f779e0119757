"""Imputation runs of a result: a table of spots with every gene, and images of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.results.about import ADVICE, KEY, read_about, write_about
from napari_stenhance.results.genes import gene_id, genes_in
from napari_stenhance.results.label_map import nearest_positions, reach_um, write_positions
from napari_stenhance.results.ome import describe_image
from napari_stenhance.results.proof import check_run, is_recorded, record_files
from napari_stenhance.results.result import TILE, ResultFolder, free_name
from napari_stenhance.results.runs import run_of
from napari_stenhance.results.tables import read_table, write_table
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.checked import checked, folder_of, has_node, open_node
from napari_stenhance.storage.pyramid import create_levels, open_levels
from napari_stenhance.storage.reading import reading
from napari_stenhance.storage.tiles import missing_tiles, tile_size, write_tile

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

LOG: Final = "log1p_cp10k"
SPREAD: Final = "spread"
IMPUTED, HOLDOUT_R = "imputed", "holdout_r"
HOLDOUT_R_GIVEN_DEPTH = "holdout_r_given_depth"
"""Older tables lack it."""
COMPOSITION = "cell_composition"
UNIT = "log1p CP10k"
Layer = Literal["log1p_cp10k", "spread"]


@dataclass(frozen=True)
class ImputedRun:
    """A run of an imputation that is complete.

    Attributes
    ----------
    result : ResultFolder
    name : str
        `<method>-<preset>`, "-2" … if other options took it; also that of its table.
    """

    result: ResultFolder
    name: str

    @property
    def group(self) -> zarr.Group:
        """Where its rasters lie."""
        return open_node(self.result.group, f"imputed/{self.name}", zarr.Group)

    @property
    def about(self) -> dict[str, Any]:
        """Provenance: options, inputs with hashes, seed, versions, what matched, grid."""
        return read_about(self.group, proven=self.result.proven)

    @property
    def grid(self) -> Grid:
        """Where its images lie."""
        with reading(self.result.path / "imputed" / self.name, advice=ADVICE):
            return Grid.from_dict(self.about["grid"])

    @property
    def levels(self) -> list[zarr.Array[Any]]:
        """Which spot each pixel shows, finest level first; -1 where there is none."""
        return open_levels(open_node(self.group, "index", zarr.Group), self.grid.shape)

    @cached_property
    def var(self) -> pd.DataFrame:
        """A row for each gene: `imputed`, `holdout_r` …, `spread`, and what the input said."""
        return read_table(self.result.group, f"tables/{self.name}/var")

    @cached_property
    def genes(self) -> tuple[str, ...]:
        """Genes of the table."""
        return tuple(map(str, self.var.index))

    def index_of(self, gene: str) -> int:
        """Find a gene.

        Raises
        ------
        InputError
            If it is not in the table.
        """
        try:
            return self.genes.index(gene)
        except ValueError:
            alike = [g for g in self.genes if g.lower() == str(gene).lower()]
            hint = f"did you mean {alike[0]}?" if alike else "impute it too."
            msg = f"Gene {gene!r} is not among the {len(self.genes)} of the run {self.name}; {hint}"
            raise InputError(msg) from None

    def values(self, gene: str, layer: Layer = LOG) -> NDArray[np.float32]:
        """Read one gene for every spot, in log1p CP10k, or its spread; the rest stays on disk.

        Raises
        ------
        InputError
            If the gene is not in the table, or its values are damaged.
        """
        column, where = self.index_of(gene), f"tables/{self.name}/layers/{layer}"
        stored = open_node(self.result.group, where, zarr.Group)
        indptr, indices, data = (
            checked(open_node(stored, name, zarr.Array)) for name in ("indptr", "indices", "data")
        )
        with reading(self.result.path / where, f"the gene {gene}", ADVICE):
            first, last = (int(n) for n in indptr[column : column + 2])  # type: ignore[union-attr]
            values = np.zeros(self.about["spots"], np.float32)
            spots = np.asarray(indices[first:last])
            if len(spots) and spots.min() < 0:
                msg = "it names spots that there are not"
                raise ValueError(msg)
            values[spots] = data[first:last]
        return values

    def table(self) -> ad.AnnData:
        """Read the spots with every gene."""
        return read_table(self.result.group, f"tables/{self.name}")


def imputed_runs(result: ResultFolder) -> tuple[ImputedRun, ...]:
    """List the imputation runs of a result that are complete, oldest first."""
    if not has_node(result.group, "imputed"):
        return ()
    group, proven = open_node(result.group, "imputed", zarr.Group), result.proven
    whole: list[tuple[int, str]] = []
    for folder in folder_of(group).iterdir():
        # What a killed process left has no attributes yet.
        if not (folder / "zarr.json").is_file():
            continue
        run = open_node(group, folder.name, zarr.Group)
        if KEY in run.attrs:
            about = read_about(run, proven=proven)
            check_run(result.path, "imputed", folder.name, proven=proven)
            with reading(folder / "zarr.json", advice=ADVICE):
                whole.append((int(about["number"]), folder.name))
    return tuple(ImputedRun(result, name) for _, name in sorted(whole))


def imputed_run(result: ResultFolder, name: str = "") -> ImputedRun:
    """Open an imputation run, by default the newest.

    Raises
    ------
    InputError
        If there is none, or none of that name.
    """
    return run_of(result, imputed_runs(result), name, "imputation", "impute")


def write_imputation(
    result: ResultFolder,
    stem: str,
    identity: Mapping[str, Any],
    provenance: Mapping[str, Any],
    table: ad.AnnData,
    xy: NDArray[np.float64],
    grid: Grid,
) -> ImputedRun:
    """Write a run beside those that are there; what a killed process left is replaced.

    Parameters
    ----------
    result : ResultFolder
        Open for writing.
    stem : str
        `<method>-<preset>`.
    identity : mapping
        Options and inputs; runs are the same if it is.
    provenance : mapping
        What else to record.
    table : AnnData
        Spots with every gene; matrices are stored by gene.
    xy : ndarray of float64, shape (spots, 2)
        Where the spots lie in the world.
    grid : Grid
        Of the images.
    """
    done = imputed_runs(result)
    name = free_name(stem, {run.name for run in done})
    # The whole is remade, so that no image of a killed run is taken for one of this.
    group = result.group.require_group("imputed").create_group(name, overwrite=True)
    write_table(result.group.require_group("tables"), name, table)
    index = group.create_group("index")
    levels = write_positions(index, grid.shape, nearest_positions(xy, grid, reach_um(xy)), TILE)
    describe_image(index, levels, grid)
    record_files(result.path, "imputed", name, [f"imputed/{name}", f"tables/{name}"], Job())
    about = {
        "identity": json.loads(json.dumps(identity)),
        **provenance,
        "grid": grid.to_json(),
        "number": len(done),
        "complete": True,
    }
    # Last: without it the run is not there.
    write_about(group, about)
    result.log("complete", run=name)
    return ImputedRun(result, name)


# Images of genes


def written_gene(run: ImputedRun, gene: str) -> zarr.Group | None:
    """Return the image of a gene, if it was written."""
    name = f"genes/{gene_id(gene)}"
    if not has_node(run.group, name):
        return None
    found = open_node(run.group, name, zarr.Group)
    return found if KEY in found.attrs else None


def write_imputed_image(run: ImputedRun, gene: str) -> None:
    """Write one gene as an OME-Zarr image, unless it is there; every level as it is browsed.

    Raises
    ------
    InputError
        If the gene is not in the table.
    """
    # A pixel without a spot, -1, takes the last.
    values = np.append(run.values(gene), np.float32(np.nan))
    root, part = run.result.path, f"imputed/{run.name}/genes/{gene_id(gene)}"
    if written_gene(run, gene) is not None:
        if not is_recorded(root, "imputed", run.name, part):
            record_files(root, "imputed", run.name, [part], Job())
        return
    group, index = run.group.create_group(f"genes/{gene_id(gene)}", overwrite=True), run.levels
    tile = tile_size(index[0])
    levels = create_levels(group, run.grid.shape, tile=tile, dtype="f4", fill_value=np.nan)
    for level, spots in zip(levels, index, strict=True):
        for each in missing_tiles(level):
            write_tile(level, each, values[np.asarray(spots[each.rows, each.columns])])
    describe_image(group, levels, run.grid)
    # Last: without it the image is not there.
    group.attrs[KEY] = {"gene": gene, "unit": UNIT, "run": run.name}
    record_files(root, "imputed", run.name, [part], Job())


def written_images(run: ImputedRun) -> tuple[str, ...]:
    """Name the genes whose images were written, in the order of their names."""
    return genes_in(run.group)


def best_predicted(run: ImputedRun, number: int) -> Sequence[tuple[str, float]]:
    """Name the genes that were predicted best while they were hidden, best first."""
    r = run.var[HOLDOUT_R].dropna().sort_values(ascending=False, kind="stable")
    return [(str(gene), float(value)) for gene, value in r.head(number).items()]
