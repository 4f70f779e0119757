"""The top genes of one region, with the numbers that say by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.results.region_genes import top_genes
from napari_stenhance.results.region_numbers import MarkerTests, compared_numbers
from napari_stenhance.results.runs import FieldRun

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.results.region_numbers import MeasuredSpots, RegionGroups
    from napari_stenhance.running.job import Job


def top_numbers(
    run: GeneSource | None,
    groups: RegionGroups,
    group: int,
    against: int | None,
    measured: MeasuredSpots | None,
    number: int,
    job: Job,
) -> pd.DataFrame:
    """Compare a group with the rest, or with another, by the genes that are highest in it.

    Of a gene field, those that are predicted highest above the others; else those that spots
    measured highest, by Wilcoxon's z.

    Raises
    ------
    InputError
        If nothing was predicted or measured.
    """
    if isinstance(run, FieldRun):
        genes = top_genes(run, groups, group, against, number, job)
    elif measured is not None:
        inside = groups.spots_in(group)
        others = ~inside if against is None else groups.spots_in(against)
        z = MarkerTests.between(measured, inside, others).z
        order = np.argsort(-np.nan_to_num(z, nan=-np.inf), kind="stable")[:number]
        named = [measured.genes[n] for n in order if z[n] > 0]
        genes = tuple(gene for gene in named if run is None or gene in run.names.known)
    else:
        msg = "Nothing was predicted or measured here; open its spots, or a result."
        raise InputError(msg)
    table = compared_numbers(run, groups, [(group, genes)], against, measured, job)
    if not isinstance(run, FieldRun) or not len(table):
        return table
    # Found by what is not clipped at 0, listed by what is shown.
    return table.sort_values("difference", ascending=False, kind="stable", ignore_index=True)
