"""How far tissue lies from what was learned from: measured, kept, shown, and doubted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import napari_stenhance as st
from made_sections import MPP, make_slide_pixels, write_image
from napari_stenhance.methods.familiar import FamiliarTissue, unfamiliar_doubts
from napari_stenhance.methods.members import standardise
from napari_stenhance.methods.pixel2gene.ensemble import Pixel2GeneEnsemble, Pixel2GeneRecipe
from napari_stenhance.methods.pixel2gene.inputs import training_inputs
from napari_stenhance.methods.pixel2gene.learner import SpotSchedule
from napari_stenhance.methods.pixel2gene.model import Pixel2GeneModel
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.results.predictions import at_superpixels
from napari_stenhance.running.job import Job
from napari_stenhance.storage.tiles import tiles_of

CPU = torch.device("cpu")
BRIEF = Pixel2GeneRecipe(members=5, hidden=(16,), schedule=SpotSchedule(epochs=2))


def _blocks(blocks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw inputs of tissue in blocks, each with an offset of its own, on a plane of 12 axes."""
    rng = np.random.default_rng(seed)
    plane = np.random.default_rng(99).standard_normal((12, 60))
    block = np.repeat(np.arange(blocks), 40)
    latent = rng.standard_normal((blocks, 12))[block] + rng.standard_normal((len(block), 12))
    inputs = latent @ plane + 0.3 * rng.standard_normal((len(block), 60))
    return np.clip(inputs / 5, -5, 5).astype("f4"), block, plane


def test_95_of_100_of_blocks_that_were_never_seen_lie_within_1() -> None:
    inputs, block, plane = _blocks(300)
    known = FamiliarTissue.of(inputs[block < 150], block[block < 150] % 5)
    assert known is not None
    distance = known.distance(inputs[block >= 150])
    assert 0.92 < (distance <= 1).mean() < 0.98
    # Far along the axes, and a little off them: neither was seen.
    far = 8 * plane.sum(axis=0) / 5
    across = np.linalg.svd(plane)[2][-1] * 3
    assert (known.distance(np.stack([far, across]).astype("f4")) > 1.5).all()
    assert known.distance(inputs.mean(axis=0, keepdims=True))[0] < 0.5


def test_a_distance_is_the_same_whatever_stands_beside_it() -> None:
    inputs, block, _ = _blocks(50)
    known = FamiliarTissue.of(inputs, block % 5)
    assert known is not None
    whole = known.distance(inputs)
    some = np.concatenate([known.distance(inputs[n : n + 37]) for n in range(0, len(inputs), 37)])
    np.testing.assert_array_equal(some, whole)
    again = FamiliarTissue.of(inputs, block % 5)
    assert again is not None
    for name, values in known.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], values)
    assert len(known.distance(inputs[:0])) == 0


def test_of_few_spots_or_of_what_does_not_vary_it_is_not_known() -> None:
    inputs, _, _ = _blocks(1)
    assert FamiliarTissue.of(inputs[:18], np.arange(18) % 5) is None
    assert FamiliarTissue.of(inputs[:20], np.arange(20) % 5) is not None
    assert FamiliarTissue.of(np.ones((100, 7), "f4"), np.arange(100) % 5) is None
    assert FamiliarTissue.of(inputs, np.zeros(len(inputs), int)) is None


def _learn(sample: TrainingSection) -> Pixel2GeneModel:
    return Pixel2GeneEnsemble("stain", 0, CPU, BRIEF).fit([sample], sample.genes, Job())


def _distances(fitted: Pixel2GeneModel, sample: TrainingSection, size: int) -> np.ndarray:
    features = sample.features
    halo = round(fitted.halo_um / features.grid.pitch_um)
    full = np.full(features.grid.shape, np.nan, "f4")
    for tile in tiles_of(features.grid.shape, size):
        seen = fitted.latent(features.tile(tile.rows, tile.columns, halo))
        if seen.distance is not None:
            full[tile.rows, tile.columns] = seen.distance
    return full


def test_a_model_knows_its_tissue_and_predicts_as_without(
    sample: TrainingSection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = _learn(sample)
    whole = _distances(fitted, sample, 256)
    np.testing.assert_array_equal(np.isfinite(whole), sample.features.tissue)
    # Spots of this tissue were all learned from: little of what lies between them is unlike them.
    assert 0.2 < np.nanmedian(whole) < 1
    assert (whole > 1).mean() < 0.05
    np.testing.assert_array_equal(_distances(fitted, sample, 48), whole)

    # What it knows is what it is given to predict, however inputs are weighed to learn.
    inputs, _ = training_inputs([sample], 10**6, np.random.default_rng(0), Job())
    given = standardise(inputs, fitted.shift, fitted.scale, fitted.clip)
    assert fitted.familiar is not None
    along = (given @ fitted.familiar.axes).var(axis=0)
    np.testing.assert_allclose(along[:8], fitted.familiar.variance[:8], rtol=0.25)

    fitted.save(tmp_path)
    loaded = Pixel2GeneModel.load(tmp_path, CPU)
    np.testing.assert_array_equal(_distances(loaded, sample, 256), whole)

    monkeypatch.setattr(FamiliarTissue, "of", lambda *_given: None)
    without = _learn(sample)
    assert without.familiar is None
    for one, other in zip(fitted.network.weights, without.network.weights, strict=True):
        assert torch.equal(one, other)
    (tmp_path / "older").mkdir()
    without.save(tmp_path / "older")
    assert Pixel2GeneModel.load(tmp_path / "older", CPU).familiar is None
    tile = sample.features.tile(slice(100, 140), slice(80, 120), 62)
    assert without.latent(tile).distance is None
    np.testing.assert_array_equal(without.latent(tile).mean, fitted.latent(tile).mean)


def test_the_doubt_is_of_much_more_than_is_expected() -> None:
    assert unfamiliar_doubts(None, ["C2"]) == []
    assert unfamiliar_doubts(0.15, ["C2"]) == []
    (said,) = unfamiliar_doubts(0.31, ["C2", "C3"])
    assert said.startswith(
        "31% of the tissue looks unlike what was learned from (C2, C3), where 5%"
    )


def test_a_run_says_how_far_its_tissue_lies(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = st.Result.open(small / "one.stenhance.zarr")
    far = alike.unfamiliar()
    np.testing.assert_array_equal(np.isnan(far), np.isnan(alike["G1"]))
    assert far.attrs["share"] == round(float((far > 1).sum() / far.notnull().sum()), 4)
    assert not any("looks unlike" in doubt for doubt in alike.doubts)
    (said,) = (line for line in alike._of_genes.describe() if "training tissue" in line)
    assert said.strip().startswith(f"{far.attrs['share']:.0%} of the tissue lies beyond")
    table = at_superpixels(alike.folder, alike._of_genes.name, ["G1"], st.Job())
    at = far.values[table.obs["row"], table.obs["column"]]
    np.testing.assert_array_equal(table.obs["unfamiliar"], at)
    written = st.export(alike, tmp_path / "far.ome.tif", to="ome-tiff", what="unfamiliar")
    with tifffile.TiffFile(written) as tif:
        np.testing.assert_array_equal(tif.asarray(), far)
        assert "distance from the training tissue" in tif.ome_metadata
    spots = alike.to_anndata(at=small / "one.h5ad")
    assert 0.2 < spots.obs["unfamiliar"].median() < 1

    # Tissue whose colours are exchanged is nothing that was learned from.
    monkeypatch.chdir(tmp_path)
    pixels, _ = make_slide_pixels((800, 670), 1)
    write_image(tmp_path / "green.png", np.ascontiguousarray(pixels[..., [1, 0, 2]]))
    green = st.predict(
        small / "one.stenhance.zarr", "green.png", mpp=MPP, device="cpu", job=st.Job()
    )
    assert green.unfamiliar().attrs["share"] > 0.9
    (doubt,) = (one for one in green.doubts if "looks unlike" in one)
    assert "(one)" in doubt
    assert st.Result.open(green.path).doubts == green.doubts
    assert doubt in green._of_genes.trust("G1")


def test_a_run_that_does_not_know_says_so(tiny: Path) -> None:
    result = st.Result.open(tiny)
    lines = result.run("pixel2gene-stain-robust")._of_genes.describe()
    assert "  Unfamiliar tissue is not known of this run" in lines
    with pytest.raises(st.InputError, match="does not say how far tissue lies"):
        result.run("pixel2gene-stain-robust").unfamiliar()
    with pytest.raises(st.InputError, match="looks at no tissue"):
        result.run("sinca-robust").unfamiliar()
