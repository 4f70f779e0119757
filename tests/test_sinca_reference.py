"""SINCA-Net as published: its raster, network, loss, folds and figures, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import softmax
from torch import Tensor

from napari_stenhance.errors import Cancelled
from napari_stenhance.methods.sinca.reference.first import (
    MOST_CELLS,
    SincaFirstNet,
    SincaFirstRecipe,
    drawn_mask,
    masked_loss,
    predict_held_out_first,
    whole_places_of,
)
from napari_stenhance.methods.sinca.reference.network import (
    Output,
    SincaReferenceNet,
    gathered,
    places_of,
    position_code,
    scattered,
)
from napari_stenhance.methods.sinca.reference.recipe import SincaReferenceRecipe
from napari_stenhance.methods.sinca.reference.training import (
    HeldOut,
    SincaReferenceInput,
    evaluated,
    loss_of,
    predict_held_out,
    train_reference,
    validation_loss,
)
from napari_stenhance.running.job import Job

CPU = torch.device("cpu")
TINY = SincaReferenceRecipe(width=8, heads=2, layers=1, feed_forward=8, epochs=3, batch=8)
FIRST = SincaFirstRecipe(width=8, heads=2, layers=1, feed_forward=8, epochs=3)
UNKNOWN = np.array([2, 5, 11])


def at_random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def section(
    spots: int = 30, cells: int = 20, genes: int = 12
) -> tuple[sp.csr_array, sp.csr_array, np.ndarray]:
    rng = np.random.default_rng(0)
    x, y = (sp.csr_array(rng.poisson(2.0, (n, genes)).astype(np.float32)) for n in (spots, cells))
    return x, y, rng.random((spots, 2)) * 100


def held_out(
    spots: sp.csr_array | None = None, *, leak: bool = False, **changes: object
) -> HeldOut:
    measured, cells, xy = section()
    return predict_held_out(
        measured if spots is None else spots,
        cells,
        xy,
        UNKNOWN,
        replace(TINY, **changes),
        leak=leak,
        seed=1,
        device=CPU,
        job=Job(),
    )


# The raster


def test_four_spots_lie_in_the_corners() -> None:
    xy = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    at, groups, side = places_of(xy[None])
    assert (groups, side) == (1, 3)
    assert [divmod(int(place), 3) for place in at] == [(0, 0), (2, 0), (0, 2), (2, 2)]


@pytest.mark.parametrize(("spots", "side"), [(1, 1), (2, 2), (32, 8), (4000, 94)])
def test_side_of_the_raster(spots: int, side: int) -> None:
    places = places_of(at_random(1, spots, 2))
    assert places.side == side
    assert places.at.min() >= 0
    assert places.at.max() < side**2


def test_only_the_farthest_spot_reaches_the_last_row() -> None:
    x = torch.linspace(0, 7, 32)
    at = places_of(torch.stack([x, torch.zeros(32)], dim=1)[None]).at // 8
    assert (at == 7).sum() == 1
    assert at.tolist() == np.trunc(x.numpy() * (1 - 1e-9)).tolist()[:-1] + [7]


def test_spots_that_share_a_place_are_averaged_and_read_the_same() -> None:
    xy = torch.tensor([[[0.0, 0], [0.1, 0], [9, 9]]])
    places = places_of(xy)
    values = torch.tensor([[1.0, 2], [3, 6], [5, 5]])
    raster = scattered(values, places)
    assert raster.shape == (1, 2, 2, 2)
    assert raster[0, :, 0, 0].tolist() == [2, 4]
    assert raster[0, :, 0, 1].tolist() == [0, 0], "an empty place"
    assert gathered(raster, places).tolist() == [[2, 4], [2, 4], [5, 5]]


def test_raster_is_that_of_a_loop_over_spots() -> None:
    groups, spots, width = 3, 40, 5
    values = at_random(groups, spots, width).requires_grad_()
    xy = at_random(groups, spots, 2) ** 2
    places = places_of(xy)
    found = scattered(values.flatten(0, 1), places)
    side = int(np.sqrt(spots) * 1.5)
    wanted = np.zeros((groups, width, side, side), np.float32)
    count = np.zeros((groups, side, side))
    at = []
    for g in range(groups):
        low, high = xy[g].numpy().min(axis=0), xy[g].numpy().max(axis=0)
        for n in range(spots):
            row, column = np.trunc((xy[g, n].numpy() - low) / (high - low + 1e-8) * (side - 1))
            at.append((g, slice(None), int(row), int(column)))
            wanted[at[-1]] += values[g, n].detach().numpy()
            count[g, int(row), int(column)] += 1
    assert count.max() > 1
    wanted /= np.maximum(count, 1)[:, None]
    np.testing.assert_allclose(found.detach(), wanted, rtol=1e-6)
    read = gathered(found, places)
    np.testing.assert_allclose(read.detach(), np.stack([wanted[a] for a in at]), rtol=1e-6)
    (slope,) = torch.autograd.grad(read[:, 0].sum(), values)
    np.testing.assert_allclose(slope[..., 0], 1, rtol=1e-6)


def test_position_code_of_two_spots() -> None:
    half = np.sqrt(0.5)
    found = position_code(torch.tensor([[[1.0, 0], [4, 1]]]), 4)
    np.testing.assert_allclose(found[0], [[half, 1, half, 1], [0, half, 0, -half]], atol=1e-6)


# The network


def test_size_of_the_published_network() -> None:
    network = SincaReferenceNet(900, 100, SincaReferenceRecipe())
    count = {n: sum(p.numel() for p in m.parameters()) for n, m in network.named_children()}
    assert count["known_projection"] + count["cell_projection"] == 486_912
    assert count["convolution"] == 1_181_184, "with the LayerNorm that is never used"
    assert count["attention"] == 263_680
    assert count["transformer"] == 2_630_656
    assert count["unknown_head"] + count["known_head"] == 257_000
    assert sum(p.numel() for p in network.parameters()) == 4_819_432


def weights_of(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in network.state_dict().items()}


def linear(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def layer_norm(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    z = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    return z * w[f"{name}.weight"] + w[f"{name}.bias"]


def convolution(w: dict[str, np.ndarray], name: str, maps: np.ndarray) -> np.ndarray:
    _, rows, columns = maps.shape
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    kernel = w[f"{name}.weight"]
    found = np.zeros((len(kernel), rows, columns)) + w[f"{name}.bias"][:, None, None]
    for i in range(3):
        for j in range(3):
            window = padded[:, i : i + rows, j : j + columns]
            found += np.einsum("oc,chw->ohw", kernel[:, :, i, j], window)
    return found


def attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int
) -> tuple[np.ndarray, np.ndarray]:
    width = q.shape[1] // heads
    parts, weights = [], []
    for head in range(heads):
        at = slice(head * width, (head + 1) * width)
        weights.append(softmax(q[:, at] @ k[:, at].T / np.sqrt(width), axis=1))
        parts.append(weights[-1] @ v[:, at])
    return np.concatenate(parts, axis=1), np.mean(weights, axis=0)


@pytest.mark.parametrize(("width", "heads"), [(2, 1), (4, 2)])
def test_forward_pass_by_hand(width: int, heads: int) -> None:
    """Step by step as the page's table has it: four spots in the corners of a 3 × 3 raster."""
    recipe = SincaReferenceRecipe(width=width, heads=heads, layers=2, feed_forward=3)
    network = SincaReferenceNet(3, 2, recipe).eval()
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(
                torch.sin(torch.arange(parameter.numel()) * 1.7 + number).view_as(parameter)
            )
    w = weights_of(network)
    known, cells = at_random(4, 3).numpy() * 3, at_random(6, 5).numpy() * 3
    xy = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    corners = np.array([[0, 0], [2, 0], [0, 2], [2, 2]])

    x = linear(w, "known_projection", known)
    frequency = np.arange(1, width, 2) * np.pi
    x[:, 0::2] += np.sin(frequency * xy[:, :1])
    x[:, 1::2] += np.cos(frequency * xy[:, 1:])

    raster = np.zeros((width, 3, 3))
    raster[:, corners[:, 0], corners[:, 1]] = x.T
    raster = convolution(w, "convolution.first", raster).clip(min=0)
    raster = convolution(w, "convolution.second", raster)
    x = layer_norm(w, "convolution.norm", raster[:, corners[:, 0], corners[:, 1]].T + x)

    y = linear(w, "cell_projection", cells)
    q, k, v = (
        linear(w, f"attention.{part}", z) for part, z in (("query", x), ("key", y), ("value", y))
    )
    joined, weights = attention(q, k, v, heads)
    x = layer_norm(w, "attention.norm", linear(w, "attention.join", joined) + x)

    for number in range(2):
        layer = f"transformer.layers.{number}"
        inner = f"{layer}.self_attn"
        three = x @ w[f"{inner}.in_proj_weight"].T + w[f"{inner}.in_proj_bias"]
        joined, _ = attention(*np.split(three, 3, axis=1), heads)
        x = layer_norm(w, f"{layer}.norm1", x + linear(w, f"{inner}.out_proj", joined))
        wide = linear(w, f"{layer}.linear1", x).clip(min=0)
        x = layer_norm(w, f"{layer}.norm2", x + linear(w, f"{layer}.linear2", wide))
    x = layer_norm(w, "transformer.norm", x)

    with torch.no_grad():
        memory = network.remember(torch.from_numpy(cells))
        found = network(torch.from_numpy(known)[None], torch.from_numpy(xy)[None], memory)
    np.testing.assert_allclose(found.unknown[0], linear(w, "unknown_head", x), atol=1e-4)
    np.testing.assert_allclose(found.known[0], linear(w, "known_head", x), atol=1e-4)
    np.testing.assert_allclose(found.attention()[0], weights, atol=1e-5)


def test_groups_do_not_see_each_other() -> None:
    network = SincaReferenceNet(9, 3, TINY).eval()
    known, xy = at_random(3, 8, 9), at_random(3, 8, 2)
    memory = network.remember(at_random(20, 12))
    together = network(known, xy, memory)
    alone = [network(known[g : g + 1], xy[g : g + 1], memory) for g in range(3)]
    for part in ("unknown", "known"):
        parts = torch.cat([getattr(one, part) for one in alone])
        torch.testing.assert_close(getattr(together, part), parts, rtol=1e-4, atol=1e-5)
    weights = torch.cat([one.attention() for one in alone])
    torch.testing.assert_close(together.attention(), weights, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 8))


# The recipe


def test_loss_by_hand() -> None:
    output = Output(torch.tensor([[[1.0, 2]]]), torch.tensor([[[0.0, 0, 4]]]), torch.zeros(1))
    known, unknown = torch.tensor([[[0.0, 3, 4]]]), torch.tensor([[[1.0, 0]]])
    assert float(loss_of(output, known, unknown, 0.1)) == pytest.approx(2 + 0.1 * 3)
    assert float(loss_of(output, known, None, 0.1)) == pytest.approx(0.1 * 3)


def seen(*, leak: bool) -> SincaReferenceInput:
    unknown = at_random(30, 3) if leak else None
    return SincaReferenceInput(at_random(30, 9), at_random(30, 2) * 50, at_random(20, 12), unknown)


def test_validation_sees_batches_in_the_order_of_the_file() -> None:
    network = SincaReferenceNet(9, 3, TINY)
    data = seen(leak=True)
    assert data.unknown is not None
    losses = []
    network.eval()
    for low in range(0, 30, 8):
        at = slice(low, low + 8)
        known, unknown = data.known[at][None], data.unknown[at][None]
        output = network(known, data.xy[at][None], network.remember(data.cells))
        losses.append(float(loss_of(output, known, unknown, 0.1).detach()))
    assert len(losses) == 4, "the last batch has six spots"
    assert validation_loss(network, data, TINY, Job()) == pytest.approx(np.mean(losses), rel=1e-5)
    assert [len(data.xy[at]) for _, at in evaluated(network, data, 8, Job())] == [24, 6]


def test_the_best_epoch_is_kept() -> None:
    torch.manual_seed(0)
    network = SincaReferenceNet(9, 3, TINY)
    data = seen(leak=True)
    # So fast that it does not converge.
    recipe = replace(TINY, epochs=12, learning_rate=0.5)
    least = train_reference(network, data, recipe, Job())
    assert validation_loss(network, data, recipe, Job()) == pytest.approx(least, rel=1e-6)
    assert not network.training


def test_without_the_leak_the_head_of_held_out_genes_stays_as_it_began() -> None:
    torch.manual_seed(0)
    network = SincaReferenceNet(9, 3, TINY)
    first = {name: value.clone() for name, value in network.state_dict().items()}
    train_reference(network, seen(leak=False), TINY, Job())
    for name, value in network.state_dict().items():
        same = torch.equal(value, first[name])
        assert same == (name.startswith(("unknown_head", "convolution.idle_norm"))), name


def test_without_the_leak_held_out_genes_are_not_read() -> None:
    spots, _, _ = section()
    wild = spots.toarray()
    wild[:, UNKNOWN] = np.random.default_rng(9).integers(0, 10_000, (30, 3))
    before, after = held_out(), held_out(sp.csr_array(wild))
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    shown = held_out(sp.csr_array(wild), leak=True)
    assert not np.array_equal(shown.output, held_out(leak=True).output)


@pytest.mark.slow
def test_the_published_program_learns_what_it_is_then_asked() -> None:
    changes = {"epochs": 60, "learning_rate": 1e-2, "dropout": 0.0}
    truth = np.log1p(section()[0].toarray()[:, UNKNOWN])
    error = [np.abs(held_out(leak=leak, **changes).output - truth).mean() for leak in (True, False)]
    assert error[0] < 0.5 * error[1], "on counts that are noise"


@pytest.mark.parametrize("leak", [True, False])
def test_a_seed_gives_the_same_bits(leak: bool) -> None:
    state = torch.random.get_rng_state()
    first, second = held_out(leak=leak), held_out(leak=leak)
    assert torch.equal(state, torch.random.get_rng_state())
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [part.shape for part in first] == [(30, 3)] * 2
    low, high = np.log1p(section()[1].toarray()[:, UNKNOWN].min()), np.log1p(9)
    assert first.attended.min() >= low
    assert first.attended.max() <= high, "attention averages cells"


@pytest.mark.parametrize("spots", [5, 17])
def test_a_last_batch_may_be_small(spots: int) -> None:
    x, cells, xy = section(spots)
    found = predict_held_out(x, cells, xy, UNKNOWN, TINY, leak=True, seed=0, device=CPU, job=Job())
    assert [len(part) for part in found] == [spots] * 2
    assert all(np.isfinite(part).all() for part in found)


def test_a_job_stops_it() -> None:
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        train_reference(SincaReferenceNet(9, 3, TINY), seen(leak=False), TINY, job)


# The first version


def test_of_spots_that_share_a_place_the_last_is_laid() -> None:
    xy = torch.tensor([[0.0, 0], [0, 9], [0, 0.1], [9, 9]])
    at, last, side = whole_places_of(xy)
    assert side == 4
    assert at.tolist() == [0, 12, 0, 15], "y counts rows"
    assert last.tolist() == [2, *[-1] * 11, 1, -1, -1, 3]
    assert whole_places_of(at_random(20_000, 2)).side == 256


def test_size_of_the_first_network() -> None:
    genes, width, ff, layers = 50, 16, 24, 3
    network = SincaFirstNet(
        genes, SincaFirstRecipe(width=width, heads=4, layers=layers, feed_forward=ff)
    )
    norm, square = 2 * width, width**2 + width
    adapter = width * 4 + 4 + 4 * width + width
    assert sum(p.numel() for p in network.parameters()) == sum(
        [
            genes * width + width + 2 * width + 2 * adapter + norm,
            2 * (9 * width**2 + width) + 2 * norm,
            4 * square + norm,
            layers * (4 * square + width * ff + ff + ff * width + width + 2 * norm) + norm,
            width * 8 + 8 + 8 * genes + genes,
        ]
    )


def test_the_first_network_attends_to_at_most_5000_cells() -> None:
    network = SincaFirstNet(12, FIRST).eval()
    spots, xy = at_random(9, 12), at_random(9, 2)
    genes, weights, drawn = network(spots, xy, at_random(MOST_CELLS + 10, 12))
    assert genes.shape == (9, 12)
    assert weights.shape == (9, MOST_CELLS)
    assert len(drawn.unique()) == MOST_CELLS
    assert not torch.equal(drawn, network(spots, xy, at_random(MOST_CELLS + 10, 12))[2])
    assert network(spots, xy, at_random(20, 12))[2].tolist() == list(range(20))


def test_mask_of_the_first_version() -> None:
    genes = np.arange(0, 205, 10)
    mask = drawn_mask((2000, 205), genes, 0.1, 3)
    assert mask[:, np.setdiff1d(np.arange(205), genes)].sum() == 0
    assert mask[:, genes].mean() == pytest.approx(0.1, abs=0.006)
    np.testing.assert_array_equal(mask, drawn_mask((2000, 205), genes, 0.1, 3))
    assert (mask != drawn_mask((2000, 205), genes, 0.1, 4)).any()


def test_masked_loss_is_diluted_by_what_is_seen() -> None:
    hidden = torch.tensor([[True, False], [False, False]])
    assert float(masked_loss(torch.full((2, 2), 3.0), torch.ones(2, 2), hidden)) == 4 / 4


def test_first_version_predicts_and_without_its_leak_reads_no_held_out_gene() -> None:
    spots, cells, xy = section()
    wild = spots.toarray()
    wild[:, UNKNOWN] += 100

    def predicted(counts: sp.csr_array, *, leak: bool) -> HeldOut:
        return predict_held_out_first(
            counts, cells, xy, UNKNOWN, FIRST, leak=leak, seed=0, device=CPU, job=Job()
        )

    hidden = predicted(spots, leak=False)
    assert [part.shape for part in hidden] == [(30, 3)] * 2
    for ours, theirs in zip(hidden, predicted(sp.csr_array(wild), leak=False), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    shown = [predicted(counts, leak=True).output for counts in (spots, sp.csr_array(wild))]
    assert not np.array_equal(*shown)
