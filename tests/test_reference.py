"""The published recipe: golden values by hand, then real and synthetic sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.cluster import KMeans

from made_sections import stain_features
from napari_stenhance.errors import Cancelled, InputError
from napari_stenhance.features.source import FeatureSource
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.genes import MOST_MAPS, choose_genes
from napari_stenhance.methods.pixel2gene.reference.method import Pixel2GeneReference
from napari_stenhance.methods.pixel2gene.reference.model import Pixel2GeneReferenceModel
from napari_stenhance.methods.pixel2gene.reference.network import (
    Pixel2GeneReferenceMember,
    Pixel2GeneReferenceNet,
    SpotData,
    positive,
    train_reference_member,
)
from napari_stenhance.methods.pixel2gene.reference.quality import (
    alone,
    enough_counts,
    find_clusters,
)
from napari_stenhance.methods.pixel2gene.reference.recipe import (
    ISTAR,
    PIXEL2GENE,
    Pixel2GeneReferenceRecipe,
)
from napari_stenhance.methods.pixel2gene.reference.rows import (
    block_ids,
    disc,
    radius_of,
    spatial_folds,
    superpixels_of,
    training_rows,
)
from napari_stenhance.methods.registry import load_fitted
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.results.predictions import at_spots, at_superpixels
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Event, Job, Note, Progress
from napari_stenhance.scoring.metrics import pearson
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.tiles import tiles_of
from napari_stenhance.tasks.enhance import EnhanceOptions
from napari_stenhance.tasks.enhance import enhance as run_enhance
from test_cli import files_of

CPU = torch.device("cpu")
QUICK = replace(PIXEL2GENE, folds=2, epochs=5, clusters=3, most_clustered=3000)


def _sample(section: Section, cache: Cache) -> TrainingSection:
    features = stain_features(section.need_slide(), cache)
    under = Footprints.under(features.grid, section.spots_um(), section.geometry(), features.tissue)
    return TrainingSection.from_section(section, features, under, 0.0)


@pytest.fixture(scope="module")
def sample(synthetic: Section, session_cache: Cache) -> TrainingSection:
    return _sample(synthetic, session_cache)


@pytest.fixture(scope="module")
def fitted(sample: TrainingSection) -> Pixel2GeneReferenceModel:
    return Pixel2GeneReference("stain", 0, CPU, QUICK).fit([sample], sample.genes, Job())


# Golden values, written down before the code was


@pytest.mark.parametrize(
    "radius, superpixels",
    [(0, 1), (0.125, 1), (0.5, 1), (1.0, 5), (1.5, 9), (2, 13), (3.4375, 37), (6.25, 121)],
)
def test_superpixels_under_a_spot(radius: float, superpixels: int) -> None:
    assert len(disc(radius)) == superpixels


def test_radii_go_by_whole_pixels_of_half_a_micrometre() -> None:
    assert radius_of(55.0, 8.0) == 3.4375  # 27.5 µm = 55 px = 55 / 16 superpixels
    assert radius_of(100.0, 8.0) == 6.25
    assert radius_of(8.0, 8.0) == 0.5
    assert radius_of(0.6, 8.0) == 1 / 16  # 0.3 µm = 0.6 px, rounded to 1


def test_bins_lie_in_the_superpixel_that_they_were_made_for() -> None:
    # A pixel is 0.27378507871321 µm; bin k has its centre at pixel 29.22 k + 14.61: 8 k + 4 µm.
    mpp, k = 0.27378507871321, np.arange(2000)
    assert mpp / 0.5 == pytest.approx(0.5475701574)
    xy_um = np.column_stack([29.22 * k + 14.61, 29.22 * k[::-1] + 14.61]) * mpp
    np.testing.assert_array_equal(
        superpixels_of(xy_um, 8.0, nearest=False), np.column_stack([k[::-1], k])
    )
    # iStar rounds: pixel 16 k + 8 is 0.5 of the way, and goes to the even neighbour.
    np.testing.assert_array_equal(superpixels_of(xy_um[:4], 8.0, nearest=True)[:, 1], [0, 2, 2, 4])


def test_the_output_is_positive_and_unbounded() -> None:
    values = positive(torch.tensor([0.0, -1e9, 1.0, -1.0]), 0.01)
    # 0 + 0.01; 0.01 (e^-inf - 1) + 0.01; 1 + 0.01; 0.01 (e^-1 - 1) + 0.01
    np.testing.assert_allclose(values, [0.01, 0, 1.01, 0.01 * np.exp(-1)], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("genes", [1, 500, 18_000])
def test_trainable_parameters(genes: int) -> None:
    network = Pixel2GeneReferenceNet(
        579, genes, PIXEL2GENE.hidden, PIXEL2GENE.slope, PIXEL2GENE.floor
    )
    # 579·256+256 = 148 480 and thrice 256·256+256 = 65 792 make 345 856.
    assert sum(p.numel() for p in network.parameters()) == 345_856 + 257 * genes


def test_an_output_of_one_is_the_largest_count_shared_by_the_superpixels() -> None:
    class One(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(inputs), 1)

    decoder = Decoder(("A",), None, np.zeros(1, "f4"), "counts per superpixel", *np.ones((3, 1)))
    member = Pixel2GeneReferenceMember(One(), low=torch.tensor([0.0]), span=torch.tensor([10.0]))  # type: ignore[arg-type]
    fitted = Pixel2GeneReferenceModel(
        decoder=decoder, pitch_um=8.0, encoder="stain", encoder_identity="",
        members=(member,), covered=37, recipe=PIXEL2GENE,
    )  # fmt: skip
    assert fitted.counts(np.zeros((1, 2), "f4"))[0, 0, 0] == np.float32(10 / 37)


def test_learning_rates_and_batches() -> None:
    rates = [PIXEL2GENE.rate(n) for n in (9_999, 10_000, 499_999, 500_000)]
    assert rates == [1e-4, 1e-5, 1e-5, 1e-6]
    assert ISTAR.rate(500_000) == 1e-4
    sizes = [PIXEL2GENE.batch_size(n) for n in (1_000, 5_000, 15)]
    assert sizes == [62, 128, 1]  # 1000 // 16 = 62; the published program takes 0 of 15


def test_spots_with_few_counts_are_left_out() -> None:
    total = np.arange(11.0)
    assert np.percentile(total[1:], 30) == pytest.approx(3.7)  # 1 + 0.3 · 9
    kept = enough_counts(total, np.zeros(11, np.int64), 30)
    np.testing.assert_array_equal(np.flatnonzero(kept), np.arange(4, 11))
    # Each cluster has a threshold of its own; one with nothing but zeros keeps nothing.
    both = enough_counts(
        np.concatenate([total, 100 * total, [0, 0]]), np.repeat([4, 1, 7], (11, 11, 2)), 30
    )
    np.testing.assert_array_equal(both, np.concatenate([kept, kept, [False, False]]))


def test_spots_that_share_a_superpixel_are_all_left_out() -> None:
    at = np.array([[3, 4], [4, 3], [3, 4], [0, 0]])
    np.testing.assert_array_equal(alone(at), [False, True, False, True])


def test_folds_of_whole_blocks() -> None:
    at = np.argwhere(np.ones((80, 80), bool))
    blocks = block_ids(at, (80, 80), 8, colliding=False)
    assert len(np.unique(blocks)) == 100
    fold = spatial_folds(blocks, 10)
    assert np.bincount(fold).tolist() == [640] * 10
    for block in range(100):
        assert len(np.unique(fold[blocks == block])) == 1
    assert not spatial_folds(blocks, 0).any()
    with pytest.raises(InputError, match="lie in 3 blocks, and 10 folds need as many"):
        spatial_folds(np.array([0, 0, 5, 9]), 10)


def test_blocks_collide_only_where_that_is_asked_for() -> None:
    at = np.argwhere(np.ones((512, 1024), bool))
    ids = {c: len(np.unique(block_ids(at, (512, 1024), 8, colliding=c))) for c in (False, True)}
    # 64 × 128 blocks; numbered with 64 a row they reach 63 · 64 + 127.
    assert ids == {False: 8192, True: 4160}


def test_genes_with_few_counts_and_control_probes_are_dropped(sample: TrainingSection) -> None:
    names = ("LOW", "A", "BLANK_1", "B", "NegControlProbe_00042", "ABLANK")
    totals = (20, 21, 900, 500, 900, 60)
    small = replace(sample, genes=names, counts=sp.csr_array(np.array([totals], "f4")))
    assert choose_genes("heg:10", [small]) == ("B", "ABLANK", "A")
    assert choose_genes("heg:2", [small]) == ("B", "ABLANK")
    with pytest.raises(InputError, match="this leaves no gene"):
        choose_genes("heg:2", [replace(small, counts=small.counts * 0)])
    with pytest.raises(InputError, match="write heg:N"):
        choose_genes("heg:x", [small])


def test_istar_ranks_genes_by_the_variance_of_raw_counts(sample: TrainingSection) -> None:
    most = np.argsort(-sample.counts.toarray().var(axis=0))[:5]
    assert choose_genes("var:5", [sample]) == tuple(sample.genes[n] for n in np.sort(most))


def test_published_settings() -> None:
    assert (PIXEL2GENE.epochs, PIXEL2GENE.folds, PIXEL2GENE.members) == (600, 10, 10)
    assert (PIXEL2GENE.clusters, PIXEL2GENE.percentile, PIXEL2GENE.block) == (15, 30, 8)
    assert (ISTAR.epochs, ISTAR.folds, ISTAR.members, ISTAR.clusters) == (400, 0, 5, 0)
    assert (PIXEL2GENE.combine, ISTAR.combine) == ("mean", "median")


# The parts


def test_starting_k_means_ten_times_is_what_ten_starts_are() -> None:
    values = np.random.default_rng(0).standard_normal((600, 7)).astype("f4")
    expected = KMeans(15, random_state=0, n_init=10).fit(values)
    found = find_clusters(values, 15, "it", Job())
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.predict(values), expected.labels_)


def test_one_step_of_training_is_what_the_page_says() -> None:
    torch.manual_seed(0)
    network = Pixel2GeneReferenceNet(3, 2, (4, 4), 0.1, 0.01)
    data = SpotData(
        inputs=torch.rand(5, 3).half(),
        under=torch.tensor([[0, 1], [2, 3], [4, 1]]),
        counts=torch.tensor([[0.0, 5], [10, 5], [4, 5]]),
    )
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    member = Pixel2GeneReferenceMember(network, torch.tensor([0.0, 5]), torch.tensor([10.0, 0]))
    outputs = network(data.inputs.float())[data.under].mean(dim=1)
    # The second gene does not vary: its target is 0.
    target = torch.tensor([[0.0, 0], [1, 0], [0.4, 0]])
    ((outputs - target) ** 2).mean().backward()
    slopes = {name: value.grad.clone() for name, value in network.named_parameters()}
    rows = torch.arange(3)
    torch.testing.assert_close(
        member.spots(data, rows), outputs * torch.tensor([10.0, 0]) + torch.tensor([0.0, 5])
    )
    network.load_state_dict(weights)
    # One batch of all three rows; the first step of Adam goes 1e-4 against each slope's sign.
    recipe = Pixel2GeneReferenceRecipe(epochs=1, batches=1)
    with Job().stage("Training", 1) as stage:
        trained = train_reference_member(network, data, rows, recipe, stage, Job())
    torch.testing.assert_close(trained.low, member.low)
    torch.testing.assert_close(trained.span, member.span)
    for name, value in network.state_dict().items():
        clear = slopes[name].abs() > 1e-6
        moved = value - weights[name]
        torch.testing.assert_close(
            moved[clear], -1e-4 * slopes[name].sign()[clear], rtol=0.03, atol=1e-8
        )


def test_rows_are_whole_on_tissue_and_see_raw_features(sample: TrainingSection) -> None:
    notes: list[Event] = []
    rows = training_rows(
        [sample], sample.genes[:4], replace(ISTAR, nearest=False), Job(notes.append)
    )
    # 55 µm discs: 27.5 µm = 55 px = 3.4375 superpixels; i² + j² ≤ 11.
    assert rows.under.shape[1] == 37
    at = superpixels_of(sample.xy_um, 8.0, nearest=False)
    whole = [
        n
        for n, (row, column) in enumerate(at)
        if all(
            0 <= row + i < sample.features.grid.shape[0]
            and 0 <= column + j < sample.features.grid.shape[1]
            and sample.features.tissue[row + i, column + j]
            for i, j in disc(3.4375)
        )
    ]
    assert 0 < len(whole) < len(at)
    np.testing.assert_array_equal(rows.counts, sample.counts.toarray()[whole][:, :4])
    assert any(isinstance(n, Note) and "reach off it" in n.text for n in notes)
    i, j = at[whole[3]] + disc(3.4375)[7]
    (under,) = sample.features.superpixels(np.array([i]), np.array([j]), raw=True)
    np.testing.assert_array_equal(rows.inputs[rows.under[3, 7]], under)


def test_sections_and_spots_that_cannot_be_learned_from_are_refused(
    sample: TrainingSection,
) -> None:
    wide = replace(sample, spot_diameter_um=100.0)
    with pytest.raises(InputError, match="spots of different size"):
        training_rows([sample, wide], sample.genes, QUICK, Job())
    with pytest.raises(InputError, match="no spot passes"):
        training_rows([replace(sample, spot_diameter_um=2500.0)], sample.genes, QUICK, Job())
    genes = tuple(f"N{n}" for n in range(MOST_MAPS + 1))
    with pytest.raises(InputError, match="The preset reference keeps a map of every gene"):
        Pixel2GeneReference("stain", 0, CPU).fit([sample], genes, Job())


def test_two_sections_are_learned_from_together(sample: TrainingSection) -> None:
    one = training_rows([sample], sample.genes, QUICK, Job())
    both = training_rows([sample, sample], sample.genes, QUICK, Job())
    half = len(one.fold)
    assert np.bincount(both.section).tolist() == [half, half]
    np.testing.assert_array_equal(both.inputs[both.under[half:]], one.inputs[one.under])


# The whole


def _latents(fitted: Pixel2GeneReferenceModel, features: FeatureSource, size: int) -> np.ndarray:
    full = np.empty((2, *features.grid.shape, fitted.decoder.channels), np.float16)
    for tile in tiles_of(features.grid.shape, size):
        seen = features.tile(tile.rows, tile.columns, raw=True)
        full[:, tile.rows, tile.columns] = fitted.latent(seen)[:2]
    return full


def test_the_field_is_positive_and_the_same_in_any_tiles(
    fitted: Pixel2GeneReferenceModel, sample: TrainingSection
) -> None:
    one = _latents(fitted, sample.features, 256)
    tissue = sample.features.tissue
    assert (one[0][tissue] > 0).all()
    assert np.isnan(one[:, ~tissue]).all()
    np.testing.assert_array_equal(one, _latents(fitted, sample.features, 48))
    # By hand, for one superpixel and gene.
    at = np.argwhere(tissue)[500:501].T
    (row,), (column,) = at
    seen = torch.from_numpy(sample.features.superpixels(*at, raw=True)[0])
    each = [
        float((m.network(seen)[3] * m.span[3] + m.low[3]).detach()) / 37 for m in fitted.members
    ]
    assert one[0, row, column, 3] == pytest.approx(np.mean(each), rel=1e-3)
    shown = fitted.decoder.spread(one[1, row, column], 3)
    assert shown == pytest.approx(np.std(each, ddof=1), rel=2e-3)


def test_the_same_seed_gives_the_same_members(
    fitted: Pixel2GeneReferenceModel, sample: TrainingSection
) -> None:
    again, other = (
        Pixel2GeneReference("stain", seed, CPU, QUICK).fit([sample], sample.genes, Job())
        for seed in (0, 1)
    )
    for a, b, c in zip(fitted.members, again.members, other.members, strict=True):
        for name, value in a.network.state_dict().items():
            assert torch.equal(value, b.network.state_dict()[name])
            assert not torch.equal(value, c.network.state_dict()[name])
    np.testing.assert_array_equal(fitted.decoder.held_out_r, again.decoder.held_out_r)


def test_a_model_survives_saving(
    fitted: Pixel2GeneReferenceModel, sample: TrainingSection, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    loaded = load_fitted(tmp_path, CPU)
    tile = sample.features.tile(slice(100, 140), slice(80, 120), raw=True)
    np.testing.assert_array_equal(loaded.latent(tile).mean, fitted.latent(tile).mean)
    np.testing.assert_array_equal(loaded.latent(tile).variance, fitted.latent(tile).variance)
    assert isinstance(loaded, Pixel2GeneReferenceModel)
    assert (loaded.recipe, loaded.decoder.genes) == (QUICK, sample.genes)
    (tmp_path / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="cannot be read"):
        load_fitted(tmp_path, CPU)


def test_counts_beyond_half_precision_stay_finite(
    fitted: Pixel2GeneReferenceModel, sample: TrainingSection
) -> None:
    members = tuple(replace(m, span=m.span * 1e9) for m in fitted.members)
    tile = sample.features.tile(slice(100, 140), slice(80, 120), raw=True)
    latent = replace(fitted, members=members).latent(tile)
    for raster in latent[:2]:
        assert np.isfinite(raster[tile.tissue].astype(np.float16)).all()


def test_istar_takes_the_median_of_its_starts(sample: TrainingSection) -> None:
    recipe = replace(ISTAR, epochs=2)
    fitted = Pixel2GeneReference("stain", 0, CPU, recipe).fit([sample], sample.genes[:3], Job())
    assert len(fitted.members) == 5
    assert np.isnan(fitted.decoder.held_out_r).all()
    tile = sample.features.tile(slice(100, 140), slice(80, 120), raw=True)
    each = fitted.counts(tile.values[tile.tissue])
    np.testing.assert_array_equal(fitted.latent(tile).mean[tile.tissue], np.sort(each, axis=0)[2])


def test_what_is_learned_fits_the_spots_of_a_real_section(data: Path, session_cache: Cache) -> None:
    sample = _sample(open_section(data / "her2st" / "C3", cache=session_cache), session_cache)
    genes = choose_genes("hvg:20", [sample])
    fitted = Pixel2GeneReference("stain", 0, CPU, QUICK).fit([sample], genes, Job())
    again = Pixel2GeneReference("stain", 0, CPU, QUICK).fit([sample], genes, Job())
    assert fitted.decoder.unit == "counts per superpixel"
    assert fitted.decoder.held_out_r.shape == (20,)
    assert fitted.covered == 121
    rows = training_rows([sample], genes, QUICK, Job())
    values = fitted.counts(rows.inputs.astype("f4"))
    assert values.shape == (2, len(rows.inputs), 20)
    assert (values > 0).all()
    np.testing.assert_array_equal(values, again.counts(rows.inputs.astype("f4")))
    predicted = values.mean(axis=0)[rows.under].sum(axis=1)
    assert np.nanmean(pearson(predicted, rows.counts)) > 0.1


@pytest.fixture
def enhance(section_files: list[Path]) -> Callable[..., ResultFolder]:
    def run(out: Path, job: Job | None = None, **more: object) -> ResultFolder:
        options = {"preset": "istar", "epochs": 1, "genes": "hvg:12", "device": "cpu", **more}
        (result,) = run_enhance(EnhanceOptions(section_files[0], out, **options), job)
        return result

    return run


@pytest.mark.slow
def test_a_run_is_a_result_like_any_other(
    enhance: Callable[..., ResultFolder], tmp_path: Path
) -> None:
    result = enhance(tmp_path / "r", preset="reference", write="G1")
    run = "pixel2gene-stain-reference"
    assert result.runs == (run,)
    field = result.field(run)
    assert (len(field.genes), field.unit) == (12, "counts per superpixel")
    assert field.decoder.weights is None
    image, tissue = field.image("G1"), result.tissue()
    np.testing.assert_array_equal(np.isfinite(image), tissue)
    stored = np.asarray(field.latent[0][..., field.genes.index("G1")]).astype("f4")
    np.testing.assert_array_equal(image, stored)
    written = result.run_group(run)["genes/G1/s0"]
    np.testing.assert_array_equal(written[...], image)
    assert (field.image("G1", what="spread")[tissue] > 0).all()
    with pytest.raises(InputError, match="not among these 12 genes"):
        field.image("G39")
    # Said before it is trained.
    with pytest.raises(InputError, match="G39: not chosen by hvg:12; choose more genes"):
        enhance(tmp_path / "late", write="G39")
    # No run is left that could only be refused again: the next has its name.
    assert ResultFolder.open(tmp_path / "late").runs == ()


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_stopped(
    enhance: Callable[..., ResultFolder], tmp_path: Path
) -> None:
    enhance(tmp_path / "whole", mpp=1.6, write="G1")
    job = Job()

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.stage.startswith("Predicting") and event.done == 2:
            job.cancel()

    job.listener = stop
    with pytest.raises(Cancelled):
        enhance(tmp_path / "stopped", job, mpp=1.6, write="G1")
    enhance(tmp_path / "stopped", mpp=1.6, write="G1")
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "stopped")


def test_another_slide_and_tables(
    enhance: Callable[..., ResultFolder], section_files: list[Path], tmp_path: Path
) -> None:
    result = enhance(tmp_path / "r", genes="", predict=section_files[1])
    run = "pixel2gene-stain-istar"
    identity = result.run_attributes(run)["identity"]
    assert (identity["genes"], identity["recipe"]["epochs"]) == ("var:1000", 1)
    assert len(result.field(run).genes) == 40
    table = at_spots(result, run, open_section(section_files[1]), ["G20", "G1"])
    assert list(table.var_names) == ["G20", "G1"]
    assert (table.X > 0).all()
    every = at_superpixels(result, run, ["G20"], Job())
    image = result.field(run).image("G20")
    np.testing.assert_array_equal(every.X[:, 0], image[np.isfinite(image)])
