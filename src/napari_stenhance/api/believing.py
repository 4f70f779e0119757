"""Intervals, where a gene is above a value, and unfamiliar tissue, as xarray images in µm."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from napari_stenhance.api.images import as_image, need_one_gene
from napari_stenhance.errors import InputError
from napari_stenhance.results.belief import (
    field_gene,
    interval_image,
    mark_above,
    need_value,
    said_of_cut,
)
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.results.unfamiliar import UNIT, distance_levels
from napari_stenhance.scoring.discoveries import Scale

if TYPE_CHECKING:
    import xarray as xr

    from napari_stenhance.results.gene_source import GeneSource


def gene_interval(run: GeneSource, gene: str) -> xr.DataArray:
    """Return the ends of the interval of a spot around each superpixel."""
    import xarray as xr

    need_one_gene(gene)
    field, gene = field_gene(run, gene)
    said = {
        "gene": gene,
        "unit": run.unit,
        "run": run.name,
        "level": 0.9,
        "of": "a spot",
        "doubts": list(run.doubts),
    }
    ends = [
        as_image(end, run.grid, f"{gene} interval", said) for end in interval_image(field, gene)
    ]
    return xr.concat(ends, xr.Variable("end", np.array(["low", "high"])), combine_attrs="override")


def gene_above(run: GeneSource, gene: str, value: float, scale: Scale) -> xr.DataArray:
    """Mark where a gene is above a value."""
    need_one_gene(gene)
    if scale not in get_args(Scale):
        msg = f"Scale {scale!r}: choose one of {', '.join(get_args(Scale))}."
        raise InputError(msg)
    value = need_value(value)
    field, gene = field_gene(run, gene)
    places, cut = mark_above(field, gene, value, scale)
    said = {
        "gene": gene,
        "unit": f"1 where above {value:g} {run.unit}",
        "run": run.name,
        "value": value,
        "scale": scale,
        "cut": cut.at,
        "marked": cut.marked,
        "wrong": cut.wrong,
        "places": cut.places,
        "said": said_of_cut(cut, gene, value, run.unit, scale),
        "doubts": list(run.doubts),
    }
    return as_image(places, run.grid, f"{gene} above {value:g}", said)


def unfamiliar_image(run: GeneSource) -> xr.DataArray:
    """Show how far each superpixel of a run lies from the training tissue."""
    if not isinstance(run, FieldRun):
        msg = f"{run.result.path}: the run {run.name} imputes spots, and looks at no tissue."
        raise InputError(msg)
    values = distance_levels(run).part()
    said = {
        "run": run.name,
        "unit": UNIT,
        "share": run.attributes["unfamiliar"],
        "doubts": list(run.doubts),
    }
    return as_image(values, run.grid, "unfamiliar", said)
