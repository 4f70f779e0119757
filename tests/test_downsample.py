from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats
from skimage.metrics import structural_similarity

from napari_stenhance.errors import InputError
from napari_stenhance.scoring.maps import map_agreement, square_lattice
from napari_stenhance.section.section import open_section
from napari_stenhance.section.thinning import thin
from napari_stenhance.tasks.compare import CompareOptions, compare
from napari_stenhance.tasks.downsample import DownsampleOptions, downsample
from test_cli import run


def _spots(spots: int = 400, genes: int = 30, mean: float = 20.0) -> ad.AnnData:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(2, mean / 2, genes), (spots, genes)).astype(np.float32)
    return ad.AnnData(
        X=sp.csr_matrix(counts), obsm={"spatial": rng.random((spots, 2))}, layers={"raw": counts}
    )


def test_thinned_counts_have_the_share_and_the_proportions_that_were_asked_for() -> None:
    spots = _spots()
    thinned = thin(spots, 0.3, 0.05, 1)
    share = np.asarray(thinned.X.sum(axis=1)).ravel() / np.asarray(spots.X.sum(axis=1)).ravel()
    assert share.mean() == pytest.approx(0.3, abs=0.01)
    assert share.std() == pytest.approx(0.05, abs=0.01)
    before, after = (np.asarray(t.X.sum(axis=0)).ravel() for t in (spots, thinned))
    np.testing.assert_allclose(after / after.sum(), before / before.sum(), atol=0.005)
    assert (thinned.X.data == np.rint(thinned.X.data)).all()
    assert not thinned.layers
    np.testing.assert_array_equal(thinned.obsm["spatial"], spots.obsm["spatial"])
    exact = thin(spots, 0.5, 0, 1)
    np.testing.assert_array_equal(
        np.asarray(exact.X.sum(axis=1)).ravel(),
        np.rint(0.5 * np.asarray(spots.X.sum(axis=1), np.float64).ravel()),
    )


def test_thinning_follows_its_seed_and_keeps_empty_spots() -> None:
    spots = _spots()
    one, same, other = (thin(spots, 0.2, 0.05, seed) for seed in (1, 1, 2))
    assert (one.X != same.X).nnz == 0
    assert (one.X != other.X).nnz > 0
    spots.X[7] = 0
    thinned = thin(spots, 0.2, 0.05, 1)
    assert list(thinned.obs_names) == list(spots.obs_names)
    assert thinned.X[7].sum() == 0
    assert thinned.X[8].sum() > 0
    for mean, sd in (
        *((0, 0.1), (1.2, 0.1), (0.5, -0.1)),
        *((0.5, sd) for sd in (float("nan"), float("inf"), 1e300, 1e-200)),
    ):
        with pytest.raises(InputError, match="give a mean above 0"):
            thin(spots, mean, sd, 0)
    with pytest.raises(InputError, match="leaves no counts"):
        thin(_spots(5, 2, 1.0), 0.01, 0, 0)


def test_square_lattices_are_told_from_others() -> None:
    rng = np.random.default_rng(3)
    x, y = (n.ravel() for n in np.meshgrid(np.arange(9), np.arange(12)))
    printed = np.column_stack([x, y]) * 200.0 + 77 + rng.normal(0, 12, (len(x), 2))
    row, column = square_lattice(printed, 200.0) or pytest.fail("a square lattice")
    np.testing.assert_array_equal(row, y)
    np.testing.assert_array_equal(column, x)
    hexagonal = np.column_stack([x + y % 2 / 2, y * np.sqrt(3) / 2]) * 100.0
    assert square_lattice(hexagonal, 100.0) is None
    assert square_lattice(rng.random((200, 2)) * 2000, 100.0) is None


def test_agreement_is_what_the_published_evaluation_computes() -> None:
    rng = np.random.default_rng(4)
    x, y = (n.ravel() for n in np.meshgrid(np.arange(10), np.arange(11)))
    truth = rng.poisson(2.0, len(x)).astype(float)
    predicted = truth + rng.normal(0, 1, len(x))
    measured = map_agreement(predicted, truth, (y, x), all_spots=False)
    cut = np.clip(predicted, 0, truth.max())
    a, b = cut[truth > 0] / cut[truth > 0].sum(), truth[truth > 0] / truth.sum()
    assert measured["pearson"] == pytest.approx(stats.pearsonr(a, b).statistic)
    assert measured["spearman"] == pytest.approx(stats.spearmanr(a, b).statistic)
    assert measured["cosine"] == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert measured["rmse"] == pytest.approx(np.sqrt(((a - b) ** 2).mean()))
    assert measured["nrmse"] == pytest.approx(measured["rmse"] / b.mean())
    maps = (cut.reshape(11, 10) / cut.max(), truth.reshape(11, 10) / truth.max())
    assert measured["ssim"] == pytest.approx(structural_similarity(*maps, win_size=7, data_range=1))
    everywhere = map_agreement(predicted, truth, (y, x), all_spots=True)
    assert everywhere["pearson"] == pytest.approx(stats.pearsonr(cut, truth).statistic)
    same = map_agreement(truth, truth, (y, x), all_spots=False)
    assert [same[name] for name in ("pearson", "cosine", "rmse", "ssim")] == pytest.approx(
        [1, 1, 0, 1]
    )
    nothing = map_agreement(np.zeros(len(x)), truth, None, all_spots=False)
    assert np.isnan([nothing[name] for name in ("pearson", "cosine", "ssim")]).all()
    assert nothing["rmse"] > 0


@pytest.mark.slow
def test_enhanced_counts_come_closer_to_the_full_ones(
    section_files: list[Path], tmp_path: Path
) -> None:
    full, thinned = section_files[0], tmp_path / "thin.h5ad"
    image = full.with_name("one_he.jpg")
    ran = run("downsample", full, "--out", thinned, "--mean", 0.02, "--sd", 0.005)
    assert "counts were kept (1.9%)" in ran.stderr
    assert "give it to enhance as the image" in ran.stderr
    assert "lies here already" in run("downsample", full, "--out", thinned, code=2).stderr
    result = tmp_path / "thin.stenhance.zarr"
    run("enhance", thinned, "--image", image, "--out", result, "--device", "cpu",
        "--epochs", 5)  # fmt: skip
    measured, enhanced = compare(CompareOptions(result, truth=full, measured=thinned))
    assert (measured.what, enhanced.what) == ("as measured", "enhanced")
    assert enhanced.genes == measured.genes
    assert len(enhanced.genes) == 40
    better, worse = enhanced.medians(), measured.medians()
    assert better["pearson"] > worse["pearson"]
    assert better["nrmse"] < worse["nrmse"]
    output = run("compare", result, "--truth", full, "--genes", "G1,G2", "--all-spots").output
    assert "median over 2 genes" in output
    assert "as measured" not in output
    stderr = run("compare", result, "--truth", full, "--genes", "G1,NO", code=2).stderr
    assert "NO (1 of 2): not among the genes that were predicted and are counted in" in stderr
    other = ad.read_h5ad(thinned)
    other.obs_names = [f"other {name}" for name in other.obs_names]
    other.write_h5ad(tmp_path / "other.h5ad")
    measured = ("--measured", tmp_path / "other.h5ad")
    stderr = run("compare", result, "--truth", full, *measured, code=2).stderr
    assert "its spots or genes are not those of" in stderr


def test_a_real_section_is_thinned(data: Path, tmp_path: Path) -> None:
    out = downsample(DownsampleOptions(data / "her2st" / "C3", tmp_path / "thin.h5ad"))
    full = open_section(data / "her2st" / "C3", spots=True)
    thinned = open_section(out, image=full.need_slide().path)
    assert thinned.geometry() == full.geometry()
    assert thinned.mpp == full.mpp
    kept = thinned.need_spots().X.sum() / full.need_spots().X.sum()
    assert kept == pytest.approx(0.3, abs=0.02)
