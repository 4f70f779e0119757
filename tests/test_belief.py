"""Intervals and cuts: what they promise holds on data they were not made of."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stenhance.scoring.discoveries import averaged, find_cut
from napari_stenhance.scoring.intervals import SpotIntervals


def _counted(spots: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make predictions, and counts of a gene that is often not counted, as log1p."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.5, 4.0, spots)
    measured = np.log1p(rng.poisson(rate * rng.gamma(5, 1 / 5, spots)) * 3.0)
    return np.log1p(rate * 3.0)[:, None].astype("f4"), measured[:, None].astype("f4")


def test_intervals_cover_nine_in_ten_also_of_like_predictions() -> None:
    intervals = SpotIntervals.from_held_out(*_counted(2000, 1))
    predicted, measured = _counted(20_000, 2)
    low, high = intervals.of(predicted)
    inside = (low <= measured) & (measured <= high)
    assert (low >= 0).all()
    # Zeros weigh as a whole, so more than 0.9 are covered where most are zero.
    assert 0.87 < inside.mean() < 0.96
    quartile = np.searchsorted(np.quantile(predicted, [0.25, 0.5, 0.75]), predicted)
    assert [inside[quartile == n].mean() > 0.87 for n in range(4)] == [True] * 4
    assert (high - low)[quartile == 0].mean() < (high - low)[quartile == 3].mean()


def test_too_few_spots_have_no_end() -> None:
    low, high = SpotIntervals.from_held_out(*_counted(18, 1)).of(np.ones((3, 1), "f4"))
    assert (low == 0).all()
    assert np.isinf(high).all()


def test_what_is_not_predicted_has_no_interval() -> None:
    low, high = SpotIntervals.from_held_out(*_counted(100, 1)).of(np.full((2, 1), np.nan, "f4"))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_a_cut_marks_few_wrong_places_of_new_data() -> None:
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        known, new = rng.normal(size=(2, 400, 2))
        cut = find_cut(known[:, 0] + known[:, 1], known[:, 0], 0.0)
        marked = new.sum(axis=1) >= cut.at
        shares.append((marked & (new[:, 0] <= 0)).sum() / max(marked.sum(), 1))
    assert np.mean(shares) < 0.1
    # More often than promised a cut would be none at all.
    assert np.mean(np.array(shares) > 0.1) < 0.3


def test_a_prediction_that_says_nothing_has_no_cut() -> None:
    rng = np.random.default_rng(0)
    cut = find_cut(rng.random(500), rng.random(500), 0.5)
    assert not cut.found
    assert cut.marked == 0


def test_equal_predictions_are_marked_together() -> None:
    measured = np.r_[np.ones(50), np.zeros(50)]
    assert not find_cut(np.ones(100), measured, 0.5).found
    assert find_cut(np.ones(100), np.ones(100), 0.5).marked == 100


@pytest.mark.parametrize("scale", ["8 spots", "region"])
def test_spots_of_another_section_are_not_near(scale: str) -> None:
    xy = np.tile(np.stack(np.meshgrid(np.arange(3), np.arange(3)), -1).reshape(-1, 2) * 1.0, (2, 1))
    section = np.repeat([0, 1], 9)
    values = section.astype("f4")[:, None]
    np.testing.assert_array_equal(averaged(values, xy, section, scale), values)
