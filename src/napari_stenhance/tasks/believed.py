"""Check what is promised of hidden spots: intervals that cover, cuts that mark few wrong."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.methods.calibration import held_out_values
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.scoring.discoveries import Scale, averaged, find_cut, overlap_of
from napari_stenhance.scoring.intervals import SpotIntervals, is_inside

_QUARTILES = "lowest", "second", "third", "highest"


def believed(
    decoder: Decoder,
    columns: NDArray[np.intp],
    predicted: NDArray[np.floating],
    measured: NDArray[np.floating],
    xy_um: NDArray[np.float64],
) -> dict[str, float]:
    """Compare hidden spots with intervals and cuts that were made without them.

    Parameters
    ----------
    decoder : Decoder
        Of the model that learned without the hidden spots.
    columns : ndarray of int, shape (genes,)
        Of its genes, those that are scored.
    predicted, measured : ndarray, shape (hidden spots, genes)
        log1p CP10k of these genes.
    xy_um : ndarray of float64, shape (hidden spots, 2)

    Returns
    -------
    dict
        `coverage`, the share of values within intervals of nine in ten, and the mean `interval
        width`; `coverage, genes …` and `coverage, predicted …` by quartile: of the genes, by their
        mean where they were learned, and of the spots, by what is predicted of the gene. `coverage,
        measured …`, by what was measured, is for comparison: no interval that knows only a
        prediction covers alike there. Of cuts for above 0, and above each gene's lower quartile
        and median where it was learned, at each scale: `wrong, …`, the mean over genes of the share
        of the marked that is wrong, 0 where none is marked; `wrong if marked, …`, over genes that
        have marks alone; `found, …`, the share of places above that are marked; `cut, …`, the share
        of genes that have a cut. Nothing where the model keeps no held-out spots.
    """
    kept = decoder.held_out
    if kept is None:
        return {}
    known, truth = held_out_values(decoder, kept, columns)
    ends = SpotIntervals.from_held_out(known, truth).of(predicted)
    inside, width = is_inside(measured, ends), ends[1] - ends[0]
    found: dict[str, float] = {"coverage": inside.mean(), "interval width": width.mean()}
    genes = np.broadcast_to(_quarter(truth.mean(axis=0)[:, None]).T, inside.shape)
    for name, quarter in (
        ("genes", genes),
        ("predicted", _quarter(predicted)),
        ("measured", _quarter(measured)),
    ):
        for number, quartile in enumerate(_QUARTILES):
            some = inside[quarter == number]
            found[f"coverage, {name} {quartile}"] = some.mean() if some.size else np.nan
    one = np.zeros(len(xy_um), np.int64)
    values: dict[str, NDArray[Any]] = {
        "0": np.zeros(len(columns)),
        "lower quartile": np.quantile(truth, 0.25, axis=0),
        "median": np.median(truth, axis=0),
    }
    for scale in get_args(Scale):
        parts = [averaged(v, kept.xy_um, kept.section, scale) for v in (known, truth)]
        parts += [averaged(v, xy_um, one, scale) for v in (predicted, measured)]
        overlap = overlap_of(kept.xy_um, kept.section, scale)
        for name, above in values.items():
            where = f"above {name}, {scale}"
            found |= {f"{what}, {where}": v for what, v in _of_cuts(parts, above, overlap).items()}
    return {name: float(value) for name, value in found.items()}


def _quarter(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Tell in which quarter of its column each value lies; equal ones as they come."""
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0)
    quarter: NDArray[np.int64] = ranks * 4 // len(values)
    return quarter


def _of_cuts(
    parts: list[NDArray[Any]], above: NDArray[np.floating], overlap: float
) -> dict[str, float]:
    known, truth, predicted, measured = parts
    shares, marks, right, high, cuts = [], 0, 0, 0, 0
    for gene, value in enumerate(above):
        cut = find_cut(known[:, gene], truth[:, gene], float(value), overlap)
        marked, is_above = predicted[:, gene] >= cut.at, measured[:, gene] > value
        marks += int(marked.any())
        cuts += int(cut.found)
        right += int((marked & is_above).sum())
        high += int(is_above.sum())
        shares.append((marked & ~is_above).sum() / max(marked.sum(), 1))
    return {
        "wrong": float(np.mean(shares)),
        "wrong if marked": float(np.sum(shares) / marks) if marks else float("nan"),
        "found": right / max(high, 1),
        "cut": cuts / len(above),
    }
