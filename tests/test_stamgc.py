"""STAMGC itself: the published formulas, and what `robust` puts around them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.nn.functional import normalize, softplus

from made_stripes import stripes
from napari_stenhance.errors import InputError
from napari_stenhance.methods.hvg import seurat_v3_genes, seurat_v3_variance
from napari_stenhance.methods.registry import make_method
from napari_stenhance.methods.stamgc.clustering import cluster, consensus, fit_mixture, majority
from napari_stenhance.methods.stamgc.ensemble import StamgcEnsemble
from napari_stenhance.methods.stamgc.expression import published_features
from napari_stenhance.methods.stamgc.graph import (
    best_width,
    gaussian_smoother,
    neighbours,
    normalised_adjacency,
    prune,
    union_graph,
)
from napari_stenhance.methods.stamgc.groups import GROUPS
from napari_stenhance.methods.stamgc.losses import Pairs, regional_loss, topological_loss
from napari_stenhance.methods.stamgc.network import StamgcEncoder, StamgcResidualEncoder
from napari_stenhance.methods.stamgc.protocol import Slice
from napari_stenhance.methods.stamgc.recipe import StamgcRecipe
from napari_stenhance.methods.stamgc.reference import StamgcReference, stitched
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.agreement import agreement
from napari_stenhance.tasks.domains import DomainsOptions

CPU = torch.device("cpu")
QUICK = StamgcRecipe(epochs=5, runs=2)


def edges(graph: sp.csr_array) -> set[tuple[int, int]]:
    pairs = sp.coo_array(graph)
    return {(int(a), int(b)) for a, b in zip(pairs.row, pairs.col, strict=True) if a < b}


# The published formulas (vectors worked out by hand)


def test_losses_of_three_spots() -> None:
    graph = sp.csr_array(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32))
    embedding = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    pairs = Pairs.from_graph(graph, np.array([1, 1, 2]), CPU)
    assert float(regional_loss(embedding, pairs)) == pytest.approx(-0.540038, abs=1e-6)
    assert float(topological_loss(embedding, pairs)) == pytest.approx(0.815433, abs=1e-6)


def test_pruning_of_four_spots() -> None:
    xy = np.column_stack([np.arange(4.0), np.zeros(4)])
    near = neighbours(xy, 2)
    assert edges(union_graph(near)) == {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)}
    smooth = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    assert edges(union_graph(prune(near, smooth, 1))) == {(0, 1), (2, 3)}
    assert prune(near, smooth, 9).shape == (4, 1), "a spot keeps at least one neighbour"
    assert np.isfinite(prune(near, np.zeros((4, 2), np.float32), 1)).all()


def test_smoothing_of_two_spots_one_sigma_apart() -> None:
    weights = gaussian_smoother(np.array([[0.0, 0], [5, 0]]), 5.0).toarray()
    np.testing.assert_allclose(weights, [[0.62246, 0.37754], [0.37754, 0.62246]], atol=1e-5)


def test_several_spots_at_one_place_are_not_their_own_neighbours() -> None:
    xy = np.array([[0.0, 0]] * 5 + [[1, 0]])
    near = neighbours(xy, 2)
    assert near.shape == (6, 2)
    assert not (near == np.arange(6)[:, None]).any()
    assert union_graph(near).diagonal().sum() == 0


def test_spreading_is_symmetric_and_keeps_a_constant_degree_graph() -> None:
    ring = np.roll(np.eye(6, dtype=np.float32), 1, axis=1)
    spread = normalised_adjacency(sp.csr_array(ring + ring.T)).toarray()
    np.testing.assert_allclose(spread, spread.T)
    np.testing.assert_allclose(spread.sum(axis=1), 1, rtol=1e-6)


def test_size_of_the_published_network() -> None:
    parts = StamgcEncoder(3000)
    count = {n: sum(p.numel() for p in m.parameters()) for n, m in parts.named_children()}
    assert count["first"] + count["second"] + count["decoder"] == 587_384
    assert sum(p.numel() for p in parts.branches.branches.parameters()) == 12_544
    assert sum(p.numel() for p in parts.branches.join.parameters()) == 8_256
    assert sum(p.numel() for p in parts.parameters()) == 608_184


def test_groups_are_the_published_table() -> None:
    assert GROUPS["10x"].regional + GROUPS["10x"].topological == 1
    for group in GROUPS.values():
        assert group.regional + group.topological == pytest.approx(1)
    assert (GROUPS["osmFISH"].hidden, GROUPS["osmFISH"].width) == (64, 32)
    assert GROUPS["Stereo_seq"].min_counts == 292


# Losses in linear memory


def dense(
    embedding: torch.Tensor, graph: sp.csr_array, label: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    unit = normalize(embedding, dim=1)
    cosine = unit @ unit.T
    joined = torch.from_numpy(graph.toarray())
    other = torch.from_numpy(label[:, None] != label[None])
    power = cosine.exp()
    near, far = (power * joined).sum(dim=1), (power * other).sum(dim=1)
    anchors = near > 0
    regional = (far[anchors].log() - near[anchors].log()).mean()
    return regional, (softplus(cosine) - joined * cosine).mean()


def scattered(n: int) -> tuple[torch.Tensor, sp.csr_array, np.ndarray]:
    rng = np.random.default_rng(3)
    xy = rng.random((n, 2))
    graph = union_graph(prune(neighbours(xy, 6), rng.random((n, 9), np.float32), 1))
    embedding = torch.from_numpy(rng.random((n, 64), np.float32))
    return embedding, graph, (xy[:, 0] * 7).astype(np.int64)


def test_blocks_give_the_dense_values_and_gradients() -> None:
    embedding, graph, label = scattered(2500)
    embedding.requires_grad_(True)
    pairs = Pairs.from_graph(graph, label, CPU)
    wanted = dense(embedding, graph, label)
    found = regional_loss(embedding, pairs), topological_loss(embedding, pairs)
    for ours, theirs in zip(found, wanted, strict=True):
        assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
        (slope,) = torch.autograd.grad(theirs, embedding, retain_graph=True)
        (own,) = torch.autograd.grad(ours, embedding)
        assert float((own - slope).abs().max() / slope.abs().max()) < 1e-5


@pytest.mark.parametrize("anchors", [20_000, 700])
def test_drawn_spots_stand_for_all(anchors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_stenhance.methods.stamgc.losses.ANCHORS_MOST", anchors)
    embedding, graph, label = scattered(2500)
    pairs = Pairs.from_graph(graph, label, CPU)
    torch.manual_seed(0)
    exact = float(regional_loss(embedding, pairs)), float(topological_loss(embedding, pairs))
    drawn = np.array(
        [
            (
                float(regional_loss(embedding, pairs, 512)),
                float(topological_loss(embedding, pairs, 512)),
            )
            for _ in range(60)
        ]
    )
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    bias = drawn.mean(axis=0) - exact
    assert abs(bias[1]) < 4 * error[1], "the topological loss is estimated without bias"
    assert abs(bias[0]) < 0.01 * exact[0], "the regional loss is biased by less than 1 %"


def test_a_spot_without_neighbours_is_no_anchor() -> None:
    graph = sp.csr_array(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32))
    pairs = Pairs.from_graph(graph, np.array([0, 1, 1]), CPU)
    assert np.isfinite(float(regional_loss(torch.rand(3, 4), pairs)))


def test_drawn_anchors_are_those_with_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate's gradient is that of the exact loss, in the mean over draws."""
    monkeypatch.setattr("napari_stenhance.methods.stamgc.losses.ANCHORS_MOST", 300)
    embedding, graph, label = scattered(500)
    kept = graph.tolil()
    kept[:40], kept[:, :40] = 0, 0
    pairs = Pairs.from_graph(sp.csr_array(kept.tocsr()), label, CPU)
    embedding.requires_grad_(True)
    torch.manual_seed(0)
    for loss in (regional_loss, topological_loss):
        (wanted,) = torch.autograd.grad(loss(embedding, pairs), embedding)
        draws = [torch.autograd.grad(loss(embedding, pairs, 400), embedding)[0] for _ in range(60)]
        mean = torch.stack(draws).mean(dim=0)
        assert float(torch.corrcoef(torch.stack([mean.ravel(), wanted.ravel()]))[0, 1]) > 0.9


# Genes and clusters


def test_genes_that_vary_more_than_their_mean_lets_expect() -> None:
    rng = np.random.default_rng(0)
    mean = rng.gamma(2.0, 2.0, 300)
    counts = rng.poisson(mean, (400, 300)).astype(np.float32)
    counts[:, 7] = rng.poisson(np.where(np.arange(400) < 80, 5 * mean[7], 0.2 * mean[7]))
    counts[:, 11] = 3
    table = sp.csr_array(counts)
    assert seurat_v3_genes(table, 1)[0] == 7
    found = seurat_v3_variance(table)
    assert found[11] == 0
    others = np.delete(found, [7, 11])
    assert np.median(others) == pytest.approx(1, abs=0.1), "what the mean lets expect"


def test_published_preparation_drops_what_are_no_genes() -> None:
    s, _ = stripes(genes=40)
    names = ("ERCC-1", "mt-Co1", "ERCC1", *s.genes[3:])
    features = published_features([replace(s, genes=names)], 3000, 3, 10)
    counts = s.counts.toarray()
    kept = ((counts > 0).sum(axis=0) >= 3) & (counts.sum(axis=0) >= 10)
    assert kept.sum() < 40, "some genes are too rare"
    assert kept[:3].all()
    assert features.shape == (400, kept.sum() - 2), "ERCC1 is a gene, ERCC-1 and mt-Co1 are not"
    assert features.max() <= 10
    assert features.min() == 0, "scaled, not centred"


def test_mixture_finds_groups_of_unequal_size() -> None:
    rng = np.random.default_rng(1)
    centre = np.repeat([[0.0, 0], [6, 0], [0, 6]], [600, 30, 30], axis=0)
    points = centre + rng.normal(size=(660, 2)) * [1.0, 0.6]
    label = fit_mixture(points, 3, rng).predict(points)
    assert agreement(label, np.repeat(["a", "b", "c"], [600, 30, 30]).astype(object))["ARI"] > 0.9


def test_votes_do_not_depend_on_the_numbering() -> None:
    rng = np.random.default_rng(2)
    truth = np.repeat(np.arange(4), 50)
    parts = []
    for _ in range(5):
        noisy = np.where(rng.random(200) < 0.1, rng.integers(4, size=200), truth)
        parts.append(np.eye(4, dtype=np.float32)[rng.permutation(4)[noisy]])
    label, confidence = consensus(parts)
    assert agreement(label, truth.astype(object))["ARI"] > 0.97
    assert confidence.min() >= 0.2
    assert confidence.mean() > 0.9
    shuffled, same = consensus([part[:, ::-1] for part in parts])
    assert agreement(shuffled, label.astype(object))["ARI"] == 1
    np.testing.assert_allclose(same, confidence)
    alone, nothing = consensus(parts[:1])
    np.testing.assert_array_equal(alone, parts[0].argmax(axis=1))
    assert np.isnan(nothing).all()


def test_majority_mends_a_lone_spot_only() -> None:
    xy = np.stack(np.meshgrid(np.arange(9), np.arange(9)), -1).reshape(-1, 2).astype(float)
    label = (xy[:, 0] > 4).astype(np.int64)
    spoiled = label.copy()
    spoiled[30] = 1 - spoiled[30]
    np.testing.assert_array_equal(majority(spoiled, neighbours(xy, 8)), label)


def test_leiden_says_what_to_install() -> None:
    try:
        import leidenalg  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match=r"napari-stenhance\[leiden\]"):
            cluster(np.random.default_rng(0).random((40, 3)), 3, "leiden", np.random.default_rng(0))
    else:
        points = np.repeat(np.eye(3) * 9, 30, axis=0) + np.random.default_rng(0).random((90, 3))
        found = cluster(points, 3, "leiden", np.random.default_rng(0)).argmax(axis=1)
        assert agreement(found, np.repeat(list("abc"), 30).astype(object))["ARI"] == 1


def test_width_follows_the_grain_of_the_tissue() -> None:
    """Cells of mixed kinds are smoothed more widely than spots of many cells."""
    rng = np.random.default_rng(0)
    xy = np.stack(np.meshgrid(np.arange(30), np.arange(30)), -1).reshape(-1, 2).astype(float)
    region = np.sin(xy[:, :1] / 6).astype(np.float32)
    widths = (0.6, 1.0, 2.0, 3.0)
    fine = region + rng.normal(0, 0.05, region.shape).astype(np.float32)
    grainy = region + rng.normal(0, 2, region.shape).astype(np.float32)
    best = [widths[best_width(xy, 1, v, widths, 500, rng).argmin()] for v in (fine, grainy)]
    assert best[0] < best[1]


# The presets


def test_robust_finds_the_stripes() -> None:
    s, truth = stripes()
    found = StamgcEnsemble(0, CPU, QUICK).find([s], 3, Job())
    assert agreement(found.labels[0], truth.astype(object))["ARI"] > 0.9
    assert set(found.labels[0]) == {1, 2, 3}
    assert ((found.confidence[0] > 0) & (found.confidence[0] <= 1)).all()
    assert found.embedding[0].shape == (400, QUICK.axes)
    again = StamgcEnsemble(0, CPU, QUICK).find([s], 3, Job())
    np.testing.assert_array_equal(found.labels[0], again.labels[0])
    np.testing.assert_array_equal(found.embedding[0], again.embedding[0])


@pytest.mark.slow
def test_robust_estimates_how_many() -> None:
    s, truth = stripes(side=9, depth=3)
    found = StamgcEnsemble(0, CPU, QUICK).find([s], None, Job())
    assert found.n_domains == 3
    assert agreement(found.labels[0], truth.astype(object))["ARI"] > 0.9
    assert [number for number, _ in found.scores] == list(range(2, 16))
    assert found.criterion


def test_the_network_starts_as_smoothing() -> None:
    torch.manual_seed(0)
    network = StamgcResidualEncoder(8).eval()
    raw, smooth = torch.rand(30, 8), torch.rand(30, 8)
    itself = torch.eye(30).to_sparse_coo()
    embedding, _, rebuilt = network(raw, smooth, itself, itself)
    torch.testing.assert_close(embedding, smooth)
    torch.testing.assert_close(rebuilt, smooth)


def test_both_contrastive_losses_move_the_embedding() -> None:
    s, _ = stripes()
    weights = ((0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7))
    quick = replace(QUICK, runs=1, clustering="kmeans")
    recipes = [replace(quick, regional=r, topological=t) for r, t in weights]
    embeddings = [StamgcEnsemble(0, CPU, r).find([s], 3, Job()).embedding[0] for r in recipes]
    for first, second in combinations(embeddings, 2):
        assert not np.array_equal(first, second)


def test_slices_are_found_together_though_their_genes_differ_in_level() -> None:
    first, truth = stripes(seed=1)
    second, _ = stripes(seed=2)
    found = StamgcEnsemble(0, CPU, QUICK).find([first, replace(second, name="second")], 3, Job())
    assert [len(part) for part in found.labels] == [400, 400]
    both = np.concatenate(found.labels)
    assert agreement(both, np.concatenate([truth, truth]).astype(object))["ARI"] > 0.9


def test_latents_instead_of_counts() -> None:
    s, truth = stripes()
    rng = np.random.default_rng(0)
    latent = np.eye(6, dtype=np.float32)[truth] + rng.normal(0, 0.3, (400, 6)).astype(np.float32)
    field = Slice("field", s.xy, 100.0, latent=latent)
    found = StamgcEnsemble(0, CPU, QUICK).find([field], 3, Job())
    assert agreement(found.labels[0], truth.astype(object))["ARI"] > 0.9
    with pytest.raises(InputError, match="counts"):
        StamgcReference(0, CPU).find([field], 3, Job())


def test_one_gene_says_nothing() -> None:
    s, _ = stripes(side=13, genes=1, depth=4)
    with pytest.raises(InputError, match="at least two genes"):
        StamgcEnsemble(0, CPU, QUICK).find([s], 3, Job())


def test_nearly_empty_spots_take_from_their_neighbours() -> None:
    s, truth = stripes(depth=3)
    assert s.counts is not None
    counts = s.counts.toarray()
    empty = [22, 47, 333]
    counts[empty] = 0
    counts[22, 5] = 1
    found = StamgcEnsemble(0, CPU, QUICK).find([replace(s, counts=sp.csr_array(counts))], 3, Job())
    label = found.labels[0]
    for spot in empty:
        alike = np.flatnonzero((truth == truth[spot]) & (np.arange(400) != spot))
        assert label[spot] == np.bincount(label[alike]).argmax()


@pytest.mark.parametrize("genes", [5, 33])
def test_few_genes(genes: int) -> None:
    s, _ = stripes(side=13, genes=genes, depth=4)
    found = StamgcEnsemble(0, CPU, QUICK).find([s], 3, Job())
    assert len(found.labels[0]) == 169
    assert np.isfinite(found.embedding[0]).all()


def test_reference_is_deterministic_and_finds_the_stripes() -> None:
    s, truth = stripes(depth=3)
    first, second = (
        StamgcReference(2025, CPU, "osmFISH", 40).find([s], 3, Job()) for _ in range(2)
    )
    np.testing.assert_array_equal(first.labels[0], second.labels[0])
    np.testing.assert_array_equal(first.embedding[0], second.embedding[0])
    assert first.embedding[0].min() >= 0, "the published embedding ends in ReLU"
    # σ of 400 µm and half a spot of 100 µm: the published smoothing mixes the stripes' edges.
    assert agreement(first.labels[0], truth.astype(object))["ARI"] > 0.5


def test_slices_are_stitched_as_published() -> None:
    first, _ = stripes(side=4)
    second = replace(first, name="second", xy=first.xy + [5000.0, -900])
    apart = stitched([first, second], 50.0, GROUPS["MERFISH"])
    assert apart[:16].min(axis=0).tolist() == [0, 0]
    assert apart[16:, 0].min() == 300 + 10 * 50
    assert apart[16:, 1].min() == 0, "rows begin together"
    joined = stitched([first, second], 50.0, GROUPS["integration_horizontal"])
    assert joined[16:, 0].min() == joined[:16, 0].max() == 300
    np.testing.assert_array_equal(joined[:16, 1], -first.xy[:, 1])
    assert joined[16:, 1].min() == joined[:16, 1].min()
    weights = gaussian_smoother(apart, 50.0).toarray()
    assert weights[:16, 16:].max() == 0
    assert gaussian_smoother(joined, 50.0).toarray()[:16, 16:].max() > 0


def test_reference_finds_two_slices_together() -> None:
    first, truth = stripes(seed=1, depth=3)
    found = StamgcReference(0, CPU, "osmFISH", 20).find([first, first], 3, Job())
    both = np.concatenate(found.labels)
    assert agreement(both, np.concatenate([truth, truth]).astype(object))["ARI"] > 0.5


def test_reference_without_a_number_takes_the_groups() -> None:
    s, _ = stripes(depth=3)
    assert StamgcReference(0, CPU, "10x-1", 2).find([s], None, Job()).n_domains == 5


def make(**changes: Any) -> object:
    return make_method(DomainsOptions((), **changes), 0, CPU)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"group": "10x"}, "Group 10x"),
        ({"runs": 0}, "0 runs"),
        ({"epochs": 0}, "0 epochs"),
        ({"preset": "reference", "clustering": "kmeans", "runs": 1, "group": "11x"}, "11x"),
        ({"preset": "reference", "runs": 5}, "K-means"),
    ],
)
def test_options_without_sense(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make(**changes)


def test_too_many_domains_for_the_spots() -> None:
    s, _ = stripes(side=5)
    with pytest.raises(InputError, match="25 spots"):
        StamgcEnsemble(0, CPU, QUICK).find([s], 20, Job())
