"""What leaves as images beside expression: spread, intervals, depth, and where genes are above."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.results.belief import (
    cut_above,
    depth_levels,
    field_gene,
    interval_image,
    kept_spots,
    mark_above,
    need_field,
    said_of_cut,
    sampled_levels,
)
from napari_stenhance.results.export_format import ExportImage
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.unfamiliar import distance_levels
from napari_stenhance.scoring.discoveries import Scale
from napari_stenhance.storage.levels import Levels

Exported = Literal["expression", "spread", "interval", "depth", "unfamiliar"]
_HELD = 2
"""How many genes' images are held at once."""


def exported_image(run: GeneSource, genes: Sequence[str], what: Exported) -> ExportImage:
    """Take what is known of genes of a run; one channel of depth and unfamiliar tissue.

    Raises
    ------
    InputError
        If a gene is not there, or the run does not know it: who imputes has no depth and no
        intervals, published presets neither.
    """
    if what == "expression":
        return ExportImage.from_genes(run, genes)
    if what == "spread":
        about = f"expression sd over the members of the ensemble, {run.unit}: it ranks places, and "
        about += f"is no interval; of the run {run.name}; NaN where there is nothing"
        spread = {f"{gene} sd": run.levels(gene, "spread") for gene in genes}
        return ExportImage.from_levels(run, spread, about)
    field = need_field(run)
    if what == "depth":
        about = f"total counts of a spot, predicted by the run {run.name}; NaN where there is none"
        return ExportImage.from_levels(run, {"total counts": depth_levels(field)}, about)
    if what == "unfamiliar":
        about = "distance from the training tissue, within 1 of which 95 % of that stays; of the "
        about += f"run {run.name}; NaN where there is none"
        return ExportImage.from_levels(run, {"unfamiliar tissue": distance_levels(field)}, about)
    spots = kept_spots(field)

    @lru_cache(_HELD)
    def ends(gene: str) -> NDArray[np.float32]:
        return interval_image(field, gene)

    def end_of(gene: str, end: int) -> Levels:
        return sampled_levels(field, lambda: ends(gene)[end])

    names = [field_gene(run, gene)[1] for gene in genes]
    about = (
        f"prediction interval of a spot of {spots.diameter_um:g} µm: between low and high, "
        f"{run.unit}, 9 in 10 would be measured if they lay there; of the run {run.name}; NaN "
        "where there is nothing"
    )
    levels = {
        f"{name} {end}": end_of(name, n) for name in names for n, end in enumerate(("low", "high"))
    }
    return ExportImage.from_levels(run, levels, about)


def exported_marks(
    run: GeneSource, genes: Sequence[str], above: float, scale: Scale
) -> tuple[ExportImage, tuple[str, ...]]:
    """Take where genes are above a value, 1 there, and say what is promised of each.

    Raises
    ------
    InputError
        If a gene is not there, or the run keeps no held-out spots.
    """
    field = need_field(run)
    names = [field_gene(run, gene)[1] for gene in genes]
    said = tuple(
        said_of_cut(cut_above(field, name, above, scale), name, above, run.unit, scale)
        for name in names
    )

    @lru_cache(_HELD)
    def places(gene: str) -> NDArray[np.float32]:
        return mark_above(field, gene, above, scale).places

    def of(gene: str) -> Levels:
        return sampled_levels(field, lambda: places(gene))

    about = f"predicted by the run {run.name}: 1 where marked, 0 where not, NaN where there is "
    about += f"nothing. {' '.join(said)}"
    levels = {f"{name} above {above:g}": of(name) for name in names}
    return ExportImage.from_levels(run, levels, about), said
