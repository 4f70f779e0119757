"""Superpixels from networks: the same features as timm's, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import napari_stenhance as st
from made_sections import make_slide_pixels
from napari_stenhance.errors import Cancelled, InferenceError, InputError
from napari_stenhance.features.cropping import Block, Crops
from napari_stenhance.features.dense import DenseEncoder, DenseNetwork, plan_windows
from napari_stenhance.features.forward import Precision
from napari_stenhance.features.networks import EncoderNetwork
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import FeatureSettings
from napari_stenhance.features.superpixels import TileFeatures
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.trained import Trained
from test_networks import cards

MakeSlide = Callable[..., Slide]
CPU = torch.device("cpu")
MEAN, STD = (0.7, 0.5, 0.6), (0.2, 0.3, 0.25)


def network(arch: str, mpp: float = 0.5, **options: Any) -> EncoderNetwork:
    return EncoderNetwork("a", arch, 224, MEAN, STD, "none", options=options, mpp=mpp)


def encoder_of(of: EncoderNetwork, weights: Path | None = None, mpp: float = 0.5) -> DenseEncoder:
    return DenseEncoder(DenseNetwork(of, "a1", CPU, weights, precision="float32"), mpp)


def encoded(encoder: DenseEncoder, pixels: NDArray[np.uint8], windows: int) -> NDArray[np.float32]:
    """Encode windows that lie in a line, (rows, windows · rows, dim)."""
    layout = encoder.network.layout
    corners = np.column_stack([np.zeros(windows, np.int64), np.arange(windows) * layout.window_px])
    block = Block(pixels, corners, np.arange(windows))
    found = encoder.network.encode(Crops(layout.side_px, (block,), windows))
    return np.moveaxis(found, 0, 1).reshape(layout.rows, -1, encoder.dim)


def noise(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def weights_of(of: EncoderNetwork, path: Path) -> Any:
    """Write weights of which none is as it was initialised, and return timm's own network."""
    torch.manual_seed(5)
    model = timm.create_model(of.arch, pretrained=False, num_classes=0, **of.options).eval()
    with torch.no_grad():
        for value in model.parameters():
            value += 0.02 * torch.randn_like(value)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, path)
    return model


def of_timm(model: Any, square: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What timm makes of a square: (rows, columns, dim) of patches."""
    mean, std = (torch.tensor(s).view(3, 1, 1) for s in (MEAN, STD))
    picture = ((torch.from_numpy(square.copy()).permute(2, 0, 1) / 255 - mean) / std)[None]
    with torch.inference_mode():
        if not hasattr(model, "num_prefix_tokens"):
            (found,) = model.forward_intermediates(picture, indices=[3], intermediates_only=True)
            return found[0].permute(1, 2, 0).numpy()
        model.set_input_size(img_size=square.shape[:2])
        found = model.forward_features(picture)[0, model.num_prefix_tokens :]
        if model.global_pool == "avg":
            found = model.fc_norm(found)
        side = round(len(found) ** 0.5)
        return found.reshape(side, side, -1).numpy()


@pytest.mark.parametrize(
    ("of", "side", "halo", "cells"),
    [
        (network("test_vit"), 448, 64, 20),  # patches of 16 pixels are superpixels
        (network("test_vit", patch_size=14, img_size=224), 224, 32, 10),
        (network("test_vit", patch_size=8, img_size=224), 224, 32, 10),
        (network("test_vit", patch_size=16, mpp=1.0), 448, 64, 40),
        (network("test_vit2"), 448, 64, 20),  # a register, and a norm behind the pooling
        (network("test_resnet"), 512, 64, 24),
    ],
    ids=lambda v: f"{v.arch}{v.options.get('patch_size', '')}" if hasattr(v, "arch") else "",
)
def test_superpixels_are_the_patches_of_timm(
    tmp_path: Path, of: EncoderNetwork, side: int, halo: int, cells: int
) -> None:
    """Two windows along: every superpixel, corners too, is the mean of its area in the square."""
    model = weights_of(of, tmp_path / "w")
    encoder = encoder_of(of, tmp_path / "w")
    window = side - 2 * halo
    assert (encoder.window_px, encoder.network.layout.halo_px) == (window, halo)
    assert encoder.pitch_um * cells == pytest.approx(window * encoder.mpp)
    pixels = noise((side, side + window))
    values = encoded(encoder, pixels, 2)
    assert values.shape == (cells, 2 * cells, encoder.dim)
    for n in (0, 1):
        patches = of_timm(model, pixels[:, n * window : n * window + side])
        by_pixel = patches.repeat(side // len(patches), 0).repeat(side // len(patches), 1)
        inner = by_pixel[halo:-halo, halo:-halo].reshape(
            cells, window // cells, cells, window // cells, -1
        )
        expected = inner.mean(axis=(1, 3), dtype=np.float64)
        assert np.median(expected.std(axis=(0, 1))) > 1e-3  # so that this test can fail
        np.testing.assert_allclose(values[:, n * cells : (n + 1) * cells], expected, atol=2e-5)


def averaged(of: DenseNetwork, patches: torch.Tensor) -> torch.Tensor:
    """Average given patches, (rows, columns, dim), as if the network had returned them."""
    of._map = replace(of._map, read=lambda _model, _pictures: patches[None])
    return of._cells(None, torch.empty(0))[0]


def test_patches_of_14_pixels_are_shared_out_by_the_eighth() -> None:
    """Seven superpixels to eight patches; the context takes two of them, 28 of 32 pixels."""
    of = DenseNetwork(network("test_vit", patch_size=14, img_size=224), "a1", CPU, None)
    line = torch.rand(16, 5)
    shared = [
        ((7 - i) * line[k + i] + (i + 1) * line[k + i + 1]) / 8 for k in (0, 8) for i in range(7)
    ]
    expected = torch.stack(shared[2:12])
    along = averaged(of, line.expand(16, 16, 5))
    torch.testing.assert_close(along, expected.expand(10, 10, 5))
    torch.testing.assert_close(averaged(of, line[:, None].expand(16, 16, 5)), along.swapaxes(0, 1))


def test_an_odd_scale_still_has_whole_windows() -> None:
    encoder = encoder_of(network("test_vit", mpp=0.57))
    assert encoder.mpp == pytest.approx(0.57, rel=0.01)
    cells = encoder.network.layout.rows
    assert encoder.window_px * encoder.mpp == pytest.approx(8 * cells, abs=1e-9)
    side = encoder.network.layout.side_px
    assert encoded(encoder, noise((side, side)), 1).shape == (cells, cells, 64)
    # Shares sum to 1, up to the border.
    torch.testing.assert_close(
        averaged(encoder.network, torch.ones(28, 28, 3)), torch.ones(cells, cells, 3)
    )


def over(slide: Slide, cache: Cache, encoder: str, side: int = 128) -> TileFeatures:
    features = TileFeatures(slide, FeatureSettings(find_encoder(encoder), CPU, cache), Job(), side)
    features.extract()
    return features


def raw(features: TileFeatures) -> NDArray[np.float32]:
    rows, columns = (slice(0, n) for n in features.grid.shape)
    return features.tile(rows, columns, raw=True).values


VIT = "timm:test_vit?pretrained=false"


def test_two_tile_sizes_give_the_same_superpixels(
    make_slide: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = make_slide(make_slide_pixels((700, 500), 2)[0], mpp=0.8)
    counts: list[int] = []
    encode = DenseNetwork.encode

    def counting(self: DenseNetwork, squares: Crops) -> NDArray[np.float32]:
        counts.append(len(squares))
        return encode(self, squares)

    monkeypatch.setattr(DenseNetwork, "encode", counting)
    one = over(slide, Cache(tmp_path / "a"), VIT, side=20)
    # Glass is left out, and batches are filled over the borders of tiles.
    windows = {(y // 20, x // 20) for y, x in np.argwhere(one.tissue).tolist()}
    assert sum(counts) == len(windows) < 4 * 3
    assert set(counts[:-1]) == {2}
    two = over(slide, Cache(tmp_path / "b"), VIT)
    assert (one._arrays[0].chunks[0], two._arrays[0].chunks[0]) == (20, 70)  # the second in one
    np.testing.assert_array_equal(raw(one), raw(two))
    np.testing.assert_array_equal(one.moments, two.moments)
    assert raw(one)[one.tissue].std(axis=0).min() > 1e-3
    (doubt,) = one.doubts
    assert "magnified 1.6 times, to the 0.5 µm per pixel" in doubt


def test_cancel_is_heard_between_batches(
    make_slide: MakeSlide, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = make_slide(make_slide_pixels((700, 500), 2)[0], mpp=0.8)
    features = TileFeatures(slide, FeatureSettings(find_encoder(VIT), CPU, cache), Job())
    encode, counts = DenseNetwork.encode, []

    def cancelling(self: DenseNetwork, squares: Crops) -> NDArray[np.float32]:
        counts.append(len(squares))
        features.job.cancel()
        return encode(self, squares)

    monkeypatch.setattr(DenseNetwork, "encode", cancelling)
    with pytest.raises(Cancelled):
        features.extract()
    assert counts == [2]


@pytest.mark.parametrize(
    "name",
    [
        "pit_ti_224",
        # Shows only when it is run that it looks into tables of places.
        pytest.param("mvitv2_tiny", marks=pytest.mark.slow),
    ],
)
def test_a_network_without_places_is_said(name: str) -> None:
    load = find_encoder(f"timm:{name}?pretrained=false").superpixels
    assert load is not None
    with pytest.raises(InputError, match=r"no map of features for pictures of 512 × 512 pixels"):
        load(CPU)


def test_values_without_end_and_wide_patches_are_said() -> None:
    encoder = encoder_of(network("test_vit"))
    for wrong, said in ((torch.nan, "what is not a number"), (1e5, "too large a number")):
        with torch.no_grad():
            encoder.network._forward.replicas[0].model.norm.bias[0] = wrong
        with pytest.raises(InferenceError, match=f"a returned {said}, computed in"):
            encoded(encoder, noise((448, 448)), 1)
    wide = encoder_of(network("test_vit", patch_size=32, img_size=224))
    (doubt,) = wide.doubts()
    assert "patches of 16 µm, wider than superpixels" in doubt


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_agrees_with_the_cpu(precision: Precision) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    of = network("test_vit", patch_size=14, img_size=224)
    cpu, gpu = (
        DenseNetwork(of, "a1", torch.device(device), None, precision=kind)
        for device, kind in (("cpu", "float32"), ("cuda", precision))
    )
    assert cpu.fingerprint() != gpu.fingerprint()
    squares = Crops.from_array(np.stack([noise((224, 224), seed) for seed in range(5)]))
    expected = cpu.encode(squares)
    found = gpu.encode(squares)
    np.testing.assert_allclose(found, expected, atol=1e-3 if precision == "float32" else 0.1)
    np.testing.assert_array_equal(gpu.encode(squares), found)


def test_pixel2gene_learns_from_a_network(small: Path, tmp_path: Path) -> None:
    how: Any = {"encoder": VIT, "genes": ["G0", "G20"], "epochs": 2, "device": "cpu"}
    result = st.enhance(
        small / "one.h5ad", predict=small / "two.h5ad", out=tmp_path / "two.stenhance.zarr", **how
    )
    st.train(small / "one.h5ad", out=tmp_path / "model", **how)
    assert result.runs == ("pixel2gene-timm-test_vit-robust",)
    assert float(np.diff(result["G0"].x)[0]) == pytest.approx(8.0)
    assert np.isfinite(result["G20"]).any()
    # What is doubted of a slide that was learned from is a doubt about all that comes of it.
    of_run = ResultFolder.open(result.path).run_attributes(result.runs[0])["doubts"]
    for name, doubts in (
        ("one", of_run),
        ("two", of_run),
        ("one", Trained.open(tmp_path / "model").doubts),
    ):
        assert any(doubt.startswith(f"{name}: The slide is magnified 1.6") for doubt in doubts)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(cards()))
def test_every_known_network_has_superpixels(name: str) -> None:
    """Without memory: what it is laid out for, and the shape of what is taken from it."""
    card = cards()[name]
    layout, patches = plan_windows(card)
    assert layout.mpp == card.mpp
    assert layout.rows * 8 == layout.window_px * layout.mpp
    with torch.device("meta"):
        model = card.build(layout.side_px)
        found = patches.read(model, torch.empty(1, 3, layout.side_px, layout.side_px))
    side = layout.side_px // patches.patch_px
    assert found.shape == (1, side, side, patches.dim)
