"""The second stage of HIPT: what each square of 256 pixels means among all of the slide's."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from napari_stenhance.features.positions import resized_table

_IN, DIM, _DEPTH, _HEADS, _POSITIONS = 384, 192, 6, 6, (14, 14)


class ContextNetwork(nn.Module):
    """A vision transformer whose patches are the class tokens of squares, named as published."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        places = _POSITIONS[0] * _POSITIONS[1]
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + places, DIM) * 0.02)
        self.phi = nn.Sequential(nn.Linear(_IN, DIM), nn.GELU())
        self.blocks = nn.ModuleList(
            Block(DIM, _HEADS, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(_DEPTH)
        )
        self.norm = nn.LayerNorm(DIM)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = 1e-6

    def forward(self, squares: Tensor) -> Tensor:
        """Take squares in their rows and columns, (R, C, 384), and return (R, C, 192)."""
        shape = squares.shape[0], squares.shape[1]
        tokens = torch.cat([self.cls_token[0], self.phi(squares).flatten(0, 1)])
        # In single precision on the CPU, where every machine resizes alike.
        table = self.pos_embed.detach().cpu()
        places = resized_table(table[:, 1:], _POSITIONS, shape, "dino")
        tokens = tokens + torch.cat([table[:, :1], places], dim=1)[0].to(tokens)
        seen = tokens[None]
        for block in self.blocks:
            seen = block(seen)
        normed: Tensor = self.norm(seen)
        return normed[0, 1:].unflatten(0, shape)
