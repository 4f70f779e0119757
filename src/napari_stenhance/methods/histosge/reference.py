"""HisToSGE as it was coded."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from napari_stenhance.methods.crops.reference.recipe import (
    ARRAY_MOST,
    CropReferenceRecipe,
    constant_rate,
)

_HEADS, _HEAD_DIM = 4, 64
_HIDDEN = 2048


class HisToSGEReferenceNet(nn.Module):
    """Learned codes of column and row, added; one pre-norm transformer layer; gene head.

    As coded, but for a LayerNorm that nothing uses. With vectors of 1,024 features and 1,000 genes
    it has 8,353,768 parameters.

    Parameters
    ----------
    dim : int
        Length of a feature vector, and width of the transformer.
    sizes : int
        Of crops: one.
    genes : int
    """

    def __init__(self, dim: int, sizes: int, genes: int) -> None:
        super().__init__()
        assert sizes == 1
        inner = _HEADS * _HEAD_DIM
        self.column = nn.Embedding(ARRAY_MOST, dim)
        self.row = nn.Embedding(ARRAY_MOST, dim)
        self.norm_attention = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * inner, bias=False)
        self.gathered = nn.Linear(inner, dim)
        self.feed = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim)
        )
        self.head = nn.Sequential(
            nn.Linear(dim, _HIDDEN), nn.ReLU(), nn.LayerNorm(_HIDDEN), nn.Linear(_HIDDEN, genes)
        )

    def forward(self, crops: Tensor, array_xy: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Predict genes in groups of positions, which attend to each other.

        Parameters
        ----------
        crops : Tensor of float32, shape (groups, n, dim)
        array_xy : Tensor of int64, shape (groups, n, 2)
            Column and row, 0 to 511.
        there : Tensor of bool, shape (groups, n)
            False for what fills up a group.

        Returns
        -------
        genes : Tensor, shape (groups, n, genes)
            Not negative.
        attention : Tensor, shape (groups, n, 0)
            None over sizes of crops.
        """
        hidden = crops + self.column(array_xy[..., 0]) + self.row(array_xy[..., 1])
        parts = self.query_key_value(self.norm_attention(hidden)).unflatten(
            2, (3, _HEADS, _HEAD_DIM)
        )
        query, key, value = parts.unbind(dim=2)
        score = torch.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(_HEAD_DIM)
        weight = score.masked_fill(~there[:, None, None], -torch.inf).softmax(dim=3)
        gathered = torch.einsum("bhqk,bkhd->bqhd", weight, value).flatten(2)
        hidden = hidden + self.gathered(gathered)
        hidden = hidden + self.feed(hidden)
        return self.head(hidden).relu(), hidden[..., :0]


HISTOSGE_REFERENCE = CropReferenceRecipe(
    method="histosge",
    crops_um=(36.5,),
    most_crops=1,
    make=HisToSGEReferenceNet,
    rate=constant_rate,
)
"""Crops of 50 pixels, at the 0.73 µm of the published program's sections."""
