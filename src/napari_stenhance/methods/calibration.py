"""What held-out spots say of a decoder: intervals, how many they cover, and depth alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.held_out import HeldOutSpots
from napari_stenhance.methods.shallow import SAID
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.intervals import SpotIntervals, is_inside
from napari_stenhance.scoring.splits import block_folds

_BLOCK_UM, _FOLDS = 1000.0, 5
_GENES, _TOGETHER = 250, 200
COVERAGE_OF = (
    "held-out spots of the sections that were learned from, with intervals calibrated on other "
    "blocks of at most 1 mm, over the 250 genes whose predictions vary most"
)
"""What `covered_of_variable` is measured on, in words."""
_SURE = 1.645
"""Standard errors between which and 0 a correlation may be chance, of one side, in 1 of 20."""


def held_out_values(
    decoder: Decoder, kept: HeldOutSpots, columns: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what was predicted and measured at held-out spots, each (spots, genes)."""
    return decoder.values(kept.latents, columns), kept.measured(columns)


def with_held_out(decoder: Decoder, kept: HeldOutSpots | None, job: Job) -> Decoder:
    """Keep held-out spots with a decoder, and how many of them intervals cover, gene by gene."""
    decoder = replace(decoder, held_out=kept)
    if kept is None:
        return decoder
    every = np.arange(len(decoder.genes))
    parts = [every[n : n + _TOGETHER] for n in range(0, len(every), _TOGETHER)]
    coverage = np.empty(len(every), np.float32)
    with job.stage("Checking intervals", len(parts)) as stage:
        for part in parts:
            coverage[part] = _covered(decoder, kept, part)
            stage.advance()
    return replace(decoder, coverage=coverage)


def coverage_of(decoder: Decoder, columns: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return, of some genes, the share of held-out spots within intervals of other blocks.

    Each fifth of the blocks of tissue, of at most 1 mm, is left out in turn: what it holds
    calibrated neither its intervals nor, as all held-out spots, the members that predicted it. As
    it was kept, or computed of models that kept their spots alone.

    Returns
    -------
    ndarray of float32, shape (genes,)
        NaN where no held-out spots are kept, or too few for intervals that have ends.
    """
    if decoder.coverage is not None:
        return decoder.coverage[columns]
    if decoder.held_out is None:
        return np.full(len(columns), np.nan, np.float32)
    return _covered(decoder, decoder.held_out, columns)


def _covered(
    decoder: Decoder, kept: HeldOutSpots, columns: NDArray[np.intp]
) -> NDArray[np.float32]:
    predicted, measured = held_out_values(decoder, kept, columns)
    fold, rng = np.empty(len(kept), np.int64), np.random.default_rng(0)
    for one in np.unique(kept.section):
        here = kept.section == one
        fold[here] = block_folds(kept.xy_um[here], _BLOCK_UM, _FOLDS, rng)
    inside = np.zeros(measured.shape, bool)
    for one in np.unique(fold):
        out = fold == one
        intervals = SpotIntervals.from_held_out(predicted[~out], measured[~out])
        ends = intervals.of(predicted[out])
        if not np.isfinite(ends[1]).all():
            # What has no end holds everything: that says nothing.
            return np.full(len(columns), np.nan, np.float32)
        inside[out] = is_inside(measured[out], ends)
    share: NDArray[np.float32] = inside.mean(axis=0, dtype=np.float64).astype(np.float32)
    return share


def covered_of_variable(decoder: Decoder, kept: HeldOutSpots) -> float:
    """Return the same of the 250 genes whose predictions vary most, together."""
    predicted = kept.latents
    if decoder.weights is None:
        spread = predicted.var(axis=0)
    else:
        covariance = np.atleast_2d(np.cov(predicted.T))
        spread = np.einsum("rg,rs,sg->g", decoder.weights, covariance, decoder.weights)
    variable = np.sort(np.argsort(-spread, kind="stable")[:_GENES])
    return float(coverage_of(decoder, variable).mean(dtype=np.float64))


def why_no_intervals(decoder: Decoder, identity: Mapping[str, Any]) -> str:
    """Say why a run has no prediction intervals, and no cuts; nothing where it has.

    Parameters
    ----------
    decoder : Decoder
    identity : mapping
        Options and inputs of the run.
    """
    if decoder.held_out is not None:
        return ""
    preset = identity.get("preset")
    if preset == "blended":
        return "the preset blended hides transcripts, and holds no spots out"
    if preset not in (None, "robust"):
        return f"the preset {preset} keeps no held-out spots"
    if SAID in decoder.doubts:
        return "a single bin counts too few genes to be compared with what is predicted of it"
    return "no held-out spots are kept with it, as with no run of older versions"


def told_from_depth(decoder: Decoder) -> NDArray[np.bool_] | None:
    """Tell of each gene whether its r given depth is above 0 by its error.

    The error is that of a correlation over so many independent spots; those that lie near each
    other are not quite independent. Of a gene whose r is not known it is False. None where no
    held-out spots are kept, so that it is not known how many there were.
    """
    if decoder.held_out is None:
        return None
    r = np.nan_to_num(decoder.held_out_r_given_depth.astype(np.float64))
    error = (1 - r**2) / np.sqrt(max(len(decoder.held_out) - 3, 1))
    told: NDArray[np.bool_] = r > _SURE * error
    return told


def said_of_interval(decoder: Decoder, gene: str) -> str:
    """Say between which values held-out spots were measured whose prediction is in the middle."""
    kept = decoder.held_out
    assert kept is not None
    column = decoder.indices_of([gene])
    predicted, measured = held_out_values(decoder, kept, column)
    middle = np.median(predicted, axis=0, keepdims=True)
    low, high = SpotIntervals.from_held_out(predicted, measured).of(middle)
    if not np.isfinite(high).all():
        return "too few spots were held out for a prediction interval"
    share = coverage_of(decoder, column)[0]
    checked = f"checked on other blocks: {share:.0%}" if np.isfinite(share) else "not checked"
    return (
        f"prediction interval of a spot: where {middle[0, 0]:.2f} is predicted, 9 in 10 are "
        f"measured between {low[0, 0]:.2f} and {high[0, 0]:.2f} {decoder.unit} "
        f"({checked})"
    )
