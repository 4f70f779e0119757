"""Labels of domains: how they are numbered, spread, marked by genes, and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

from bands import QUICK, banded, write_spots
from napari_stenhance.results.domains import number_domains
from napari_stenhance.results.label_map import nearest_labels
from napari_stenhance.scoring.markers import marker_scores
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.pyramid import majority_pool
from napari_stenhance.storage.tiles import Tile
from napari_stenhance.tasks.evaluate import evaluate
from napari_stenhance.tasks.evaluate_options import EvaluateOptions
from test_cli import run


def test_domains_are_numbered_by_size_whatever_they_were_called() -> None:
    labels = np.array([7, 7, 2, 2, 2, 5, 5])
    expected = [2, 2, 1, 1, 1, 3, 3]
    np.testing.assert_array_equal(number_domains([labels])[0], expected)
    renamed = np.array([1, 1, 3, 3, 3, 2, 2])
    np.testing.assert_array_equal(number_domains([renamed])[0], expected)


def test_a_pixel_takes_the_nearest_spot_within_reach() -> None:
    grid = Grid(1.0, (9, 9), 1.0)
    label = nearest_labels(np.array([[2.0, 2.0], [6.0, 2.0]]), np.array([1, 2]), grid, 2.5)
    raster = label(Tile((0, 0), slice(0, 9), slice(0, 9)))
    y, x = np.mgrid[:9, :9]
    # ids at pixel centres: grid pixel n is world n
    near = np.stack([np.hypot(x - 2, y - 2), np.hypot(x - 6, y - 2)])
    expected = np.where(near.min(axis=0) < 2.5, near.argmin(axis=0) + 1, 0)
    np.testing.assert_array_equal(raster, expected)


def test_coarse_labels_are_those_of_most_pixels() -> None:
    fine = np.array([[1, 1, 2, 0, 3], [1, 2, 2, 0, 3], [4, 5, 0, 0, 3]], np.uint8)
    np.testing.assert_array_equal(majority_pool(fine), [[1, 2, 3], [4, 0, 3]])


@pytest.mark.parametrize("zero_share", [0.0, 0.7, 1.0])
def test_markers_agree_with_scipy(zero_share: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.poisson(3, (60, 7)).astype(np.float32)
    values[rng.random(values.shape) < zero_share] = 0
    groups = rng.integers(0, 3, 60)
    z, p = marker_scores([(sp.csc_array(values), groups)], 3)
    for group in range(3):
        test = stats.mannwhitneyu(
            values[groups == group], values[groups != group], method="asymptotic",
            use_continuity=False, axis=0,
        )  # fmt: skip
        raw = np.nan_to_num(test.pvalue, nan=1.0)
        np.testing.assert_allclose(2 * stats.norm.sf(np.abs(z[group])), raw, rtol=1e-4)
        np.testing.assert_allclose(p[group], stats.false_discovery_control(raw), rtol=1e-4)


def test_what_differs_between_sections_marks_nothing() -> None:
    rng = np.random.default_rng(0)
    low, high = (rng.poisson(mean, (80, 1)).astype(np.float32) for mean in (1, 9))
    groups = (np.arange(80) < 20).astype(np.int64)
    sections = [(sp.csc_array(low), groups), (sp.csc_array(high), 1 - groups)]
    z, _ = marker_scores(sections, 2)
    assert abs(z).max() < 3
    pooled, _ = marker_scores(
        [(sp.csc_array(np.vstack([low, high])), np.concatenate([groups, 1 - groups]))], 2
    )
    assert abs(pooled).max() > 5


@pytest.mark.slow
def test_evaluate_says_how_well_the_truth_is_met(tmp_path: Path) -> None:
    spots = banded()
    spots.obs["band"] = spots.obs["band"].astype(object)
    spots.obs.iloc[:5, 0] = np.nan
    section = write_spots(tmp_path, spots)
    ran = run("evaluate", section, "--truth", "band", "--seeds", "0-1", *QUICK)
    assert "mean" in ran.stdout
    (score,) = evaluate(EvaluateOptions((section,), truth="band", runs=2, epochs=5, device="cpu"))
    assert score.n_domains == 4
    assert score.values["ARI"] > 0.6
    assert {"NMI", "AMI", "silhouette", "Davies-Bouldin"} < set(score.values)
    without = run("evaluate", section, "--n-domains", 3, *QUICK).stdout
    assert "ARI" not in without
    assert "silhouette" in without
    assert "no column" in run("evaluate", section, "--truth", "nope", code=2).stderr
    assert "--seeds" in run("evaluate", section, "--seeds", "x", code=2).stderr


def test_labels_of_a_pathologist_come_with_a_legacy_folder(data: Path) -> None:
    section = open_section(data / "her2st" / "C1")
    label = section.need_spots().obs["label"]
    assert label.notna().sum() > 100
    assert "invasive cancer" in set(label.cat.categories)
    table = pd.read_csv(data / "her2st" / "C1" / "labels.tsv", sep="\t")
    one = table[table["label"] == "invasive cancer"].dropna().iloc[0]
    spot = f"{round(one['x'])}x{round(one['y'])}"
    assert label[spot] == "invasive cancer"
