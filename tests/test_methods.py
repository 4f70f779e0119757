from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from napari_stenhance.errors import InputError
from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.features.source import FeatureSource
from napari_stenhance.methods.basis import fit_basis
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.ensemble import Ensemble
from napari_stenhance.methods.genes import choose_genes, variance
from napari_stenhance.methods.members import Targets, held_out_accuracy, spread_scales
from napari_stenhance.methods.pixel2gene.ensemble import Pixel2GeneEnsemble, Pixel2GeneRecipe
from napari_stenhance.methods.pixel2gene.inputs import half_width, inputs_of, training_inputs
from napari_stenhance.methods.pixel2gene.learner import SpotSchedule
from napari_stenhance.methods.pixel2gene.model import Pixel2GeneModel
from napari_stenhance.methods.rank import CHOICES, NO_SIGNAL
from napari_stenhance.methods.registry import load_fitted, make_method
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.metrics import gene_accuracy, pearson
from napari_stenhance.scoring.splits import block_folds
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.section import Section
from napari_stenhance.section.spots import log1p_cp10k
from napari_stenhance.storage.tiles import tiles_of
from napari_stenhance.tasks.train import TrainOptions

QUICK = Pixel2GeneRecipe(members=5, hidden=(32, 32), schedule=SpotSchedule(epochs=30))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def fitted(sample: TrainingSection) -> Pixel2GeneModel:
    return Pixel2GeneEnsemble("stain", 0, CPU, QUICK).fit([sample], sample.genes, Job())


def test_pearson_matches_numpy_and_is_nan_for_what_does_not_vary() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((30, 4)), rng.random((30, 4))
    b[:, 2] = 5
    r = pearson(a, b)
    assert np.isnan(r[2])
    for g in (0, 1, 3):
        assert r[g] == pytest.approx(np.corrcoef(a[:, g], b[:, g])[0, 1])


@given(st.integers(1, 120), st.integers(2, 6), st.integers(0, 5))
def test_folds_are_whole_blocks_of_even_size(spots: int, folds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    xy = rng.random((spots, 2)) * 4000
    fold = block_folds(xy, 1000, folds, rng)
    assert fold.shape == (spots,)
    assert fold.min() >= 0
    assert fold.max() < folds
    if spots >= 4 * folds:
        assert np.bincount(fold, minlength=folds).min() > 0


def test_held_out_spots_are_not_scattered_among_the_others() -> None:
    x, y = np.meshgrid(np.arange(20) * 200.0, np.arange(20) * 200.0)
    xy = np.column_stack([x.ravel(), y.ravel()])
    fold = block_folds(xy, 1000, 5, np.random.default_rng(0)).reshape(20, 20)
    same = (fold[1:] == fold[:-1]).mean()
    assert same > 0.7  # a random split would give 0.2


def test_log1p_cp10k_is_what_its_name_says(sample: TrainingSection) -> None:
    genes = ("G5", "G0")
    got = sample.log1p_cp10k(genes).toarray()
    counts = sample.counts.toarray()
    columns = [sample.genes.index(g) for g in genes]
    expected = np.log1p(counts[:, columns] / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_empty_spots_are_not_learned_from(synthetic: Section, sample: TrainingSection) -> None:
    spots = synthetic.need_spots().copy()
    counts = spots.X.toarray()
    counts[3] = 0
    counts[3, 0] = 1
    spots.X = sp.csr_matrix(counts)
    section = replace(synthetic, spots=spots)
    under = Footprints.under(
        sample.features.grid, section.spots_um(), section.geometry(), sample.features.tissue
    )
    assert (
        len(TrainingSection.from_section(section, sample.features, under, 0.05).xy_um)
        == len(sample.xy_um) - 1
    )
    assert section.counts_sha256 != synthetic.counts_sha256


def test_spots_off_the_tissue_are_refused(synthetic: Section, sample: TrainingSection) -> None:
    none = np.zeros_like(sample.features.tissue)
    under = Footprints.under(sample.features.grid, synthetic.spots_um(), synthetic.geometry(), none)
    with pytest.raises(InputError, match="none of the 68 spots lies on tissue"):
        TrainingSection.from_section(synthetic, sample.features, under, 0.05)


def test_genes_are_chosen_by_rule_list_or_file(sample: TrainingSection, tmp_path: Path) -> None:
    assert choose_genes("all", [sample]) == sample.genes
    assert choose_genes("G3,G1", [sample]) == ("G3", "G1")
    file = tmp_path / "genes.txt"
    file.write_text("G7\n\nG2\nG7\n")
    assert choose_genes(f"@{file}", [sample]) == ("G7", "G2")
    dense = sample.log1p_cp10k(sample.genes).toarray()
    np.testing.assert_allclose(
        variance([sample.log1p_cp10k(sample.genes)]), dense.var(axis=0), rtol=1e-4, atol=1e-6
    )
    most = {sample.genes[n] for n in np.argsort(-dense.var(axis=0))[:6]}
    assert set(choose_genes("hvg:6", [sample])) == most
    for bad, match in (("hvg:x", "hvg:N"), ("G1,GX", "GX"), (",", "no gene is named")):
        with pytest.raises(InputError, match=match):
            choose_genes(bad, [sample])
    other = replace(sample, genes=tuple(f"X{n}" for n in range(len(sample.genes))))
    with pytest.raises(InputError, match="no gene in common"):
        choose_genes("all", [sample, other])


def test_basis_is_the_svd_of_sections_centred_on_their_own_mean() -> None:
    rng = np.random.default_rng(0)
    parts = [sp.csr_array(rng.random((n, 30)).astype("f4") + n / 40) for n in (25, 18)]
    basis, scores = fit_basis(parts, 7, seed=0)
    dense = [p.toarray().astype(float) for p in parts]
    centred = np.concatenate([d - d.mean(axis=0) for d in dense])
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs((basis.axes * axes[:7]).sum(axis=1)), 1, atol=1e-5)
    np.testing.assert_allclose(basis.axes @ basis.axes.T, np.eye(7), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(scores, axis=0), values[:7], rtol=1e-4)
    np.testing.assert_allclose(basis.mean, np.concatenate(dense).mean(axis=0), rtol=1e-5)
    again, _ = fit_basis(parts, 7, seed=0)
    np.testing.assert_array_equal(again.axes, basis.axes)


def test_a_gene_that_is_nowhere_has_no_part_in_the_basis() -> None:
    counts = np.random.default_rng(0).random((40, 60)).astype("f4")
    counts[:, [7, 31]] = 0
    basis, _ = fit_basis([sp.csr_array(counts)], 16, seed=0)
    assert np.flatnonzero(~basis.axes.any(axis=0)).tolist() == [7, 31]


@pytest.mark.parametrize("shape", [(3, 1), (12, 2), (11, 300)])
def test_basis_of_few_spots_or_genes(shape: tuple[int, int]) -> None:
    part = sp.csr_array(np.random.default_rng(0).random(shape).astype("f4"))
    basis, scores = fit_basis([part], 256, seed=0)
    assert basis.axes.shape[0] <= max(min(shape) - 1, 1)
    assert np.isfinite(scores).all()


def test_inputs_are_means_and_spreads_over_the_tissue_around() -> None:
    rng = np.random.default_rng(0)
    reach = 62
    tissue = rng.random((144, 139)) < 0.7
    values = rng.standard_normal((144, 139, 3)).astype("f4") * tissue[..., None]
    core = slice(reach, 144 - reach), slice(reach, 139 - reach)
    tile = FeatureTile(values, tissue, np.empty((144, 139, 2)), core)
    inputs = inputs_of(tile, 8.0)
    at = np.argwhere(tissue[core]) + reach
    assert inputs.shape == (len(at), 15)
    assert [half_width(width, 8) for width in (88, 480, 1000)] == [5, 30, 62]
    for n in (0, len(at) // 2, len(at) - 1):
        r, c = at[n]
        near, far, wide = (
            values[r - h : r + h + 1, c - h : c + h + 1][
                tissue[r - h : r + h + 1, c - h : c + h + 1]
            ]
            for h in (5, 30, 62)
        )
        means = far.mean(axis=0), wide.mean(axis=0)
        expected = [values[r, c], near.mean(axis=0), near.std(axis=0), *means]
        np.testing.assert_allclose(inputs[n], np.concatenate(expected), atol=2e-6)


def test_members_of_an_ensemble_are_independent_networks() -> None:
    torch.manual_seed(0)
    network = Ensemble(3, 5, 2, (7, 4), 0.5).eval()
    inputs = torch.randn(3, 11, 5)
    together = network(inputs)
    for m in range(3):
        values = inputs[m]
        for n in range(3):
            values = values @ network.weights[n][m] + network.biases[n][m]
            if n < 2:
                values = torch.nn.functional.leaky_relu(values, 0.1)
        torch.testing.assert_close(together[m], values)
    # The last layer is linear, so pooling before it is pooling after it.
    pooled = network.output(network.hidden(inputs).mean(dim=1, keepdim=True))
    torch.testing.assert_close(pooled[:, 0], together.mean(dim=1))


def test_robust_learns_what_the_stain_shows(fitted: Pixel2GeneModel) -> None:
    r = fitted.decoder.held_out_r
    assert np.median(r[:13]) > 0.4
    assert fitted.decoder.unit == "log1p CP10k"
    assert fitted.decoder.weights.shape[1] == 40
    # The last channel is depth.
    axes = fitted.decoder.weights[:-1]
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-5)


def test_held_out_accuracy_is_no_better_than_chance_on_shuffled_counts(
    sample: TrainingSection,
) -> None:
    order = np.random.default_rng(1).permutation(len(sample.xy_um))
    shuffled = replace(sample, counts=sample.counts[order])
    fitted = Pixel2GeneEnsemble("stain", 0, CPU, QUICK).fit([shuffled], sample.genes, Job())
    assert abs(np.median(fitted.decoder.held_out_r)) < 0.2


def test_training_is_reproducible_and_seeds_differ(sample: TrainingSection) -> None:
    brief = replace(QUICK, schedule=SpotSchedule(epochs=4))

    def fit(seed: int) -> Pixel2GeneModel:
        return Pixel2GeneEnsemble("stain", seed, CPU, brief).fit([sample], sample.genes, Job())

    fitted = fit(0)
    torch.rand(7)  # the global state must not matter
    again, other = fit(0), fit(1)
    for a, b, c in zip(
        fitted.network.weights, again.network.weights, other.network.weights, strict=True
    ):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    np.testing.assert_array_equal(fitted.decoder.spread_scale, again.decoder.spread_scale)


def test_depth_is_learned_beside_genes(sample: TrainingSection, tmp_path: Path) -> None:
    inputs, spot = training_inputs([sample], 16, np.random.default_rng(0), Job())
    seen = np.bincount(spot, inputs[:, 0]) / np.bincount(spot)
    kept = np.clip(0.5 + 0.2 * (seen - seen.mean()) / seen.std(), 0.1, 0.9)
    counts = sample.counts.copy()
    share = np.repeat(kept, np.diff(counts.indptr))
    counts.data = np.random.default_rng(0).binomial(counts.data.astype(int), share).astype("f4")
    thinned = replace(sample, counts=counts)
    fitted = Pixel2GeneEnsemble("stain", 0, CPU, QUICK).fit([thinned], sample.genes, Job())
    fitted.save(tmp_path)
    loaded = load_fitted(tmp_path, CPU)
    assert loaded.decoder.depth == fitted.decoder.depth
    inputs, spot = training_inputs([sample], 10**6, np.random.default_rng(0), Job())
    latents = fitted.scores(inputs).mean(axis=0)
    latents = np.stack([np.bincount(spot, column) for column in latents.T], axis=1)
    total = loaded.decoder.total(latents / np.bincount(spot)[:, None])
    assert pearson(np.log(total)[:, None], np.log(thinned.library)[:, None])[0] > 0.5
    assert np.median(total) == pytest.approx(np.median(thinned.library), rel=0.1)
    with pytest.raises(InputError, match="says nothing of how much a spot counts"):
        replace(loaded.decoder, depth=None).total(latents)


def test_a_single_gene_can_be_learned(sample: TrainingSection) -> None:
    fitted = Pixel2GeneEnsemble("stain", 0, CPU, QUICK).fit([sample], ("G1",), Job())
    assert fitted.decoder.weights.shape == (2, 1)
    assert np.isfinite(fitted.decoder.held_out_r).all()


def test_models_and_methods_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the saved model cannot be read"):
        load_fitted(tmp_path, CPU)
    (tmp_path / "config.json").write_text('{"method": "future", "preset": "best"}')
    with pytest.raises(InputError, match="a model of future best"):
        load_fitted(tmp_path, CPU)
    with pytest.raises(InputError, match="no such choice; there are histosge, pixel2gene"):
        TrainOptions((), Path("out"), method="magic")
    with pytest.raises(InputError, match="at least one epoch"):
        make_method(TrainOptions((), Path("out"), epochs=0), 0, CPU)


def test_too_few_spots_are_refused(sample: TrainingSection) -> None:
    few = sample.footprints.spot < 6
    under = Footprints(
        sample.footprints.spot[few], sample.footprints.row[few], sample.footprints.column[few], 6
    )
    small = replace(sample, counts=sample.counts[:6], xy_um=sample.xy_um[:6], footprints=under)
    with pytest.raises(InputError, match="only 6 spots"):
        Pixel2GeneEnsemble("stain", 0, CPU, QUICK).fit([small], sample.genes, Job())


def _latents(fitted: Pixel2GeneModel, features: FeatureSource, size: int) -> np.ndarray:
    halo = round(fitted.halo_um / features.grid.pitch_um)
    full = np.empty((2, *features.grid.shape, len(fitted.decoder.weights)), np.float16)
    for tile in tiles_of(features.grid.shape, size):
        full[:, tile.rows, tile.columns] = fitted.latent(
            features.tile(tile.rows, tile.columns, halo)
        )[:2]
    return full


def test_two_tile_sizes_give_the_same_field(
    fitted: Pixel2GeneModel, sample: TrainingSection
) -> None:
    one = _latents(fitted, sample.features, 256)
    two = _latents(fitted, sample.features, 48)
    assert np.isfinite(one).all(axis=(0, 3)).sum() == sample.features.tissue.sum()
    np.testing.assert_array_equal(one, two)


def test_a_model_that_saw_less_is_refused(fitted: Pixel2GeneModel, sample: TrainingSection) -> None:
    older = replace(fitted, shift=fitted.shift[:648], scale=fitted.scale[:648])
    tile = sample.features.tile(slice(100, 140), slice(80, 120), 62)
    with pytest.raises(InputError, match="has 648 inputs where 810 are seen now: a version before"):
        older.latent(tile)


def test_a_model_survives_saving(
    fitted: Pixel2GeneModel, sample: TrainingSection, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["config.json", "weights.safetensors"]
    loaded = Pixel2GeneModel.load(tmp_path, CPU)
    tile = sample.features.tile(slice(100, 140), slice(80, 120), 62)
    np.testing.assert_array_equal(loaded.latent(tile).mean, fitted.latent(tile).mean)
    np.testing.assert_array_equal(loaded.latent(tile).variance, fitted.latent(tile).variance)
    assert loaded.decoder.genes == fitted.decoder.genes
    (tmp_path / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="cannot be read"):
        Pixel2GeneModel.load(tmp_path, CPU)


def test_spread_is_brought_to_the_exact_deviation_of_the_members(
    fitted: Pixel2GeneModel, sample: TrainingSection
) -> None:
    tile = sample.features.tile(slice(60, 180), slice(60, 180), 62)
    there = tile.tissue[tile.core]
    latent = fitted.latent(tile)
    scores = fitted.scores(inputs_of(tile, 8.0))
    assert fitted.decoder.weights.shape[0] >= 2
    exact, shown = [], []
    for gene in range(0, 40, 3):
        genes = scores @ fitted.decoder.weights[:, gene]
        exact.append(genes.std(axis=0, ddof=1))
        shown.append(fitted.decoder.spread(latent.variance[there], gene))
        ratio = np.sqrt(np.mean(np.square(exact[-1]))) / np.sqrt(np.mean(np.square(shown[-1])))
        assert 0.7 < ratio < 1.4
    assert np.corrcoef(np.ravel(exact), np.ravel(shown))[0, 1] > 0.7


def test_spread_scale_is_one_for_independent_axes() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((400, 50, 3)).astype("f4")
    decoder = Decoder(
        genes=("A", "B"),
        weights=rng.standard_normal((3, 2)).astype("f4"),
        bias=np.zeros(2, "f4"),
        unit="log1p CP10k",
        held_out_r=np.zeros(2, "f4"),
        held_out_r_given_depth=np.zeros(2, "f4"),
        spread_scale=np.ones(2, "f4"),
    )
    np.testing.assert_allclose(spread_scales(scores, decoder), 1, atol=0.05)
    tied = np.repeat(scores[..., :1], 3, axis=2)
    weights = decoder.weights.astype(float)
    exact = np.abs(weights.sum(axis=0)) / np.sqrt((weights**2).sum(axis=0))
    np.testing.assert_allclose(spread_scales(tied, decoder), exact, rtol=1e-3)


def test_a_sample_reads_dense_counts_too(synthetic: Section, sample: TrainingSection) -> None:
    spots = ad.AnnData(
        X=synthetic.need_spots().X.toarray(),
        obsm={"spatial": synthetic.need_spots().obsm["spatial"]},
        var=synthetic.need_spots().var,
        uns=dict(synthetic.need_spots().uns),
    )
    spots.obs_names = synthetic.need_spots().obs_names
    dense = replace(synthetic, spots=spots)
    assert dense.counts_sha256 == synthetic.counts_sha256
    got = TrainingSection.from_section(dense, sample.features, sample.footprints, 0.05)
    assert (got.counts != sample.counts).nnz == 0


def residuals(values: np.ndarray, on: np.ndarray) -> np.ndarray:
    design = np.column_stack([np.ones(len(on)), on])
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def test_r_given_depth_is_that_of_the_residuals_on_log_depth() -> None:
    rng = np.random.default_rng(0)
    depth = rng.lognormal(8, 0.7, 60)
    shared = 2 * np.log(depth)[:, None]
    truth = rng.standard_normal((60, 5))
    measured = (truth + shared).astype("f4")
    predicted = (truth + rng.standard_normal((60, 5)) + shared).astype("f4")
    measured[:, 1] = 3
    measured[:, 2] = 2 * np.log(depth)
    predicted[:, 3] = 0
    found = gene_accuracy(predicted, measured, depth)
    np.testing.assert_array_equal(np.isnan(found.r), [False, True, False, False, False])
    np.testing.assert_array_equal(np.isnan(found.r_given_depth), [False, True, True, False, False])
    assert (found.r[3], found.r_given_depth[3]) == (0, 0), "it varies, and nothing is said of it"
    for g in (0, 4):
        left = [residuals(v[:, g].astype(float), np.log(depth)) for v in (predicted, measured)]
        assert found.r_given_depth[g] == pytest.approx(np.corrcoef(*left)[0, 1], rel=1e-4)
        assert found.r[g] == pytest.approx(np.corrcoef(predicted[:, g], measured[:, g])[0, 1])
        assert found.r_given_depth[g] < found.r[g]
    # Depth that does not vary is held constant already.
    same = gene_accuracy(predicted, measured, np.full(60, 1234.5))
    np.testing.assert_allclose(same.r_given_depth, same.r)


def test_a_section_where_a_gene_is_silent_does_not_hide_it_in_the_others() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((3, 40, 3)).astype("f4")
    values[1, :, 0] = 0
    values[:, :, 1] = 0
    sections = [sp.csr_array(part) for part in values]
    scores = np.concatenate(values) + 0.3 * rng.standard_normal((120, 3)).astype("f4")
    scores[5] = np.nan  # no member held it out
    depths = [rng.lognormal(7, 1, 40) for _ in range(3)]
    found = held_out_accuracy(scores, np.eye(3, dtype="f4"), sections, depths)
    seen = np.delete(np.arange(40), 5)
    r = [
        np.corrcoef(scores[part][:, 0], values[n][rows, 0])[0, 1]
        for n, part, rows in ((0, seen, seen), (2, slice(80, 120), slice(None)))
    ]
    assert found.r[0] == pytest.approx(np.mean(r), rel=1e-5)
    np.testing.assert_array_equal(np.isnan(found.r), [False, True, False])
    np.testing.assert_array_equal(np.isnan(found.r_given_depth), [False, True, False])


@pytest.mark.parametrize("seed", range(5))
def test_without_signal_the_smallest_rank_and_a_doubt(seed: int) -> None:
    rng = np.random.default_rng(seed)
    xy = np.stack(np.meshgrid(np.arange(14.0), np.arange(10.0)), axis=-1).reshape(-1, 2) * 200
    fold = block_folds(xy, 1000, 5, rng)
    inputs = rng.standard_normal((len(xy), 20)).astype("f4")
    # Depth differs, as it does where nothing else does.
    rate = 5 * rng.gamma(3, 1 / 3, (len(xy), 1)) * np.ones(60)
    for follows in (False, True):
        if follows:
            rate[:, :30] *= np.exp(inputs[:, :1])
        counts = sp.csr_array(rng.poisson(rate).astype("f4"))
        expression = [log1p_cp10k(counts, np.asarray(counts.sum(axis=1)).ravel())]
        targets = Targets.of(expression, inputs, fold, seed)
        assert targets.doubts == (() if follows else (NO_SIGNAL,))
        if not follows:
            assert len(targets.basis.axes) == CHOICES[0]


def test_a_model_says_what_it_doubts_after_it_was_saved(
    sample: TrainingSection, tmp_path: Path
) -> None:
    order = np.random.default_rng(1).permutation(len(sample.xy_um))
    shuffled = replace(sample, counts=sample.counts[order])
    quick = replace(QUICK, schedule=SpotSchedule(epochs=1))
    fitted = Pixel2GeneEnsemble("stain", 0, CPU, quick).fit([shuffled], sample.genes, Job())
    assert fitted.decoder.doubts == (NO_SIGNAL,)
    fitted.save(tmp_path)
    assert load_fitted(tmp_path, CPU).decoder.doubts == (NO_SIGNAL,)
    again = load_fitted(tmp_path, CPU).decoder.held_out_r_given_depth
    np.testing.assert_array_equal(again, fitted.decoder.held_out_r_given_depth)
    assert (
        Pixel2GeneEnsemble("stain", 0, CPU, quick).fit([sample], sample.genes, Job()).decoder.doubts
        == ()
    )


def test_a_model_saved_before_knows_no_r_given_depth_and_no_doubts(
    sample: TrainingSection, tmp_path: Path
) -> None:
    quick = replace(QUICK, schedule=SpotSchedule(epochs=1))
    Pixel2GeneEnsemble("stain", 0, CPU, quick).fit([sample], sample.genes[:5], Job()).save(tmp_path)
    tensors = load_file(tmp_path / "weights.safetensors")
    del tensors["held_out_r_given_depth"]
    save_file(tensors, tmp_path / "weights.safetensors")
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    for later in ("doubts", "crc32", "weights_crc32"):
        del config[later]
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    decoder = load_fitted(tmp_path, CPU).decoder
    assert np.isnan(decoder.held_out_r_given_depth).all()
    assert np.isfinite(decoder.held_out_r).any()
    assert decoder.doubts == ()
