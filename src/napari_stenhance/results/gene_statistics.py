"""What can be said of every gene at once: its mean, and how much like lies beside like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.results.field import GeneField
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.moran import (
    NEAREST,
    morans_i,
    morans_i_of_latent,
    raster_links,
    spot_links,
)
from napari_stenhance.section.spots import log1p_cp10k
from napari_stenhance.storage.tiles import tile_size

_SIDE, _VALUES = 256, 2**24
_GENES_AT_ONCE = 1000


@dataclass(frozen=True, eq=False)
class GeneStatistics:
    """What can be said of every gene at once.

    Attributes
    ----------
    mean : ndarray of float64, shape (genes,)
        Over the tissue, or over spots.
    moran : ndarray of float64, shape (genes,)
        Moran's I; NaN where a gene does not vary.
    of_mean, of_moran : str
        What exactly was computed, in a sentence.
    """

    mean: NDArray[np.float64]
    moran: NDArray[np.float64]
    of_mean: str
    of_moran: str


def field_statistics(field: GeneField) -> GeneStatistics:
    """Describe the genes of a field from one coarse level of its latent raster.

    Means are those of values before they are clipped at 0, and so is Moran's I: both follow from
    the latent alone, whatever the number of genes.

    Parameters
    ----------
    field : GeneField
    """
    decoder = field.decoder
    sides = [array.shape[:2] for array in field.latent]
    fits = (max(s) <= _SIDE and s[0] * s[1] * decoder.channels <= _VALUES for s in sides)
    level = next((n for n, fit in enumerate(fits) if fit), len(sides) - 1)
    latent = _whole(field, level)
    inside = np.asarray(np.isfinite(latent).all(axis=-1))
    known, links = latent[inside].astype(np.float64), raster_links(inside)
    mean = known.mean(axis=0) if len(known) else np.full(decoder.channels, np.nan)
    if decoder.weights is None:
        moran = morans_i(known, links)
    elif len(known):
        mean, moran = mean @ decoder.weights, morans_i_of_latent(known, decoder.weights, links)
    else:
        mean = moran = np.full(len(decoder.genes), np.nan)
    unit = "µm" if field.grid.unit == "micrometer" else "px"
    at = f"of the predicted tissue, at {field.grid.pitch_um * 2**level:g} {unit}, not clipped at 0"
    return GeneStatistics(
        mean + decoder.bias,
        moran,
        f"Mean {at} [{decoder.unit}]",
        f"Moran's I {at}, between pixels that share a side: 0 where values lie anyhow, towards 1 "
        "where like lies beside like",
    )


def spot_statistics(
    parts: Iterator[sp.csc_array[np.float32]], xy: NDArray[np.floating], what: str
) -> GeneStatistics:
    """Describe genes by their values at spots.

    Parameters
    ----------
    parts : iterator of sparse arrays, each (spots, some genes)
        In log1p CP10k, all genes in order.
    xy : ndarray, shape (spots, 2)
    what : str
        Whose values they are, such as "measured".
    """
    links = spot_links(xy)
    means: list[NDArray[np.float64]] = [np.zeros(0)]
    morans: list[NDArray[np.float64]] = [np.zeros(0)]
    for part in parts:
        means.append(np.asarray(part.sum(axis=0, dtype=np.float64)).ravel() / max(len(xy), 1))
        morans.append(morans_i(part, links))
    return GeneStatistics(
        np.concatenate(means),
        np.concatenate(morans),
        f"Mean over all spots, {what} [log1p CP10k]",
        f"Moran's I over all spots, {what}, between each and its {NEAREST} nearest: 0 where values "
        "lie anyhow, towards 1 where like lies beside like",
    )


def count_statistics(
    counts: sp.csc_array[np.float32],
    library: NDArray[np.float64],
    xy: NDArray[np.floating],
    job: Job,
) -> GeneStatistics:
    """Describe genes by what spots measured, in log1p CP10k.

    Parameters
    ----------
    counts : sparse array, shape (spots, genes)
        Raw.
    library : ndarray of float64, shape (spots,)
        Total count of each spot.
    xy : ndarray, shape (spots, 2)
    job : Job
        Stops between some genes and the next.
    """
    firsts = range(0, counts.shape[1], _GENES_AT_ONCE)
    with job.stage("Statistics of genes", len(firsts)) as stage:

        def parts() -> Iterator[sp.csc_array[np.float32]]:
            for first in firsts:
                some = sp.csr_array(counts[:, first : first + _GENES_AT_ONCE])
                yield sp.csc_array(log1p_cp10k(some, library))
                stage.advance()

        return spot_statistics(parts(), xy, "measured")


def _whole(field: GeneField, level: int) -> NDArray[np.float32]:
    """Read a level of the latent raster, tile by tile."""
    rows, columns = field.latent[level].shape[:2]
    size = tile_size(field.latent[0])
    latent = np.empty((rows, columns, field.decoder.channels), np.float32)
    for i in range(-(-rows // size)):
        for j in range(-(-columns // size)):
            tile = field.tile("latent", level, i, j)
            top, left = i * size, j * size
            latent[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return latent
