"""Very many spots: bins and cells, of which as many are drawn as learning needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from made_sections import stain_features
from made_stripes import stripes
from napari_stenhance.methods.basis import fit_basis
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.drawing import windows
from napari_stenhance.methods.pixel2gene.learner import SpotSchedule
from napari_stenhance.methods.robust import _drawn
from napari_stenhance.methods.shallow import SAID, Proportions
from napari_stenhance.methods.sinca import ensemble
from napari_stenhance.methods.sinca.layout import SpotLayout
from napari_stenhance.methods.sinca.network import SincaNet
from napari_stenhance.methods.sinca.training import Values, see_all, see_many
from napari_stenhance.methods.squares import Squares
from napari_stenhance.methods.stamgc.ensemble import StamgcEnsemble
from napari_stenhance.methods.stamgc.learning import SomeSpots
from napari_stenhance.methods.stamgc.network import StamgcResidualEncoder
from napari_stenhance.methods.stamgc.recipe import StamgcRecipe
from napari_stenhance.methods.stamgc.smoothing import Smoothed, smooth_slices
from napari_stenhance.methods.training import Schedule, train_ensemble
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Event, Job, Note
from napari_stenhance.scoring.agreement import agreement
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.section import Section
from napari_stenhance.storage.cache import Cache
from sinca_world import QUICK as QUICK_IMPUTATION
from sinca_world import fit, lattice, network_of, world


def test_of_very_many_spots_some_are_drawn_to_learn_from(
    synthetic: Section, session_cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own counts, place and superpixels; and an epoch, and what judges it, draw."""
    said: list[Event] = []
    features = stain_features(synthetic.need_slide(), session_cache)
    under = Footprints.under(
        features.grid, synthetic.spots_um(), synthetic.geometry(), features.tissue
    )
    every = TrainingSection.from_section(synthetic, features, under, 0.05)
    drawn = TrainingSection.from_section(
        synthetic, features, under, 0.05, most=40, job=Job(said.append)
    )
    assert [e.text for e in said if isinstance(e, Note)][-1] == (
        f"{synthetic.name}: 40 of {len(every.xy_um)} spots were drawn to learn from."
    )
    again = {tuple(xy): n for n, xy in enumerate(every.xy_um)}
    rows = np.array([again[tuple(xy)] for xy in drawn.xy_um])
    assert len(rows) == 40
    assert (np.diff(rows) > 0).all()
    assert (drawn.counts != every.counts[rows]).nnz == 0
    np.testing.assert_array_equal(drawn.library, every.library[rows])
    for n in (0, 39):
        mine, theirs = drawn.footprints.spot == n, every.footprints.spot == rows[n]
        for axis in ("row", "column"):
            of_both = getattr(drawn.footprints, axis)[mine], getattr(every.footprints, axis)[theirs]
            np.testing.assert_array_equal(*of_both)
    # Of two sections together, as many.
    both = _drawn([drawn, drawn.only(np.arange(20))], 30, 1, Job())
    assert sum(len(s.xy_um) for s in both) == 30
    assert {tuple(xy) for xy in both[1].xy_um} <= {tuple(xy) for xy in drawn.xy_um[:20]}
    # What is held out and not drawn is neither learned from nor predicted.
    monkeypatch.setattr("napari_stenhance.methods.training.HELD_OUT_MOST", 3)
    monkeypatch.setattr("napari_stenhance.methods.training.EPOCH_MOST", 16)
    learner = _Means(torch.zeros(40, 1))
    held_out = [np.arange(0, 10), np.arange(20, 30)]
    schedule = Schedule(epochs=3, steps_per_epoch=1, spots_per_step=8)
    predicted = train_ensemble(learner, held_out, schedule, np.random.default_rng(0), Job())
    known = np.flatnonzero(np.isfinite(predicted[:, 0]))
    assert len(known) == 6
    assert set(known) <= set(held_out[0]) | set(held_out[1])
    # Two steps of eight an epoch.
    assert len(learner.seen) == 6
    every_held = train_ensemble(
        _Means(torch.zeros(40, 1)),
        held_out,
        schedule,
        np.random.default_rng(0),
        Job(),
        np.ones(40),
    )
    assert np.flatnonzero(np.isfinite(every_held[:, 0])).tolist() == [*range(10), *range(20, 30)]
    for member, held in enumerate(held_out):
        assert not {int(n) for batch in learner.seen for n in batch[member]} & set(held.tolist())


class _Means:
    """A learner of one number, which remembers what it saw."""

    def __init__(self, target: torch.Tensor) -> None:
        self.target, self.value = target, torch.zeros(2, 1, requires_grad=True)
        self.decayed, self.plain, self.seen = [self.value], [], list[torch.Tensor]()

    def train(self, mode: bool) -> None:
        pass

    def loss(self, spots: torch.Tensor) -> torch.Tensor:
        self.seen.append(spots)
        return (self.outputs(spots) - self.target[spots]).square().mean(dim=(1, 2))

    def outputs(self, spots: torch.Tensor) -> torch.Tensor:
        return self.value[:, None].expand(*spots.shape, 1)


def test_a_step_sees_as_many_superpixels_of_bins_as_of_spots() -> None:
    schedule = SpotSchedule()
    assert schedule.on_spots_of(16) is schedule
    bins = schedule.on_spots_of(1)
    assert (bins.superpixels_per_spot, bins.spots_per_step) == (1, 1024)
    assert schedule.on_spots_of(4).spots_per_step == 256


def test_of_very_many_spots_the_basis_is_found_by_powers_and_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((900, 5)) * (6, 5, 4, 3, 2)
    values = shared @ rng.standard_normal((5, 120)) / 10 + 0.3 * rng.standard_normal((900, 120))
    whole = sp.csr_array(np.maximum(values, 0).astype(np.float32))
    parts = [whole[:300], whole[300:]]
    exact, scores = fit_basis(parts, 12, seed=0)
    monkeypatch.setattr("napari_stenhance.methods.basis._MANY", 800)
    found, other = fit_basis(parts, 12, seed=0)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(12), atol=1e-5)
    np.testing.assert_allclose(found.mean, exact.mean, rtol=1e-6)
    # What is signal is the same, axis by axis and with its sign; noise may differ.
    np.testing.assert_allclose((found.axes[:5] * exact.axes[:5]).sum(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(other[:, :5], scores[:, :5], atol=0.02)


def test_what_is_measured_more_precisely_counts_for_more() -> None:
    """Of proportions: rows of which much was counted have little noise, and find the axes."""
    rng = np.random.default_rng(0)
    precision = np.repeat([3.6, 0.4], (100, 500)).astype(np.float64)
    precision /= precision.mean()
    signal = rng.standard_normal((600, 1)) @ rng.standard_normal((1, 300)) / 8
    noise = rng.standard_normal((600, 300)) / np.sqrt(precision)[:, None]
    values = sp.csr_array((signal + noise + 2).astype(np.float32))
    true = np.linalg.svd(signal)[2][0]
    found = {}
    for weights in (None, [precision]):
        basis, scores = fit_basis([values], 3, 0, weights)
        np.testing.assert_allclose(basis.axes @ basis.axes.T, np.eye(3), atol=1e-5)
        np.testing.assert_allclose(scores, (values - basis.mean) @ basis.axes.T, atol=1e-3)
        found[weights is None] = abs(float(basis.axes[0] @ true))
    assert found[False] > found[True] + 0.02
    np.testing.assert_allclose(
        basis.mean, np.average(values.toarray(), axis=0, weights=precision), rtol=1e-5
    )
    # They are drawn more often, as much as they count for.
    learner = _Means(torch.zeros(600, 1))
    schedule = Schedule(epochs=5, steps_per_epoch=20, spots_per_step=100)
    held = [np.arange(0, 600, 6), np.arange(1, 600, 6)]
    train_ensemble(learner, held, schedule, rng, Job(), precision)
    drawn = torch.cat(learner.seen, dim=1).numpy()
    share = (drawn < 100).mean()
    assert share == pytest.approx(precision[:100].sum() / precision.sum(), abs=0.03)


def test_of_shallow_bins_proportions_are_modelled() -> None:
    """A gene that is a larger share where less is counted is higher there; log1p says lower."""
    rng = np.random.default_rng(0)
    bins, number, some = 800, 20_000, 100
    depth = np.repeat([400, 60], bins // 2)
    row = np.repeat(np.arange(bins), depth)
    # The first genes are a tenth of all where much is counted, and a fifth where little is.
    share = np.where(row < bins // 2, 0.1, 0.2)
    column = rng.integers(some, number, len(row))
    column = np.where(rng.random(len(row)) < share, rng.integers(some, size=len(row)), column)
    counts = sp.csr_array((np.ones(len(row), np.float32), (row, column)), shape=(bins, number))
    counts.sum_duplicates()
    genes = tuple(map(str, range(number)))
    nothing: Any = None
    sample = TrainingSection(
        "bins", genes, counts, np.zeros((bins, 2)), 8.0, nothing, nothing, shallow=True
    )
    proportions = Proportions.among([sample], genes)
    assert proportions is not None
    assert Proportions.among([sample, replace(sample, shallow=False)], genes) is None
    scaled = proportions.of_section(sample, genes)
    of_halves = [
        [float(e[half][:, :some].mean()) for half in (slice(0, bins // 2), slice(bins // 2, bins))]
        for e in (scaled, sample.log1p_cp10k(genes))
    ]
    (dense, thin), (log_dense, log_thin) = of_halves
    assert thin / dense == pytest.approx(2, rel=0.05)
    assert log_thin < log_dense
    # Judged in squares of 64 µm: what was counted there, and the mean of what was predicted.
    xy_um = np.repeat([[10.0, 10.0], [63.0, 1.0], [65.0, 1.0], [10.0, 130.0]], bins // 4, axis=0)
    held = rng.random(bins) < 0.5
    predicted = np.where(held[:, None], rng.standard_normal((bins, 2)), np.nan).astype(np.float32)
    placed = replace(sample, xy_um=xy_um)
    squares = Squares.of([placed], np.zeros(bins, np.int64), held)
    (measured,) = squares.of_sections([scaled])
    said = squares.mean_of(predicted)
    square = np.repeat([0, 0, 1, 2], bins // 4)
    # Ascending by x, then y.
    for at, of in enumerate((0, 2, 1)):
        here = held & (square == of)
        together = counts[np.flatnonzero(here)].sum(axis=0)
        assert squares.depths[0][at] == together.sum()
        np.testing.assert_allclose(
            measured[[at]].toarray()[0],
            1e4 * together / together.sum() / proportions.noise,
            rtol=1e-4,
        )
        np.testing.assert_allclose(
            said[at],
            np.average(predicted[here], axis=0, weights=sample.library[here]),
            rtol=1e-4,
            atol=1e-6,
        )
    # What is told apart is not brought together, be it in one square.
    told = np.arange(bins) % 2
    assert Squares.of([placed], told).apart.tolist() == [0, 1] * 3
    # Decoded, the mean is the gene's log1p CP10k, and what lies near it is, to first order.
    mean, noise = np.array([0.5, 80.0]), np.array([3.0, 20.0])
    nan = np.full(2, np.nan, np.float32)
    ours = Decoder(
        ("A", "B"),
        np.ones((1, 2), np.float32),
        (mean / noise).astype(np.float32),
        "log1p CP10k",
        nan,
        nan,
        np.ones(2, np.float32),
    )
    decoder = Proportions(noise).decoded(ours)
    assert decoder.doubts == (SAID,)
    for score in (0.0, 0.001, -0.001):
        values = decoder.values(np.array([score], np.float32), np.arange(2))
        np.testing.assert_allclose(values, np.log1p(mean + score * noise), atol=1e-5)


def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 400 spots be as many to STAMGC as cells by the hundred thousand."""
    for module in ("drawing", "stamgc.expression", "stamgc.learning", "stamgc.smoothing"):
        monkeypatch.setattr(f"napari_stenhance.methods.{module}.WHOLE_MOST", 100)
    monkeypatch.setattr("napari_stenhance.methods.drawing.WINDOW_MOST", 25)
    monkeypatch.setattr("napari_stenhance.methods.stamgc.graph._ROWS_AT_ONCE", 150)
    monkeypatch.setattr("napari_stenhance.methods.stamgc.clustering._LEAST_STARTS", 10)
    monkeypatch.setattr("napari_stenhance.methods.stamgc.clustering._START_SPOTS", 0)


def test_of_very_many_spots_domains_learn_from_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every spot has its domain, the same each time; each network has windows of its own."""
    s, truth = stripes()
    recipe = StamgcRecipe(epochs=3, runs=2, clustering="kmeans")
    find = StamgcEnsemble(0, torch.device("cpu"), recipe).find
    _few_are_many(monkeypatch)
    seen: list[np.ndarray] = []
    some_spots = SomeSpots.of

    def spy(smoothed: Smoothed, at: np.ndarray, device: torch.device) -> SomeSpots:
        seen.append(at)
        return some_spots(smoothed, at, device)

    monkeypatch.setattr(SomeSpots, "of", spy)
    said: list[Event] = []
    found = find([s, s], 3, Job(said.append))
    (note,) = (e.text for e in said if isinstance(e, Note))
    assert note.startswith("stripes, stripes: of 800 spots each network learns from 100 at most")
    # Of two slices, 400 spots each: a network learns from four windows of 25, and embeds all.
    learned, embedded = seen[0], seen[1:9]
    assert len(learned) == 100
    np.testing.assert_array_equal(np.sort(np.concatenate(embedded)), np.arange(800))
    assert {len(at) for at in embedded} == {100}
    assert not np.array_equal(learned, seen[9])
    for labels in found.labels:
        assert agreement(labels, truth.astype(object))["ARI"] > 0.9
    assert found.embedding[1].shape == (400, recipe.axes)
    again = find([s, s], 3, Job())
    np.testing.assert_array_equal(found.embedding, again.embedding)
    np.testing.assert_array_equal(found.labels, again.labels)


def test_windows_of_spots_are_seen_as_the_whole_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what two convolutions see of a spot is cut off where its window ends."""
    s, _ = stripes()
    cpu, recipe = torch.device("cpu"), StamgcRecipe()
    whole = smooth_slices([s], recipe, 0)
    _few_are_many(monkeypatch)
    cut = smooth_slices([s], recipe, 0)
    assert abs(cut.spread - whole.spread).max() < 1e-7
    assert cut.averaged == pytest.approx(whole.averaged, rel=0.05)
    # Axes are found another way, and the same but for their sign.
    r = np.corrcoef(cut.smooth[:, 0], whole.smooth[:, 0])[0, 1]
    assert abs(r) > 0.999
    assert sorted(map(len, cut.windows)) == [25] * 16
    torch.manual_seed(0)
    network = StamgcResidualEncoder(8).eval()
    torch.nn.init.normal_(network.second.weight)
    every, some = np.arange(400), np.sort(np.concatenate(cut.windows[3:5]))
    with torch.no_grad():
        wanted = SomeSpots.of(cut, every, cpu).seen_by(network)
        found = SomeSpots.of(cut, some, cpu).seen_by(network)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs[torch.tensor(some)])


def test_of_very_many_spots_an_imputation_learns_from_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All spots are imputed, the same each time, from networks that saw a quarter of them."""
    w = world(side=20)
    exact = fit(w, QUICK_IMPUTATION)
    for module in ("drawing", "sinca.ensemble"):
        monkeypatch.setattr(f"napari_stenhance.methods.{module}.WHOLE_MOST", 100)
    monkeypatch.setattr("napari_stenhance.methods.drawing.WINDOW_MOST", 25)
    monkeypatch.setattr("napari_stenhance.methods.sinca.model.JUDGED_MOST", 300)
    monkeypatch.setattr("napari_stenhance.methods.sinca.protocol._VALUES_AT_ONCE", 4_000)
    seen: list[int] = []
    train = ensemble.train_sinca_member

    def spy(network: SincaNet, learned: Values, *rest: Any) -> None:
        seen.append(len(learned.spots))
        train(network, learned, *rest)

    monkeypatch.setattr(ensemble, "train_sinca_member", spy)
    found, again = fit(w, QUICK_IMPUTATION), fit(w, QUICK_IMPUTATION)
    assert seen == [100] * 4
    share = found.composition()
    assert pearson(share, w.mixture).min() > pearson(exact.composition(), w.mixture).min() - 0.05
    assert np.nanmedian(found.held_out_r) > np.nanmedian(exact.held_out_r) - 0.05
    for one, other in zip(found.impute(w.unmeasured), again.impute(w.unmeasured), strict=True):
        assert one.shape == (400, len(w.unmeasured))
        np.testing.assert_array_equal(one, other)


def test_windows_of_an_imputation_see_nothing_of_each_other() -> None:
    """Nor does it matter that genes come block by block."""
    xy, cpu = lattice("square", 20), torch.device("cpu")
    whole = SpotLayout.of(xy, 16, cpu)
    drawn = [part for n, part in enumerate(windows(xy, 25)) if n in (3, 9, 12)]
    some = whole.only(xy, drawn, 16)
    rng = np.random.default_rng(0)
    every, cells = (torch.tensor(rng.random((n, 12)), dtype=torch.float32) for n in (400, 30))
    network = network_of(12, begun=False)
    at = np.concatenate(drawn)
    blocks = np.array_split(every[torch.tensor(at)].numpy(), 4)
    before, keys = see_many(network, blocks, cells, some)
    learned = Values(every[torch.tensor(at)], cells, every, cells)
    for one, other in zip(see_all(network, learned, some), (before, keys), strict=True):
        torch.testing.assert_close(one, other)
    changed = [blocks[0] + 1, *blocks[1:]]
    after = see_many(network, changed, cells, some)[0]
    same = (after == before).all(dim=1).numpy()
    assert not same[:25].any()
    assert same[25:].all()
