"""Pixel2Gene, preset `blended`: the image and what is counted around, each gene by its weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.spatial import cKDTree

import napari_stenhance as st
from made_sections import MPP
from napari_stenhance.errors import InputError
from napari_stenhance.methods.pixel2gene.blended.counted import WIDTHS_UM, SpotWindow, halves
from napari_stenhance.methods.pixel2gene.blended.method import Pixel2GeneBlend
from napari_stenhance.methods.pixel2gene.blended.model import BlendedModel
from napari_stenhance.methods.pixel2gene.blended.surroundings import Surroundings, told_axes
from napari_stenhance.methods.pixel2gene.ensemble import Pixel2GeneEnsemble
from napari_stenhance.methods.registry import load_fitted
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun

_SIDE, _PITCH_UM = 60, 8.0


def test_transcripts_are_dealt_each_to_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_stenhance.methods.pixel2gene.blended.counted._ROWS_AT_ONCE", 40)
    counts = sp.csr_array(np.random.default_rng(0).poisson(3.0, (100, 50)).astype(np.float32))
    dealt = list(halves(counts, seed=1))
    assert [(rows.start, rows.stop) for rows, _, _ in dealt] == [(0, 40), (40, 80), (80, 100)]
    seen, hidden = (sp.vstack([part[side] for part in dealt]) for side in (1, 2))
    assert ((seen + hidden) != counts).nnz == 0
    assert hidden.sum() / counts.sum() == pytest.approx(0.25, abs=0.01)
    # Of the same expression: what is hidden of a gene says nothing of what is seen of it.
    r = np.corrcoef(seen.toarray().ravel(), hidden.toarray().ravel())[0, 1]
    assert abs(r) < 0.05
    again = sp.vstack([part for _, _, part in halves(counts, seed=1)])
    assert (again != hidden).nnz == 0


def _counted(
    truth: np.ndarray[Any, Any], depth: float, rng: np.random.Generator
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Count transcripts whose scores are the truth and noise: their sums, and their number."""
    number = rng.poisson(depth, truth.shape[0]).astype(np.float64)
    noise = rng.standard_normal(truth.shape) * np.sqrt(number)[:, None]
    return (truth * number[:, None] + noise).astype(np.float32), number


def test_each_axis_is_smoothed_as_what_is_hidden_asks_for() -> None:
    """Fine structure by a narrow Gaussian, coarse by a wide one; and its spread is what it says."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:_SIDE, :_SIDE]
    fine, coarse = 2 * np.sign(np.sin(x * np.pi / 4)), 0.1 * np.cos(y * np.pi / _SIDE)
    # And one of which there is nothing to tell.
    truth = np.stack([fine.ravel(), 0 * fine.ravel(), coarse.ravel()], axis=1)
    eye = sp.csr_array(sp.eye_array(_SIDE**2, dtype=np.float32))
    window = SpotWindow(0, 0, (_SIDE, _SIDE), eye)
    dealt = [_counted(truth, depth, rng) for depth in (30, 10)]
    masses, libraries = (np.stack(part) for part in zip(*dealt, strict=True))
    told = told_axes(window, masses, libraries, _PITCH_UM)
    axes, chosen, noise = told
    assert axes.tolist() == [0, 2]
    truth = truth[:, axes]
    assert WIDTHS_UM[chosen[0]] <= 12
    assert WIDTHS_UM[chosen[1]] >= 32
    # Of one transcript: what was put in, and what smoothing leaves out of the fine structure.
    assert noise[1] == pytest.approx(1, abs=0.1)
    around = Surroundings.of(window, masses[0], libraries[0], told, _PITCH_UM)
    row, column = y.ravel(), x.ravel()
    nothing = np.zeros((_SIDE**2, 1), np.float32)
    mean, variance = around.beside(row, column, nothing, nothing)
    r = [np.corrcoef(mean[:, n], truth[:, n])[0, 1] for n in range(2)]
    assert min(r) > 0.9
    # The variance is that of what chance has added.
    without = (np.insert(truth, 1, 0, axis=1) * libraries[0][:, None]).astype(np.float32)
    exact = Surroundings.of(window, without, libraries[0], told, _PITCH_UM)
    error = mean - exact.beside(row, column, nothing, nothing)[0]
    assert np.sqrt(variance[:, 1].mean()) == pytest.approx(error[:, 1].std(), rel=0.25)
    # Where nothing was counted, and off the window, the image's word holds.
    said = np.full((2, 2), 7, np.float32)
    far = np.array([10_000, -5])
    for part in around.beside(far, far, said, said):
        # Of the third axis the image says nothing.
        np.testing.assert_array_equal(part, [[7, 0]] * 2)


def _wave(x: Any, y: Any, spots: np.ndarray[Any, Any]) -> Any:
    """Rise and fall once over the spots, along a diagonal."""
    return 1 + 0.9 * np.sin(2 * np.pi * (x - y) / np.ptp(spots[:, 0]))


@pytest.fixture(scope="module")
def blended(small: Path, tmp_path_factory: pytest.TempPathFactory, session_cache: Any) -> st.Result:
    """A section of which half of the genes follow nothing that the image shows."""
    folder = tmp_path_factory.mktemp("blended")
    section = ad.read_h5ad(small / "one.h5ad")
    xy = section.obsm["spatial"]
    wave = _wave(xy[:, 0], xy[:, 1], xy)
    unseen = np.random.default_rng(0).poisson(20 * np.stack([wave, 2 - wave] * 5, axis=1))
    section = ad.AnnData(
        sp.csr_matrix(np.hstack([section.X.toarray(), unseen]).astype(np.float32)),
        obs=section.obs,
        obsm=section.obsm,
        uns=section.uns,
        var={"_": [""] * (section.n_vars + 10)},
    )
    section.var_names = [*ad.read_h5ad(small / "one.h5ad").var_names, *(f"W{n}" for n in range(10))]
    section.write_h5ad(folder / "waves.h5ad")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STENHANCE_CACHE", str(session_cache.root))
        return st.enhance(
            folder / "waves.h5ad",
            image=small / "one_he.jpg",
            out=folder / "waves.stenhance.zarr",
            preset="blended",
            epochs=3,
            device="cpu",
        )


def test_a_blend_shows_what_the_image_does_not(blended: st.Result, small: Path) -> None:
    """Between the spots too; and says so. What was saved predicts the same."""
    wave, spots = blended["W0"], ad.read_h5ad(blended.path.parent / "waves.h5ad").obsm["spatial"]
    x, y = (values.ravel() for values in np.meshgrid(wave.x / MPP, wave.y / MPP))
    near = cKDTree(spots).query(np.stack([x, y], axis=1))[0] < 60 / MPP
    here = np.isfinite(wave.values)
    near &= here.ravel()
    assert near.sum() > 500
    truth = np.log1p(_wave(x, y, spots))[near]
    assert np.corrcoef(wave.values.ravel()[near], truth)[0, 1] > 0.5
    held = blended.held_out_r
    assert held[[f"W{n}" for n in range(10)]].median() > 0.5
    (said,) = [doubt for doubt in blended.doubts if "Blended" in doubt]
    assert "no longer the published method" in said
    run = FieldRun(ResultFolder.open(blended.path), blended.runs[-1])
    model = load_fitted(run.result.model_folder(run.name), torch.device("cpu"))
    assert isinstance(model, BlendedModel)
    assert model.decoder.channels == run.field.latent[0].shape[2]
    assert model.around.noise.size + model.image.decoder.channels == model.decoder.channels
    spread = blended.spread("W0").values
    assert (spread[here] > 0).all()


def test_a_blend_predicts_one_section_alone(here: Path, blended: st.Result) -> None:
    """The one whose counts it holds: before anything is learned, and from a saved model."""
    with pytest.raises(InputError, match="give one section and no other slides"):
        st.enhance(["one.h5ad", "two.h5ad"], out=here / "out", preset="blended")
    with pytest.raises(InputError, match="give one section and no other slides"):
        st.enhance("one.h5ad", predict="two.h5ad", out=here / "out", preset="blended")
    with pytest.raises(InputError, match="holds the counts of the section that it learned from"):
        st.predict(blended, "two.h5ad", out=here / "two.stenhance.zarr", device="cpu")
    # At another scale its counts would lie elsewhere on the tissue.
    with pytest.raises(InputError, match=r"counted its spots at .* this is the same slide") as said:
        st.predict(blended, "one.h5ad", mpp=2 * MPP, out=here / "b.stenhance.zarr", device="cpu")
    assert said.value.option == "mpp"
    assert not (here / "out").exists()
    counts = sp.csr_array(np.ones((20, 1), np.float32))
    nothing: Any = None
    imputed = TrainingSection(
        "half", ("G",), counts, np.zeros((20, 2)), 8.0, nothing, nothing, measured=np.ones(20)
    )
    method = Pixel2GeneBlend(Pixel2GeneEnsemble("stain", 0, torch.device("cpu")))
    with pytest.raises(InputError, match=r"half: .* imputed, not counted"):
        method.fit([imputed], ["G"], st.Job())
