"""SINCA-Net, preset `robust`, on sections whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import softmax
from sklearn.decomposition import PCA

from napari_stenhance.errors import Cancelled, InputError
from napari_stenhance.methods.registry import make_method
from napari_stenhance.methods.sinca.ensemble import SincaEnsemble, SincaRecipe
from napari_stenhance.methods.sinca.model import SincaModel
from napari_stenhance.methods.sinca.network import Parts
from napari_stenhance.methods.sinca.training import (
    SincaSchedule,
)
from napari_stenhance.running.job import Event, Job
from napari_stenhance.scoring.cell_baselines import BASELINES, Both
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.tasks.impute import ImputeOptions
from sinca_world import (
    CPU,
    ENOUGH,
    QUICK,
    World,
    fit,
    logs,
    weights,
    with_counts,
    world,
)


@pytest.fixture(scope="module")
def learned() -> tuple[World, SincaModel]:
    """A world, and what is learned of it in few epochs."""
    w = world()
    return w, fit(w, ENOUGH)


def swapped(w: World, one: int, two: int) -> World:
    """Swap the counts of two genes, spot by spot; totals stay."""
    counts = w.spots.counts.toarray()
    counts[:, [one, two]] = counts[:, [two, one]]
    return with_counts(w, counts)


def folds(seed: int, genes: int, members: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(genes) % members


def test_a_member_never_sees_its_fold() -> None:
    w = world(side=8)
    recipe = replace(QUICK, schedule=SincaSchedule(epochs=1, steps=3))
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
    found = fit(w, SincaRecipe(members=3, clip=2.0, schedule=SincaSchedule(epochs=0)))
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


def test_what_spots_are_made_of(learned: tuple[World, SincaModel]) -> None:
    w, found = learned
    share = found.composition()
    assert found.groups == ("A", "B", "C", "D")
    np.testing.assert_allclose(share.sum(axis=1), 1, rtol=1e-5)
    assert (share.argmax(axis=1) == w.mixture.argmax(axis=1)).mean() > 0.85
    assert pearson(share, w.mixture).min() > 0.9


def test_columns_may_come_in_parts(
    learned: tuple[World, SincaModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    w, found = learned
    columns = np.random.default_rng(0).permutation(76)
    whole = found.impute(columns)
    monkeypatch.setattr("napari_stenhance.methods.sinca.protocol.GENES_AT_ONCE", 7)
    monkeypatch.setattr("napari_stenhance.methods.sinca.model.GENES_AT_ONCE", 7)
    monkeypatch.setattr("napari_stenhance.methods.sinca.model._SPOTS_AT_ONCE", 50)
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


def test_spread_is_where_members_disagree(learned: tuple[World, SincaModel]) -> None:
    w, found = learned
    assert (found.impute(w.unmeasured).spread > 0).all()
    alike = SincaModel(
        (found.members[0],) * 3,
        found.units,
        found.per_library,
        found.held_out_r,
        found.held_out_r_given_depth,
        found._attention,
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
    found = fit(few, replace(ENOUGH, schedule=SincaSchedule(epochs=10)))
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
    learned: tuple[World, SincaModel],
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
    for r in (found.held_out_r, found.held_out_r_given_depth):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(r)), [4, 9])
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


def test_alike_cells_and_centroids_do_as_well(learned: tuple[World, SincaModel]) -> None:
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
        SincaEnsemble(0, CPU, recipe=QUICK).fit(w.spots, w.cells, job)
    assert len(seen) == 3, "within a step"


def test_progress_counts_epochs_of_all_members() -> None:
    w = world(side=5)
    seen: list[Any] = []
    SincaEnsemble(0, CPU, recipe=QUICK).fit(w.spots, w.cells, Job(seen.append))
    training = [event for event in seen if event.stage == "Training"]
    done = [event.done for event in training]
    assert done == sorted(done)
    assert (done[0], done[-1], training[-1].total) == (0, 4, 4)
    assert {event.stage for event in seen} == {"Training", "Scoring hidden genes"}


def given(**options: Any) -> ImputeOptions:
    return ImputeOptions(Path("spots"), Path("cells"), **options)


def test_options_make_the_method() -> None:
    method = make_method(given(attended="centroids", epochs=3), 5, CPU)
    assert isinstance(method, SincaEnsemble)
    assert (method.attended, method.seed, method.recipe.schedule.epochs) == ("centroids", 5, 3)
    told = method.describe()
    assert told["attended"] == "centroids"
    assert told["schedule"]["epochs"] == 3
    assert told["parts"]["width"] == 64
    json.dumps(told)
    assert make_method(given(), 0, CPU) == SincaEnsemble(0, CPU)
    with pytest.raises(InputError, match="0 epochs: a method must train for at least one epoch"):
        make_method(given(epochs=0), 0, CPU)


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    w = world()
    cuda = SincaEnsemble(0, torch.device("cuda"), recipe=ENOUGH).fit(w.spots, w.cells, Job())
    cpu = fit(w, ENOUGH)
    genes = np.arange(76)
    assert pearson(cuda.impute(genes).share, cpu.impute(genes).share).min() > 0.99
    np.testing.assert_allclose(cuda.composition().sum(axis=1), 1, rtol=1e-4)
