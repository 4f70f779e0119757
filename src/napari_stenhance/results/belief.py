"""How far a gene field can be believed, from the spots that were held out and are kept with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from napari_stenhance.errors import InputError
from napari_stenhance.methods.calibration import held_out_values
from napari_stenhance.methods.held_out import HeldOutSpots
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.gene_sums import is_formula
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.scoring.discoveries import (
    LEAST,
    Cut,
    Scale,
    averaged,
    find_cut,
    overlap_of,
    radius_um,
)
from napari_stenhance.scoring.intervals import SpotIntervals
from napari_stenhance.storage.levels import Levels, shapes_of
from napari_stenhance.storage.tiles import tile_size


class Marked(NamedTuple):
    """Where a gene is predicted above a value, and what that rests on.

    Attributes
    ----------
    places : ndarray of float32, shape (rows, columns)
        1 where it is marked, 0 where not; NaN where nothing was predicted.
    cut : Cut
    """

    places: NDArray[np.float32]
    cut: Cut


def need_field(run: GeneSource) -> FieldRun:
    """Take a run that predicted a gene field.

    Raises
    ------
    InputError
        If it is another.
    """
    if not isinstance(run, FieldRun):
        msg = (
            f"{run.result.path}: the run {run.name} imputes spots, and predicts no depth and no "
            "intervals; runs of enhance and predict do."
        )
        raise InputError(msg)
    return run


def field_gene(run: GeneSource, gene: str) -> tuple[FieldRun, str]:
    """Take a run that predicted a gene field, and the name that it has for the gene.

    Raises
    ------
    InputError
        If it is another run, it has no such gene, or a sum of genes is named.
    """
    field = need_field(run)
    name = field.names.meant(gene)
    if name not in field.names.known and is_formula(name):
        msg = f"{gene}: of a sum of genes there are no intervals and no marks; name one gene."
        raise InputError(msg, option="genes")
    field.field.decoder.index_of(name)
    return field, name


def need_value(above: object) -> float:
    """Take what a gene is to be above: numbers of Python and NumPy, and arrays that hold one.

    Raises
    ------
    InputError
        If it is no number, not finite, or below 0, where no gene is.
    """
    given = above.item() if getattr(above, "size", None) == 1 else above  # type: ignore[attr-defined]
    if isinstance(given, bool) or not isinstance(given, Real) or not math.isfinite(given):
        msg = f"Above {given!r:.80}: give a number, in log1p CP10k."
        raise InputError(msg, option="above")
    if given < 0:
        msg = f"Above {given:g}: no gene is below 0; give 0 or more, in log1p CP10k."
        raise InputError(msg, option="above")
    return float(given)


def kept_spots(run: FieldRun) -> HeldOutSpots:
    """Return the held-out spots of a run.

    Raises
    ------
    InputError
        If it keeps none.
    """
    kept = run.field.decoder.held_out
    if kept is None:
        msg = (
            f"{run.result.path}: the run {run.name} has no prediction intervals, and no marks: "
            f"{run.why_no_intervals}. Runs of the preset robust have both, of spots and of bins "
            "that count enough."
        )
        raise InputError(msg)
    return kept


def _at_held_out(
    run: FieldRun, gene: str
) -> tuple[HeldOutSpots, NDArray[np.float32], NDArray[np.float32]]:
    """Return the held-out spots of a run, and what a gene was predicted and measured there."""
    decoder, kept = run.field.decoder, kept_spots(run)
    return kept, *held_out_values(decoder, kept, decoder.indices_of([gene]))


def spot_intervals(run: FieldRun, gene: str) -> SpotIntervals:
    """Calibrate the prediction interval of a spot, of one gene.

    Raises
    ------
    InputError
        If the run keeps no held-out spots, or there is no such gene.
    """
    _, predicted, measured = _at_held_out(run, gene)
    return SpotIntervals.from_held_out(predicted, measured)


def interval_image(run: FieldRun, gene: str) -> NDArray[np.float32]:
    """Return between which values a spot would be measured if it lay around each superpixel.

    Returns
    -------
    ndarray of float32, shape (2, rows, columns)
        The low and the high end, in the unit of the run; NaN where nothing was predicted.

    Raises
    ------
    InputError
        If the run keeps no held-out spots, or there is no such gene.
    """
    intervals, kept = spot_intervals(run, gene), kept_spots(run)
    values = disc_means(run.field.image(gene), kept.diameter_um / 2 / run.grid.pitch_um)
    return np.stack([end[..., 0] for end in intervals.of(values[..., None])])


def cut_above(run: FieldRun, gene: str, above: float, scale: Scale = "spot") -> Cut:
    """Find from which prediction on at most one in ten held-out places is not above a value.

    Raises
    ------
    InputError
        If the run keeps no held-out spots, or there is no such gene.
    """
    kept, *both = _at_held_out(run, gene)
    predicted, measured = (
        averaged(values, kept.xy_um, kept.section, scale)[:, 0] for values in both
    )
    # Of single precision, a large value would overflow.
    value, overlap = np.float64(above), overlap_of(kept.xy_um, kept.section, scale)
    return find_cut(predicted, measured, value, overlap)


def mark_above(run: FieldRun, gene: str, above: float, scale: Scale = "spot") -> Marked:
    """Mark where a gene is above a value, so that at most one in ten of the marked is wrong.

    Raises
    ------
    InputError
        If the run keeps no held-out spots, or there is no such gene.
    """
    cut, kept = cut_above(run, gene, above, scale), kept_spots(run)
    radius = radius_um(kept.xy_um, kept.section, kept.diameter_um, scale)
    values = disc_means(run.field.image(gene), radius / run.grid.pitch_um)
    places = np.where(np.isfinite(values), values >= cut.at, np.nan).astype(np.float32)
    return Marked(places, cut)


def depth_levels(run: FieldRun) -> Levels:
    """Show how much a spot around each superpixel would count in all.

    Raises
    ------
    InputError
        If the run did not learn depth.
    """
    if run.field.decoder.depth is None:
        msg = (
            f"{run.result.path}: the run {run.name} says nothing of how much a spot counts in all: "
            "preset robust does, but not of bins with few counts, nor in runs of older versions."
        )
        raise InputError(msg)
    return run.field.total_levels()


def sampled_levels(run: FieldRun, image: Callable[[], NDArray[np.float32]]) -> Levels:
    """Show an image of a run's grid, of whose coarser levels each takes every second superpixel.

    Parameters
    ----------
    run : FieldRun
    image : callable
        Returns the image, (rows, columns), whenever a tile is looked at.
    """
    latent, size = run.field.latent, tile_size(run.field.latent[0])

    def read(level: int, i: int, j: int) -> NDArray[np.float32]:
        coarse = image()[:: 2**level, :: 2**level]
        return coarse[i * size : (i + 1) * size, j * size : (j + 1) * size]

    return Levels(shapes_of(latent), size, read)


def said_of_cut(cut: Cut, gene: str, above: float, unit: str, scale: Scale) -> str:
    """Say what a cut promises, or that there is none."""
    what = {"spot": "spots", "8 spots": "means of 8 spots", "region": "regions of 1 mm"}[scale]
    if cut.apart < LEAST:
        return (
            f"{gene} above {above:g} {unit}: nothing is marked, for {cut.places} held-out spots "
            f"are too few: they make {cut.apart} {what} that share none, and {LEAST} are needed."
        )
    if not cut.found:
        return (
            f"{gene} above {above:g} {unit}: nothing is marked, for no cut keeps the wrong ones "
            f"among {cut.places} held-out {what} at 1 in 10."
        )
    return (
        f"{gene} above {above:g} {unit}: marked where {cut.at:.2f} and more is predicted; of "
        f"{cut.marked} {what} held out there, {cut.wrong} were wrong: in tissue like theirs at "
        "most 1 in 10, at a confidence of 9 in 10."
    )


def disc_means(values: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Average values over the disc around each, of so many pixels; NaN stays, and counts nowhere.

    Parameters
    ----------
    values : ndarray of float32, shape (rows, columns)
    radius : float
        In pixels; of less than 1, values stay what they are.
    """
    reach = int(radius)
    if reach < 1:
        return values.copy()
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x * x + y * y <= radius * radius).astype(np.float64)
    known = np.isfinite(values)
    total = fftconvolve(np.where(known, values, 0).astype(np.float64), disc, mode="same")
    number = np.rint(fftconvolve(known.astype(np.float64), disc, mode="same"))
    means = np.where(known, np.maximum(total, 0) / np.maximum(number, 1), np.nan)
    return means.astype(np.float32)
