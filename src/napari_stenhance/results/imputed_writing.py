"""Write an imputation into a result, its genes as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.results.columns import ColumnWriter
from napari_stenhance.results.imputed import IMPUTED, LOG, SPREAD, ImputedRun, imputed_runs
from napari_stenhance.results.imputed_table import ImputedTable
from napari_stenhance.results.label_map import nearest_positions, reach_um, write_positions
from napari_stenhance.results.ome import describe_image
from napari_stenhance.results.result import TILE, ResultFolder, free_name
from napari_stenhance.results.tables import write_part, write_table
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.checked import open_node


def write_imputation(
    result: ResultFolder,
    stem: str,
    identity: Mapping[str, Any],
    provenance: Mapping[str, Any],
    table: ImputedTable,
    xy: NDArray[np.float64],
    grid: Grid,
) -> ImputedRun:
    """Write a run beside those that are there; what a killed process left is replaced.

    The genes are written as they come, so that the table is never held as a whole.

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
    table : ImputedTable
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
    tables = result.group.require_group("tables")
    write_table(tables, name, table.frame)
    try:
        first = _write_columns(open_node(tables, name, zarr.Group), table)
    except BaseException:
        # Of many spots it takes more room than what was computed before.
        del tables[name]
        raise
    index = group.create_group("index")
    levels = write_positions(index, grid.shape, nearest_positions(xy, grid, reach_um(xy)), TILE)
    describe_image(index, levels, grid)
    parts = [f"imputed/{name}", f"tables/{name}"]
    about = {**provenance, "first": first, "spots": table.frame.n_obs, "number": len(done)}
    return ImputedRun(result, name).finish(parts, identity, grid, **about)


def _write_columns(group: zarr.Group, table: ImputedTable) -> str:
    """Write all genes, and their spread into `var`; return the gene to look at first.

    That is, of imputed ones if there are any, the most variable.
    """
    var, spots = table.frame.var, table.frame.n_obs
    layers = open_node(group, "layers", zarr.Group)
    writers = [ColumnWriter(*at, spots) for at in ((group, "X"), (layers, LOG), (layers, SPREAD))]
    means, variances = [np.zeros(0, np.float32)], [np.zeros(0)]
    for columns in table.columns:
        for writer, values in zip(writers, columns, strict=True):
            writer.add(values)
        means.append((columns.spread.sum(axis=0, dtype=np.float64) / spots).astype(np.float32))
        total = columns.log.sum(axis=0, dtype=np.float64) / spots
        square = columns.log.power(2).sum(axis=0, dtype=np.float64) / spots
        variances.append(square - total**2)
    for writer in writers:
        writer.close()
    new = var[IMPUTED].to_numpy(bool)
    var[SPREAD] = np.where(new, np.concatenate(means), np.float32(np.nan))
    write_part(group, "var", var)
    shown = np.where(new | ~new.any(), np.concatenate(variances), -1)
    return str(var.index[int(np.argmax(shown))])
