"""Hide measured genes in folds, predict them from cells, and compare: how SINCA is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from napari_stenhance.errors import InputError
from napari_stenhance.methods.genes import ALL, HVG, is_number, named_genes, rule_of, variance
from napari_stenhance.methods.sinca.protocol import Fold, HiddenGenes, SpotCounts
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.imputation import (
    MEASURES,
    imputation_scores,
    published,
    rank_correlation_beyond,
    raster_of,
)
from napari_stenhance.section.cells import CellReference
from napari_stenhance.section.spots import log1p_cp10k
from napari_stenhance.tasks.scored_part import ScoredPart

BEYOND = "Spearman beyond library"


def gene_scores(
    spots: SpotCounts,
    cells: CellReference,
    methods: Sequence[HiddenGenes],
    folds: int,
    seed: int,
    job: Job,
) -> ScoredPart:
    """Hide each shared gene once, and score all predictions together.

    Measured and predicted are log1p of counts per 10,000, of the library without the hidden genes.

    Parameters
    ----------
    spots : SpotCounts
    cells : CellReference
    methods : sequence of callables
    folds : int
        Into which genes are dealt.
    seed : int
        Deals the genes, and is handed on.
    job : Job

    Returns
    -------
    ScoredPart
        Of each prediction: medians over all genes of `MEASURES` and of `BEYOND`, how many genes
        there are and how many of them do not vary, measured or predicted; then the published
        program's figures by what they are, means over folds. Of each gene, `MEASURES`, `BEYOND` and
        "mean", of what was measured.
    """
    number = len(spots.columns)
    if not 2 <= folds <= number:
        msg = f"Folds {folds}: spots and cells share {number} genes; write a number from 2 to it."
        raise InputError(msg, option="folds")
    raster = raster_of(spots.xy, spots.pitch)
    of_genes: dict[str, list[dict[str, NDArray[np.float64]]]] = {}
    of_folds: dict[str, list[dict[str, float]]] = {}
    names: list[str] = []
    dealt = KFold(folds, shuffle=True, random_state=seed).split(np.empty((number, 1)))
    with job.stage("Hiding genes", folds) as stage:
        for seen, hidden in dealt:
            fold = hide(spots, cells, np.asarray(seen), np.asarray(hidden))
            library = fold.spots.library
            measured = log1p_cp10k(fold.hidden.counts, library).toarray()
            for name, predicted in (
                pair for predict in methods for pair in predict(fold, seed, job).items()
            ):
                scores = imputation_scores(predicted, measured, raster)
                scores["mean"] = measured.mean(axis=0, dtype=np.float64)
                scores[BEYOND] = rank_correlation_beyond(predicted, measured, library)
                of_genes.setdefault(name, []).append(scores)
                of_folds.setdefault(name, []).append(published(predicted, measured))
            names += [cells.genes[column] for column in fold.hidden.columns]
            stage.advance()
    every = {
        what: pd.DataFrame(
            {name: np.concatenate([fold[name] for fold in genes]) for name in genes[0]}, index=names
        )
        for what, genes in of_genes.items()
    }
    return ScoredPart(
        {what: _summary(table, of_folds[what]) for what, table in every.items()},
        {what: table.drop(columns="constant") for what, table in every.items()},
    )


def _summary(genes: pd.DataFrame, folds: list[dict[str, float]]) -> dict[str, float]:
    """Put the folds together: medians over all genes, and means of the published figures."""
    return {
        **{measure: float(np.median(genes[measure])) for measure in (*MEASURES, BEYOND)},
        "constant": int(genes["constant"].sum()),
        "genes": len(genes),
        **{
            f"{figure} (published)": float(np.mean([fold[figure] for fold in folds]))
            for figure in folds[0]
        },
    }


def hide(
    spots: SpotCounts, cells: CellReference, seen: NDArray[np.int64], hidden: NDArray[np.int64]
) -> Fold:
    """Take genes away from spots, and from their libraries."""
    part = {
        kind: replace(
            spots, counts=sp.csr_array(spots.counts[:, genes]), columns=spots.columns[genes]
        )
        for kind, genes in (("seen", seen), ("hidden", hidden))
    }
    lost = np.asarray(part["hidden"].counts.sum(axis=1), np.float64).ravel()
    return Fold(replace(part["seen"], library=spots.library - lost), cells, part["hidden"])


def keep_genes(spots: SpotCounts, cells: CellReference, given: Sequence[str]) -> SpotCounts:
    """Keep shared genes: all, `hvg:N` (variance of log1p CP10k), or those named.

    The library stays that of all genes.

    Raises
    ------
    InputError
        If a named gene is not shared, or N is no number.
    """
    rule = rule_of(given or ALL)
    if rule == ALL:
        return spots
    if rule is not None:
        number = rule.removeprefix(HVG)
        if not is_number(number, least=2):
            msg = f"Genes {rule}: write all, {HVG}N for the N most variable (2 or more), or names."
            raise InputError(msg, option="genes")
        spread = variance([log1p_cp10k(spots.counts, spots.library)])
        kept = np.sort(np.argsort(-spread, kind="stable")[: int(number)])
    else:
        position = {cells.genes[column]: n for n, column in enumerate(spots.columns)}
        named = named_genes(given, tuple(position), "the genes that spots and cells share")
        kept = np.array([position[gene] for gene in named])
    return replace(spots, counts=sp.csr_array(spots.counts[:, kept]), columns=spots.columns[kept])
