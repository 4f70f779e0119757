"""HisToSGE and SpaMCAF: the published networks and recipes, and what `robust` must keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_stenhance.errors import InputError
from napari_stenhance.features.crops import pooled_tissue
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import CropLayout, FeatureSettings, FeatureSource
from napari_stenhance.methods.crops.design import Design
from napari_stenhance.methods.crops.ensemble import CropEnsemble
from napari_stenhance.methods.crops.model import CropModel
from napari_stenhance.methods.crops.neighbourhood import reach
from napari_stenhance.methods.crops.reference.method import CropReference
from napari_stenhance.methods.crops.reference.recipe import (
    array_codes,
    constant_rate,
    groups_of,
    warm_up_and_cosine,
)
from napari_stenhance.methods.histosge.network import HISTOSGE
from napari_stenhance.methods.histosge.reference import HISTOSGE_REFERENCE
from napari_stenhance.methods.protocol import Positions
from napari_stenhance.methods.registry import load_fitted, make_method
from napari_stenhance.methods.robust import RobustRecipe
from napari_stenhance.methods.spamcaf.network import SPAMCAF
from napari_stenhance.methods.spamcaf.reference import SPAMCAF_REFERENCE
from napari_stenhance.methods.training import Schedule
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import Section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.tiles import tiles_of
from napari_stenhance.tasks.train import TrainOptions

CPU = torch.device("cpu")
QUICK = RobustRecipe(members=5, schedule=Schedule(epochs=12))
BRIEF = RobustRecipe(members=2, schedule=Schedule(epochs=2))
DESIGNS = {d.method: d for d in (HISTOSGE, SPAMCAF)}
REFERENCES = {r.method: r for r in (HISTOSGE_REFERENCE, SPAMCAF_REFERENCE)}


def sample_of(section: Section, crops_um: tuple[float, ...], cache: Cache) -> TrainingSection:
    layout = CropLayout(crops_um, 40.0)
    settings = FeatureSettings(find_encoder("stain"), CPU, cache, crops=layout)
    features = open_features(section.need_slide(), settings, Job())
    features.extract()
    under = Footprints.under(features.grid, section.spots_um(), section.geometry(), features.tissue)
    return TrainingSection.from_section(section, features, under, 0.0)


@pytest.fixture(params=list(DESIGNS))
def design(request: pytest.FixtureRequest) -> Design:
    return DESIGNS[request.param]


def robust(design: Design, recipe: RobustRecipe = QUICK) -> CropEnsemble:
    return CropEnsemble("stain", 0, CPU, recipe, design=design, crops_um=design.crops_um)


_FITTED: dict[str, tuple[TrainingSection, CropModel]] = {}


@pytest.fixture
def learned(
    design: Design, synthetic: Section, session_cache: Cache
) -> tuple[TrainingSection, CropModel]:
    """A sample and what was learned from it, once for all tests."""
    key = design.method
    if key not in _FITTED:
        sample = sample_of(synthetic, design.crops_um, session_cache)
        _FITTED[key] = sample, robust(design).fit([sample], sample.genes, Job())
    return _FITTED[key]


# The published networks


@pytest.mark.parametrize(
    ("method", "sizes", "unused", "published"),
    [("histosge", 1, 2_048, 8_355_816), ("spamcaf", 2, 0, 13_607_913)],
)
def test_published_networks_have_as_many_parameters(
    method: str, sizes: int, unused: int, published: int
) -> None:
    with torch.device("meta"):
        network = REFERENCES[method].make(sizes * 1024, sizes, 1000)
    assert sum(p.numel() for p in network.parameters()) == published - unused


@pytest.mark.parametrize(("method", "sizes"), [("histosge", 1), ("spamcaf", 2)])
def test_published_networks_predict_a_group(method: str, sizes: int) -> None:
    torch.manual_seed(0)
    network = REFERENCES[method].make(sizes * 32, sizes, 1000).eval()
    crops, there = torch.randn(1, 49, sizes * 32), torch.ones(1, 49, dtype=torch.bool)
    array_xy = torch.randint(0, 128, (1, 49, 2))
    genes, attention = network(crops, array_xy, there)
    assert genes.shape == (1, 49, 1000)
    assert genes.min() >= 0
    assert genes.max() > 0
    order = torch.randperm(49)
    moved, _ = network(crops[:, order], array_xy[:, order], there)
    torch.testing.assert_close(moved, genes[:, order])
    alone, _ = network(crops[:, :1], array_xy[:, :1], there[:, :1])
    if method == "spamcaf":
        torch.testing.assert_close(attention.sum(dim=2), torch.ones(1, 49))
        assert attention.std() > 0
        torch.testing.assert_close(alone, genes[:, :1])
    else:
        assert attention.shape == (1, 49, 0)
        assert (alone - genes[:, :1]).abs().max() > 1e-3


def test_what_fills_up_a_group_is_not_attended_to() -> None:
    torch.manual_seed(0)
    network = HISTOSGE_REFERENCE.make(32, 1, 10).eval()
    crops, array_xy = torch.randn(1, 9, 32), torch.randint(0, 128, (1, 9, 2))
    there = torch.arange(9)[None] < 6
    filled, _ = network(crops, array_xy, there)
    exact, _ = network(crops[:, :6], array_xy[:, :6], there[:, :6])
    torch.testing.assert_close(filled[:, :6], exact)


def test_histosge_by_hand() -> None:
    """One token: attention is its own value, so the layer can be followed."""
    torch.manual_seed(1)
    n: Any = HISTOSGE_REFERENCE.make(8, 1, 3).eval()
    crop, at = torch.randn(1, 1, 8), torch.tensor([[[5, 7]]])
    got, _ = n(crop, at, torch.ones(1, 1, dtype=torch.bool))
    x = crop + n.column.weight[5] + n.row.weight[7]
    normal = torch.nn.functional.layer_norm(x, (8,), n.norm_attention.weight, n.norm_attention.bias)
    value = normal @ n.query_key_value.weight[512:].T
    x = x + value @ n.gathered.weight.T + n.gathered.bias
    x = x + n.feed(x)
    torch.testing.assert_close(got, n.head(x).relu())


# The published recipes


@pytest.mark.parametrize(("spots", "groups", "sizes"), [(1730, 35, {49, 50}), (1259, 26, {48, 49})])
def test_groups_are_of_about_fifty_in_order(spots: int, groups: int, sizes: set[int]) -> None:
    parts = groups_of(spots)
    assert len(parts) == groups
    assert {len(p) for p in parts} == sizes
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(spots))


@pytest.mark.parametrize(
    ("epoch", "published"),
    [
        *((0, 2.0e-4), (1, 4.0e-4), (4, 1.0e-3), (50, 1.0e-3), (100, 9.94e-4), (250, 9.04e-4)),
        *((500, 5.75e-4), (750, 2.02e-4), (999, 5.27e-6)),
    ],
)
def test_the_learning_rate_of_spamcaf(epoch: int, published: float) -> None:
    steps = 35
    assert warm_up_and_cosine((epoch + 1) * steps, steps, 1000) == pytest.approx(
        published, rel=6e-3
    )
    assert constant_rate((epoch + 1) * steps, steps, 1000) == 1e-3


def test_places_between_spots_share_a_number() -> None:
    places = np.array([[3.5, 4.5], [2.5, 4.5], [-0.5, 0.2], [600.0, 511.0]])
    np.testing.assert_array_equal(array_codes(places), [[3, 4], [2, 4], [0, 0], [511, 511]])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["histosge", "spamcaf"])
def test_reference_learns_predicts_and_is_saved(
    method: str, synthetic: Section, session_cache: Cache, tmp_path: Path
) -> None:
    recipe = replace(REFERENCES[method], epochs=60 if method == "histosge" else 30)
    made = CropReference(recipe, recipe.crops_um, "stain", 0, CPU)
    sample = sample_of(synthetic, recipe.crops_um, session_cache)
    genes = sample.genes[:12]
    fitted = made.fit([sample], genes, Job())
    at = Positions(sample.xy_um, sample.array_xy)
    latent = fitted.latent_at(sample.features, at, Job())
    assert latent.mean.shape == (len(sample.xy_um), 12)
    assert latent.mean.min() >= 0
    measured = sample.log1p_cp10k(genes).toarray()
    assert np.nanmean(pearson(latent.mean, measured)) > 0.5  # of spots it learned from

    whole = _field(fitted, sample.features, 256)
    np.testing.assert_array_equal(whole, _field(fitted, sample.features, 29))
    np.testing.assert_array_equal(np.isfinite(whole[..., 0]), sample.features.tissue)

    fitted.save(tmp_path)
    again: Any = load_fitted(tmp_path, CPU)
    np.testing.assert_array_equal(again.latent_at(sample.features, at, Job()).mean, latent.mean)


# Robust


def _field(fitted: Any, features: FeatureSource, size: int) -> np.ndarray:
    full = np.empty((*features.grid.shape, fitted.decoder.channels), np.float32)
    halo = round(fitted.halo_um / features.grid.pitch_um)
    for tile in tiles_of(features.grid.shape, size):
        seen = features.tile(tile.rows, tile.columns, halo, raw=fitted.raw)
        full[tile.rows, tile.columns] = fitted.latent(seen).mean
    return full


def test_two_tile_sizes_give_the_same_field(
    learned: tuple[TrainingSection, CropModel],
) -> None:
    sample, fitted = learned
    whole = _field(fitted, sample.features, 256)
    np.testing.assert_array_equal(whole, _field(fitted, sample.features, 23))
    np.testing.assert_array_equal(np.isfinite(whole[..., 0]), sample.features.tissue)


def test_a_position_does_not_depend_on_what_else_was_asked_for(
    learned: tuple[TrainingSection, CropModel],
) -> None:
    sample, fitted = learned
    every = fitted.latent_at(sample.features, Positions(sample.xy_um), Job())
    some = fitted.latent_at(sample.features, Positions(sample.xy_um[[7, 3]]), Job())
    np.testing.assert_allclose(some.mean, every.mean[[7, 3]], rtol=0, atol=1e-6)


def test_table_and_field_agree_at_the_centres_of_superpixels(
    learned: tuple[TrainingSection, CropModel],
) -> None:
    sample, fitted = learned
    row, column = (n[::50] for n in np.nonzero(sample.features.tissue))
    at = Positions(sample.features.grid.centres_um(row, column))
    table = fitted.latent_at(sample.features, at, Job())
    field = _field(fitted, sample.features, 256)[row, column]
    np.testing.assert_allclose(table.mean, field, rtol=0, atol=1e-4)


def test_held_out_genes_that_follow_the_stain_are_predicted(
    learned: tuple[TrainingSection, CropModel],
) -> None:
    r = learned[1].decoder.held_out_r
    # Also genes that follow nothing: the others change their share of the counts.
    assert np.nanmean(r) > 0.35


def test_models_are_saved_whole(
    learned: tuple[TrainingSection, CropModel], design: Design, tmp_path: Path
) -> None:
    sample, fitted = learned
    before = fitted.latent_at(sample.features, Positions(sample.xy_um), Job())
    fitted.save(tmp_path)
    loaded: Any = load_fitted(tmp_path, CPU)
    after = loaded.latent_at(sample.features, Positions(sample.xy_um), Job())
    np.testing.assert_array_equal(after.mean, before.mean)
    assert (loaded.crops_um, loaded.halo_um) == (fitted.crops_um, fitted.halo_um)
    if design.variant:
        replace(fitted, design=replace(design, variant="coded")).save(tmp_path)
        with pytest.raises(InputError, match="network of spamcaf changed; train it again"):
            load_fitted(tmp_path, CPU)


def test_models_are_learned_again_alike(
    learned: tuple[TrainingSection, CropModel], design: Design
) -> None:
    sample, _ = learned
    one, other = (robust(design, BRIEF).fit([sample], sample.genes, Job()) for _ in range(2))
    for name, values in one.members.parameters.items():
        assert torch.equal(values, other.members.parameters[name])


def test_attention_over_sizes(learned: tuple[TrainingSection, CropModel]) -> None:
    sample, fitted = learned
    latent = fitted.latent_at(sample.features, Positions(sample.xy_um), Job())
    if fitted.design.method == "histosge":
        assert latent.attention is None
        return
    assert latent.attention is not None
    assert latent.attention.shape == (len(sample.xy_um), 2)
    np.testing.assert_allclose(latent.attention.sum(axis=1), 1, atol=1e-5)
    assert latent.attention.std() > 0


@pytest.mark.parametrize("pitch_um", [40.0, 50.0, 30.0, 130.0])
def test_the_halo_holds_all_that_is_looked_at(pitch_um: float) -> None:
    offsets = HISTOSGE.offsets_um
    grid = Grid(pitch_um, (100, 100), 0.5)
    centre = grid.centres_um(np.array(50), np.array(50))
    beside = centre + np.random.default_rng(0).uniform(-0.5, 0.5, (500, 2)) * pitch_um
    own, others = (
        np.rint(grid.position(xy)).astype(int) for xy in (beside, beside[:, None] + offsets)
    )
    farthest = np.abs(others - own[:, None]).max()
    assert farthest * pitch_um == pytest.approx(reach(offsets, pitch_um))


@pytest.mark.parametrize("name", list(DESIGNS))
def test_what_lies_around_counts_and_what_is_no_tissue_does_not(name: str) -> None:
    torch.manual_seed(0)
    design = DESIGNS[name]
    sizes = len(design.crops_um)
    network: Any = design.make(sizes * 6, sizes, 4).eval()
    k = len(design.offsets_um)
    own, around = torch.randn(3, sizes * 6), torch.randn(3, k, sizes * 6)
    offset = torch.tensor(design.offsets_um, dtype=torch.float32).expand(3, k, 2)
    there = torch.rand(3, k) < 0.5
    base = network(own, around, offset, there)
    hidden = around.masked_fill(there[..., None], 0) + torch.randn(()) * ~there[..., None]
    off_tissue = around + (hidden - around) * ~there[..., None]
    torch.testing.assert_close(network(own, off_tissue, offset, there).scores, base.scores)
    elsewhere = around + there[..., None].float()
    assert (network(own, elsewhere, offset, there).scores - base.scores).abs().max() > 1e-4
    moved = network(own, around, offset * 0.5, there).scores
    assert (moved - base.scores).abs().max() > 1e-5


def test_branches_of_spamcaf_are_trained() -> None:
    full: Any = SPAMCAF.make(12, 2, 4)
    k = len(SPAMCAF.offsets_um)
    out = full(
        torch.randn(5, 12), torch.randn(5, k, 12), torch.zeros(5, k, 2), torch.ones(5, k) > 0
    )
    assert out.branches.shape == (5, 3, 4)
    assert SPAMCAF.branch_share == 0.3
    out.branches.sum().backward()
    assert all(p.grad is not None for branch in full.branches for p in branch.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "histosge", "preset": "istar"}, "there is no such pair"),
        ({"method": "histosge", "crops": "50,100"}, "crops of one size"),
        ({"crops": "2"}, "different sides of 8 to 2000 micrometres"),
        ({"method": "pixel2gene", "crops": "50"}, "an option of histosge, spamcaf"),
        ({"epochs": 0}, "at least one epoch"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    options = TrainOptions((), Path("out"), **{"method": "spamcaf", **changes})
    with pytest.raises(InputError, match=message):
        make_method(options, 0, CPU)


# Features of crops


def test_crops_average_parts_of_superpixels_over_tissue(
    synthetic: Section, session_cache: Cache
) -> None:
    sample = sample_of(synthetic, (30.0, 112.0), session_cache)
    crops: Any = sample.features
    fine = crops.fine
    shape = fine.grid.shape
    values = fine.tile(slice(0, shape[0]), slice(0, shape[1])).values
    xy_um = sample.xy_um[[0, 11, 40]] + [3.3, -1.7]
    got = crops.at(xy_um)
    for n, at in enumerate(fine.grid.position(xy_um) + 0.5):
        for size, crop_um in enumerate((30.0, 112.0)):
            half = crop_um / 2 / fine.grid.pitch_um
            down, along = (
                np.clip(
                    np.minimum(np.arange(length) + 1, centre + half)
                    - np.maximum(np.arange(length), centre - half),
                    *(0, None),
                )
                for length, centre in zip(shape, at, strict=True)
            )
            weight = np.outer(down, along) * fine.tissue
            expected = np.einsum("yx,yxc->c", weight, values) / weight.sum()
            part = got[n, size * fine.dim : (size + 1) * fine.dim]
            np.testing.assert_allclose(part, expected, atol=1e-4)
    raw = crops.at(xy_um, raw=True)
    mean, sd = fine.moments
    np.testing.assert_allclose((raw[:, : fine.dim] - mean) / sd, got[:, : fine.dim], atol=1e-4)


def test_half_of_a_coarse_superpixel_must_be_tissue(make_slide: Callable[..., Any]) -> None:
    slide = make_slide(np.zeros((64, 64, 3), np.uint8))
    fine, coarse = Grid.over(slide, 8.0), Grid.over(slide, 20.0)
    tissue = np.zeros(fine.shape, bool)
    tissue[:, :4] = True  # to 32 µm: of columns of 20 µm all, then 60 %
    got = pooled_tissue(tissue, fine, coarse)
    np.testing.assert_array_equal(got[0], [True, True, False, False])
    tissue[:, 3] = False  # to 24 µm: 20 % of the second
    np.testing.assert_array_equal(
        pooled_tissue(tissue, fine, coarse)[0], [True, False, False, False]
    )
