"""Measured genes that are hidden in folds: what is seen meanwhile, how it is scored, by command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import rankdata

import napari_stenhance as st
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.imputation import rank_correlation_beyond
from napari_stenhance.section.cells import CellReference
from napari_stenhance.section.section import Section
from napari_stenhance.section.spots import log1p_cp10k
from napari_stenhance.tasks.evaluate import evaluate
from napari_stenhance.tasks.evaluate_options import EvaluateOptions
from napari_stenhance.tasks.gene_folds import BEYOND, Fold, gene_scores, keep_genes
from napari_stenhance.tasks.gene_methods import baselines
from napari_stenhance.tasks.impute import see_shared
from test_cells import make_cells, make_spots, opened
from test_cli import run
from test_impute import write_pair


@pytest.fixture(scope="module")
def pair() -> tuple[Any, CellReference]:
    """Spots as an imputation sees them, and cells; the spots have genes that the cells lack."""
    cells = opened(make_cells()).cells
    spots = see_shared(Section(spots=make_spots(), name="s"), cells)
    return spots, cells


def measured(fold: Fold) -> np.ndarray:
    return log1p_cp10k(fold.hidden.counts, fold.spots.library).toarray()


def test_each_gene_is_hidden_once_from_counts_and_library(pair: tuple[Any, CellReference]) -> None:
    spots, cells = pair
    folds: list[Fold] = []

    def look(fold: Fold, seed: int, _job: Job) -> dict[str, np.ndarray]:
        assert seed == 7
        folds.append(fold)
        return {"truth": measured(fold), "nothing": np.zeros(fold.hidden.counts.shape)}

    found = gene_scores(spots, cells, [look], 4, 7, Job()).values
    hidden = np.concatenate([fold.hidden.columns for fold in folds])
    assert sorted(hidden) == sorted(spots.columns)
    for fold in folds:
        assert not set(fold.spots.columns) & set(fold.hidden.columns)
        seen = np.asarray(fold.spots.counts.sum(axis=1)).ravel()
        others = spots.library - np.asarray(spots.counts.sum(axis=1)).ravel()
        np.testing.assert_allclose(fold.spots.library, seen + others)
    assert found["truth"]["Spearman"] == found["truth"]["PCC"] == pytest.approx(1)
    assert found["truth"]["JS"] == found["truth"]["RMSE"] == pytest.approx(0, abs=1e-6)
    assert found["truth"]["SSIM"] == pytest.approx(1)
    assert found["truth"]["RMAE (published)"] == 0
    assert found["nothing"]["Spearman"] == 0
    assert found["nothing"]["constant"] == found["nothing"]["genes"] == len(spots.columns)


def test_other_seeds_deal_other_folds(pair: tuple[Any, CellReference]) -> None:
    def first(seed: int) -> np.ndarray:
        seen: list[np.ndarray] = []

        def look(fold: Fold, _seed: int, _job: Job) -> dict[str, np.ndarray]:
            seen.append(fold.hidden.columns)
            return {"truth": measured(fold)}

        gene_scores(*pair, [look], 3, seed, Job())
        return seen[0]

    np.testing.assert_array_equal(first(0), first(0))
    assert set(first(0)) != set(first(1))


def test_beyond_the_library_is_a_partial_correlation() -> None:
    rng = np.random.default_rng(0)
    library = rng.lognormal(size=50)
    truth = rng.normal(size=(50, 3))
    mixed = truth + 2 * rankdata(library)[:, None] / 50
    noisy = truth + 0.5 * rng.normal(size=truth.shape) + 3 * rankdata(library)[:, None] / 50
    design = np.column_stack([np.ones(50), rankdata(library)])

    def left(values: np.ndarray) -> np.ndarray:
        ranks = rankdata(values, axis=0)
        return ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]

    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(left(noisy).T, left(mixed).T, strict=True)]
    np.testing.assert_allclose(rank_correlation_beyond(noisy, mixed, library), expected)
    itself = np.repeat(library[:, None], 3, axis=1)
    np.testing.assert_array_equal(rank_correlation_beyond(itself, mixed, library), 0)


def test_the_library_says_nothing_beyond_itself(pair: tuple[Any, CellReference]) -> None:
    found = gene_scores(*pair, [baselines], 3, 0, Job()).values
    assert list(found) == ["library size", "reference mean", "nearest cells", "mapping"]
    assert found["library size"][BEYOND] == 0
    assert found["reference mean"]["Spearman"] == 0
    for learned in ("nearest cells", "mapping"):
        assert found[learned]["Spearman"] > 0.3 > abs(found["library size"]["Spearman"])


def test_genes_are_chosen_and_the_library_stays(pair: tuple[Any, CellReference]) -> None:
    spots, cells = pair
    assert keep_genes(spots, cells, "") is spots
    few = keep_genes(spots, cells, "hvg:7")
    spread = log1p_cp10k(spots.counts, spots.library).toarray().var(axis=0)
    best = np.sort(np.argsort(-spread, kind="stable")[:7])
    np.testing.assert_array_equal(few.columns, spots.columns[best])
    np.testing.assert_array_equal(few.library, spots.library)
    two = keep_genes(spots, cells, "G3,G1")
    assert [cells.genes[n] for n in two.columns] == ["G3", "G1"]
    expected = sp.csc_array(make_spots()[:, ["G3", "G1"]].X).toarray()
    np.testing.assert_array_equal(two.counts.toarray(), expected)
    for spec, said in (
        ("hvg:x", "hvg:N with a number of genes"),
        ("hvg:1", "2 or more"),
        ("heg:5", "or names"),
        ("G1,nope", "nope .1 of 2.: not among the genes that spots and cells share"),
    ):
        with pytest.raises(st.InputError, match=said):
            keep_genes(spots, cells, spec)


@pytest.mark.slow
def test_evaluate_compares_on_the_command_line(tmp_path: Path) -> None:
    spots, cells = write_pair(tmp_path)
    command = ("evaluate", spots, "--method", "sinca", "--reference", cells, "--device", "cpu")
    ran = run(*command, "--folds", 2, "--epochs", 3, "--seeds", "0-1", "--genes", "hvg:40")
    rows = {}
    for line in ran.stdout.splitlines():
        for name in ("sinca", "nearest cells", "library size"):
            if line.strip().startswith(f"{name} ") and " mean " in line:
                rows[name] = [float(n) for n in line.split(" mean ")[1].split()]
    # PCC and Spearman stand first.
    assert rows["sinca"][1] > max(0.4, rows["library size"][1] + 0.2)
    assert "60 of the 60 genes of the spots are among" in ran.stderr


@pytest.mark.parametrize("preset", ["reference", "first"])
def test_evaluate_shows_the_leak(preset: str, tmp_path: Path) -> None:
    spots, cells = write_pair(tmp_path)
    options = EvaluateOptions(
        (spots,), method="sinca", reference=cells, folds=2, preset=preset, epochs=2,
        genes="hvg:30", device="cpu",
    )  # fmt: skip
    scores = {score.what: score.values for score in evaluate(options)}
    ways = ("shown", "shown, attention", "hidden", "hidden, attention")
    assert list(scores)[:4] == [f"published, {way}" for way in ways]
    assert scores["published, hidden"]["genes"] == 30


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "learns from single cells; name their file (--reference)."),
        (("--truth", "x"), "Truth: an option of stamgc, not of sinca; leave it out (--truth)."),
        (("--crops", "100"), "Crops: an option of histosge, spamcaf, not of sinca"),
        (("--preset", "istar"), "there is no such pair; there are sinca: robust, reference, first"),
        (("--reference", "R", "--folds", "1"), "Folds 1"),
    ],
)
def test_what_cannot_be_is_said(more: tuple[Any, ...], said: str, tmp_path: Path) -> None:
    spots, cells = write_pair(tmp_path)
    given = [cells if word == "R" else word for word in more]
    ran = run("evaluate", spots, "--method", "sinca", "--device", "cpu", *given, code=2)
    assert said in ran.stderr
