"""What surrounds the methods that see crops: hidden spots, options, results, commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import shapely
import timm
import torch
from safetensors.torch import save_file

import napari_stenhance as st
from made_sections import MPP
from napari_stenhance.errors import InputError
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import CropLayout, FeatureSettings
from napari_stenhance.methods.genes import choose_genes, rule_of
from napari_stenhance.methods.hvg import seurat_v3_genes, seurat_v3_variance
from napari_stenhance.methods.protocol import Positions
from napari_stenhance.methods.registry import load_fitted, make_method
from napari_stenhance.results.attention import written_attention
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.tables import open_table
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.baselines import Interpolation
from napari_stenhance.scoring.recovery import recovered
from napari_stenhance.scoring.splits import random_part
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.region import Region
from napari_stenhance.section.section import open_section
from napari_stenhance.section.sums import running_sums
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from napari_stenhance.tasks.evaluate import evaluate
from napari_stenhance.tasks.evaluate_options import EvaluateOptions
from napari_stenhance.tasks.gene_evaluation import predict_spots
from napari_stenhance.tasks.train import TrainOptions
from napari_stenhance.tasks.training import take_sample
from test_cli import events_of, files_of, run
from test_genes import sample_of

CPU = torch.device("cpu")
BASELINES = ("mean", "depth alone", "ridge", "nearest spot", "inverse distance", "Gaussian process")


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
    assert found["constant"] == 2
    np.testing.assert_allclose(found["MSE"], (4 + ((predicted - measured)[3:, 1] ** 2).sum()) / 12)
    r = np.corrcoef(predicted[:, 0], measured[:, 0])[0, 1]
    assert found["PCC all (published)"] == pytest.approx(r)
    assert found["MAE all (published)"] == pytest.approx(np.abs(predicted - measured).mean())


def test_the_nearest_spot_is_one_neighbour() -> None:
    xy = np.array([[0.0, 0], [10, 0]])
    nearest = Interpolation(xy, np.array([[1.0], [3]]), 1)
    np.testing.assert_array_equal(nearest(np.array([[4.0, 0], [6, 0]])), [[1], [3]])


# Genes


def test_genes_as_seurat_ranks_them() -> None:
    rng = np.random.default_rng(0)
    mean = rng.uniform(0.2, 20, 400)
    counts = rng.poisson(mean, (120, 400))
    counts[:, [7, 31, 250]] *= rng.integers(0, 4, (120, 1))
    genes = tuple(f"G{n}" for n in range(400))
    one = sample_of(genes, counts)
    assert rule_of("seurat_v3:3")
    assert choose_genes("seurat_v3:3", [one]) == ("G7", "G31", "G250")
    expected = sorted(seurat_v3_genes(sp.csr_array(counts.astype(np.float32)), 20))
    assert choose_genes("seurat_v3:20", [one]) == tuple(f"G{n}" for n in expected)
    # Several samples: the mean of both, in the order of the first.
    turned = rng.poisson(mean, (90, 400))[:, ::-1]
    turned[:, [0, 1]] *= rng.integers(0, 6, (90, 1))
    other = sample_of(genes[::-1], turned)
    mean_of_both = np.mean([seurat_v3_variance(s.counts_of(genes)) for s in (one, other)], axis=0)
    expected = sorted(np.argsort(-mean_of_both)[:5])
    both = choose_genes("seurat_v3:5", [one, other])
    assert both == tuple(f"G{n}" for n in expected)
    assert both != choose_genes("seurat_v3:5", [one])
    with pytest.raises(InputError, match="write seurat_v3:N"):
        rule_of("seurat_v3:x")


# Results


def test_masks_of_several_grids_lie_beside_each_other(
    synthetic: st.Section, tmp_path: Path
) -> None:
    slide = synthetic.need_slide()
    grids = [Grid.over(slide, pitch) for pitch in (25.0, 8.0)]
    masks = [np.random.default_rng(0).random(grid.shape) < 0.5 for grid in grids]
    with ResultFolder.writing(tmp_path / "r", slide, "m-e-p") as result:
        runs = [result.start_run("a", {"n": n}, {}, grid) for n, grid in enumerate(grids)]
        kinds = [{"n": 2, "tissue": "histosweep"}, {"n": 3, "tissue": "histosweep"}]
        for grid, mask in zip(grids, masks, strict=True):
            result.write_tissue(mask, grid)
        for kind, grid, mask in zip(kinds, grids, masks, strict=True):
            runs.append(result.start_run("a", kind, {}, grid))
            result.write_tissue(~mask, grid, "histosweep")
    opened = ResultFolder.open(tmp_path / "r")
    expected = [*masks, *(~mask for mask in masks)]
    for name, mask in zip(runs, expected, strict=True):
        np.testing.assert_array_equal(opened.tissue(name), mask)
    names = {folder.name for folder in (tmp_path / "r").glob("tissue*")}
    assert names == {"tissue", "tissue-8um", "tissue-histosweep", "tissue-histosweep-8um"}


# Runs

QUICK = ("--genes", "G1,G2,G14,G20", "--epochs", 1, "--device", "cpu")
SPAMCAF, HISTOSGE = "spamcaf-stain-robust", "histosge-stain-robust"


@pytest.fixture(scope="module")
def made(small_files: list[Path], session_cache: Cache, tmp_path_factory: Any) -> Path:
    """One result with a run of each method, and their lattices."""
    out = tmp_path_factory.mktemp("crops") / "one.stenhance.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STENHANCE_CACHE", str(session_cache.root))
        for method, *more in (("spamcaf", "--write", "G1"), ("histosge", "--pitch", 50)):
            run(
                "enhance", small_files[0], "--method", method, "--lattice", 2, "--out", out,
                *QUICK, *more,
            )  # fmt: skip
    return out


@pytest.mark.slow
def test_fields_lie_on_a_coarse_grid_over_the_tissue(made: Path) -> None:
    result = ResultFolder.open(made)
    assert result.runs == (SPAMCAF, HISTOSGE)
    # A quarter of the spots' 100 µm, or what was asked for.
    for name, pitch_um in ((SPAMCAF, 25.0), (HISTOSGE, 50.0)):
        field, about = result.field(name), result.run_attributes(name)
        assert field.grid.pitch_um == about["identity"]["pitch_um"] == pitch_um
        tissue = result.tissue(name)
        assert 0.3 < tissue.mean() < 0.7
        assert field.genes == ("G1", "G2", "G14", "G20")
        np.testing.assert_array_equal(np.isfinite(field.image("G2")), tissue)
    assert (made / "tissue-50um").is_dir()
    written = np.asarray(result.group[f"fields/{SPAMCAF}/genes/G1/s0"][...])
    np.testing.assert_array_equal(written, result.field(SPAMCAF).image("G1"))


def test_attention_over_sizes_sums_to_one_on_tissue(made: Path) -> None:
    result = ResultFolder.open(made)
    assert written_attention(result, HISTOSGE) == {}
    images = written_attention(result, SPAMCAF)
    assert list(images) == result.run_attributes(SPAMCAF)["identity"]["crops_um"]
    total = np.sum([np.asarray(levels[0][...]) for levels in images.values()], axis=0)
    tissue = result.tissue(SPAMCAF)
    np.testing.assert_allclose(total[tissue], 1, atol=1e-5)
    assert np.isnan(total[~tissue]).all()
    for size in images:
        about = result.group[f"fields/{SPAMCAF}/attention/{size:g}um"].attrs["ome"]["multiscales"]
        assert about[0]["datasets"][0]["coordinateTransformations"][0]["scale"] == [25.0, 25.0]


def test_a_lattice_holds_what_the_model_predicts_there(
    made: Path, small_files: list[Path], session_cache: Cache, tmp_path: Path
) -> None:
    out = tmp_path / "between.h5ad"
    run("export", made, "--table", f"{SPAMCAF}-lattice2", "--out", out)
    section = open_section(small_files[0], cache=session_cache)
    table, spots = ad.read_h5ad(out), section.need_spots()
    result = ResultFolder.open(made)
    measured = table[table.obs["is_measured"]]
    np.testing.assert_array_equal(
        measured.obsm["spatial"], spots[measured.obs_names].obsm["spatial"]
    )
    assert 3.5 * spots.n_obs < table.n_obs < 4.6 * spots.n_obs
    grid, tissue = result.field(SPAMCAF).grid, result.tissue(SPAMCAF)
    at = np.rint(grid.position(table.obsm["spatial"] * MPP)).astype(int)
    there = np.isfinite(table.X).all(axis=1)
    np.testing.assert_array_equal(there, tissue[tuple(at.T)])
    # Every spot, in its order; those off the tissue without a value.
    assert list(measured.obs_names) == list(spots.obs_names)
    assert table.obs["is_measured"][: spots.n_obs].all()
    assert table.obs["is_measured"][~there].all()
    nearest = spots[table.obs["nearest_spot"].astype(str)].obsm["spatial"]
    away = np.hypot(*(table.obsm["spatial"] - nearest).T) * MPP
    np.testing.assert_allclose(away, table.obs["distance_um"])
    settings = _settings(tuple(_crops_of(result)), session_cache)
    features = open_features(section.need_slide(), settings, Job())
    fitted = load_fitted(result.model_folder(SPAMCAF), CPU)
    table = table[there]
    positions = Positions(table.obsm["spatial"] * MPP, table.obsm["array"])
    latent = fitted.latent_at(features, positions, Job())  # type: ignore[attr-defined]
    expected = fitted.decoder.values(latent.mean, np.arange(4))
    np.testing.assert_allclose(table.X, expected, atol=1e-5)
    np.testing.assert_allclose(table.obsm["attention"], latent.attention, atol=1e-5)
    assert table.uns["stenhance_prediction"]["run"] == SPAMCAF
    assert "there is no table" in run("export", made, "--table", "x", "--out", "y", code=2).stderr


def _settings(crops_um: tuple[float, ...], cache: Cache) -> FeatureSettings:
    return FeatureSettings(find_encoder("stain"), CPU, cache, crops=CropLayout(crops_um, 25.0))


def _crops_of(result: ResultFolder) -> list[float]:
    crops: list[float] = result.run_attributes(SPAMCAF)["identity"]["crops_um"]
    return crops


def test_what_is_asked_for_later_is_added_to_the_run(
    made: Path, small_files: list[Path], tmp_path: Path
) -> None:
    command = ("enhance", small_files[0], "--method", "histosge", "--pitch", 50, *QUICK)
    out = tmp_path / "one.stenhance.zarr"
    run(*command, "--out", out)
    before = files_of(out)
    assert "tables" not in ResultFolder.open(out).group
    run(*command, "--out", out, "--lattice", 2)
    assert events_of(out).count("trained") == 1
    after = files_of(out)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {
        f"fields/{HISTOSGE}/zarr.json",
        f"files/manifests/fields/{HISTOSGE}.jsonl",
    }
    assert "already complete" in run(*command, "--out", out, "--lattice", 2).stderr
    # The same bytes as where all was asked for at once.
    for folder in (f"fields/{HISTOSGE}", f"tables/{HISTOSGE}-lattice2"):
        assert files_of(out / folder) == files_of(made / folder)
    # Other crops are another run.
    run(*command, "--out", out, "--crops", 90)
    assert ResultFolder.open(out).runs == (HISTOSGE, f"{HISTOSGE}-2")


def test_a_region_bounds_the_lattice_too(small_files: list[Path], tmp_path: Path) -> None:
    box = shapely.box(200, 230, 330, 400)
    options = EnhanceOptions(
        sections=small_files[0],
        out=tmp_path / "r",
        method="histosge",
        genes="G1",
        epochs=1,
        lattice=3,
        region=Region(box),
        device="cpu",
    )
    (result,) = enhance(options)
    field = result.field(HISTOSGE)
    inside = Region(box).mask(field.grid)
    np.testing.assert_array_equal(np.isfinite(field.image("G1")), inside & result.tissue())
    table = open_table(result, f"{HISTOSGE}-lattice3")
    assert table.obs["is_measured"].sum() == open_section(small_files[0]).need_spots().n_obs
    table = table[np.isfinite(table.X).all(axis=1)]
    x, y = (table.obsm["spatial"] * MPP).T
    assert ((x > 200 - 25) & (x < 330 + 25) & (y > 230 - 25) & (y < 400 + 25)).all()
    assert 15 < table.n_obs < 36


def test_a_saved_model_predicts_other_slides(
    made: Path, small_files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "two.stenhance.zarr"
    run("predict", made, "--run", SPAMCAF, "--on", small_files[1], "--out", out,
        "--device", "cpu")  # fmt: skip
    result = ResultFolder.open(out)
    assert result.runs == (SPAMCAF,)
    field = result.field(SPAMCAF)
    assert field.grid.pitch_um == 25.0
    np.testing.assert_array_equal(np.isfinite(field.image("G1")), result.tissue(SPAMCAF))
    assert list(written_attention(result, SPAMCAF)) == _crops_of(result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--crops", "100"), "Crops: an option of histosge, spamcaf, not of pixel2gene"),
        (("--pitch", 25), "Pitch: an option of histosge, spamcaf, not of pixel2gene"),
        (("--lattice", 2), "not of pixel2gene; leave it out (--lattice)."),
        (("--method", "stamgc"), "there are histosge, pixel2gene, spamcaf (--method)."),
        (("--method", "histosge", "--crops", "10,x"), "Crops 10,x: write different sides"),
        (("--method", "histosge", "--pitch", 0), "Pitch 0: write a length"),
        (("--method", "histosge", "--pitch", 0.01), "superpixels, more than 100,000,000; choose"),
        (
            ("--method", "histosge", "--lattice", 2, "--predict", "two"),
            "or the other slides (--lattice).",
        ),
    ],
)
def test_options_that_mean_nothing_are_refused(
    small_files: list[Path], tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    given = [small_files[1] if option == "two" else option for option in options]
    ran = run("enhance", small_files[0], "--out", tmp_path / "r", *given, code=2)
    assert message in ran.stderr
    assert not (tmp_path / "r").exists()


def test_swapped_axes_and_large_lattices_are_refused_before_training(
    synthetic: st.Section, tmp_path: Path
) -> None:
    # On tissue at the upper end, which is higher than the tissue is wide.
    swapped = synthetic.need_spots()[:20].copy()
    swapped.obsm["spatial"] = np.random.default_rng(0).uniform([153, 633], [180, 700], (20, 2))
    options = EnhanceOptions(
        sections=(st.Section(slide=synthetic.slide, spots=swapped),),  # type: ignore[arg-type]
        out=tmp_path / "r",
        method="histosge",
    )
    with pytest.raises(InputError, match="x and y swapped"):
        enhance(options)
    large = replace(options, sections=(synthetic,), lattice=4, out=tmp_path / "s")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="choose fewer genes"):
        enhance(large, Job(memory_bytes=10_000))
    assert not (tmp_path / "s" / "files" / "models").exists()


# Evaluation


def test_evaluate_hides_spots_and_says_what_must_be_beaten(
    section_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("evaluate", section_files[0], "--method", "histosge", "--seeds", "1234,0", *QUICK)
    for what in (
        "histosge",
        "nearest spot",
        "inverse distance",
        "constant",
        "mean",
        "The published program's figures",
    ):
        assert what in ran.stdout
    assert not list(tmp_path.iterdir())
    options = EvaluateOptions(
        (section_files[0],), method="histosge", seeds="1234", genes="G1,G2", epochs=1, device="cpu"
    )
    scores = evaluate(options)
    assert [s.what for s in scores] == ["histosge", *BASELINES, "noise ceiling"]
    assert all(s.values["genes"] == 2 and s.n_domains is None for s in scores)
    assert repr(scores) == repr(evaluate(options))
    near = next(score for score in scores if score.what == "nearest spot")
    # Spots that were learned from are their own nearest: that flatters.
    assert near.values["PCC all (published)"] > near.values["r"] + 0.1


@pytest.mark.slow
def test_evaluate_superpixels_too(section_files: list[Path]) -> None:
    options = EvaluateOptions(
        (section_files[0],), method="pixel2gene", genes="hvg:10", epochs=8, device="cpu"
    )
    found = {score.what: score.values for score in evaluate(options)}
    ours, nearest = found["pixel2gene"], found["nearest spot"]
    assert ours["r"] > nearest["r"]
    assert ours["MSE"] < nearest["MSE"]


def test_genes_are_chosen_without_the_hidden_spots(synthetic: st.Section) -> None:
    spots = synthetic.need_spots().copy()
    learned = random_part(spots.n_obs, 0.5, 0)
    counts = np.asarray(spots.X.todense())
    # One gene varies most by far, but only where it is hidden; of another nothing is known there.
    counts[:, 38] = np.where(
        learned, 0, np.random.default_rng(0).integers(0, 2, len(learned)) * 999
    )
    counts[:, 39] = np.where(learned, np.arange(len(learned)) % 2 * 500, 0)
    spots.X = sp.csr_matrix(counts)
    section = st.Section(slide=synthetic.slide, spots=spots)
    scores = evaluate(
        EvaluateOptions((section,), method="histosge", genes="hvg:1", epochs=1, device="cpu")  # type: ignore[arg-type]
    )
    *scores, ceiling = scores
    assert [score.values["constant"] for score in scores] == [1] * (1 + len(BASELINES))
    assert [score.values["r"] for score in scores] == [0] * (1 + len(BASELINES))
    assert "constant" not in ceiling.values


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "histosge", "--truth", "x"), "Truth: an option of stamgc"),
        (("--method", "spamcaf", "--n-domains", 4), "N domains: an option of stamgc"),
        (("--crops", "100"), "Crops: an option of histosge, spamcaf"),
        (("--preset", "istar"), "there are stamgc: robust, reference (--preset)"),
        (("--method", "histosge", "--ratio", 1), "Ratio 1: write the share"),
        (("--method", "pixel2gene", "--preset", "istar"), "predicts counts of superpixels"),
        (("--method", "histosge", "--seeds", "3-1"), "Seeds 3-1"),
    ],
)
def test_options_of_one_method_are_refused_for_another(
    small_files: list[Path], options: tuple[object, ...], message: str
) -> None:
    assert message in run("evaluate", small_files[0], *options, code=2).stderr


def test_a_network_encodes_the_crops(small_files: list[Path], tmp_path: Path) -> None:
    file, weights = tmp_path / "region.geojson", tmp_path / "w.safetensors"
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), weights)
    file.write_text(Region(shapely.box(200, 230, 300, 330)).to_json(), "utf-8")
    encoder = f"timm:test_vit?weights={weights}"
    out, again = tmp_path / "r", tmp_path / "p"
    run("enhance", small_files[0], "--method", "histosge", "--encoder", encoder, "--pitch", 50,
        "--region", file, "--lattice", 2, "--out", out, *QUICK)  # fmt: skip
    name = "histosge-timm-test_vit-robust"
    result = ResultFolder.open(out)
    assert result.runs == (name,)
    inside = Region.read(file).mask(result.field(name).grid)
    np.testing.assert_array_equal(np.isfinite(result.field(name).image("G1")), inside)
    assert open_table(result, f"{name}-lattice2").n_obs > 10
    # No path of ours is kept but in the log, so weights must be named again.
    assert [f for f, content in files_of(out).items() if str(tmp_path).encode() in content] == []
    assert "weights are not on this machine" in run(
        "predict", out, "--on", small_files[0], "--out", again, code=2
    ).stderr  # fmt: skip
    run("predict", out, "--on", small_files[0], "--region", file, "--out", again,
        "--encoder", encoder, "--device", "cpu")  # fmt: skip
    images = (r.field(name).image("G2") for r in (result, ResultFolder.open(again)))
    np.testing.assert_array_equal(*images)
    ran = run("predict", out, "--on", small_files[0], "--out", tmp_path / "x",
              "--encoder", "stain", "--device", "cpu", code=2)  # fmt: skip
    assert "the model learned from timm:test_vit" in ran.stderr


def test_spots_off_the_tissue_are_evaluated_too(
    synthetic: st.Section, cache: Cache, session_cache: Cache
) -> None:
    """Their crops are extracted, though no spot that was learned from lies near."""
    spots = synthetic.need_spots()[:20].copy()
    spots.obsm["spatial"] = np.random.default_rng(0).uniform([1040, 670], [1070, 940], (20, 2))
    spots.obsm["spatial"][3] = [150, 800]
    section = st.Section(slide=synthetic.slide, spots=spots)
    options = TrainOptions((), Path("m"), method="spamcaf", crops="50,200", epochs=1)
    method = make_method(options, 0, CPU)
    settings = _settings(method.crops_um, cache)
    learned = st.Section(slide=synthetic.slide, spots=spots[np.arange(20) != 3].copy())
    sample = take_sample(learned, settings, method, Job())
    elsewhere = _settings(method.crops_um, session_cache)
    assert len(take_sample(section, elsewhere, method, Job()).xy_um) == 19
    fitted = method.fit([sample], ("G1", "G2"), Job())
    predicted = predict_spots(section, fitted, settings, Job())
    whole = open_features(section.need_slide(), settings, Job())
    whole.extract()
    latent = fitted.latent_at(whole, Positions(section.spots_um()), Job())  # type: ignore[attr-defined]
    np.testing.assert_allclose(predicted, fitted.decoder.values(latent.mean, np.arange(2)))


@pytest.mark.parametrize("axis", [0, 1])
def test_running_sums_are_those_of_numpy(axis: int) -> None:
    values = np.random.default_rng(0).normal(size=(7, 5, 3)).astype(np.float32)
    sums = running_sums(values, axis)
    assert (np.take(sums, 0, axis) == 0).all()
    rest = np.delete(sums, 0, axis)
    assert rest.tobytes() == np.cumsum(values, axis=axis, dtype=np.float64).tobytes()
