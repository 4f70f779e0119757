"""What surrounds the methods that see crops: lattices, hidden spots, options, results, commands."""

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

import napari_stenhance as st
from napari_stenhance.errors import InputError
from napari_stenhance.methods.genes import choose_genes, is_rule
from napari_stenhance.methods.hvg import seurat_v3_genes
from napari_stenhance.results.result import Result
from napari_stenhance.scoring.baselines import Interpolation
from napari_stenhance.scoring.recovery import recovered
from napari_stenhance.scoring.splits import random_part
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.lattice import SpotLattice, array_numbers
from napari_stenhance.storage.cache import Cache
from test_genes import sample_of

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


# Lattices


def test_a_fit_finds_the_steps_whatever_the_turn_and_the_flip() -> None:
    lattice = SpotLattice.of(visium(), "v")
    turned = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    np.testing.assert_allclose(lattice.steps, np.diag([69.0, -120.0]) @ turned, atol=1e-8)
    np.testing.assert_allclose(lattice.origin, [3000, 4000], atol=1e-6)


@pytest.mark.parametrize("s", [2, 3, 4])
def test_a_finer_lattice_has_equal_steps_and_nothing_twice(s: int) -> None:
    spots = visium(jitter=1.5)
    points = SpotLattice.of(spots, "v").finer(s)
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
    lattice = SpotLattice.of(visium(), "v")
    four = shifted(lattice.numbers, FOUR)
    assert len(four) == 4 * len(lattice.numbers)
    assert four < set(map(tuple, lattice.finer(2).array_xy.tolist()))


def test_real_spots_lie_on_their_lattice(data: Path) -> None:
    spots = ad.read_h5ad(data / "dlpfc" / "dlpfc_151673_5000genes.h5ad")
    lattice = SpotLattice.of(spots, "151673")
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
    section = st.open_section(data / "her2st" / "C2")
    points = SpotLattice.of(section.need_spots(), "C2").finer(2)
    fractions = {tuple(place) for place in (points.array_xy % 1).tolist()}
    assert fractions == {(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)}


def test_spots_without_an_array_have_no_lattice() -> None:
    spots = visium()
    without = spots.copy()
    without.obs = without.obs[[]]
    assert array_numbers(without) is None
    with pytest.raises(InputError, match="v: the spots do not say where they lie on their array"):
        SpotLattice.of(without, "v")
    twice = spots.copy()
    twice.obs.iloc[1] = twice.obs.iloc[0]
    with pytest.raises(InputError, match="two spots have column"):
        SpotLattice.of(twice, "v")
    mixed = spots.copy()
    mixed.obsm["spatial"] = np.random.default_rng(0).permutation(spots.obsm["spatial"])
    with pytest.raises(InputError, match="do not follow their numbers"):
        SpotLattice.of(mixed, "v")


def test_places_of_legacy_spots_are_rounded_to_numbers() -> None:
    spots = visium()
    spots.obs = pd.DataFrame({"array_x": [2.9] * spots.n_obs, "array_y": 4.2}, spots.obs_names)
    np.testing.assert_array_equal(array_numbers(spots), np.tile([3.0, 4.0], (spots.n_obs, 1)))


# Hidden spots


def test_hidden_spots_are_drawn_as_published() -> None:
    learned = np.flatnonzero(random_part(3460, 0.5, 1234))
    assert learned[:5].tolist() == [0, 1, 2, 4, 6]
    # Halves round to even.
    for number, half in ((3813, 1906), (2518, 1259), (2903, 1452), (3460, 1730)):
        assert random_part(number, 0.5, 0).sum() == half


def test_recovery_counts_constant_genes_as_zero_and_publishes_without_them() -> None:
    learned = np.array([True] * 3 + [False] * 4)
    measured = np.array([[1, 2, 3, 1, 2, 3, 4], [5, 1, 4, 1, 2, 3, 9], [0] * 7], np.float32).T
    predicted = measured.copy()
    predicted[3:, 0] = measured[3:, 0] + 1
    predicted[:, 1] = np.float32(0.1)
    found = recovered(predicted, measured, learned)
    # Of three genes one is right, one predicted and one measured without any variation.
    assert found["PCC"] == pytest.approx(1 / 3)
    assert found["constant"] == 2
    np.testing.assert_allclose(found["MSE"], (4 + ((predicted - measured)[3:, 1] ** 2).sum()) / 12)
    r = np.corrcoef(predicted[:, 0], measured[:, 0])[0, 1]
    assert found["PCC all"] == pytest.approx(r)
    assert found["MAE all"] == pytest.approx(np.abs(predicted - measured).mean())


def test_the_nearest_spot_is_one_neighbour() -> None:
    xy = np.array([[0.0, 0], [10, 0]])
    nearest = Interpolation(xy, np.array([[1.0], [3]]), 1)
    np.testing.assert_array_equal(nearest(np.array([[4.0, 0], [6, 0]])), [[1], [3]])


# Genes


def test_genes_as_seurat_ranks_them() -> None:
    rng = np.random.default_rng(0)
    mean = rng.uniform(0.2, 20, 60)
    counts = rng.poisson(mean, (120, 60))
    counts[:, [7, 31, 50]] *= rng.integers(0, 4, (120, 1))
    genes = tuple(f"G{n}" for n in range(60))
    one = sample_of(genes, counts)
    assert is_rule("seurat_v3:3")
    assert choose_genes("seurat_v3:3", [one]) == ("G7", "G31", "G50")
    expected = sorted(seurat_v3_genes(sp.csr_array(counts.astype(np.float32)), 20))
    assert choose_genes("seurat_v3:20", [one]) == tuple(f"G{n}" for n in expected)
    # Several samples: the mean of both; the second varies in others, and far more.
    more = rng.poisson(mean, (120, 60))
    more[:, [3, 4]] *= rng.integers(0, 9, (120, 1))
    both = choose_genes("seurat_v3:2", [one, sample_of(genes, more)])
    assert both == ("G3", "G4")
    with pytest.raises(InputError, match="write seurat_v3:N"):
        is_rule("seurat_v3:x")


# Results


def test_masks_of_several_grids_lie_beside_each_other(
    synthetic: st.Section, tmp_path: Path
) -> None:
    slide = synthetic.need_slide()
    grids = [Grid.over(slide, pitch) for pitch in (25.0, 8.0)]
    masks = [np.random.default_rng(0).random(grid.shape) < 0.5 for grid in grids]
    with Result.writing(tmp_path / "r", slide, Cache(tmp_path / "c")) as result:
        runs = [result.start_run("a", {"n": n}, {}, grid) for n, grid in enumerate(grids)]
        kinds = [{"n": 2, "tissue": "histosweep"}, {"n": 3, "tissue": "histosweep"}]
        for grid, mask in zip(grids, masks, strict=True):
            result.write_tissue(mask, grid)
        for kind, grid, mask in zip(kinds, grids, masks, strict=True):
            runs.append(result.start_run("a", kind, {}, grid))
            result.write_tissue(~mask, grid, "histosweep")
    opened = Result.open(tmp_path / "r")
    expected = [*masks, *(~mask for mask in masks)]
    for name, mask in zip(runs, expected, strict=True):
        np.testing.assert_array_equal(opened.tissue(name), mask)
    names = {name for name in opened.group if name.startswith("tissue")}
    assert names == {"tissue", "tissue-8um", "tissue-histosweep", "tissue-histosweep-8um"}
