"""SINCA-Net, preset `robust`: its parts worked out by hand, and sections whose truth is known."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import softmax
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn.functional import normalize

from napari_stenhance.errors import Cancelled, InputError
from napari_stenhance.methods.sinca import training
from napari_stenhance.methods.sinca.fitted import FittedRobust
from napari_stenhance.methods.sinca.network import Network, Parts, waves
from napari_stenhance.methods.sinca.protocol import Measured
from napari_stenhance.methods.sinca.raster import Raster, windows
from napari_stenhance.methods.sinca.registry import make_imputation
from napari_stenhance.methods.sinca.robust import Recipe, Robust
from napari_stenhance.methods.sinca.training import (
    Place,
    Schedule,
    Values,
    correlation,
    predict,
    see_all,
    train_member,
)
from napari_stenhance.methods.sinca.units import Attended, Units
from napari_stenhance.running.job import Event, Job, Progress
from napari_stenhance.scoring.cell_baselines import BASELINES, Both
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.cells import Cells

CPU = torch.device("cpu")
QUICK = Recipe(members=2, schedule=Schedule(epochs=2, steps=2))
ENOUGH = Recipe(members=2, schedule=Schedule(epochs=5, steps=3))
LATTICES = ("square", "hexagonal", "irregular")


def lattice(kind: str, side: int, seed: int = 0) -> np.ndarray:
    row, column = (a.ravel().astype(float) for a in np.indices((side, side)))
    if kind == "hexagonal":
        return np.column_stack([column + row % 2 / 2, row * np.sqrt(3) / 2])
    if kind == "irregular":
        return np.random.default_rng(seed).random((side * side, 2)) * side
    return np.column_stack([column, row])


@dataclass(frozen=True)
class World:
    """A section of which all is known: shares of genes, and what the spots are made of."""

    spots: Measured
    cells: Cells
    truth: np.ndarray
    mixture: np.ndarray

    @property
    def unmeasured(self) -> np.ndarray:
        """Genes that the cells alone have: the last ones."""
        return np.arange(self.spots.counts.shape[1], len(self.cells.genes))


def world(
    kind: str = "square",
    side: int = 14,
    shared: int = 60,
    only: int = 16,
    *,
    capture: float = 0.7,
    other: float = 0.0,
    seed: int = 0,
) -> World:
    """Mix spots of four types by place; count them, and cells, by assays that capture unequally.

    Genes are markers of the types in turn. `capture` is the spread of the logarithm of each
    gene's capture efficiency in each assay; `other` transcripts come, for each that is of a gene
    of the cells, from genes that they lack.
    """
    rng = np.random.default_rng(seed)
    types, genes = 4, shared + only
    xy = lattice(kind, side, seed)
    centre = rng.random((types, 2)) * side
    near = np.exp(-((xy[:, None] - centre) ** 2).sum(axis=2) / (0.25 * side) ** 2)
    mixture = near / near.sum(axis=1, keepdims=True)
    marker = np.arange(genes) % types == np.arange(types)[:, None]
    profile = rng.gamma(2, 0.5, genes) * np.where(marker, 6.0, 1.0)
    profile /= profile.sum(axis=1, keepdims=True)
    of_spots, of_cells = profile * rng.lognormal(0, capture, (2, 1, genes))
    truth = mixture @ of_spots
    truth /= truth.sum(axis=1, keepdims=True)
    depth = rng.lognormal(np.log(600), 0.5, (len(xy), 1))
    counts = rng.poisson(depth * truth)
    library = counts.sum(axis=1) + rng.poisson(other * depth[:, 0])
    group = rng.integers(0, types, 160)
    share = (of_cells / of_cells.sum(axis=1, keepdims=True))[group]
    of_each = rng.poisson(rng.lognormal(np.log(400), 0.4, (160, 1)) * share)
    return World(
        Measured(
            name="spots",
            xy=xy * 100,
            pitch=100.0,
            counts=sp.csr_array(counts[:, :shared].astype(np.float32)),
            library=library.astype(np.float64),
            columns=np.arange(shared),
        ),
        Cells(
            name="cells",
            genes=tuple(f"G{n}" for n in range(genes)),
            counts=sp.csr_array(of_each.astype(np.float32)),
            groups=("A", "B", "C", "D"),
            group=group,
        ),
        truth / (1 + other),
        mixture,
    )


def fit(
    w: World, recipe: Recipe = QUICK, seed: int = 0, attended: Attended = "cells"
) -> FittedRobust:
    return Robust(seed, CPU, attended, recipe).fit(w.spots, w.cells, Job())


def with_counts(w: World, counts: np.ndarray) -> World:
    return replace(w, spots=replace(w.spots, counts=sp.csr_array(counts.astype(np.float32))))


def logs(counts: np.ndarray, library: np.ndarray) -> np.ndarray:
    return np.log1p(counts * 1e4 / np.maximum(library, 1)[:, None])


def weights(network: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def at_random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture(scope="module")
def learned() -> tuple[World, FittedRobust]:
    """A world, and what is learned of it in few epochs."""
    w = world()
    return w, fit(w, ENOUGH)


# Units


def few_cells(group: list[int] | None = None) -> Cells:
    counts = sp.csr_array(np.array([[1, 0, 3], [0, 2, 2], [4, 4, 0], [1, 1, 1]], np.float32))
    given = np.array(group) if group else None
    return Cells("few", ("a", "b", "c"), counts, ("p", "q", "r") if group else (), given)


def units(cells: Cells, attended: Attended = "cells", most: int = 9, seed: int = 0) -> Units:
    return Units.of(cells, np.arange(len(cells.genes)), attended, most, seed, Job())


@pytest.mark.parametrize("most", [4, 9])
def test_few_cells_are_units_themselves(most: int) -> None:
    found = units(few_cells([2, 0, 1, 0]), most=most)
    np.testing.assert_array_equal(found.counts.toarray(), few_cells().counts.toarray())
    np.testing.assert_array_equal(found.library, [4, 4, 8, 3])
    np.testing.assert_array_equal(found.composition, [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]])
    assert found.groups == ("p", "q", "r")
    assert units(few_cells()).composition.shape == (4, 0)


def test_values_of_units_by_hand() -> None:
    found = units(few_cells())
    columns = np.array([2, 0])
    np.testing.assert_allclose(
        found.log1p_cp10k(columns),
        np.log1p(1e4 * np.array([[3 / 4, 1 / 4], [1 / 2, 0], [0, 1 / 2], [1 / 3, 1 / 3]])),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        found.share(columns), [[3 / 4, 1 / 4], [1 / 2, 0], [0, 1 / 2], [1 / 3, 1 / 3]], rtol=1e-6
    )


def test_of_many_cells_alike_ones_are_put_together() -> None:
    cells = world().cells
    found = units(cells, most=20)
    assert 5 < found.counts.shape[0] <= 20
    np.testing.assert_array_equal(found.counts.sum(axis=0), cells.counts.sum(axis=0))
    np.testing.assert_allclose(found.library, found.counts.sum(axis=1))
    np.testing.assert_allclose(found.composition.sum(axis=1), 1, rtol=1e-6)
    assert found.composition.max(axis=1).mean() > 0.9, "of one type, nearly all"
    again, other = units(cells, most=20), units(cells, most=20, seed=1)
    np.testing.assert_array_equal(found.counts.toarray(), again.counts.toarray())
    assert not np.array_equal(np.sort(found.library), np.sort(other.library))


def test_genes_that_only_cells_have_tell_none_apart() -> None:
    cells = world().cells
    columns = np.arange(60)
    shuffled = cells.counts.toarray()
    # Within cells, so that totals stay.
    shuffled[:, 60:] = np.random.default_rng(0).permuted(shuffled[:, 60:], axis=1)
    other = replace(cells, counts=sp.csr_array(shuffled))
    one, two = (Units.of(each, columns, "cells", 20, 0, Job()) for each in (cells, other))
    np.testing.assert_array_equal(one.composition, two.composition)
    assert not np.array_equal(one.counts.toarray(), two.counts.toarray())


def test_centroids_of_clusters() -> None:
    found = units(few_cells([0, 1, 0, 2]), "centroids")
    np.testing.assert_array_equal(found.counts.toarray(), [[5, 4, 3], [0, 2, 2], [1, 1, 1]])
    np.testing.assert_array_equal(found.composition, np.eye(3))


def test_cells_without_a_cluster_belong_to_no_centroid() -> None:
    found = units(few_cells([0, -1, 0, 2]), "centroids")
    np.testing.assert_array_equal(found.counts.toarray(), [[5, 4, 3], [1, 1, 1]])
    np.testing.assert_array_equal(found.composition, [[1, 0, 0], [0, 0, 1]])
    alone = units(few_cells([0, -1, 0, 2]))
    np.testing.assert_array_equal(alone.library, [4, 4, 8, 3])
    np.testing.assert_array_equal(alone.composition.sum(axis=1), [1, 0, 1, 1])


def test_centroids_need_clusters() -> None:
    with pytest.raises(InputError, match="few: the cells have no clusters to take centroids of"):
        units(few_cells(), "centroids")
    w = world(side=5)
    with pytest.raises(InputError, match="name a column of obs with --cluster-key"):
        fit(replace(w, cells=few_cells()), attended="centroids")


# The raster


@pytest.mark.parametrize("pitch", [1.0, 0.137, 200.0])
def test_a_square_lattice_fills_its_raster(pitch: float) -> None:
    xy = lattice("square", 13)[: 13 * 9]
    raster = Raster.of(xy * pitch, CPU)
    assert raster.shape == (9, 13)
    np.testing.assert_array_equal(raster.place, np.arange(13 * 9))
    assert (raster.occupied == 1).all()


@pytest.mark.parametrize("side", [6, 20, 75])
def test_hardly_any_spots_of_a_hexagonal_lattice_share_a_place(side: int) -> None:
    raster = Raster.of(lattice("hexagonal", side) * 100, CPU)
    assert 1 - len(raster.place.unique()) / len(raster.place) <= 0.01
    assert raster.occupied.mean() > 0.8, "few gaps"


def test_cells_that_lie_anyhow_share_the_mean() -> None:
    xy = lattice("irregular", 15)
    raster = Raster.of(xy, CPU)
    values = at_random(len(xy), 3)
    found = raster.scatter(values)
    rows, columns = raster.shape
    sums: dict[tuple[int, int], list[np.ndarray]] = {}
    for n, place in enumerate(raster.place.tolist()):
        sums.setdefault(divmod(place, columns), []).append(values[n].numpy())
    assert max(map(len, sums.values())) > 1
    wanted = np.zeros((3, rows, columns), np.float32)
    for (row, column), several in sums.items():
        wanted[:, row, column] = np.mean(several, axis=0)
    np.testing.assert_allclose(found[0], wanted, atol=1e-6)
    occupied = [[(row, column) in sums for column in range(columns)] for row in range(rows)]
    np.testing.assert_array_equal(raster.occupied[0, 0], occupied)
    places = [divmod(place, columns) for place in raster.place.tolist()]
    np.testing.assert_allclose(
        raster.gather(found), [wanted[:, row, column] for row, column in places], atol=1e-6
    )


def test_near_spots_are_near_on_the_raster() -> None:
    xy = lattice("irregular", 15)
    raster = Raster.of(xy, CPU)
    row, column = np.divmod(raster.place.numpy(), raster.shape[1])
    for found, along in ((column, xy[:, 0]), (row, xy[:, 1])):
        assert np.corrcoef(found, along)[0, 1] > 0.99


@pytest.mark.parametrize("kind", LATTICES)
def test_a_turned_section_has_a_turned_raster(kind: str) -> None:
    xy = lattice(kind, 14)
    xy = xy[xy[:, 1] < 9]
    shape = Raster.of(xy, CPU).shape
    assert shape[0] != shape[1]
    for turned in (xy[:, ::-1], np.column_stack([-xy[:, 1], xy[:, 0]])):
        assert Raster.of(turned, CPU).shape == shape[::-1]
    assert Raster.of(-xy, CPU).shape == shape


@pytest.mark.parametrize("kind", LATTICES)
def test_unit_and_origin_of_positions_mean_nothing(kind: str) -> None:
    xy = lattice(kind, 14)
    moved = xy * 137.03 + [-5120.7, 88.8]
    one, two = (Raster.of(each, CPU) for each in (xy, moved))
    assert one.shape == two.shape
    assert torch.equal(one.place, two.place)
    np.testing.assert_allclose(waves(moved), waves(xy), atol=1e-5)


def test_waves_by_hand() -> None:
    xy = np.array([[10.0, 5], [30, 5], [20, 10]])
    unit = np.array([[-1, -0.25], [1, -0.25], [0, 0.25]])
    angle = np.concatenate([unit * np.pi / 2, unit * np.pi, unit * 2 * np.pi], axis=1)
    np.testing.assert_allclose(
        waves(xy), np.concatenate([np.sin(angle), np.cos(angle)], axis=1), atol=1e-6
    )
    assert np.isfinite(waves(np.full((4, 2), 7.0))).all()


def test_spots_of_one_position_do_not_shrink_the_pitch() -> None:
    xy = lattice("square", 8)
    many = Raster.of(np.repeat(xy, 6, axis=0), CPU)
    assert many.shape[0] == many.shape[1] <= 11
    assert len(many.place.unique()) == 64
    assert Raster.of(np.full((5, 2), 7.0), CPU).shape == (1, 1)


@pytest.mark.parametrize(("spots", "most"), [(1, 8), (8, 8), (9, 8), (397, 32), (400, 50)])
def test_each_spot_is_in_one_window(spots: int, most: int) -> None:
    found = windows(np.random.default_rng(0).random((spots, 2)), most)
    assert found.shape[1] <= most
    listed = np.sort(found.ravel())
    np.testing.assert_array_equal(listed[listed >= 0], np.arange(spots))
    assert set(listed[listed < 0]) <= {-1}
    assert (found >= 0).sum(axis=1).min() >= min(spots, most) // 2


def test_windows_hold_near_spots() -> None:
    xy = lattice("square", 20)
    extent = [np.ptp(xy[w[w >= 0]], axis=0).max() for w in windows(xy, 32)]
    assert len(extent) == 16
    assert max(extent) <= 5, "of squares of five"
    long = np.column_stack([np.zeros(64), np.arange(64.0)])
    np.testing.assert_array_equal(windows(long, 16), np.arange(64).reshape(4, 16))


# The network


def place_of(xy: np.ndarray, most: int = 512) -> Place:
    return Place(torch.tensor(waves(xy)), Raster.of(xy, CPU), torch.tensor(windows(xy, most)))


def network_of(genes: int, *, begun: bool = True, **parts: Any) -> Network:
    """Make a network as it begins, or one in which all parts do something."""
    axes = torch.linalg.qr(at_random(genes, 8))[0]
    torch.manual_seed(0)
    network = Network(axes, Parts(width=8, heads=2, **parts)).eval()
    if not begun:
        with torch.no_grad():
            for number, parameter in enumerate(network.parameters()):
                parameter += 0.3 * at_random(number + 1, *parameter.shape)[0]
    return network


def run(network: Network, spots: Tensor, cells: Tensor, seen: Tensor, place: Place) -> Tensor:
    """Return what the spots attend to, (spots, cells)."""
    with torch.inference_mode():
        found, keys = network(spots, cells, seen, place.waves, place.raster, place.windows)
        return network.attention(found, keys)


def test_a_network_begins_as_the_projection() -> None:
    xy = lattice("irregular", 5)
    spots, cells = at_random(25, 12), at_random(30, 12)
    network = network_of(12, sharpness=5.0)
    found = run(network, spots, cells, torch.ones(12), place_of(xy, 8))
    axes = torch.linalg.qr(at_random(12, 8))[0].numpy()
    a, b = spots.numpy() @ axes, cells.numpy() @ axes
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    np.testing.assert_allclose(found, softmax(5 * a @ b.T, axis=1), rtol=1e-4)
    changed = run(network_of(12, begun=False), spots, cells, torch.ones(12), place_of(xy, 8))
    np.testing.assert_allclose(changed.sum(dim=1), 1, rtol=1e-5)
    assert (changed - found).abs().max() > 0.05


def test_hidden_genes_have_no_influence() -> None:
    place = place_of(lattice("irregular", 5))
    network = network_of(12, begun=False)
    spots, cells, seen = at_random(25, 12), at_random(30, 12), torch.ones(12)
    seen[[2, 7]] = 0
    before = run(network, spots, cells, seen, place)
    for table in (spots, cells):
        wild = table.clone()
        wild[:, [2, 7]] = 100 * at_random(len(table), 2)
        given = (wild, cells) if table is spots else (spots, wild)
        assert torch.equal(run(network, *given, seen, place), before)
        assert not torch.equal(run(network, *given, torch.ones(12), place), before)


@pytest.mark.parametrize("most", [64, 8])
def test_the_order_of_spots_means_nothing(most: int) -> None:
    xy = lattice("irregular", 6)
    spots, cells = at_random(36, 12), at_random(30, 12)
    network = network_of(12, begun=False)
    order = np.random.default_rng(0).permutation(36)
    one = run(network, spots, cells, torch.ones(12), place_of(xy, most))
    two = run(network, spots[order], cells, torch.ones(12), place_of(xy[order], most))
    np.testing.assert_allclose(two, one[order], atol=1e-5)
    assert (two - one).abs().max() > 0.05


def changed_by_the_middle(place: Place, **parts: Any) -> np.ndarray:
    """Tell which of 7 × 7 spots change with the one in the middle."""
    network = network_of(12, begun=False, **parts)
    spots, cells = at_random(49, 12), at_random(30, 12)
    before = run(network, spots, cells, torch.ones(12), place)
    spots[24] += 3
    after = run(network, spots, cells, torch.ones(12), place)
    return ((after - before).abs().amax(dim=1) > 1e-5).reshape(7, 7).numpy()


def test_how_far_a_spot_reaches() -> None:
    xy = lattice("square", 7)
    apart = replace(place_of(xy), windows=torch.arange(49)[:, None])
    row, column = np.abs(np.indices((7, 7)) - 3)
    near = np.maximum(row, column)
    for reference in (True, False):
        found = changed_by_the_middle(apart, reference=reference)
        np.testing.assert_array_equal(found, near <= 2, "two convolutions")
    np.testing.assert_array_equal(changed_by_the_middle(apart, convolution=False), near == 0)
    halves = replace(apart, windows=torch.arange(49).reshape(7, 7))
    np.testing.assert_array_equal(changed_by_the_middle(halves, convolution=False), row == 0)


def test_nothing_passes_through_a_gap() -> None:
    gap = Raster(torch.tensor([0, 2]), torch.tensor([1.0, 0, 1]), (1, 3))
    place = Place(torch.zeros(2, 12), gap, torch.tensor([[0], [1]]))
    network = network_of(12, begun=False)
    spots, cells = at_random(2, 12), at_random(30, 12)
    before = run(network, spots, cells, torch.ones(12), place)
    spots[0] += 3
    after = run(network, spots, cells, torch.ones(12), place)
    assert torch.equal(after[1], before[1])
    assert not torch.equal(after[0], before[0])


def test_each_part_does_something() -> None:
    place = place_of(lattice("irregular", 5))
    spots, cells = at_random(25, 12), at_random(30, 12)

    def found(place: Place, **parts: Any) -> Tensor:
        return run(network_of(12, begun=False, **parts), spots, cells, torch.ones(12), place)

    whole = found(place)
    nowhere = replace(place, waves=torch.zeros(25, 12))
    alone = replace(place, windows=torch.arange(25)[:, None])
    for other in (nowhere, alone):
        assert (found(other) - whole).abs().max() > 0.01
    for without in ({"convolution": False}, {"reference": False}, {"sharpness": 2.0}):
        assert (found(place, **without) - whole).abs().max() > 0.01


# Training


def test_correlation_is_pearson_and_0_where_nothing_varies() -> None:
    a, b = at_random(20, 3), at_random(20, 3) + at_random(20, 4)[:, :3]
    b[:, 2] = 4
    wanted = [np.corrcoef(a[:, n], b[:, n])[0, 1] for n in range(2)]
    np.testing.assert_allclose(correlation(a, b), [*wanted, 0], atol=1e-5)


def test_predictions_are_means_of_what_is_attended_to() -> None:
    network = network_of(12)
    spots, keys, source = at_random(5, 8), at_random(6, 8), at_random(6, 3)
    cosine = normalize(spots, dim=1) @ normalize(keys, dim=1).T
    wanted = softmax(7 * cosine.numpy(), axis=1) @ source.numpy()
    with torch.inference_mode():
        found = predict(network, spots, keys, source)
        some = predict(network, spots, keys, source, torch.tensor([3, 1]))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(some, wanted[[3, 1]], rtol=1e-4, atol=1e-5)


@dataclass(frozen=True)
class Lesson:
    """What `train_member` is given; markers of two types that lie left and right."""

    learned: Values
    held_out: Values
    place: Place
    counted: Tensor

    @classmethod
    def of(cls) -> Lesson:
        xy = lattice("square", 8)
        left = torch.tensor(xy[:, :1] < 4).float()
        signs = torch.tensor([1.0, -1] * 8)
        kind = torch.tensor([1.0, 0] * 15)[:, None]
        target = (left - 0.5) * signs + 0.5 * at_random(64, 16)
        source = (kind - 0.5) * signs + 0.5 * at_random(30, 16)
        values = Values(target, source, target, source)
        genes = np.arange(16)
        counted = torch.arange(3, 64)
        return cls(values.only(genes[:12]), values.only(genes[12:]), place_of(xy), counted)

    def train(
        self, schedule: Schedule, held_out: Values | None = None, seed: int = 0
    ) -> tuple[Network, list[Network], list[Progress]]:
        """Return the network that is kept, those before and after each epoch, and progress."""
        network = network_of(12)
        states, seen = [network_of(12)], list[Progress]()

        def listen(event: Event) -> None:
            assert isinstance(event, Progress)
            if seen and event.done == seen[-1].done + 1:
                states.append(network_of(12))
                states[-1].load_state_dict(network.state_dict())
            seen.append(event)

        torch.manual_seed(seed)
        held_out = self.held_out if held_out is None else held_out
        rng = np.random.default_rng(seed)
        with Job(listen).stage("Training", schedule.epochs) as stage:
            train_member(
                network, self.learned, held_out, self.counted, self.place, schedule, rng, stage
            )
        return network, states, seen

    def agreement(self, network: Network, held_out: Values) -> float:
        spots, keys = see_all(network, self.learned, self.place)
        with torch.inference_mode():
            found = predict(network, spots, keys, held_out.source)[3:].numpy()
        return float(pearson(found, held_out.target[3:].numpy()).mean())


def test_held_out_genes_choose_the_epoch_and_nothing_else() -> None:
    lesson = Lesson.of()
    # So fast that it does not converge.
    schedule = Schedule(epochs=5, steps=3, learning_rate=0.05)
    one, states, _ = lesson.train(schedule)
    other = replace(lesson.held_out, target=at_random(64, 4))
    two, others, _ = lesson.train(schedule, other)
    assert len(states) == len(others) == 6
    for before, after in zip(states, others, strict=True):
        assert torch.equal(weights(before), weights(after))
    best = []
    for kept, held_out in ((one, lesson.held_out), (two, other)):
        best.append(int(np.argmax([lesson.agreement(state, held_out) for state in states])))
        assert torch.equal(weights(kept), weights(states[best[-1]]))
        assert not kept.training
    assert best[0] != best[1]


def test_training_stops_when_it_gets_no_better() -> None:
    lesson = Lesson.of()
    constant = replace(lesson.held_out, target=torch.ones(64, 4))
    network, _, seen = lesson.train(Schedule(epochs=20, steps=2, patience=3), constant)
    steps = sum(one.done == two.done for one, two in pairwise(seen))
    assert steps == 3 * 2
    assert seen[-1].done == 20, "all are accounted for"
    assert torch.equal(weights(network), weights(network_of(12)))


def test_a_step_is_asked_for_genes_that_it_does_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    lesson = Lesson.of()
    numbered = lesson.learned.source * 0 + torch.arange(12.0)
    lesson = replace(lesson, learned=replace(lesson.learned, source=numbered))
    seen: list[Tensor] = []
    asked, rows_of = [], []
    forward = Network.forward

    def look(network: Network, *given: Any) -> Any:
        seen.append(given[2])
        return forward(network, *given)

    def ask(network: Network, spots: Tensor, keys: Tensor, source: Tensor, rows: Tensor) -> Tensor:
        if network.training:
            asked.append((seen[-1], source[0].long()))
            rows_of.append(rows)
        return predict(network, spots, keys, source, rows)

    monkeypatch.setattr(Network, "forward", look)
    monkeypatch.setattr(training, "predict", ask)
    lesson.train(Schedule(epochs=6, steps=4, patience=9, seen=(0.2, 0.9), spots=40, genes=5))
    assert len(asked) == 24
    for shown, genes in asked:
        assert (shown[genes] == 0).all()
        assert len(genes) == min(5, int((shown == 0).sum()))
        assert shown.sum() > 0
    assert len({len(genes) for _, genes in asked}) > 1
    assert {len(rows) for rows in rows_of} == {40}
    assert torch.cat(rows_of).min() == 3, "spots nearly without counts are not compared with"


# Robust


def swapped(w: World, one: int, two: int) -> World:
    """Swap the counts of two genes, spot by spot; totals stay."""
    counts = w.spots.counts.toarray()
    counts[:, [one, two]] = counts[:, [two, one]]
    return with_counts(w, counts)


def folds(seed: int, genes: int, members: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(genes) % members


def test_a_member_never_sees_its_fold() -> None:
    w = world(side=8)
    recipe = replace(QUICK, schedule=Schedule(epochs=1, steps=3))
    one, two = np.flatnonzero(folds(0, 60, 2) == 0)[[1, 2]]
    before, after = fit(w, recipe), fit(swapped(w, one, two), recipe)
    for a, b, same in zip(before.members, after.members, (True, False), strict=True):
        assert a.network.position.weight.abs().max() > 0, "what was learned is kept"
        assert torch.equal(weights(a.network), weights(b.network)) == same
        assert torch.equal(a.spots, b.spots) == same
    assert before.held_out_r[one] != after.held_out_r[one]


def test_a_seed_gives_the_same_bits() -> None:
    w = world(side=6)
    genes = np.arange(76)
    one, two, other = (fit(w, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.impute(genes).share, two.impute(genes).share)
    np.testing.assert_array_equal(one.impute(genes).spread, two.impute(genes).spread)
    np.testing.assert_array_equal(one.held_out_r, two.held_out_r)
    np.testing.assert_array_equal(one.composition(), two.composition())
    assert not np.array_equal(one.impute(genes).share, other.impute(genes).share)


def test_untrained_members_by_hand() -> None:
    """Folds, standardised genes, principal axes, attention, and what is made of it."""
    w = world(side=7, other=0.5)
    found = fit(w, Recipe(members=3, clip=2.0, schedule=Schedule(epochs=0)))
    counts, library = w.spots.counts.toarray(), w.spots.library
    cells = w.cells.counts.toarray()
    standard = []
    for seen in (counts, cells[:, :60]):
        log = logs(seen, seen.sum(axis=1))
        standard.append(np.clip((log - log.mean(axis=0)) / log.std(axis=0), -2, 2))
    assert (np.abs(standard[0]) == 2).any()
    fold = folds(0, 60, 3)
    attention = []
    for number in range(3):
        a, b = (part[:, fold != number] for part in standard)
        axes = PCA(39, svd_solver="full").fit(np.concatenate([a, b])).components_.T
        a, b = (x @ axes / np.linalg.norm(x @ axes, axis=1, keepdims=True) for x in (a, b))
        attention.append(softmax(7 * a @ b.T, axis=1))
    source = logs(cells, cells.sum(axis=1))
    predicted = np.stack([weight @ source for weight in attention])
    group = np.eye(4)[w.cells.group]
    np.testing.assert_allclose(found.composition(), np.mean(attention, axis=0) @ group, rtol=1e-3)

    target = logs(counts, library)
    r = [pearson(predicted[n][:, :60], target) for n in range(3)]
    np.testing.assert_allclose(found.held_out_r, np.choose(fold, r), atol=1e-3)

    share = cells / cells.sum(axis=1, keepdims=True)
    level = np.mean(attention, axis=(0, 1)) @ share
    level *= counts.sum() / library.sum() / level[:60].sum()
    mean = np.expm1(predicted.mean(axis=0))
    scale = level / mean.mean(axis=0)
    genes = np.arange(76)
    imputed = found.impute(genes)
    np.testing.assert_allclose(imputed.share, mean * scale, rtol=2e-3)
    spread = np.log1p(np.expm1(predicted) * scale * 1e4).std(axis=0)
    np.testing.assert_allclose(imputed.spread, spread, atol=2e-3)


@pytest.mark.parametrize(("kind", "seed"), [("square", 0), ("hexagonal", 1), ("irregular", 2)])
def test_genes_that_were_not_measured_are_found(kind: str, seed: int) -> None:
    w = world(kind, seed=seed)
    found = fit(w, ENOUGH, seed)
    truth = w.truth[:, w.unmeasured]
    r = pearson(found.impute(w.unmeasured).share, truth)
    cells = w.cells.counts.toarray()
    log = logs(cells, cells.sum(axis=1)).astype(np.float32)
    measured = logs(w.spots.counts.toarray(), w.spots.library).astype(np.float32)
    both = Both(measured, log[:, w.spots.columns], w.spots.library)
    for name in ("library size", "reference mean"):
        theirs = pearson(BASELINES[name](both, log[:, w.unmeasured], seed, Job()), truth)
        assert np.nan_to_num(theirs).max() < 0.4
    assert np.median(r) > 0.93
    assert r.min() > 0.75
    assert np.isfinite(found.held_out_r).all()
    # Of a gene of few counts most is noise.
    assert np.median(found.held_out_r) > 0.4


def test_what_spots_are_made_of(learned: tuple[World, FittedRobust]) -> None:
    w, found = learned
    share = found.composition()
    assert found.groups == ("A", "B", "C", "D")
    np.testing.assert_allclose(share.sum(axis=1), 1, rtol=1e-5)
    assert (share.argmax(axis=1) == w.mixture.argmax(axis=1)).mean() > 0.85
    assert pearson(share, w.mixture).min() > 0.9


def test_columns_may_come_in_parts(
    learned: tuple[World, FittedRobust], monkeypatch: pytest.MonkeyPatch
) -> None:
    w, found = learned
    columns = np.random.default_rng(0).permutation(76)
    whole = found.impute(columns)
    monkeypatch.setattr("napari_stenhance.methods.sinca.fitted._GENES_AT_ONCE", 7)
    monkeypatch.setattr("napari_stenhance.methods.sinca.fitted._SPOTS_AT_ONCE", 50)
    parts = [found.impute(some) for some in np.array_split(columns, 5)]
    again = fit(w, ENOUGH)
    for n in range(2):
        joined = np.concatenate([part[n] for part in parts], axis=1)
        np.testing.assert_allclose(joined, whole[n], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(again.held_out_r, found.held_out_r, atol=1e-5)
    assert again.per_library == pytest.approx(found.per_library, rel=1e-5)


def test_levels_are_right_where_assays_capture_alike() -> None:
    """Though half of the spots' libraries are genes that the cells lack."""
    w = world(capture=0.0, other=1.0)
    found = fit(w, ENOUGH)
    assert found.per_library == pytest.approx(0.5, rel=0.05)
    expected = found.impute(w.unmeasured).share * w.spots.library[:, None]
    ratio = expected.sum(axis=0) / (w.truth[:, w.unmeasured] * w.spots.library[:, None]).sum(axis=0)
    assert np.abs(np.log(ratio)).max() < np.log(1.5)
    assert ratio.mean() == pytest.approx(1, abs=0.12)


def test_spread_is_where_members_disagree(learned: tuple[World, FittedRobust]) -> None:
    w, found = learned
    assert (found.impute(w.unmeasured).spread > 0).all()
    alike = FittedRobust(
        (found.members[0],) * 3, found.units, found.per_library, found.held_out_r, found._attention
    )
    np.testing.assert_allclose(alike.impute(w.unmeasured).spread, 0, atol=1e-5)


def test_spots_nearly_without_counts_are_told_by_those_around() -> None:
    w = world()
    counts = w.spots.counts.toarray()
    empty = np.random.default_rng(0).permutation(len(counts))[:20]
    counts[empty] = 0
    counts[empty[:10], 3] = 1
    few = with_counts(w, counts)
    few = replace(few, spots=replace(few.spots, library=counts.sum(axis=1).astype(float)))
    found = fit(few, replace(ENOUGH, schedule=Schedule(epochs=10)))
    share, spread = found.impute(w.unmeasured)
    assert np.isfinite(share).all()
    assert np.isfinite(spread).all()
    assert np.isfinite(found.composition()).all()
    assert np.median(pearson(share[empty], w.truth[empty][:, w.unmeasured])) > 0.4


def test_counts_of_spots_nearly_without_any_are_not_learned_from() -> None:
    w = world(side=8)
    counts = w.spots.counts.toarray()
    found = []
    for gene in (3, 40):
        counts[:5] = 0
        counts[:5, gene] = 2
        found.append(fit(with_counts(w, counts)))
    for a, b in zip(found[0].members, found[1].members, strict=True):
        assert torch.equal(weights(a.network), weights(b.network))
        assert torch.equal(a.spots, b.spots)
    np.testing.assert_array_equal(found[0].held_out_r, found[1].held_out_r)


def test_a_panel_of_30_genes() -> None:
    w = world(shared=30, only=20)
    found = fit(w, ENOUGH)
    assert found.held_out_r.shape == (30,)
    assert np.median(pearson(found.impute(w.unmeasured).share, w.truth[:, w.unmeasured])) > 0.85


@pytest.mark.parametrize("of", ["spots", "cells"])
def test_too_few_genes_that_vary_are_refused(of: str) -> None:
    w = world(side=5)
    counts = (w.spots if of == "spots" else w.cells).counts.toarray()
    counts[:, 10:] = 0
    for left, refused in ((10, False), (9, True)):
        counts[:, left:] = 0
        table = sp.csr_array(counts)
        given = replace(w, **{of: replace(getattr(w, of), counts=table)})
        if refused:
            wanted = "spots: only 9 genes that the cells have too differ between spots and betw"
            with pytest.raises(InputError, match=wanted):
                fit(given)
        else:
            assert np.isfinite(fit(given).held_out_r).sum() == 10


def test_genes_beyond_those_learned_from_are_scored_too(
    learned: tuple[World, FittedRobust],
) -> None:
    w, _ = learned
    found = fit(w, replace(ENOUGH, genes=20))
    assert [member.network.axes.shape[0] for member in found.members] == [10, 10]
    assert np.isfinite(found.held_out_r).all()
    assert np.median(found.held_out_r) > 0.25


def test_r_of_genes_that_do_not_vary_is_not_a_number() -> None:
    w = world(side=6)
    counts, cells = w.spots.counts.toarray(), w.cells.counts.toarray()
    counts[:, 4] = 0
    cells[:, 9] = 0
    w = replace(with_counts(w, counts), cells=replace(w.cells, counts=sp.csr_array(cells)))
    found = fit(w)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.held_out_r)), [4, 9])
    imputed = found.impute(np.arange(76))
    assert np.isfinite(imputed.share).all()
    assert (imputed.share[:, 9] == 0).all()
    assert imputed.share[:, 4].max() > 0, "the cells express it"


def test_rounding_makes_no_constant_gene_vary() -> None:
    """Spots of one total: half of the genes are the same in all of them."""
    w = world(side=7)
    counts = w.spots.counts.toarray()
    counts[:, :30] = np.arange(1, 31)
    counts[:, 30:] = np.random.default_rng(0).multinomial(500, np.full(30, 1 / 30), len(counts))
    found = fit(with_counts(w, counts))
    assert np.isfinite(found.impute(w.unmeasured).share).all()
    assert np.isfinite(found.held_out_r[30:]).all()


def test_alike_cells_and_centroids_do_as_well(learned: tuple[World, FittedRobust]) -> None:
    w, _ = learned
    for recipe, attended in ((replace(ENOUGH, units=40), "cells"), (ENOUGH, "centroids")):
        found = fit(w, recipe, attended=attended)  # type: ignore[arg-type]
        assert len(found.members[0].keys) == (4 if attended == "centroids" else 40)
        r = pearson(found.impute(w.unmeasured).share, w.truth[:, w.unmeasured])
        assert np.median(r) > 0.9
        np.testing.assert_allclose(found.composition().sum(axis=1), 1, rtol=1e-5)


def test_cells_without_clusters() -> None:
    w = world(side=6)
    found = fit(replace(w, cells=replace(w.cells, group=None, groups=())))
    assert found.groups == ()
    assert found.composition().shape == (36, 0)
    share = fit(w).impute(w.unmeasured).share
    np.testing.assert_array_equal(found.impute(w.unmeasured).share, share)


def test_ablations() -> None:
    w = world(side=8)
    whole = fit(w).impute(w.unmeasured).share
    blind = fit(w, replace(QUICK, parts=Parts(convolution=False))).impute(w.unmeasured).share
    assert np.isfinite(blind).all()
    assert not np.array_equal(blind, whole)
    found = fit(w, replace(QUICK, parts=Parts(reference=False)))
    share = found.impute(w.unmeasured).share
    order = share.argsort(axis=0, kind="stable")
    assert (order == order[:, :1]).all(), "one map for all genes"
    assert (whole.argsort(axis=0) != whole.argsort(axis=0)[:, :1]).any()
    assert share.std(axis=0).min() > 0
    assert np.isfinite(found.held_out_r).all()


def first_of(w: World, number: int) -> World:
    s = w.spots
    some = replace(s, xy=s.xy[:number], counts=s.counts[:number], library=s.library[:number])
    return replace(w, spots=some)


def test_few_spots() -> None:
    w = world(side=4)
    with pytest.raises(InputError, match="only 0 genes"):
        fit(first_of(w, 1))
    for number in (2, 3, 5):
        found = fit(first_of(w, number))
        share, spread = found.impute(w.unmeasured)
        assert share.shape == (number, 16)
        assert np.isfinite(share).all()
        assert np.isfinite(spread).all()


@pytest.mark.parametrize("number", [64, 40, 0])
def test_spots_of_one_position(number: int) -> None:
    """All of them, most of them; and spots that differ in x alone."""
    w = world(side=8)
    xy = w.spots.xy.copy()
    xy[:number] = 7
    if not number:
        xy[:, 1] = 7
    found = fit(replace(w, spots=replace(w.spots, xy=xy)))
    share = found.impute(w.unmeasured).share
    assert np.isfinite(share).all()
    assert share.std(axis=0).min() > 0


def test_a_cancelled_job_stops_training() -> None:
    w = world(side=5)
    seen = []

    def listen(event: Event) -> None:
        seen.append(event)
        if len(seen) == 3:
            job.cancel()

    job = Job(listen)
    with pytest.raises(Cancelled):
        Robust(0, CPU, recipe=QUICK).fit(w.spots, w.cells, job)
    assert len(seen) == 3, "within a step"


def test_progress_counts_epochs_of_all_members() -> None:
    w = world(side=5)
    seen: list[Any] = []
    Robust(0, CPU, recipe=QUICK).fit(w.spots, w.cells, Job(seen.append))
    training = [event for event in seen if event.stage == "Training"]
    done = [event.done for event in training]
    assert done == sorted(done)
    assert (done[0], done[-1], training[-1].total) == (0, 4, 4)
    assert {event.stage for event in seen} == {"Training", "Scoring hidden genes"}


def test_options_make_the_method() -> None:
    method = make_imputation("centroids", 3, 5, CPU)
    assert isinstance(method, Robust)
    assert (method.attended, method.seed, method.recipe.schedule.epochs) == ("centroids", 5, 3)
    told = method.describe()
    assert told["attended"] == "centroids"
    assert told["schedule"]["epochs"] == 3
    assert told["parts"]["width"] == 64
    json.dumps(told)
    assert make_imputation("cells", None, 0, CPU) == Robust(0, CPU)
    with pytest.raises(InputError, match="--epochs 0: a method must train for at least one epoch"):
        make_imputation("cells", 0, 0, CPU)


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    w = world()
    cuda = Robust(0, torch.device("cuda"), recipe=ENOUGH).fit(w.spots, w.cells, Job())
    cpu = fit(w, ENOUGH)
    genes = np.arange(76)
    assert pearson(cuda.impute(genes).share, cpu.impute(genes).share).min() > 0.99
    np.testing.assert_allclose(cuda.composition().sum(axis=1), 1, rtol=1e-4)


# Baselines


def types_apart(spots: int = 12) -> tuple[Both, np.ndarray, np.ndarray]:
    """Return spots of two types, 60 cells of each, a gene asked for, and the types of spots."""
    rng = np.random.default_rng(0)
    kind = np.arange(spots) % 2
    profile = np.where(np.arange(10) % 2 == np.arange(2)[:, None], 3.0, 1.0)
    of_cell = np.repeat([0, 1], 60)
    # The assays differ, gene by gene.
    offset = rng.random((2, 10)) * 5
    both = Both(
        (profile[kind] + offset[0] + 0.1 * rng.random((spots, 10))).astype(np.float32),
        (profile[of_cell] + offset[1] + 0.1 * rng.random((120, 10))).astype(np.float32),
        np.arange(spots) * 10.0,
    )
    return both, (5.0 * of_cell[:, None] + [0, 1]).astype(np.float32), kind


def test_library_size_and_reference_mean() -> None:
    both, wanted, _ = types_apart()
    library = BASELINES["library size"](both, wanted, 0, Job())
    np.testing.assert_array_equal(library, np.stack([both.library] * 2, axis=1))
    mean = BASELINES["reference mean"](both, wanted, 0, Job())
    np.testing.assert_allclose(mean, [[2.5, 3.5]] * 12)
    assert library.dtype == mean.dtype == np.float32


def test_nearest_cells_are_those_of_the_type() -> None:
    both, wanted, kind = types_apart()
    found = BASELINES["nearest cells"](both, wanted, 0, Job())
    np.testing.assert_allclose(found, 5.0 * kind[:, None] + [0, 1], rtol=1e-6)
    few = replace(both, cells=both.cells[[0, 70]])
    mean = BASELINES["nearest cells"](few, wanted[[0, 70]], 0, Job())
    np.testing.assert_allclose(mean, [[2.5, 3.5]] * 12)


def test_mapping_finds_the_cell_that_a_spot_is() -> None:
    rng = np.random.default_rng(0)
    cells = rng.gamma(0.5, 2, (12, 40)).astype(np.float32)
    order = rng.permutation(12)
    both = Both(cells[order], cells, np.ones(12))
    own = np.eye(12, dtype=np.float32)
    found = BASELINES["mapping"](both, own, 0, Job())
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=1), order)
    np.testing.assert_array_equal(found, BASELINES["mapping"](both, own, 0, Job()))
    assert not np.array_equal(found, BASELINES["mapping"](both, own, 1, Job()))
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        BASELINES["mapping"](both, own, 0, job)
