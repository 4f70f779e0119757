"""Imputation runs of a result: a table of spots with every gene, laid over the section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import scipy.sparse as sp
import zarr
from numpy.typing import NDArray

from napari_stenhance.methods.decoder import gene_index
from napari_stenhance.methods.sinca.protocol import genes_at_once
from napari_stenhance.results.attributes import ADVICE, KEY
from napari_stenhance.results.field import What
from napari_stenhance.results.gene_source import GeneSource, Origin
from napari_stenhance.results.gene_statistics import GeneStatistics, spot_statistics
from napari_stenhance.results.genes import written_genes
from napari_stenhance.results.proof import check_run
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.run import run_of
from napari_stenhance.results.tables import read_table
from napari_stenhance.running.numbers import counted
from napari_stenhance.section.gene_names import aliases_in
from napari_stenhance.storage.checked import checked, folder_of, has_node, open_node
from napari_stenhance.storage.levels import Levels
from napari_stenhance.storage.pyramid import majority_pool, open_levels
from napari_stenhance.storage.reading import reading

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


class ImputedRun(GeneSource):
    """A run of an imputation: a table of spots of its name, and where each pixel's spot is."""

    kind = "imputed"
    pooled = False
    unit = UNIT

    def _check(self, attributes: Mapping[str, Any]) -> None:
        int(attributes["number"])

    @property
    def number(self) -> int:
        """How many imputations the result had before it."""
        return int(self.attributes["number"])

    @property
    def index(self) -> list[zarr.Array[Any]]:
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

    @cached_property
    def aliases(self) -> Mapping[str, str]:
        """Which gene each id, or symbol, means that the spots' table had beside its names."""
        return aliases_in(self.var)

    @cached_property
    def imputed(self) -> frozenset[str]:
        """Genes that were not measured."""
        return frozenset(map(str, self.var.index[self.var[IMPUTED].to_numpy(bool)]))

    def gene_origin(self, gene: str) -> Origin:
        """Tell whether a gene was imputed, or measured and is shown as it was."""
        return "imputed" if gene in self.imputed else "measured"

    @property
    def shown_first(self) -> str:
        """The most variable of those that were imputed."""
        return str(self.attributes["first"])

    @property
    def held_out_r(self) -> NDArray[np.float32]:
        """Pearson's r of measured genes while they were hidden, over spots."""
        return self._of_genes(HOLDOUT_R)

    @property
    def held_out_r_given_depth(self) -> NDArray[np.float32]:
        """The same with the log total count of the spots held constant."""
        return self._of_genes(HOLDOUT_R_GIVEN_DEPTH)

    def _of_genes(self, column: str) -> NDArray[np.float32]:
        return self.var.reindex(columns=[column])[column].to_numpy(np.float32)

    def index_of(self, gene: str) -> int:
        """Find a gene.

        Raises
        ------
        InputError
            If it is not in the table.
        """
        return gene_index(gene, self.genes, "impute it too.")

    def values(self, gene: str, layer: Layer = LOG) -> NDArray[np.float32]:
        """Read one gene for every spot, in log1p CP10k, or its spread; the rest stays on disk.

        Raises
        ------
        InputError
            If the gene is not in the table, or its values are damaged.
        """
        column = self.index_of(gene)
        values = np.zeros(self.attributes["spots"], np.float32)
        found = self._columns(layer, column, column + 1, f"the gene {gene}")
        values[found.indices] = found.data
        return values

    def _columns(self, layer: Layer, first: int, last: int, what: str) -> sp.csc_array[np.float32]:
        """Read some genes, (spots, genes)."""
        where, spots = f"tables/{self.name}/layers/{layer}", int(self.attributes["spots"])
        stored = open_node(self.result.group, where, zarr.Group)
        indptr, indices, data = (
            checked(open_node(stored, name, zarr.Array)) for name in ("indptr", "indices", "data")
        )
        with reading(self.result.path / where, what, ADVICE):
            ends = np.asarray(indptr[first : last + 1], np.int64)
            part = slice(int(ends[0]), int(ends[-1]))
            rows = np.asarray(indices[part])
            if len(rows) and (rows.min() < 0 or rows.max() >= spots):
                msg = "it names spots that there are not"
                raise ValueError(msg)
            columns = (np.asarray(data[part]), rows, ends - ends[0])
            return sp.csc_array(columns, shape=(spots, last - first))

    def gene_levels(self, gene: str, what: What = "expression") -> Levels:
        """Lay a gene, or its spread, over the section: each pixel shows its nearest spot.

        Raises
        ------
        InputError
            If the gene is not in the table, or its values are damaged.
        """
        values = self.values(gene, LOG if what == "expression" else SPREAD)
        if what == "spread" and gene not in self.imputed:
            # What was measured has no spread.
            values[:] = np.nan
        return self._laid_over(values)

    def sum_levels(self, weights: Mapping[str, float]) -> Levels:
        """Add genes up, and lay them over the section."""
        values = np.zeros(self.attributes["spots"], np.float32)
        for gene, weight in weights.items():
            values += np.float32(weight) * self.values(gene)
        return self._laid_over(values)

    def _laid_over(self, values: NDArray[np.float32]) -> Levels:
        # A pixel without a spot, -1, takes the last.
        values, index = (
            np.append(values, np.float32(np.nan)),
            Levels.from_arrays(self.index, majority_pool),
        )
        return replace(index, read=lambda *tile: values[index.read(*tile)])

    def table(self) -> ad.AnnData:
        """Read the spots with every gene."""
        return read_table(self.result.group, f"tables/{self.name}")

    def compute_statistics(self) -> GeneStatistics:
        """Compute mean and Moran's I of every gene over the spots of the table."""
        xy = read_table(self.result.group, f"tables/{self.name}/obsm/spatial")
        at_once, every = genes_at_once(int(self.attributes["spots"])), len(self.genes)
        parts = (
            self._columns(LOG, first, min(first + at_once, every), "its genes")
            for first in range(0, every, at_once)
        )
        return spot_statistics(parts, np.asarray(xy), "measured or imputed")

    def gene_trust(self, gene: str) -> str:
        """Say how far a gene can be trusted: by its r while hidden, or by that of the others."""
        row = self.var.loc[gene]
        if gene in self.imputed:
            known = self._median("Measured genes, while hidden: median r = {:.2f}.")
            return f"{gene} was not measured. Its spread: {row[SPREAD]:.2f} {UNIT}.{known}"
        shown = f"{gene} was measured, and shown as it was; "
        if np.isnan(row[HOLDOUT_R]):
            return f"{shown}how well it is predicted is not known."
        given = row.get(HOLDOUT_R_GIVEN_DEPTH, np.nan)
        beyond = "" if np.isnan(given) else f" ({given:.2f} with depth held constant)"
        return f"{shown}while hidden, r = {row[HOLDOUT_R]:.2f}{beyond}."

    def _median(self, words: str) -> str:
        r = self.var[HOLDOUT_R].median()
        return "" if np.isnan(r) else f" {words.format(r)}"

    @property
    def how_well(self) -> str:
        """How well it imputes genes that were hidden, in words."""
        return self._median("Of hidden genes, median r {:.2f}").strip()

    def describe(self) -> list[str]:
        """Say what was imputed, and how well."""
        cells, number = self.identity["cells"]["name"], len(self.imputed)
        known = self._median("of hidden genes, median r {:.2f}")
        said = f"Imputed {self.name}: {counted(number, 'gene')} from {cells}, "
        said += f"{len(self.genes) - number} as measured, of "
        said += counted(self.attributes["spots"], "spot")
        said += f"{known and ';'}{known}; {len(written_genes(self))} written as images"
        no_ends = "No prediction intervals: of imputed genes no spots were held out"
        return [said, f"  {self.attributes['matched']}", f"  {no_ends}"]


def imputed_runs(result: ResultFolder) -> tuple[ImputedRun, ...]:
    """List the imputation runs of a result that are complete, oldest first."""
    if not has_node(result.group, ImputedRun.kind):
        return ()
    folders = folder_of(open_node(result.group, ImputedRun.kind, zarr.Group)).iterdir()
    # What a killed process left has no attributes yet.
    found = [ImputedRun(result, f.name) for f in folders if (f / "zarr.json").is_file()]
    runs = [run for run in found if KEY in run.group.attrs]
    for run in runs:
        check_run(result.path, run.kind, run.name, proven=result.proven)
    return tuple(sorted(runs, key=lambda run: (run.number, run.name)))


def imputed_run(result: ResultFolder, name: str = "") -> ImputedRun:
    """Open an imputation run, by default the newest.

    Raises
    ------
    InputError
        If there is none, or none of that name.
    """
    return run_of(result, imputed_runs(result), name, "imputation", "impute")
