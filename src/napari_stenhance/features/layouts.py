"""How files of weights name their tensors, and how timm does."""

from __future__ import annotations

import re
from collections.abc import Collection
from math import isqrt
from typing import TYPE_CHECKING, Any

from napari_stenhance.features.positions import Resizing, resized_table

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

# What training scripts and whole models put before the names of a part.
_PREFIXES = re.compile(
    r"^((module|_orig_mod|backbone|visual\.trunk|trunk|vit|dinov2|dinov2_with_registers)\.)+"
)
# Of training and classification; dropped where the network has no such part.
_HEADS = ("head", "fc.", "classifier.", "dino_head", "ibot_head", "mask_token", "pooler.", "_fc.")
_RENAMED = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        # transformers: ViT and DINOv2, with registers and gates or without
        (r"^embeddings\.(cls_token|mask_token)$", r"\1"),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^embeddings\.register_tokens$", "reg_token"),
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^layernorm\.", "norm."),
        (r"^encoder\.layer\.", "blocks."),
        (r"^(blocks\.\d+)\.attention\.attention\.", r"\1.attn."),
        (r"^(blocks\.\d+)\.attention\.output\.dense\.", r"\1.attn.proj."),
        (r"^(blocks\.\d+)\.layernorm_before\.", r"\1.norm1."),
        (r"^(blocks\.\d+)\.layernorm_after\.", r"\1.norm2."),
        (r"^(blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
        (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
        (r"^(blocks\.\d+)\.mlp\.weights_in\.", r"\1.mlp.fc1."),
        (r"^(blocks\.\d+)\.mlp\.weights_out\.", r"\1.mlp.fc2."),
        (r"^(blocks\.\d+)\.layer_scale([12])\.lambda1$", r"\1.ls\2.gamma"),
        # DINOv2 as Meta trained it: blocks may lie in chunks, but are numbered through
        (r"^register_tokens$", "reg_token"),
        (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),
        (r"^(blocks\.\d+)\.mlp\.w12\.", r"\1.mlp.fc1."),
        (r"^(blocks\.\d+)\.mlp\.w3\.", r"\1.mlp.fc2."),
    )
)
_QUERY = re.compile(r"^(blocks\.\d+\.attn)\.query\.(weight|bias)$")


def timm_layout(state: State, expected: Collection[str]) -> State:
    """Name tensors as timm does, whichever program named them; leave heads out.

    Parameters
    ----------
    state : mapping of str to torch.Tensor
    expected : collection of str
        The names that the network has: these are left as they are.
    """
    if "_conv_stem.weight" in state:
        return _in_order(state, expected)
    named = {key if key in expected else _name(key): value for key, value in state.items()}
    for key in [key for key in named if _QUERY.match(key)]:
        parts = [key.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in named for part in parts):
            named[key.replace(".query.", ".qkv.")] = _joined([named.pop(part) for part in parts])
    return {k: v for k, v in named.items() if k in expected or not k.startswith(_HEADS)}


def _in_order(state: State, expected: Collection[str]) -> State:
    """Name the tensors of an EfficientNet of another program, which has them in timm's order.

    Its blocks are numbered through, and timm's within stages. Where the kinds of tensors do not
    follow each other as timm's do, names are left as they are.
    """
    body = [key for key in state if not key.startswith(_HEADS)]
    kinds = [[key.rpartition(".")[2] for key in keys] for keys in (body, expected)]
    if kinds[0] != kinds[1]:
        return state
    return {ours: state[theirs] for ours, theirs in zip(expected, body, strict=True)}


def _name(key: str) -> str:
    key = _PREFIXES.sub("", key, count=1)
    for pattern, name in _RENAMED:
        key = pattern.sub(name, key)
    return key


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.cat(parts)


def fit_positions(state: State, model: Any, resizing: Resizing) -> None:
    """Give a table of positions the size that the network has.

    Where the network keeps none for its class token and the file does, it is added to that token,
    which comes to the same. A table that fits no square is left alone.

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        Named as timm does; changed in place.
    model : torch.nn.Module
    resizing : {"smooth", "plain", "dino"}
        How tables are resized.
    """
    import torch

    table, expected = state.get("pos_embed"), getattr(model, "pos_embed", None)
    if table is None or expected is None or table.ndim != 3 or not hasattr(model, "patch_embed"):
        return
    prefix = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
    if not prefix and "cls_token" in state and _is_square(table.shape[1] - 1):
        state["cls_token"] = state["cls_token"] + table[:, :1]
        table = table[:, 1:]
    rows = table.shape[1] - prefix
    if _is_square(rows) and table.shape != expected.shape:
        before, after = (isqrt(rows),) * 2, tuple(model.patch_embed.grid_size)
        places = resized_table(table[:, prefix:], before, after, resizing)
        table = torch.cat([table[:, :prefix], places], dim=1)
    state["pos_embed"] = table


def _is_square(number: int) -> bool:
    return number > 0 and isqrt(number) ** 2 == number
