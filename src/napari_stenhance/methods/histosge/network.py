"""The network of HisToSGE `robust`: one transformer layer, from a position to those around it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from napari_stenhance.methods.crops.design import (
    CODE_LENGTH,
    Design,
    Outputs,
    offset_code,
    only,
    square,
)

STEP_UM = 200.0
"""Attention is paid to 24 superpixels around, at steps of this length."""
_STEPS = 2
_HEADS, _HEAD_DIM = 4, 16
_WIDTH, _INNER = 64, 128
DROPOUT, DROPOUT_IN = 0.4, 0.2


class HisToSGENet(nn.Module):
    """Crop features and a position code, added; pre-norm attention; feed-forward; gene head.

    As published, but smaller, with dropout, and with a code of where the others lie from a
    position instead of learned rows and columns of one array: it is continuous, and means the same
    on every slide.

    Parameters
    ----------
    dim : int
        Length of a feature vector.
    outputs : int
    """

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        inner = _HEADS * _HEAD_DIM
        self.embed = nn.Linear(dim, _WIDTH)
        self.code = nn.Linear(CODE_LENGTH, _WIDTH, bias=False)
        self.norm_attention = nn.LayerNorm(_WIDTH)
        self.query = nn.Linear(_WIDTH, inner, bias=False)
        self.key = nn.Linear(_WIDTH, inner, bias=False)
        self.value = nn.Linear(_WIDTH, inner, bias=False)
        self.gathered = nn.Linear(inner, _WIDTH)
        self.norm_feed = nn.LayerNorm(_WIDTH)
        self.feed = nn.Sequential(
            nn.Linear(_WIDTH, _INNER), nn.GELU(), nn.Linear(_INNER, _WIDTH), nn.Dropout(DROPOUT)
        )
        self.head = nn.Sequential(
            nn.Linear(_WIDTH, _INNER), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(_INNER, outputs)
        )
        self.drop_in, self.drop = nn.Dropout(DROPOUT_IN), nn.Dropout(DROPOUT)

    def forward(self, own: Tensor, around: Tensor, offset_um: Tensor, there: Tensor) -> Outputs:
        """Return scores of positions; parameters as in `Inputs`."""
        seen = torch.cat([own[:, None], around], dim=1)
        offset = torch.cat([torch.zeros_like(own[:, None, :2]), offset_um], dim=1)
        known = torch.cat([torch.ones_like(own[:, :1], dtype=torch.bool), there], dim=1)
        tokens = self.embed(self.drop_in(seen)) + self.code(offset_code(offset, _STEPS * STEP_UM))
        normal = self.norm_attention(tokens)
        query = self.query(normal[:, 0]).unflatten(1, (_HEADS, _HEAD_DIM))
        key, value = (
            part(normal).unflatten(2, (_HEADS, _HEAD_DIM)) for part in (self.key, self.value)
        )
        score = torch.einsum("nhd,nkhd->nhk", query, key) / math.sqrt(_HEAD_DIM)
        attention = score.masked_fill(~known[:, None], -torch.inf).softmax(dim=2)
        gathered = torch.einsum("nhk,nkhd->nhd", attention, value).flatten(1)
        hidden = tokens[:, 0] + self.drop(self.gathered(gathered))
        hidden = hidden + self.feed(self.norm_feed(hidden))
        return only(self.head(hidden))


HISTOSGE = Design(
    method="histosge",
    crops_um=(112.0,),
    most_crops=1,
    offsets_um=square(STEP_UM, _STEPS),
    make=lambda dim, _sizes, outputs: HisToSGENet(dim, outputs),
)
