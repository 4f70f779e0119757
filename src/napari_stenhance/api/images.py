"""Genes and domains of a run as xarray images, in micrometres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.results.imputed import (
    HOLDOUT_R,
    HOLDOUT_R_GIVEN_DEPTH,
    IMPUTED,
    LOG,
    SPREAD,
    UNIT,
)

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from napari_stenhance.methods.field import What
    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.results.imputed import ImputedRun, Layer
    from napari_stenhance.results.runs import FieldRun
    from napari_stenhance.section.grid import Grid

_OF_DOMAINS = ("method", "edited_from")
"""What a domain run says of how it was made: by a method, or by hand from another run."""


def gene_image(run: FieldRun, gene: str, what: What = "latent") -> xr.DataArray:
    """Decode one gene of a field, or its spread.

    Raises
    ------
    InputError
        If the gene is not in the field.
    """
    field, about = run.field, run.about
    index = field.decoder.index_of(gene)
    return _image(
        field.image(gene, what=what),
        field.grid,
        gene if what == "latent" else f"{gene} {what}",
        {
            "gene": gene,
            "unit": field.unit,
            "run": run.name,
            "method": about["identity"]["method"],
            "held_out_r": float(field.decoder.held_out_r[index]),
            "held_out_r_given_depth": float(field.decoder.held_out_r_given_depth[index]),
            "doubts": list(about["doubts"]),
        },
    )


def imputed_image(run: ImputedRun, gene: str, layer: Layer | None = None) -> xr.DataArray:
    """Lay one gene of an imputation, or its spread, over the section: each pixel its nearest spot.

    Raises
    ------
    InputError
        If the gene is not in the table.
    """
    values = np.append(run.values(gene, layer or LOG), np.float32(np.nan))
    row: Any = run.var.loc[gene]
    if layer == SPREAD and not row[IMPUTED]:
        # What was measured has no spread.
        values[:] = np.nan
    about = run.about
    # A pixel without a spot, -1, takes the last.
    return _image(
        values[np.asarray(run.levels[0][...])],
        run.grid,
        gene if layer is None else f"{gene} {layer}",
        {
            "gene": gene,
            "unit": UNIT,
            "run": run.name,
            "method": about["identity"]["method"],
            "imputed": bool(row[IMPUTED]),
            "held_out_r": float(row[HOLDOUT_R]),
            "held_out_r_given_depth": float(row.get(HOLDOUT_R_GIVEN_DEPTH, np.nan)),
            "doubts": list(about["doubts"]),
        },
    )


def label_image(run: DomainRun) -> xr.DataArray:
    """Return the label image of a domain run."""
    about = run.about
    return _image(
        np.asarray(run.levels[0][...]),
        run.grid,
        "domain",
        {
            "run": run.name,
            **{key: about["identity"][key] for key in _OF_DOMAINS if key in about["identity"]},
            "domains": {domain.value: domain.name for domain in run.domains},
            "doubts": list(about["doubts"]),
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
