"""Genes and domains of a run as xarray images, in micrometres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.results.belief import depth_levels, need_field
from napari_stenhance.results.region_genes import similarity_levels
from napari_stenhance.running.job import Job

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.results.field import What
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.results.gene_sums import GeneSum
    from napari_stenhance.section.grid import Grid
    from napari_stenhance.section.region import Region

_OF_DOMAINS = ("method", "edited_from")
"""What a domain run says of how it was made: by a method, or by hand from another run."""


def need_one_gene(gene: object) -> None:
    """Refuse what is not the name of one gene.

    Raises
    ------
    InputError
        If it is a list, a number or anything else.
    """
    if not isinstance(gene, str):
        msg = f"{gene!r:.80}: name one gene, as result['ERBB2']; of several, ask for one at a time."
        raise InputError(msg)


def gene_image(run: GeneSource, gene: str, what: What = "expression") -> xr.DataArray:
    """Show one gene of a run, or a sum of genes, or the spread of one.

    Raises
    ------
    InputError
        If there is no such gene.
    """
    need_one_gene(gene)
    values, origin = run.levels(gene, what).part(), run.origin(gene)
    found = run.names.find(gene)
    gene, accuracy = found.text, _accuracy(run, found)
    return as_image(
        values,
        run.grid,
        gene if what == "expression" else f"{gene} {what}",
        {
            "gene": gene,
            "unit": run.unit,
            "run": run.name,
            "method": run.identity["method"],
            **({} if origin == "predicted" else {"imputed": origin != "measured"}),
            **accuracy,
            "doubts": list(run.doubts),
        },
    )


def depth_image(run: GeneSource) -> xr.DataArray:
    """Show how much a spot around each superpixel of a run is predicted to count in all."""
    values = depth_levels(need_field(run)).part()
    said = {"run": run.name, "unit": "counts per spot", "doubts": list(run.doubts)}
    return as_image(values, run.grid, "depth", said)


def similarity_image(run: GeneSource, region: Region) -> xr.DataArray:
    """Show how like a region each superpixel of a run is predicted to be."""
    values = similarity_levels(run, region, Job()).part()
    said = {"run": run.name, "unit": "cosine", "doubts": list(run.doubts)}
    return as_image(values, run.grid, "similarity", said)


def _accuracy(run: GeneSource, found: GeneSum) -> dict[str, Any]:
    """Say how well a gene is predicted; of several, of each, as it is not known of their sum."""
    at = [run.names.known[gene] for gene in found.genes]
    r, given = run.held_out_r[at], run.held_out_r_given_depth[at]
    if found.text in run.names.known:
        return {"held_out_r": float(r[0]), "held_out_r_given_depth": float(given[0])}
    return {
        "weights": dict(found.weights),
        "held_out_r": float("nan"),
        "held_out_r_given_depth": float("nan"),
        "held_out_r_of_genes": dict(zip(found.genes, map(float, r), strict=True)),
        "held_out_r_given_depth_of_genes": dict(zip(found.genes, map(float, given), strict=True)),
    }


def label_image(run: DomainRun) -> xr.DataArray:
    """Return the label image of a domain run."""
    return as_image(
        np.asarray(run.levels[0][...]),
        run.grid,
        "domain",
        {
            "run": run.name,
            **{key: run.identity[key] for key in _OF_DOMAINS if key in run.identity},
            "domains": {domain.value: domain.name for domain in run.domains},
            "doubts": list(run.doubts),
        },
    )


def as_image(values: NDArray[Any], grid: Grid, name: str, attrs: dict[str, Any]) -> xr.DataArray:
    """Return values of superpixels with the centres of these, in the unit of their grid."""
    import xarray as xr

    corner, pitch = grid.translate_um(), grid.scale_um()
    coordinates = {
        axis: (axis, start + pitch * np.arange(size), {"units": grid.unit})
        for axis, start, size in zip(("y", "x"), corner, values.shape, strict=True)
    }
    return xr.DataArray(values, coords=coordinates, dims=("y", "x"), name=name, attrs=attrs)
