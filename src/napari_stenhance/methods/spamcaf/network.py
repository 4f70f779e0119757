"""The network of SpaMCAF `robust`: target, neighbourhood and tissue, fused by attention."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from napari_stenhance.methods.crops.design import (
    CODE_LENGTH,
    Design,
    Outputs,
    offset_code,
    square,
)

CROPS_UM = (163.0, 489.0)
"""224 and 672 pixels of the published program's sections, at 0.73 µm."""
_WIDTH, _INNER = 64, 128
_DROPOUT, _DROPOUT_IN, _DROPOUT_GATE = 0.4, 0.2, 0.25
_NEAR, _FAR = square(CROPS_UM[0], 1), square(CROPS_UM[1], 1)
_HEADS = 4
_HEAD_DIM = _WIDTH // _HEADS
_REACH_UM = float(np.abs(_FAR).max())
_BRANCH_SHARE = 0.3


class GatedAttention(nn.Module):
    """Weigh tokens against each other, and sum them.

    References
    ----------
    Ilse, Tomczak and Welling, Attention-based deep multiple instance learning, ICML 2018.

    Parameters
    ----------
    width : int
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.signal = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Dropout(_DROPOUT_GATE))
        self.gate = nn.Sequential(nn.Linear(width, width), nn.Sigmoid(), nn.Dropout(_DROPOUT_GATE))
        self.weigh = nn.Linear(width, 1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Sum tokens, (n, sizes, width), to (n, width); return the weights, (n, sizes), too."""
        weight = self.weigh(self.signal(tokens) * self.gate(tokens)).softmax(dim=1)
        return (weight * tokens).sum(dim=1), weight[..., 0]


class Fusion(nn.Module):
    """Two layers for the crops of every size alike, then gated attention over the sizes.

    Parameters
    ----------
    dim : int
        Length of the feature vector of one crop.
    sizes : int
    """

    def __init__(self, dim: int, sizes: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.tokens = nn.Sequential(
            nn.Dropout(_DROPOUT_IN),
            *(nn.Linear(dim, _WIDTH), nn.LayerNorm(_WIDTH), nn.GELU(), nn.Dropout(_DROPOUT)),
            *(nn.Linear(_WIDTH, _WIDTH), nn.LayerNorm(_WIDTH), nn.GELU(), nn.Dropout(_DROPOUT)),
        )
        self.attention = GatedAttention(_WIDTH)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse crops of all sizes, (n, sizes · dim): (n, width), and the weights, (n, sizes)."""
        fused, weight = self.attention(self.tokens(crops.unflatten(1, (self.sizes, -1))))
        return fused, weight


def _gene_head(outputs: int) -> nn.Sequential:
    """Make the layers from a hidden vector to scores."""
    return nn.Sequential(
        nn.Linear(_WIDTH, _INNER), nn.GELU(), nn.Dropout(_DROPOUT), nn.Linear(_INNER, outputs)
    )


class SummaryMixing(nn.Module):
    """Every token with a summary of all, in linear time; then feed-forward; both residual.

    References
    ----------
    Parcollet, van Dalen, Zhang and Bhattacharya, SummaryMixing: a linear-complexity alternative to
    self-attention, Interspeech 2024.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(_WIDTH)
        self.local = nn.Linear(_WIDTH, _WIDTH)
        self.summary = nn.Linear(_WIDTH, _WIDTH)
        self.norm_local = nn.LayerNorm(_HEAD_DIM)
        self.norm_summary = nn.LayerNorm(_HEAD_DIM)
        self.combine = nn.Sequential(nn.Linear(2 * _HEAD_DIM, _WIDTH), nn.GELU())
        self.together = nn.Sequential(nn.Linear(_HEADS * _WIDTH, _WIDTH), nn.Dropout(_DROPOUT))
        self.feed = nn.Sequential(
            *(nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _INNER), nn.GELU()),
            *(nn.Linear(_INNER, _WIDTH), nn.Dropout(_DROPOUT)),
        )

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """Mix tokens, (n, k, width), of which those that are there, (n, k), are summed up."""
        normal = self.norm(tokens)
        local = self.local(normal).unflatten(2, (_HEADS, _HEAD_DIM))
        each = self.summary(normal).unflatten(2, (_HEADS, _HEAD_DIM))
        weight = there[..., None, None].to(each.dtype)
        summary = (each * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True)
        local = nn.functional.gelu(self.norm_local(local))
        summary = nn.functional.gelu(self.norm_summary(summary)).expand_as(local)
        mixed = self.combine(torch.cat([local, summary], dim=3)).flatten(2)
        tokens = tokens + self.together(mixed)
        return tokens + self.feed(tokens)


class ScaleCrossAttention(nn.Module):
    """Multi-head attention from one token to others."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(_WIDTH, _WIDTH)
        self.key = nn.Linear(_WIDTH, _WIDTH)
        self.value = nn.Linear(_WIDTH, _WIDTH)
        self.together = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, target: Tensor, tokens: Tensor, there: Tensor) -> Tensor:
        """Gather from tokens, (n, k, width), that are there, for targets (n, width)."""
        query = self.query(target).unflatten(1, (_HEADS, _HEAD_DIM))
        key, value = (
            part(tokens).unflatten(2, (_HEADS, _HEAD_DIM)) for part in (self.key, self.value)
        )
        score = torch.einsum("nhd,nkhd->nhk", query, key) / math.sqrt(_HEAD_DIM)
        weight = score.masked_fill(~there[:, None], -torch.inf).softmax(dim=2)
        return self.together(torch.einsum("nhk,nkhd->nhd", weight, value).flatten(1))


class SpaMCAFNet(nn.Module):
    """Three branches, each of which predicts too, and two cross-attentions from the target.

    Target: the crops of all sizes, fused as they were coded. Neighbourhood: 3 × 3 of the smallest
    crops, with a learned code of each place. Tissue: the position's own smallest crop and eight
    around it, at steps of the largest, with a code of how far away they lie. What the figure leaves
    open (depth 1, four heads, how far the tissue reaches, a position's own token for the tissue,
    the mean for the neighbourhood) is ours.

    Parameters
    ----------
    dim : int
        Length of a feature vector, over all sizes.
    sizes, outputs : int
    """

    def __init__(self, dim: int, sizes: int, outputs: int) -> None:
        super().__init__()
        self.dim = dim // sizes
        self.fusion = Fusion(self.dim, sizes)
        self.near = nn.Sequential(nn.Dropout(_DROPOUT_IN), nn.Linear(self.dim, _WIDTH))
        self.far = nn.Sequential(nn.Dropout(_DROPOUT_IN), nn.Linear(self.dim, _WIDTH))
        self.place = nn.Parameter(torch.randn(len(_NEAR) + 1, _WIDTH) / math.sqrt(_WIDTH))
        self.code = nn.Linear(CODE_LENGTH, _WIDTH, bias=False)
        self.mix_near, self.mix_far = SummaryMixing(), SummaryMixing()
        self.from_near, self.from_far = ScaleCrossAttention(), ScaleCrossAttention()
        self.head = _gene_head(outputs)
        self.branches = nn.ModuleList([_gene_head(outputs) for _ in range(3)])

    def forward(self, own: Tensor, around: Tensor, offset_um: Tensor, there: Tensor) -> Outputs:
        """Return scores of positions and branches; parameters as in `Inputs`."""
        target, weight = self.fusion(own)
        crops = torch.cat([own[:, None], around], dim=1)[..., : self.dim]
        offset = torch.cat([torch.zeros_like(own[:, None, :2]), offset_um], dim=1)
        known = torch.cat([torch.ones_like(own[:, :1], dtype=torch.bool), there], dim=1)
        split = len(_NEAR) + 1
        known_near, known_far = known[:, :split], torch.cat([known[:, :1], known[:, split:]], dim=1)
        near = self.mix_near(self.near(crops[:, :split]) + self.place, known_near)
        tissue, away = (torch.cat([v[:, :1], v[:, split:]], dim=1) for v in (crops, offset))
        far = self.mix_far(self.far(tissue) + self.code(offset_code(away, _REACH_UM)), known_far)
        fused = self.from_near(target, near, known_near) + self.from_far(target, far, known_far)
        share = known_near[..., None].to(near.dtype)
        pooled = (near * share).sum(dim=1) / share.sum(dim=1)
        parts = zip(self.branches, (target, pooled, far[:, 0]), strict=True)
        branches = torch.stack([head(token) for head, token in parts], dim=1)
        return Outputs(self.head(fused), weight, branches)


SPAMCAF = Design(
    method="spamcaf",
    variant="full",
    crops_um=CROPS_UM,
    most_crops=None,
    offsets_um=np.concatenate([_NEAR, _FAR]),
    make=SpaMCAFNet,
    branch_share=_BRANCH_SHARE,
)
