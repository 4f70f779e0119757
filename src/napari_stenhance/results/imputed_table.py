"""The table of an imputation: the spots as they were, with genes that were not measured."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.genes import named_genes
from napari_stenhance.methods.sinca.protocol import (
    FittedImputation,
    Imputed,
    SpotCounts,
    genes_at_once,
)
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

_MEASURED_AT_ONCE = 2_000


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


class GeneColumns(NamedTuple):
    """Some genes of a table, (spots, genes) each: counts, log1p CP10k, and its spread."""

    counts: sp.csc_array[np.float32]
    log: sp.csc_array[np.float32]
    spread: sp.csc_array[np.float32]


@dataclass(frozen=True)
class ImputedTable:
    """Measured and imputed genes in one table, some genes at a time.

    Attributes
    ----------
    frame : AnnData
        All but the matrices. `obsm["cell_composition"]`, where clusters are known, says how much
        each spot attends to each (`uns` names them). What belongs to spots is kept; layers and
        `varm`, which imputed genes lack, are not.
    columns : iterable of GeneColumns
        Genes in the order of the table. Counts of imputed genes are those to be expected.
    """

    frame: ad.AnnData
    columns: Iterable[GeneColumns]


def imputed_table(
    spots: ad.AnnData,
    seen: SpotCounts,
    cells: CellReference,
    fitted: FittedImputation,
    wanted: Wanted,
    provenance: dict[str, Any],
    job: Job,
) -> ImputedTable:
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
    """
    import anndata as ad
    import pandas as pd

    held_out = pd.DataFrame(
        {HOLDOUT_R: fitted.held_out_r, HOLDOUT_R_GIVEN_DEPTH: fitted.held_out_r_given_depth},
        index=[cells.genes[n] for n in seen.columns],
    ).reindex(wanted.genes)
    var = _var(spots.var, wanted.genes)
    var[IMPUTED] = np.isin(wanted.genes, wanted.imputed)
    for name, values in held_out.items():
        var[name] = values.to_numpy(np.float32)
    kept = attach(spots, geometry_of(spots))
    obsm, uns = dict(kept.obsm), {**kept.uns, "stenhance_imputation": provenance}
    if fitted.groups:
        # No data frame: names of clusters may hold what names of columns in files may not.
        obsm[COMPOSITION] = fitted.composition()
        uns[COMPOSITION] = np.array(fitted.groups, dtype=object)
    frame = ad.AnnData(obs=kept.obs, var=var, obsm=obsm, obsp=dict(kept.obsp), uns=uns)
    return ImputedTable(frame, _columns(spots, seen, cells, fitted, wanted, job))


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


def _columns(
    spots: ad.AnnData,
    seen: SpotCounts,
    cells: CellReference,
    fitted: FittedImputation,
    wanted: Wanted,
    job: Job,
) -> Iterator[GeneColumns]:
    """Predict what is imputed, as many genes at once as fit, beside what was measured."""
    number, imputed = spots.n_obs, set(wanted.imputed)
    position = {gene: n for n, gene in enumerate(cells.genes)}
    per_count = 1e4 / np.maximum(seen.library, 1)
    parts = _parts(wanted.genes, imputed, genes_at_once(number))
    with job.stage("Imputing genes", len(parts)) as stage:
        for part in parts:
            measured = [gene for gene in part if gene not in imputed]
            new = [gene for gene in part if gene in imputed]
            counts = sp.csc_array(counts_of(spots, measured))
            counts.sum_duplicates()
            log = counts.copy()
            log.data = np.log1p(counts.data * per_count[counts.indices]).astype(np.float32)
            found = GeneColumns(counts, log, sp.csc_array(counts.shape, dtype=np.float32))
            if new:
                at = np.array([position[gene] for gene in new], np.int64)
                found = _beside(found, fitted.impute(at), seen.library)
            order = {gene: n for n, gene in enumerate([*measured, *new])}
            if list(order) != list(part):
                chosen = [order[gene] for gene in part]
                found = GeneColumns(*(sp.csc_array(one[:, chosen]) for one in found))
            yield found
            stage.advance()


def _parts(genes: Sequence[str], imputed: Container[str], at_once: int) -> list[list[str]]:
    """Cut genes, in order, after every so many imputed or measured ones."""
    parts, here = [list[str]()], [0, 0]
    for gene in genes:
        kind = int(gene in imputed)
        if here[kind] == (at_once if kind else _MEASURED_AT_ONCE):
            parts.append([])
            here = [0, 0]
        parts[-1].append(gene)
        here[kind] += 1
    return parts


def _beside(measured: GeneColumns, predicted: Imputed, library: NDArray[np.float64]) -> GeneColumns:
    """Put predicted genes after measured ones."""
    number, genes = predicted.share.shape
    share = predicted.share.T
    counts, log = np.empty((2, genes, number), np.float32)
    np.multiply(share, library, out=counts, casting="same_kind")
    np.multiply(share, np.float32(1e4), out=log)
    np.log1p(log, out=log)
    rows = np.tile(np.arange(number, dtype=np.int32), genes)
    ends = np.arange(genes + 1) * number
    # What is predicted is everywhere; it may be zero, and is stored nevertheless.
    new = (
        sp.csc_array((values.ravel(), rows, ends), shape=(number, genes))
        for values in (counts, log, predicted.spread.T)
    )
    if not measured.counts.shape[1]:
        return GeneColumns(*new)
    return GeneColumns(
        *(sp.csc_array(sp.hstack(pair, format="csc")) for pair in zip(measured, new, strict=True))
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
