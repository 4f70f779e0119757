"""What is in each domain: how much of it there is, what is expressed there, what marks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.results.field import GeneField
from napari_stenhance.scoring.markers import marker_scores
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.spots import log1p_cp10k
from napari_stenhance.storage.tiles import tile_size, tiles_of

if TYPE_CHECKING:
    import anndata as ad

MARKERS = 5
SURE = 0.05


@dataclass(frozen=True)
class Domain:
    """One spatial domain.

    Attributes
    ----------
    value : int
        In the label image: 1, 2 …
    name : str
    colour : str
        `#RRGGBB`.
    hidden : bool
        Not shown, though it is there.
    """

    value: int
    name: str
    colour: str
    hidden: bool = False


@dataclass(frozen=True)
class Expression:
    """What is expressed in each domain.

    Attributes
    ----------
    genes : tuple of str
    symbols : tuple of str
        What people call them.
    mean : ndarray of float32, shape (domains, genes)
        log1p CP10k.
    score : ndarray of float32, shape (domains, genes)
        How much more a gene is expressed than elsewhere: Wilcoxon's z over spots; over
        superpixels, which are predictions and no measurements, the difference of means.
    padj : ndarray of float32, shape (domains, genes), or None
        Adjusted p of z.
    """

    genes: tuple[str, ...]
    symbols: tuple[str, ...]
    mean: NDArray[np.float32]
    score: NDArray[np.float32]
    padj: NDArray[np.float32] | None = None

    def markers(self, domain: int) -> tuple[str, ...]:
        """Return symbols of the genes that mark a domain most; those of z must be significant."""
        score = self.score[domain]
        first = np.argsort(-score, kind="stable")[:MARKERS]
        sure = score > 0 if self.padj is None else (score > 0) & (self.padj[domain] < SURE)
        return tuple(self.symbols[n] for n in first if sure[n])


SYMBOLS = ("gene_symbol", "gene_symbols", "gene_name", "symbol", "feature_name")
"""Columns of `var` that say what people call a gene, where ids are not that."""


def symbols_of(spots: ad.AnnData, genes: Sequence[str]) -> tuple[str, ...]:
    """Return what people call some genes of a table; the id where nothing says."""
    for column in SYMBOLS:
        if column in spots.var:
            named = spots.var[column].astype(object).loc[list(genes)]
            return tuple(
                str(name) if isinstance(name, str) and name else gene
                for gene, name in zip(genes, named, strict=True)
            )
    return tuple(genes)


def spots_expression(
    sections: Sequence[tuple[sp.csr_array[np.float32], NDArray[np.int64]]],
    genes: tuple[str, ...],
    symbols: tuple[str, ...],
    values: Sequence[int],
) -> Expression:
    """Compare the counts of spots in each domain with those of all others.

    Parameters
    ----------
    sections : sequence of tuple
        Counts (spots, genes) and the domain of each spot; spots in no domain are left out.
    genes, symbols : tuple of str
    values : sequence of int
        The domains.
    """
    index = np.full(256, -1)
    index[list(values)] = np.arange(len(values))
    parts = []
    total, size = np.zeros((len(values), len(genes))), np.zeros(len(values))
    for counts, labels in sections:
        group = index[labels]
        inside = counts if (group >= 0).all() else counts[group >= 0]
        group = group[group >= 0]
        expression = log1p_cp10k(inside, np.asarray(inside.sum(axis=1), np.float64).ravel())
        member = sp.csr_array(
            (np.ones(len(group)), (group, np.arange(len(group)))), (len(values), len(group))
        )
        total += np.asarray((member @ expression).todense())
        size += np.bincount(group, minlength=len(values))
        parts.append((sp.csc_array(expression), group))
    z, padj = marker_scores(parts, len(values))
    mean = (total / np.maximum(size, 1)[:, None]).astype(np.float32)
    return Expression(genes, symbols, mean, z, padj)


def field_expression(
    field: GeneField, level: int, labels: NDArray[np.uint8], values: Sequence[int]
) -> Expression:
    """Compare what a field predicts in each domain with what it predicts elsewhere.

    Decoding is linear, so the mean of latents decodes to the mean of genes, but for values below
    zero.
    """
    raster = field.latent[level]
    total, size = np.zeros((256, raster.shape[2])), np.zeros(256)
    for tile in tiles_of((raster.shape[0], raster.shape[1]), tile_size(raster)):
        latent = np.asarray(raster[tile.rows, tile.columns], np.float64)
        predicted = np.isfinite(latent[..., 0])
        of = labels[tile.rows, tile.columns][predicted]
        np.add.at(total, of, latent[predicted])
        size += np.bincount(of, minlength=256)
    chosen = list(values)
    inside, number = total[chosen], size[chosen][:, None]
    rest = (inside.sum(axis=0) - inside) / np.maximum(number.sum() - number, 1)
    every = np.arange(len(field.genes))
    mean = field.decoder.values((inside / np.maximum(number, 1)).astype(np.float32), every)
    elsewhere = field.decoder.values(rest.astype(np.float32), every)
    return Expression(field.genes, field.genes, mean, mean - elsewhere)


def domain_table(
    domains: Sequence[Domain],
    number: NDArray[np.int64],
    what: str,
    pixels: NDArray[np.int64],
    grid: Grid,
    expression: Expression,
) -> ad.AnnData:
    """Make the table of domains.

    Parameters
    ----------
    domains : sequence of Domain
    number : ndarray of int64
        Spots or superpixels, for each label.
    what : {"spots", "superpixels"}
    pixels : ndarray of int64
        Pixels of the label image, for each label.
    grid : Grid
        Of the label image.
    expression : Expression
        A row for each domain.

    Returns
    -------
    AnnData
        A row for each domain: `obs` says how much there is of it and what marks it, `X` is the
        mean expression, `layers["score"]` and `layers["padj"]` are all markers. Area is NaN where
        no scale is known.
    """
    import anndata as ad
    import pandas as pd

    values = [d.value for d in domains]
    mm2 = np.nan if grid.unit == "pixel" else (grid.pitch_um / 1000) ** 2
    obs = pd.DataFrame(
        {
            "domain": values,
            what: number[values],
            "area_mm2": pixels[values] * mm2,
            "markers": [", ".join(expression.markers(n)) for n in range(len(domains))],
            "colour": [d.colour for d in domains],
            "hidden": [d.hidden for d in domains],
        },
        index=pd.Index([d.name for d in domains]),
    )
    layers = {"score": expression.score}
    if expression.padj is not None:
        layers["padj"] = expression.padj
    return ad.AnnData(
        X=expression.mean,
        obs=obs,
        var=pd.DataFrame(
            {"symbol": list(expression.symbols)}, index=pd.Index(list(expression.genes))
        ),
        layers=layers,
    )
