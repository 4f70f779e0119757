"""Single cells of the same kind of tissue: the reference that unmeasured genes come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.formats.h5ad.layouts import read_frame
from napari_stenhance.section.formats.h5ad.spots import NO_ANNDATA, PUBLISHED_CELLS, ids_as_they_are
from napari_stenhance.section.matching import match_genes
from napari_stenhance.section.raw import NOT_WHOLE, TRUTH, layers_to_ask, no_counts
from napari_stenhance.section.tables.counts import StoredCounts
from napari_stenhance.section.tables.features import kinds_aside, listed_kinds, need_genes
from napari_stenhance.section.tables.hdf5 import look_through
from napari_stenhance.section.tables.layers import named_layers
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

CLUSTER = "cluster"
"""Column of the cells that is taken unless another is named, as in the published layout."""
_UNLABELLED = "no label"
_PARTS = ("X", "layers", "obs", "raw/X", "raw/var", "var")
_ROWS = 500


@dataclass(frozen=True)
class CellReference:
    """A single-cell reference.

    Attributes
    ----------
    name : str
    genes : tuple of str
        By the names that the result uses: those of the spots for genes that they measured too.
    counts : csr_array of float32, shape (cells, genes)
        Raw; cells without counts are left out.
    groups : tuple of str
        Names of the clusters; empty where no column says them.
    group : ndarray of int64, shape (cells,), or None
        The cluster of each cell, an index into `groups`.
    """

    name: str
    genes: tuple[str, ...]
    counts: sp.csr_array[np.float32]
    groups: tuple[str, ...] = ()
    group: NDArray[np.int64] | None = None

    def sha256(self) -> str:
        """Hash what can be learned from: genes, counts and clusters."""
        digest = hashlib.sha256("\n".join([*self.genes, "", *self.groups]).encode())
        for part in (self.counts.data, self.counts.indices, self.counts.indptr):
            digest.update(np.ascontiguousarray(part).data)
        if self.group is not None:
            digest.update(self.group.data)
        return digest.hexdigest()


@dataclass(frozen=True)
class OpenedCells:
    """Cells, and what was found out when they were opened.

    Attributes
    ----------
    cells : CellReference
    report : str
        Which genes match those of the spots, in a sentence.
    doubts : tuple of str
        What was guessed or left out, one sentence each.
    """

    cells: CellReference
    report: str
    doubts: tuple[str, ...]


def open_cells(
    reference: Path | ad.AnnData, spots: ad.AnnData, cluster_key: str = "", job: Job | None = None
) -> OpenedCells:
    """Open single cells as a reference for spots.

    Parameters
    ----------
    reference : Path or AnnData
        An `.h5ad`, a folder of the published layout, or a table in memory: raw counts in `X`, or
        else in `layers["counts"]` or `raw`.
    spots : AnnData
        Its genes decide what those of the cells are called.
    cluster_key : str
        The column of the cells that says their cluster; by default "cluster", if there is one.
    job : Job, optional
        Receives the progress of reading; cancels.

    Raises
    ------
    InputError
        If it cannot be read, has no raw counts, shares too few genes with the spots, or lacks the
        column.
    """
    job = job or Job()
    with _opened(reference) as (where, name, parts):
        place, held = _raw_place(parts, where)
        stored = StoredCounts.from_group(parts[place[0]])
        obs, var = (_frame(parts[part], parts.get("uns")) for part in ("obs", place[1]))
        if stored.shape != (len(obs), len(var)):
            msg = f"{place[0]} has shape {stored.shape}, not {(len(obs), len(var))}"
            raise ValueError(msg)
        groups, group, doubts = _clusters(obs, cluster_key, where)
        kinds = kinds_aside(var)
        genes = need_genes(kinds, where)
        matched = match_genes(spots.var, var[genes], where)
        named = np.full(len(var), "", dtype=object)
        named[genes] = matched.names

        def bad(row: int, column: int, value: float) -> InputError:
            return InputError(
                f"{where}: the count of gene {var.index[column]} in cell {obs.index[row]} is "
                f"{value:g}; counts must be whole numbers and not negative: give the raw counts."
            )

        kept = np.array([bool(name) for name in named])
        column = np.where(kept, np.cumsum(kept) - 1, -1)
        with job.stage(f"Reading the cells of {name}", 100) as stage:
            counts = stored.read(column, int(kept.sum()), bad, stage)
    if place[0] != "X":
        doubts.append(f"X holds {held}: the raw counts of {place[0]} are used.")
    elif held:
        doubts.append(f"X holds {held}, so these are no raw counts, which impute needs.")
    if not genes.all():
        others = int((~genes).sum())
        no_genes = agree(others, "that is no gene", "that are no genes")
        doubts.append(
            f"{counted(others, 'feature')} {no_genes} ({listed_kinds(kinds)}) "
            f"{agree(others, 'was', 'were')} left out."
        )
    filled = np.diff(counts.indptr) > 0
    if not filled.any():
        msg = (
            f"{where}: there are no counts in its {counted(len(obs), 'cell')}; give the raw counts."
        )
        raise InputError(msg)
    if not filled.all():
        empty = int((~filled).sum())
        said = counted(empty, "cell", len(filled))
        doubts.append(f"{said} {agree(empty, 'has', 'have')} no counts: left out.")
        # Empty rows hold nothing, so that only where rows begin changes.
        pointers = np.concatenate([counts.indptr[:1], counts.indptr[1:][filled]])
        shape = (int(filled.sum()), counts.shape[1])
        counts = sp.csr_array((counts.data, counts.indices, pointers), shape=shape, copy=False)
    names = tuple(gene for gene in matched.names if gene)
    cells = CellReference(name, names, counts, groups, None if group is None else group[filled])
    return OpenedCells(
        cells, matched.report, tuple(f"{name}: {d}" for d in (*doubts, *matched.doubts))
    )


def cluster_columns(path: Path) -> tuple[str, ...]:
    """List the columns of the cells of an `.h5ad`, for choosing; none if it cannot be read."""
    try:
        path = _file_of(path)
        look_through(path, ("obs",))
        with reading(path), h5py.File(path, "r") as file:
            return tuple(str(c) for c in file["obs"].attrs["column-order"])
    except InputError:
        return ()


def _file_of(path: Path) -> Path:
    """Find the file of cells: a folder of the published layout holds both.

    Raises
    ------
    InputError
        If there is none.
    """
    if path.is_dir():
        inside = path / PUBLISHED_CELLS
        if inside.is_file():
            return inside
        msg = f"{path}: this folder holds no {PUBLISHED_CELLS}; name the .h5ad of the cells."
        raise InputError(msg)
    if not path.is_file():
        msg = f"{path}: there is no such file; name the .h5ad of the single cells."
        raise InputError(msg)
    return path


@contextmanager
def _opened(reference: Path | ad.AnnData) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give where the cells are from, their name, and the parts that are there."""
    if not isinstance(reference, Path):
        parts: dict[str, Any] = {"X": reference.X, "obs": reference.obs, "var": reference.var}
        parts |= {f"layers/{name}": part for name, part in named_layers(reference).items()}
        if reference.raw is not None:
            parts |= {"raw/X": reference.raw.X, "raw/var": reference.raw.var}
        parts = {name: part for name, part in parts.items() if part is not None}
        with reading("cells", "this table", "give raw counts of cells × genes"):
            yield "cells", "cells", parts
        return
    path = _file_of(reference)
    name = path.parent.name if path.name == PUBLISHED_CELLS else path.stem
    look_through(path, (*_PARTS, "uns"))
    with reading(path, *NO_ANNDATA), h5py.File(path, "r") as file:
        held = {part: file[part] for part in _PARTS if part in file and part != "layers"}
        held |= {f"layers/{layer}": file["layers"][layer] for layer in file.get("layers", ())}
        yield str(path), name, {**held, "uns": file.get("uns")}


def _raw_place(parts: dict[str, Any], where: str) -> tuple[tuple[str, str], str]:
    """Find raw counts, and what names their genes.

    Returns
    -------
    place : tuple of str
        Of the counts, and of `var`.
    held : str
        What X holds, if it is no counts; or what is taken holds, where nothing else is counts.

    Raises
    ------
    InputError
        If there are none.
    """
    layers = layers_to_ask(p.removeprefix("layers/") for p in parts if p.startswith("layers/"))
    places = [("X", "var"), *((f"layers/{n}", "var") for n in layers), ("raw/X", "raw/var")]
    held = {
        place: _held(parts[place[0]], is_layer=place[0].startswith("layers/"))
        for place in places
        if place[0] in parts
    }
    for place, what in held.items():
        if not what:
            return place, held.get(places[0], "nothing")
    for place, what in held.items():
        if what not in (NOT_WHOLE, TRUTH):
            return place, what
    msg = (
        f'{where}: neither X nor layers["counts"] nor raw holds raw counts, which are whole '
        "numbers; give the cells as they were counted, not normalised."
    )
    raise InputError(msg)


def _held(part: Any, *, is_layer: bool) -> str:
    """Say what a matrix holds if it is no raw counts, by its first rows."""
    if _are_truths(part):
        return TRUTH
    try:
        stored = StoredCounts.from_group(part)
    except ValueError:
        if not is_layer:
            raise
        # Of texts, or another kind of table.
        return NOT_WHOLE
    if not stored.look_whole():
        return NOT_WHOLE
    rows = stored.first_rows(_ROWS)
    return "" if rows is None else no_counts(rows)


def _are_truths(part: Any) -> bool:
    values = part.get("data") if isinstance(part, h5py.Group) else part
    return str(getattr(values, "dtype", "")) == "bool"


def _frame(part: Any, uns: Any = None) -> pd.DataFrame:
    with ids_as_they_are():
        return read_frame(part, uns)


def _clusters(
    obs: pd.DataFrame, key: str, where: str
) -> tuple[tuple[str, ...], NDArray[np.int64] | None, list[str]]:
    """Read the cluster of each cell; those without one are one of their own.

    Raises
    ------
    InputError
        If there is no such column, or it does not say clusters.
    """
    columns = ", ".join(map(str, obs.columns)) or "none"
    if key and key not in obs:
        msg = f"{where}: the cluster key {key} is no column of the cells; there are: {columns}."
        raise InputError(msg, option="cluster_key")
    key = key or CLUSTER
    if key not in obs:
        return (), None, []
    known = obs[key].notna().to_numpy() & (obs[key].astype(str).str.strip() != "").to_numpy()
    labels = np.where(known, obs[key].astype(str).to_numpy(object), _UNLABELLED).astype(str)
    groups, group = np.unique(labels, return_inverse=True)
    if not known.any() or len(groups) > len(obs) / 2:
        msg = (
            f"{where}: the column {key} has {len(groups)} different values for {len(obs)} cells, "
            f"which are no clusters; name another of them: {columns}."
        )
        raise InputError(msg, option="cluster_key")
    doubts = []
    if not known.all():
        without = int((~known).sum())
        doubts.append(
            f"{counted(without, 'cell')} {agree(without, 'has', 'have')} no {key}: "
            f"{agree(without, 'it is a cluster of its', 'they are a cluster of their')} own."
        )
    return tuple(map(str, groups)), group.astype(np.int64), doubts
