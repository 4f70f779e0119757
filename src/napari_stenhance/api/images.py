"""Genes and domains of a run as xarray images, in micrometres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.results.field import What
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.section.grid import Grid

_OF_DOMAINS = ("method", "edited_from")
"""What a domain run says of how it was made: by a method, or by hand from another run."""


def gene_image(run: GeneSource, gene: str, what: What = "expression") -> xr.DataArray:
    """Show one gene of a run, or its spread.

    Raises
    ------
    InputError
        If there is no such gene.
    """
    values, origin = run.levels(gene, what).part(), run.origin(gene)
    index = run.genes.index(gene)
    return _image(
        values,
        run.grid,
        gene if what == "expression" else f"{gene} {what}",
        {
            "gene": gene,
            "unit": run.unit,
            "run": run.name,
            "method": run.identity["method"],
            **({} if origin == "predicted" else {"imputed": origin == "imputed"}),
            "held_out_r": float(run.held_out_r[index]),
            "held_out_r_given_depth": float(run.held_out_r_given_depth[index]),
            "doubts": list(run.doubts),
        },
    )


def label_image(run: DomainRun) -> xr.DataArray:
    """Return the label image of a domain run."""
    return _image(
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


def _image(values: NDArray[Any], grid: Grid, name: str, attrs: dict[str, Any]) -> xr.DataArray:
    import xarray as xr

    corner, pitch = grid.translate_um(), grid.scale_um()
    coordinates = {
        axis: (axis, start + pitch * np.arange(size), {"units": grid.unit})
        for axis, start, size in zip(("y", "x"), corner, values.shape, strict=True)
    }
    return xr.DataArray(values, coords=coordinates, dims=("y", "x"), name=name, attrs=attrs)
