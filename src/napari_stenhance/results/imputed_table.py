"""The table of an imputation: the spots as they were, with genes that were not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from napari_stenhance.errors import InputError
from napari_stenhance.methods.genes import named_genes
from napari_stenhance.methods.sinca.protocol import FittedImputation, SpotCounts, genes_at_once
from napari_stenhance.results.imputed import (
    COMPOSITION,
    HOLDOUT_R,
    HOLDOUT_R_GIVEN_DEPTH,
    IMPUTED,
    LOG,
    SPREAD,
)
from napari_stenhance.running.job import Job
from napari_stenhance.section.cells import CellReference
from napari_stenhance.section.gene_names import aliases_in
from napari_stenhance.section.spots import attach, counts_of, geometry_of

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd


@dataclass(frozen=True)
class Wanted:
    """The genes of a table: what the spots have is taken from them, the rest is imputed.

    Attributes
    ----------
    genes : tuple of str
        In the order of the table.
    measured, imputed : tuple of str
    """

    genes: tuple[str, ...]
    measured: tuple[str, ...]
    imputed: tuple[str, ...]

    @classmethod
    def from_genes(cls, given: Sequence[str], spots: ad.AnnData, cells: CellReference) -> Wanted:
        """Choose genes: those given (`named_genes`), else all of the spots, then of cells alone.

        Raises
        ------
        InputError
            If neither has a gene, or none is named and there is none to impute.
        """
        ours = set(spots.var_names)
        only = tuple(gene for gene in cells.genes if gene not in ours)
        if not given:
            if not only:
                msg = (
                    f"{cells.name}: the spots measured every gene of these cells, so there is none "
                    "to impute; name measured genes to see how well they are "
                    "predicted, or give cells with more genes."
                )
                raise InputError(msg, option="genes")
            measured = tuple(map(str, spots.var_names))
            return cls(measured + only, measured, only)
        every = (*map(str, spots.var_names), *only)
        aliases = aliases_in(spots.var)
        named = named_genes(given, every, "the genes of spots and cells", aliases=aliases)
        measured = tuple(gene for gene in named if gene in ours)
        return cls(named, measured, tuple(gene for gene in named if gene not in ours))


def imputed_table(
    spots: ad.AnnData,
    seen: SpotCounts,
    cells: CellReference,
    fitted: FittedImputation,
    wanted: Wanted,
    provenance: dict[str, Any],
    job: Job,
) -> ad.AnnData:
    """Put measured and imputed genes into one table.

    Parameters
    ----------
    spots : AnnData
    seen : SpotCounts
        What the method saw of them.
    cells : CellReference
    fitted : FittedImputation
    wanted : Wanted
    provenance : dict
        Kept as `uns["stenhance_imputation"]`.
    job : Job

    Returns
    -------
    AnnData
        `X` is counts, of imputed genes those to be expected; `layers` hold log1p CP10k and, of
        imputed genes, its spread; `obsm["cell_composition"]`, where clusters are known, how much
        each spot attends to each (`uns` names them). Matrices are by gene, so that one is read
        without the others. What belongs to spots is kept; layers and `varm`, which imputed genes
        lack, are not.
    """
    import anndata as ad
    import pandas as pd

    order = [*wanted.measured, *wanted.imputed]
    counts, log, spread = _matrices(spots, seen, cells, fitted, wanted, job)
    number = len(wanted.measured)
    mean = np.full(number + len(wanted.imputed), np.nan, np.float32)
    total = np.asarray(spread.sum(axis=0, dtype=np.float64)).ravel()
    mean[number:] = total[number:] / spots.n_obs
    held_out = pd.DataFrame(
        {HOLDOUT_R: fitted.held_out_r, HOLDOUT_R_GIVEN_DEPTH: fitted.held_out_r_given_depth},
        index=[cells.genes[n] for n in seen.columns],
    ).reindex(order)
    var = _var(spots.var, order)
    var[IMPUTED] = np.arange(len(order)) >= number
    for name, values in held_out.items():
        var[name] = values.to_numpy(np.float32)
    var[SPREAD] = mean
    kept = attach(spots, geometry_of(spots))
    obsm, uns = dict(kept.obsm), {**kept.uns, "stenhance_imputation": provenance}
    if fitted.groups:
        # No data frame: names of clusters may hold what names of columns in files may not.
        obsm[COMPOSITION] = fitted.composition()
        uns[COMPOSITION] = np.array(fitted.groups, dtype=object)
    table = ad.AnnData(
        X=counts,
        obs=kept.obs,
        var=var,
        obsm=obsm,
        obsp=dict(kept.obsp),
        uns=uns,
        layers={LOG: log, SPREAD: spread},
    )
    return table if tuple(order) == wanted.genes else only_genes(table, wanted.genes)


def only_genes(table: ad.AnnData, genes: Sequence[str]) -> ad.AnnData:
    """Return such a table with some genes, in their order; no view, of which pandas 3 warns."""
    import anndata as ad

    columns = table.var_names.get_indexer(list(genes))
    return ad.AnnData(
        X=table.X[:, columns],
        obs=table.obs,
        var=table.var.iloc[columns],
        obsm=dict(table.obsm),
        obsp=dict(table.obsp),
        uns=table.uns,
        layers={name: table.layers[name][:, columns] for name in (LOG, SPREAD)},
    )


def shown_first(table: ad.AnnData) -> str:
    """Choose the gene to look at first: of imputed ones, if there are any, the most variable."""
    log = table.layers[LOG]
    mean, square = (np.asarray(x.mean(axis=0)).ravel() for x in (log, log.multiply(log)))
    new = table.var[IMPUTED].to_numpy(bool)
    variance = np.where(new | ~new.any(), square - mean**2, -1)
    return str(table.var_names[int(np.argmax(variance))])


def _matrices(
    spots: ad.AnnData,
    seen: SpotCounts,
    cells: CellReference,
    fitted: FittedImputation,
    wanted: Wanted,
    job: Job,
) -> tuple[sp.csc_matrix, sp.csc_matrix, sp.csc_matrix]:
    """Fill counts, log1p CP10k and its spread, measured genes first; each number is held once."""
    number, imputed = spots.n_obs, len(wanted.imputed)
    measured = sp.csc_array(counts_of(spots, wanted.measured))
    measured.sum_duplicates()
    first, size = measured.nnz, measured.nnz + number * imputed
    kind = np.int32 if size < 2**31 else np.int64
    data = {name: np.empty(size, np.float32) for name in ("X", LOG)}
    indices = np.empty(size, kind)
    spread = np.empty((imputed, number), np.float32)
    data["X"][:first], indices[:first] = measured.data, measured.indices
    per_count = 1e4 / np.maximum(seen.library, 1)
    data[LOG][:first] = np.log1p(measured.data * per_count[measured.indices])
    tail = {name: values[first:].reshape(imputed, number) for name, values in data.items()}
    indices[first:].reshape(imputed, number)[:] = np.arange(number)
    position = {gene: n for n, gene in enumerate(cells.genes)}
    columns = np.array([position[gene] for gene in wanted.imputed], np.int64)
    at_once = genes_at_once(number)
    starts = range(0, imputed, at_once)
    with job.stage("Imputing genes", len(starts)) as stage:
        for at in starts:
            part = slice(at, at + at_once)
            predicted = fitted.impute(columns[part])
            tail["X"][part] = predicted.share.T * seen.library
            tail[LOG][part] = np.log1p(1e4 * predicted.share.T)
            spread[part] = predicted.spread.T
            stage.advance()
    ends = first + number * np.arange(1, imputed + 1)
    indptr = np.concatenate([measured.indptr, ends]).astype(kind)
    none = np.zeros(len(wanted.measured) + 1)
    spread_ends = np.concatenate([none, ends - first]).astype(kind)
    shape = (number, len(wanted.measured) + imputed)
    return (
        sp.csc_matrix((data["X"], indices, indptr), shape, copy=False),
        sp.csc_matrix((data[LOG], indices, indptr), shape, copy=False),
        sp.csc_matrix((spread.ravel(), indices[first:], spread_ends), shape, copy=False),
    )


def _var(var: pd.DataFrame, genes: Sequence[str]) -> pd.DataFrame:
    """Return what the spots say of genes; of imputed ones nothing, as a file can store it."""
    import pandas as pd

    ours = {IMPUTED, HOLDOUT_R, HOLDOUT_R_GIVEN_DEPTH, SPREAD} & set(var.columns)
    var = var.rename(columns={name: f"{name}_input" for name in ours})
    grown = var.reindex(pd.Index(genes))
    grown.index.name = var.index.name
    for name in grown.columns[grown.isna().any(axis=0) & (grown.dtypes != var.dtypes).to_numpy()]:
        if pd.api.types.is_bool_dtype(var[name]):
            grown[name] = grown[name].astype("boolean")
    for name in grown.columns:
        column = grown[name]
        text = column.dtype == object or isinstance(column.dtype, pd.StringDtype)
        if text and column.isna().any():
            grown[name] = column.map(str, na_action="ignore").astype("category")
    return grown
