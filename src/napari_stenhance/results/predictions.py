"""Predictions as AnnData, at spots or at superpixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.calibration import (
    COVERAGE_OF,
    coverage_of,
    covered_of_variable,
    told_from_depth,
    why_no_intervals,
)
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.results.field import GeneField
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.tables import check_size
from napari_stenhance.results.unfamiliar import distance_at
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.intervals import LEVEL
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.section import Section
from napari_stenhance.section.spots import SpotGeometry, positions_px
from napari_stenhance.storage.tiles import tiles_of

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd


def genes_table(decoder: Decoder, chosen: NDArray[np.intp]) -> pd.DataFrame:
    """Return `var` of some genes of a decoder: how well each was predicted on held-out spots.

    Where these are kept, also whether a gene can be told from depth, and how many of them lie
    within prediction intervals of nine in ten that other blocks of tissue gave.
    """
    import pandas as pd

    names = [decoder.genes[n] for n in chosen]
    held_out: dict[str, NDArray[Any]] = {
        "held_out_r": decoder.held_out_r[chosen],
        "held_out_r_given_depth": decoder.held_out_r_given_depth[chosen],
    }
    told = told_from_depth(decoder)
    if told is not None:
        held_out["told_from_depth"] = told[chosen]
        held_out["interval_coverage"] = coverage_of(decoder, chosen)
    return pd.DataFrame(held_out, index=pd.Index(names))


def about_prediction(
    result: ResultFolder, run: str, geometry: dict[str, Any], decoder: Decoder
) -> dict[str, Any]:
    """Return `uns`: what identifies the prediction and how far it goes, and positions' geometry."""
    slide, attributes = result.attributes["slide"], result.run_attributes(run)
    prediction: dict[str, Any] = {
        "unit": decoder.unit,
        "run": run,
        "slide": slide["name"],
        "slide_sha256": slide["sha256"],
        "doubts": np.array(attributes["doubts"], dtype=object),
    }
    kept = decoder.held_out
    if kept is None:
        prediction["no_intervals"] = why_no_intervals(decoder, attributes["identity"])
    else:
        prediction["intervals"] = {
            "level": LEVEL,
            "coverage": covered_of_variable(decoder, kept),
            "coverage_of": COVERAGE_OF,
            "held_out_spots": len(kept),
        }
    return {
        "stenhance": geometry,
        "stenhance_prediction": prediction,
        "microns_per_pixel": slide["mpp"],
    }


def at_spots(
    result: ResultFolder, run: str, section: Section, genes: Sequence[str] | None
) -> ad.AnnData:
    """Average predictions over the superpixels under each spot.

    Parameters
    ----------
    result : ResultFolder
    run : str
    section : Section
        Its spots say where; their counts are not used.
    genes : sequence of str, optional
        By default all of the run.

    Returns
    -------
    AnnData
        `X` (spots, genes) float32 in the run's unit; `obs` as the spots have it, and
        `obs["superpixels"]`, how many were averaged: where it is 0 the spot lies off the tissue
        mask and has the nearest prediction. `obs["predicted_total_counts"]` where the run learned
        depth, as the image shows it: no sum over genes. `obs["unfamiliar"]` where the run knows how
        far their tissue lies from what was learned from: beyond 1 only 5 % of that does.

    Raises
    ------
    InputError
        If the section belongs to another slide, or the run predicted none of its spots.
    """
    import anndata as ad

    slide = result.attributes["slide"]
    of = section.slide
    if of is not None and (of.sha256, of.series) != (slide["sha256"], slide.get("series")):
        msg = f"{section.name}: its slide is not the one of this result ({slide['name']})."
        raise InputError(msg)
    field = result.field(run)
    spots = section.need_spots()
    xy_um = positions_px(spots, section.name) * slide["mpp"]
    geometry = section.geometry().in_um(slide["mpp"])
    tissue = result.tissue(run)
    under = Footprints.under(field.grid, xy_um, geometry, tissue)
    averaged = under.counts()
    under = under.with_nearest(field.grid, xy_um, tissue)
    latents = field.latent_of(under.row, under.column)
    if not np.isfinite(latents).any():
        msg = f"{result.path}: the run {run} predicted nothing under the spots of {section.name}."
        raise InputError(msg)
    chosen, means = _chosen(field, genes), under.mean(latents)
    obs = spots.obs.assign(superpixels=averaged, **_depth(field.decoder, means))
    distance = distance_at(result, run, under.row, under.column)
    if distance is not None:
        obs["unfamiliar"] = under.mean(distance[:, None])[:, 0]
    return ad.AnnData(
        X=field.decoder.values(means, chosen),
        obs=obs,
        var=genes_table(field.decoder, chosen),
        obsm={"spatial": xy_um / slide["mpp"]},
        uns=about_prediction(result, run, asdict(geometry), field.decoder),
    )


def at_superpixels(result: ResultFolder, run: str, genes: Sequence[str], job: Job) -> ad.AnnData:
    """Return the predictions of some genes at every tissue superpixel that has one.

    Returns
    -------
    AnnData
        `X` (superpixels, genes) float32 in the run's unit; ids are `r<row>c<column>`; `obs` as
        `at_spots` says.

    Raises
    ------
    InputError
        If the table would not fit into the job's memory budget.
    """
    import anndata as ad
    import pandas as pd

    field = result.field(run)
    chosen = _chosen(field, genes)
    tissue = result.tissue(run)
    check_size(int(tissue.sum()), len(chosen), job, "superpixels")
    rows, columns, parts, depths = [], [], [], []
    tiles = list(tiles_of(field.grid.shape, field.latent[0].chunks[0]))
    with job.stage("Exporting superpixels", len(tiles)) as stage:
        for tile in tiles:
            latent = field.tile("latent", 0, *tile.index)
            shown = tissue[tile.rows, tile.columns] & np.isfinite(latent[..., 0])
            row, column = np.nonzero(shown)
            rows.append(row + tile.rows.start)
            columns.append(column + tile.columns.start)
            parts.append(field.decoder.values(latent[shown], chosen))
            depths.append(_depth(field.decoder, latent[shown]))
            stage.advance()
    row, column = np.concatenate(rows), np.concatenate(columns)
    distance = distance_at(result, run, row, column)
    far = {} if distance is None else {"unfamiliar": distance}
    pitch = field.grid.pitch_um
    geometry = SpotGeometry(pitch, "square", pitch, "micrometer")
    return ad.AnnData(
        X=np.concatenate(parts),
        obs=pd.DataFrame(
            {
                "row": row,
                "column": column,
                **{name: np.concatenate([part[name] for part in depths]) for name in depths[0]},
                **far,
            },
            index=pd.Index([f"r{r}c{c}" for r, c in zip(row, column, strict=True)]),
        ),
        var=genes_table(field.decoder, chosen),
        obsm={"spatial": field.grid.centres_um(row, column) / field.grid.mpp},
        uns=about_prediction(result, run, vars(geometry).copy(), field.decoder),
    )


def _depth(decoder: Decoder, latent: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """Return total counts of latents, as a column of `obs`; nothing where depth was not learned."""
    return {} if decoder.depth is None else {"predicted_total_counts": decoder.total(latent)}


def _chosen(field: GeneField, genes: Sequence[str] | None) -> NDArray[np.intp]:
    if genes is None:
        return np.arange(len(field.genes))
    return field.decoder.indices_of(genes)
