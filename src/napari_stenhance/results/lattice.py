"""Predictions on the lattice of spots and between them, as tables of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zarr

from napari_stenhance.results.predictions import about_prediction, genes_table
from napari_stenhance.results.proof import record_files
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.tables import write_table
from napari_stenhance.running.job import Job
from napari_stenhance.section.spots import SpotGeometry
from napari_stenhance.storage.checked import open_node

if TYPE_CHECKING:
    import anndata as ad
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.methods.decoder import Decoder
    from napari_stenhance.methods.protocol import Latent
    from napari_stenhance.section.lattice import FinerLattice
    from napari_stenhance.section.section import Section

_KEY = "lattices"


def lattice_table(
    result: ResultFolder,
    run: str,
    section: Section,
    s: int,
    points: FinerLattice,
    keep: NDArray[np.bool_],
    latent: Latent,
    decoder: Decoder,
) -> ad.AnnData:
    """Make the table of the points that are kept.

    Returns
    -------
    AnnData
        `X` (points, genes) float32 in the decoder's unit, NaN for spots where nothing is predicted;
        `obs` says which are spots, the nearest spot, and how far it is; `obsm["spatial"]` is in
        full-resolution pixels, `obsm["array"]` in columns and rows.
    """
    import anndata as ad
    import numpy as np
    import pandas as pd

    spots, mpp = section.need_spots(), section.need_slide().scale()
    ids = np.asarray(spots.obs_names, dtype=object)
    array_xy = points.array_xy[keep]
    between = [f"{column:g}x{row:g}" for column, row in array_xy]
    measured, nearest = points.is_measured[keep], ids[points.nearest[keep]]
    obs = pd.DataFrame(
        {
            "is_measured": measured,
            "nearest_spot": nearest,
            "distance_um": points.distance[keep] * mpp,
        },
        index=pd.Index(np.where(measured, nearest, between)),
    )
    spot = section.geometry()
    # So that neither circles nor squares overlap where they are drawn.
    geometry = SpotGeometry(
        spot.spot_diameter_um / s, spot.spot_shape, spot.pitch_um / s, "micrometer"
    )
    genes = np.arange(len(decoder.genes))
    obsm: dict[str, NDArray[Any]] = {"spatial": points.xy[keep], "array": array_xy}
    if latent.attention is not None:
        obsm["attention"] = latent.attention
    return ad.AnnData(
        X=decoder.values(latent.mean, genes),
        obs=obs,
        var=genes_table(decoder, genes),
        obsm=obsm,
        uns={
            **about_prediction(result, run, vars(geometry).copy(), decoder),
            "lattice": s,
        },
    )


def write_lattice(result: ResultFolder, run: str, s: int, table: ad.AnnData) -> None:
    """Write the table of a run's lattice; what a killed process left is replaced."""
    name = lattice_name(run, s)
    write_table(result.group.require_group("tables"), name, table)
    record_files(result.path, "fields", run, [f"tables/{name}"], Job())
    # Last: without it the table is not there.
    result.update_run(run, **{_KEY: sorted({*lattices(result, run), s})})


def lattice_name(run: str, s: int) -> str:
    """Name the table of a run's lattice."""
    return f"{run}-lattice{s}"


def lattices(result: ResultFolder, run: str) -> tuple[int, ...]:
    """List what a run's lattices divide the steps between spots into."""
    return tuple(result.run_attributes(run).get(_KEY, ()))


def lattice_group(result: ResultFolder, run: str, s: int) -> zarr.Group:
    """Open the table of a run's lattice, of which parts can be read."""
    return open_node(result.group, f"tables/{lattice_name(run, s)}", zarr.Group)
