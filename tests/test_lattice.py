"""The array that spots were printed on, and the lattices between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stenhance.errors import InputError
from napari_stenhance.section.lattice import SpotLattice, array_numbers
from napari_stenhance.section.section import open_section

# Published shifts of (column, row): the list called 4x, and what the list called 8x adds.
FOUR = [(0, 0), (1, 0), (0.5, 0.5), (-0.5, 0.5)]
EIGHT = [*FOUR, (0.5, -0.5), (-0.5, -0.5), (-1, 0), (0, 1)]


def shifted(numbers: NDArray[Any], shifts: list[tuple[float, float]]) -> set[tuple[float, ...]]:
    places = (numbers[:, None] + np.array(shifts)).reshape(-1, 2)
    return set(map(tuple, places.tolist()))


def visium(rows: int = 20, columns: int = 30, turn: float = 0.3, jitter: float = 0.0) -> ad.AnnData:
    """Spots of a round piece of tissue on a Visium array that was turned and flipped."""
    row, column = (n.ravel() for n in np.mgrid[:rows, :columns])
    near = np.hypot((row - rows / 2) / rows, (column - columns / 2) / columns) < 0.45
    there = near & ((row + column) % 2 == 0)
    row, column = row[there], column[there]
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    steps = np.array([[69.0, 0], [0, -120.0]]) @ turned
    xy = np.column_stack([column, row]) @ steps + [3000, 4000]
    xy += np.random.default_rng(0).normal(0, jitter, xy.shape)
    return ad.AnnData(
        X=sp.csr_matrix(np.ones((len(xy), 2), np.float32)),
        obs=pd.DataFrame(
            {"array_row": row, "array_col": column}, index=[f"s{n}" for n in range(len(xy))]
        ),
        obsm={"spatial": xy},
    )


def test_a_fit_finds_the_steps_whatever_the_turn_and_the_flip() -> None:
    lattice = SpotLattice.from_spots(visium(), "v")
    turned = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    np.testing.assert_allclose(lattice.steps, np.diag([69.0, -120.0]) @ turned, atol=1e-8)
    np.testing.assert_allclose(lattice.origin, [3000, 4000], atol=1e-6)


@pytest.mark.parametrize("s", [2, 3, 4])
def test_a_finer_lattice_has_equal_steps_and_nothing_twice(s: int) -> None:
    spots = visium(jitter=1.5)
    points = SpotLattice.from_spots(spots, "v").finer(s)
    n = spots.n_obs
    assert points.is_measured[:n].all()
    assert not points.is_measured[n:].any()
    # Measured places are exactly where they were measured.
    np.testing.assert_array_equal(points.xy[:n], spots.obsm["spatial"])
    assert s**2 <= len(points.xy) / n < s**2 + 1.2
    assert len(np.unique(points.array_xy.round(6), axis=0)) == len(points.xy)
    nearest = cKDTree(points.xy).query(points.xy, k=2)[0][:, 1]
    assert nearest.min() > 0.7 * 138 / s
    assert abs(np.median(nearest) - 138 / s) < 3
    # No point is farther from a spot than the middle between three.
    assert points.distance.max() < 138 / np.sqrt(3) + 8
    away = np.hypot(*(points.xy - spots.obsm["spatial"][points.nearest]).T)
    np.testing.assert_allclose(away, points.distance)


def test_the_published_shifts_are_covered() -> None:
    lattice = SpotLattice.from_spots(visium(), "v")
    four = shifted(lattice.numbers, FOUR)
    assert len(four) == 4 * len(lattice.numbers)
    assert four < set(map(tuple, lattice.finer(2).array_xy.tolist()))


def test_real_spots_lie_on_their_lattice(data: Path) -> None:
    spots = ad.read_h5ad(data / "dlpfc" / "dlpfc_151673_5000genes.h5ad")
    lattice = SpotLattice.from_spots(spots, "151673")
    assert 68.8 < np.hypot(*lattice.steps[0]) < 69.5
    assert 119.8 < np.hypot(*lattice.steps[1]) < 120.9
    n, eight = spots.n_obs, shifted(lattice.numbers, EIGHT)
    assert len(shifted(lattice.numbers, FOUR)) == 4 * n
    assert 4.07 * n < len(eight) < 4.13 * n
    ours = set(map(tuple, lattice.finer(2).array_xy.tolist()))
    # What is missing of it is no neighbour's middle: (0, +1) beyond the last row.
    assert ours < eight
    assert shifted(lattice.numbers, EIGHT[:-1]) == ours


def test_a_square_array_is_divided_along_rows_and_columns(data: Path) -> None:
    section = open_section(data / "her2st" / "C2")
    points = SpotLattice.from_spots(section.need_spots(), "C2").finer(2)
    fractions = {tuple(place) for place in (points.array_xy % 1).tolist()}
    assert fractions == {(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)}


def test_spots_without_an_array_have_no_lattice() -> None:
    spots = visium()
    without = spots.copy()
    without.obs = without.obs[[]]
    assert array_numbers(without) is None
    with pytest.raises(InputError, match="v: the spots do not say where they lie on their array"):
        SpotLattice.from_spots(without, "v")
    twice = spots.copy()
    twice.obs.iloc[1] = twice.obs.iloc[0]
    with pytest.raises(InputError, match="two spots have column"):
        SpotLattice.from_spots(twice, "v")
    mixed = spots.copy()
    mixed.obsm["spatial"] = np.random.default_rng(0).permutation(spots.obsm["spatial"])
    with pytest.raises(InputError, match="do not follow their numbers"):
        SpotLattice.from_spots(mixed, "v")


def test_places_of_legacy_spots_are_rounded_to_numbers() -> None:
    spots = visium()
    spots.obs = pd.DataFrame({"array_x": [2.9] * spots.n_obs, "array_y": 4.2}, spots.obs_names)
    np.testing.assert_array_equal(array_numbers(spots), np.tile([3.0, 4.0], (spots.n_obs, 1)))
