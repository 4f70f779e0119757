"""HIPT against a literal reading of how it was published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from made_sections import make_slide_pixels
from napari_stenhance.errors import InputError
from napari_stenhance.features.hipt import HIPT_256, HiptEncoder, HiptNetworks
from napari_stenhance.features.hipt_network import ContextNetwork
from napari_stenhance.features.registry import Encoder, find_encoder
from napari_stenhance.features.source import FeatureSettings
from napari_stenhance.features.superpixels import TileFeatures
from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache

MakeSlide = Callable[..., Slide]
CPU = torch.device("cpu")
# As wide as published, of one layer instead of twelve.
SHALLOW = replace(HIPT_256, options={"depth": 1})


def test_the_second_network_is_the_published_architecture() -> None:
    network = ContextNetwork()
    state = network.state_dict()
    assert sum(p.numel() for p in network.parameters()) == 2_781_504
    assert len(state) == 78
    lines = (f"{k}:{tuple(v.shape)}" for k, v in sorted(state.items()))
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12] == "e5ecbb19fd7d"
    with torch.inference_mode():
        squares = torch.randn(3, 5, 384)
        one = network(squares)
        assert one.shape == (3, 5, 192)
        # All see each other, and know where they are.
        squares[2, 4] += 1
        assert (network(squares) - one).abs().amin(dim=(0, 1)).max() > 0
        assert not torch.allclose(network(squares.flip(0)).flip(0), network(squares), atol=1e-4)


@pytest.fixture(scope="module")
def networks() -> HiptNetworks:
    return HiptNetworks("test", CPU, None, "float32", SHALLOW)


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    """Tissue, no multiple of anything."""
    return make_slide_pixels((620, 560), 2)[0][40:, 30:]


def features(
    slide: Slide, cache: Path, networks: HiptNetworks, side: int = 128, **more: Any
) -> tuple[TileFeatures, NDArray[np.float32]]:
    encoder = Encoder(
        "hipt",
        lambda: "hipt",
        superpixels=lambda _device: lambda slide: HiptEncoder(networks, slide.scale(), **more),
    )
    found = TileFeatures(slide, FeatureSettings(encoder, CPU, Cache(cache)), Job(), side)
    found.extract()
    return found, found.tile(*(slice(0, n) for n in found.grid.shape), raw=True).values


def run_first(networks: HiptNetworks, squares: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """What timm makes of squares: class token and patches, (n, 257, 384)."""
    model = networks.tokens.replicas[0].model
    pictures = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        found: NDArray[np.float32] = model.forward_features((pictures - 0.5) / 0.5).numpy()
    return found


def published(networks: HiptNetworks, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Sixteen shifted passes, summed and divided by 16, as they were published."""
    high, wide = (-(-n // 256) * 256 for n in pixels.shape[:2])
    image = np.full((high, wide, 3), 255, np.uint8)
    image[: pixels.shape[0], : pixels.shape[1]] = pixels
    total = np.zeros((high // 16, wide // 16, 576))
    for dy in range(0, 256, 64):
        for dx in range(0, 256, 64):
            part = image[dy : high - 256 + dy, dx : wide - 256 + dx]
            rows, columns = (n // 256 for n in part.shape[:2])
            more = [(0, -n % 4096) for n in part.shape[:2]]
            filled = np.pad(part, [*more, (0, 0)], mode="edge")
            squares = filled.reshape(16, 256, 16, 256, 3).swapaxes(1, 2).reshape(256, 256, 256, 3)
            # Many are the same.
            kinds: dict[bytes, int] = {}
            which = [kinds.setdefault(square.tobytes(), len(kinds)) for square in squares]
            tokens = run_first(networks, [squares[which.index(n)] for n in range(len(kinds))])[
                which
            ]
            context = networks.context(tokens[:, 0].reshape(16, 16, 384))
            maps = np.concatenate(
                [
                    context.repeat(16, axis=0).repeat(16, axis=1),
                    np.moveaxis(tokens[:, 1:].reshape(16, 16, 16, 16, 384), 2, 1).reshape(
                        256, 256, 384
                    ),
                ],
                axis=2,
            )[: rows * 16, : columns * 16]
            total[dy // 16 :, dx // 16 :][: rows * 16, : columns * 16] += maps
    total /= 16
    total[-16:] = total[:, -16:] = 0
    by_cell = image.reshape(high // 16, 16, wide // 16, 16, 3).mean(axis=(1, 3)) / 255
    return np.concatenate([total, by_cell], axis=2).astype(np.float32)


@pytest.mark.slow
def test_superpixels_are_as_published(
    make_slide: MakeSlide, tmp_path: Path, networks: HiptNetworks, pixels: NDArray[np.uint8]
) -> None:
    slide = make_slide(pixels, mpp=0.5)
    found, values = features(slide, tmp_path / "a", networks, legacy_edges=True)
    expected = published(networks, pixels)[: values.shape[0], : values.shape[1]]
    tissue = found.tissue
    assert tissue[:4].any()
    assert tissue[-6:].any()
    assert values.shape == (*found.grid.shape, 579)
    np.testing.assert_allclose(values[tissue], expected[tissue], atol=4e-3)
    assert np.median(expected[tissue].std(axis=0)) > 0.02  # so that this test can fail
    _, smooth = features(slide, tmp_path / "s", networks, legacy_edges=True, smooth=True)
    averaged = published(networks, pixels)
    for low, high, width in ((0, 192, 16), (192, 576, 4)):
        averaged[..., low:high] = uniform_filter(averaged[..., low:high], (width, width, 0))
    averaged = averaged[: values.shape[0], : values.shape[1]]
    np.testing.assert_allclose(smooth[tissue], averaged[tissue], atol=4e-3)
    assert np.abs(smooth - values)[tissue, :576].max() > 0.1
    # With as many squares as there are, nothing is lost at the edges.
    _, whole = features(slide, tmp_path / "b", networks)
    inner = tissue.copy()
    inner[:12], inner[:, :12], inner[32:], inner[:, 32:] = False, False, False, False
    np.testing.assert_allclose(whole[inner, 192:], values[inner, 192:], atol=4e-3)
    assert (np.abs(whole[tissue, 192:576]).max(axis=1) > 0.1).all()
    _, four = features(slide, tmp_path / "c", networks, shifts=2)
    np.testing.assert_allclose(four[tissue, 576:], whole[tissue, 576:])
    assert not np.array_equal(four, whole)
    row, column = next(zip(*np.nonzero(tissue), strict=True))
    padded = np.pad(pixels, ((192, 512), (192, 512), (0, 0)), constant_values=255)
    for shifts, values_of in ((4, whole), (2, four)):
        step = 256 // shifts
        corners = [
            (
                16 * row // step * step - 256 + step + dy,
                16 * column // step * step - 256 + step + dx,
            )
            for dy in range(0, 256, step)
            for dx in range(0, 256, step)
        ]
        tokens = run_first(
            networks, [padded[y + 192 : y + 448, x + 192 : x + 448] for y, x in corners]
        )
        own = [
            t[1:].reshape(16, 16, 384)[(16 * row - y) // 16, (16 * column - x) // 16]
            for t, (y, x) in zip(tokens, corners, strict=True)
        ]
        np.testing.assert_allclose(values_of[row, column, 192:576], np.mean(own, axis=0), atol=4e-3)


def test_one_shift_is_each_square_once_whatever_the_tiles(
    make_slide: MakeSlide, tmp_path: Path, networks: HiptNetworks, pixels: NDArray[np.uint8]
) -> None:
    pixels = pixels[:430, :400]
    slide = make_slide(pixels, mpp=0.5)
    found, values = features(slide, tmp_path / "a", networks, shifts=1)
    (one, smooth), (other, again) = (
        features(slide, tmp_path / cache, networks, side, shifts=1, smooth=True)
        for cache, side in (("a", 128), ("b", 16))
    )
    np.testing.assert_array_equal(smooth, again)
    np.testing.assert_array_equal(one.moments, other.moments)
    assert not np.array_equal(smooth, values)
    row, column = np.argwhere(found.tissue)[-1]
    padded = np.pad(pixels, ((0, 256), (0, 256), (0, 0)), constant_values=255)
    top, left = row // 16 * 256, column // 16 * 256
    tokens = run_first(networks, [padded[top : top + 256, left : left + 256]])[0, 1:]
    expected = tokens.reshape(16, 16, 384)[row % 16, column % 16]
    np.testing.assert_allclose(values[row, column, 192:576], expected, atol=4e-3)


def test_names_options_and_weights(tmp_path: Path, make_slide: MakeSlide) -> None:
    trial = find_encoder("hipt?shifts=4&pretrained=false")
    assert trial.name == "hipt?pretrained=false&shifts=4"
    assert trial.title == "hipt"
    assert trial.identity() == "hipt-v1-random0-4"
    legacy = find_encoder("stain+hipt?pretrained=false&legacy_edges=true")
    assert legacy.identity() == "stain3+hipt-v1-random0-16-legacy"
    smooth = find_encoder("hipt?smooth=true&pretrained=false")
    assert smooth.identity() == "hipt-v1-random0-16-smooth"
    with pytest.raises(InputError, match=r"fetch vit256_small_dino.pth and vit4k_xs_dino.pth from"):
        find_encoder("hipt").identity()
    for wrong, said in (
        ("shifts=3", "shifts=3 is no option; there are weights=FILE and weights4k=FILE"),
        ("weights=a.pth", "give both weights=FILE and weights4k=FILE"),
        ("pretrained=false&shifts=1&legacy_edges=true", "those of 16 shifts"),
    ):
        with pytest.raises(InputError, match=said):
            find_encoder(f"hipt?{wrong}")
    # Both files as DINO saves them.
    first, second = tmp_path / "a.pth", tmp_path / "vit4k.pth"
    torch.manual_seed(1)
    context = ContextNetwork()
    model = SHALLOW.build(224)
    for path, of in ((first, model), (second, context)):
        teacher = {f"module.backbone.{k}": v + 0.01 for k, v in of.state_dict().items()}
        torch.save({"teacher": teacher | {"module.head.mlp.0.weight": torch.zeros(2)}}, path)
    loaded = HiptNetworks("x", CPU, (first, second), "float32", SHALLOW)
    table = model.state_dict()["pos_embed"][0, 1:] + 0.01
    resized = torch.nn.functional.interpolate(
        table.T.reshape(1, 384, 14, 14), scale_factor=(16.1 / 14,) * 2, mode="bicubic"
    )
    own: Any = loaded.tokens.replicas[0].model
    torch.testing.assert_close(own.pos_embed[0, 1:], resized[0].flatten(1).T)
    torch.testing.assert_close(loaded._context.phi[0].bias, context.phi[0].bias + 0.01)
    (tmp_path / "vit256_small_dino.pth").write_bytes(first.read_bytes())
    files = f"weights={tmp_path / 'vit256_small_dino.pth'}&weights4k={second}"
    with pytest.raises(InputError, match="not the file of this name that was published for hipt"):
        find_encoder(f"hipt?{files}").identity()
    encoder = HiptEncoder(loaded, 2.0, legacy_edges=True)
    assert "magnified 4.0 times" in encoder.doubts()[0]
    with pytest.raises(InputError, match="too small to be seen by hipt as published"):
        features(
            make_slide(make_slide_pixels((250, 250), 2)[0], mpp=0.5), tmp_path, loaded,
            legacy_edges=True,
        )  # fmt: skip


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu(
    make_slide: MakeSlide, tmp_path: Path, networks: HiptNetworks, pixels: NDArray[np.uint8]
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    slide = make_slide(pixels[:430, :400], mpp=0.5)
    there = HiptNetworks("test", torch.device("cuda"), None, "float32", SHALLOW)
    assert there.fingerprint() != networks.fingerprint()
    _, expected = features(slide, tmp_path / "a", networks, shifts=2)
    _, found = features(slide, tmp_path / "b", there, shifts=2)
    np.testing.assert_allclose(found, expected, atol=5e-3)
