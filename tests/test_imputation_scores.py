"""Scores of imputed genes: the true ones, and those that the published SINCA-Net reports."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from napari_stenhance.scoring.imputation import (
    MEASURES,
    ScoreRaster,
    divergence,
    imputation_scores,
    published,
    raster_of,
    similarity,
    z_score_error,
)


def table(spots: int = 60, genes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    measured = rng.poisson(2.0, (spots, genes)).astype(float)
    return measured + rng.normal(0, 1, measured.shape), measured


def test_published_jaccard() -> None:
    predicted, measured = np.array([[1.0, 0], [0, 3]]), np.array([[0.0, 0], [0, 2]])
    assert published(predicted, measured)["Jaccard"] == 0.5
    assert published(measured * 0, measured * 0)["Jaccard"] == 0, "an empty union"


def test_published_rmae_is_the_root_of_a_mean_absolute_error() -> None:
    _, measured = table()
    assert published(measured + 4, measured)["RMAE"] == pytest.approx(2)


def test_published_accuracy_is_a_rank_correlation() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    found = published(np.exp(x), x)
    assert found["Spearman"] == pytest.approx(1)
    assert found["PCC"] < 0.95


def test_published_similarity_is_of_the_order_of_the_file() -> None:
    predicted, measured = table()
    squares = np.zeros((2, 4, 64))
    squares[:, :, :60] = predicted.T, measured.T
    spread = max(np.ptp(predicted), np.ptp(measured))
    wanted = [
        structural_similarity(m.reshape(8, 8), p.reshape(8, 8), data_range=spread)
        for p, m in zip(*squares, strict=True)
    ]
    found = published(predicted, measured)["SSIM of file order"]
    assert found == pytest.approx(np.mean(wanted))
    assert published(predicted[:36], measured[:36])["SSIM of file order"] == 0
    assert published(predicted[:37], measured[:37])["SSIM of file order"] != 0
    zeros = np.zeros((60, 2))
    assert published(zeros, zeros)["SSIM of file order"] == 1, "a range of 1 where there is none"


def test_true_scores() -> None:
    predicted, measured = table()
    raster = raster_of(np.argwhere(np.ones((6, 10))).astype(float), 1.0)
    found = imputation_scores(predicted, measured, raster)
    assert set(found) == {*MEASURES, "constant"}
    for gene in range(4):
        p, m = predicted[:, gene], measured[:, gene]
        assert found["PCC"][gene] == pytest.approx(np.corrcoef(p, m)[0, 1])
        assert found["Spearman"][gene] == pytest.approx(spearmanr(p, m).statistic)
        distance = jensenshannon(p.clip(min=0), m, base=2)
        assert found["JS"][gene] == pytest.approx(distance**2)
        # Of z-scores: 2 − 2 r.
        assert found["RMSE"][gene] ** 2 == pytest.approx(2 - 2 * found["PCC"][gene])
    perfect = imputation_scores(measured, measured, raster)
    for name, value in {"PCC": 1, "Spearman": 1, "RMSE": 0, "JS": 0, "SSIM": 1}.items():
        np.testing.assert_allclose(perfect[name], value, atol=1e-9)


def test_genes_that_do_not_vary_count_as_nothing() -> None:
    predicted, measured = table()
    predicted[:, 0] = 0.1
    measured[:, 1] = 0
    raster = raster_of(np.argwhere(np.ones((6, 10))).astype(float), 1.0)
    found = imputation_scores(predicted, measured, raster)
    assert found["constant"].tolist() == [1, 1, 0, 0]
    assert found["PCC"][:2].tolist() == found["Spearman"][:2].tolist() == [0, 0]
    assert published(predicted, measured)["PCC"] == pytest.approx(found["PCC"].mean())
    np.testing.assert_allclose(z_score_error(predicted, measured)[:2], 1)
    assert all(np.isfinite(values).all() for values in found.values())


def test_divergence_reaches_from_0_to_1() -> None:
    apart = np.array([[1.0, 0, 5, 0], [0, 2, 5, 0]])
    other = np.array([[0.0, 0, 1, 0], [3, 0, 1, 0]])
    np.testing.assert_allclose(divergence(apart, other), [1, 1, 0, 0], atol=1e-12)


def test_raster_of_a_jittered_lattice_and_of_spots_that_share_a_place() -> None:
    rng = np.random.default_rng(0)
    row, column = (a.ravel() for a in np.indices((5, 7)))
    xy = np.column_stack([column, row]) * 200.0 + rng.normal(0, 15, (35, 2)) + 1234
    found = raster_of(xy, 200.0)
    assert found.shape == (5, 7)
    np.testing.assert_array_equal(found.row, row)
    np.testing.assert_array_equal(found.column, column)
    doubled = raster_of(np.vstack([xy, xy[:1]]), 200.0)
    assert (doubled.row[-1], doubled.column[-1]) == (0, 0)


def test_similarity_is_that_of_weighted_sums_over_the_spots() -> None:
    rng = np.random.default_rng(1)
    row, column = np.argwhere(rng.random((14, 17)) < 0.6).T
    p, m = rng.random((2, len(row), 1)) * 5
    apart = np.stack([row[:, None] - row, column[:, None] - column])
    weight = np.exp(-(apart**2).sum(axis=0) / (2 * 1.5**2)) * (np.abs(apart).max(axis=0) <= 5)
    weight /= weight.sum(axis=1, keepdims=True)
    x, y = p[:, 0] / p.max(), m[:, 0] / m.max()
    mean_x, mean_y = weight @ x, weight @ y
    spread = weight @ x**2 - mean_x**2 + weight @ y**2 - mean_y**2
    covariance = weight @ (x * y) - mean_x * mean_y
    ssim = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
    ssim /= (mean_x**2 + mean_y**2 + 1e-4) * (spread + 9e-4)
    found = similarity(p, m, ScoreRaster(row, column, (14, 17)))
    np.testing.assert_allclose(found, ssim.mean(), rtol=1e-9)


def test_similarity_by_hand_of_two_lone_places() -> None:
    """Too far apart to see each other: variances are 0, means the values themselves."""
    p, m = np.array([[1.0], [0.5]]), np.array([[2.0], [2.0]])
    found = similarity(p, m, ScoreRaster(np.array([0, 0]), np.array([0, 20]), (1, 21)))
    assert found[0] == pytest.approx((1 + (2 * 0.5 + 1e-4) / (1.25 + 1e-4)) / 2)


def test_nothing_outside_the_tissue_counts() -> None:
    predicted, measured = table(36)
    row, column = (a.ravel() for a in np.indices((6, 6)))
    near = similarity(predicted, measured, ScoreRaster(row, column, (6, 6)))
    far = similarity(predicted, measured, ScoreRaster(row + 20, column + 9, (60, 40)))
    np.testing.assert_allclose(near, far)
    twice = np.concatenate([np.arange(36), [3]])
    shared = ScoreRaster(row[twice], column[twice], (6, 6))
    np.testing.assert_allclose(near, similarity(predicted[twice], measured[twice], shared))
