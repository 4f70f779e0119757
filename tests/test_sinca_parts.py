"""SINCA-Net, preset `robust`: its parts worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import softmax
from torch import Tensor
from torch.nn.functional import normalize

from napari_stenhance.errors import InputError
from napari_stenhance.methods.sinca import training
from napari_stenhance.methods.sinca.layout import SpotLayout
from napari_stenhance.methods.sinca.metacells import Attended, Metacells
from napari_stenhance.methods.sinca.network import SincaNet, waves
from napari_stenhance.methods.sinca.raster import SpotRaster, raster_windows
from napari_stenhance.methods.sinca.training import (
    SincaSchedule,
    Values,
    correlation_of_genes,
    predict_shares,
    see_all,
    train_sinca_member,
)
from napari_stenhance.running.job import Event, Job, Progress
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.cells import CellReference
from sinca_world import (
    CPU,
    LATTICES,
    at_random,
    fit,
    lattice,
    network_of,
    place_of,
    run,
    weights,
    world,
)

# Units


def few_cells(group: list[int] | None = None) -> CellReference:
    counts = sp.csr_array(np.array([[1, 0, 3], [0, 2, 2], [4, 4, 0], [1, 1, 1]], np.float32))
    given = np.array(group) if group else None
    return CellReference("few", ("a", "b", "c"), counts, ("p", "q", "r") if group else (), given)


def units(
    cells: CellReference, attended: Attended = "cells", most: int = 9, seed: int = 0
) -> Metacells:
    return Metacells.from_cells(cells, np.arange(len(cells.genes)), attended, most, seed, Job())


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
    one, two = (
        Metacells.from_cells(each, columns, "cells", 20, 0, Job()) for each in (cells, other)
    )
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
    with pytest.raises(InputError, match="name a column of obs that says them"):
        fit(replace(w, cells=few_cells()), attended="centroids")


# The raster


@pytest.mark.parametrize("pitch", [1.0, 0.137, 200.0])
def test_a_square_lattice_fills_its_raster(pitch: float) -> None:
    xy = lattice("square", 13)[: 13 * 9]
    raster = SpotRaster.from_positions(xy * pitch, CPU)
    assert raster.shape == (9, 13)
    np.testing.assert_array_equal(raster.place, np.arange(13 * 9))
    assert (raster.occupied == 1).all()


@pytest.mark.parametrize("side", [6, 20, 75])
def test_hardly_any_spots_of_a_hexagonal_lattice_share_a_place(side: int) -> None:
    raster = SpotRaster.from_positions(lattice("hexagonal", side) * 100, CPU)
    assert 1 - len(raster.place.unique()) / len(raster.place) <= 0.01
    assert raster.occupied.mean() > 0.8, "few gaps"


def test_cells_that_lie_anyhow_share_the_mean() -> None:
    xy = lattice("irregular", 15)
    raster = SpotRaster.from_positions(xy, CPU)
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
    raster = SpotRaster.from_positions(xy, CPU)
    row, column = np.divmod(raster.place.numpy(), raster.shape[1])
    for found, along in ((column, xy[:, 0]), (row, xy[:, 1])):
        assert np.corrcoef(found, along)[0, 1] > 0.99


@pytest.mark.parametrize("kind", LATTICES)
def test_a_turned_section_has_a_turned_raster(kind: str) -> None:
    xy = lattice(kind, 14)
    xy = xy[xy[:, 1] < 9]
    shape = SpotRaster.from_positions(xy, CPU).shape
    assert shape[0] != shape[1]
    for turned in (xy[:, ::-1], np.column_stack([-xy[:, 1], xy[:, 0]])):
        assert SpotRaster.from_positions(turned, CPU).shape == shape[::-1]
    assert SpotRaster.from_positions(-xy, CPU).shape == shape


@pytest.mark.parametrize("kind", LATTICES)
def test_unit_and_origin_of_positions_mean_nothing(kind: str) -> None:
    xy = lattice(kind, 14)
    moved = xy * 137.03 + [-5120.7, 88.8]
    one, two = (SpotRaster.from_positions(each, CPU) for each in (xy, moved))
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
    many = SpotRaster.from_positions(np.repeat(xy, 6, axis=0), CPU)
    assert many.shape[0] == many.shape[1] <= 11
    assert len(many.place.unique()) == 64
    assert SpotRaster.from_positions(np.full((5, 2), 7.0), CPU).shape == (1, 1)


@pytest.mark.parametrize(("spots", "most"), [(1, 8), (8, 8), (9, 8), (397, 32), (400, 50)])
def test_each_spot_is_in_one_window(spots: int, most: int) -> None:
    found = raster_windows(np.random.default_rng(0).random((spots, 2)), most)
    assert found.shape[1] <= most
    listed = np.sort(found.ravel())
    np.testing.assert_array_equal(listed[listed >= 0], np.arange(spots))
    assert set(listed[listed < 0]) <= {-1}
    assert (found >= 0).sum(axis=1).min() >= min(spots, most) // 2


def test_windows_hold_near_spots() -> None:
    xy = lattice("square", 20)
    extent = [np.ptp(xy[w[w >= 0]], axis=0).max() for w in raster_windows(xy, 32)]
    assert len(extent) == 16
    assert max(extent) <= 5, "of squares of five"
    long = np.column_stack([np.zeros(64), np.arange(64.0)])
    np.testing.assert_array_equal(raster_windows(long, 16), np.arange(64).reshape(4, 16))


# The network


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


def changed_by_the_middle(place: SpotLayout, **parts: Any) -> np.ndarray:
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
    gap = SpotRaster(torch.tensor([0, 2]), torch.tensor([1.0, 0, 1]), (1, 3))
    place = SpotLayout(torch.zeros(2, 12), gap, torch.tensor([[0], [1]]))
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

    def found(place: SpotLayout, **parts: Any) -> Tensor:
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
    np.testing.assert_allclose(correlation_of_genes(a, b), [*wanted, 0], atol=1e-5)


def test_predictions_are_means_of_what_is_attended_to() -> None:
    network = network_of(12)
    spots, keys, source = at_random(5, 8), at_random(6, 8), at_random(6, 3)
    cosine = normalize(spots, dim=1) @ normalize(keys, dim=1).T
    wanted = softmax(7 * cosine.numpy(), axis=1) @ source.numpy()
    with torch.inference_mode():
        found = predict_shares(network, spots, keys, source)
        some = predict_shares(network, spots, keys, source, torch.tensor([3, 1]))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(some, wanted[[3, 1]], rtol=1e-4, atol=1e-5)


@dataclass(frozen=True)
class Lesson:
    """What `train_sinca_member` is given; markers of two types that lie left and right."""

    learned: Values
    held_out: Values
    place: SpotLayout
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
        self, schedule: SincaSchedule, held_out: Values | None = None, seed: int = 0
    ) -> tuple[SincaNet, list[SincaNet], list[Progress]]:
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
            train_sinca_member(
                network, self.learned, held_out, self.counted, self.place, schedule, rng, stage
            )
        return network, states, seen

    def agreement(self, network: SincaNet, held_out: Values) -> float:
        spots, keys = see_all(network, self.learned, self.place)
        with torch.inference_mode():
            found = predict_shares(network, spots, keys, held_out.source)[3:].numpy()
        return float(pearson(found, held_out.target[3:].numpy()).mean())


def test_held_out_genes_choose_the_epoch_and_nothing_else() -> None:
    lesson = Lesson.of()
    # So fast that it does not converge.
    schedule = SincaSchedule(epochs=5, steps=3, learning_rate=0.05)
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
    network, _, seen = lesson.train(SincaSchedule(epochs=20, steps=2, patience=3), constant)
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
    forward = SincaNet.forward

    def look(network: SincaNet, *given: Any) -> Any:
        seen.append(given[2])
        return forward(network, *given)

    def ask(network: SincaNet, spots: Tensor, keys: Tensor, source: Tensor, rows: Tensor) -> Tensor:
        if network.training:
            asked.append((seen[-1], source[0].long()))
            rows_of.append(rows)
        return predict_shares(network, spots, keys, source, rows)

    monkeypatch.setattr(SincaNet, "forward", look)
    monkeypatch.setattr(training, "predict_shares", ask)
    lesson.train(SincaSchedule(epochs=6, steps=4, patience=9, seen=(0.2, 0.9), spots=40, genes=5))
    assert len(asked) == 24
    for shown, genes in asked:
        assert (shown[genes] == 0).all()
        assert len(genes) == min(5, int((shown == 0).sum()))
        assert shown.sum() > 0
    assert len({len(genes) for _, genes in asked}) > 1
    assert {len(rows) for rows in rows_of} == {40}
    assert torch.cat(rows_of).min() == 3, "spots nearly without counts are not compared with"
