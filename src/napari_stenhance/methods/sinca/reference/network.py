"""The published network: a raster of a batch of spots, attention to cells, a transformer.

Spots come in groups, (groups, spots, …): each group is a batch of the published program, which saw
one at a time, and lies on a raster of its own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_stenhance.methods.sinca.reference.recipe import SincaReferenceRecipe

_TINY = 1e-8
_PLACES_PER_ROOT = 1.5


class SquareRasters(NamedTuple):
    """Where spots lie on square rasters, one for each group.

    Attributes
    ----------
    at : Tensor of int64, shape (groups · spots,)
        (group · side + row) · side + column.
    groups, side : int
    """

    at: Tensor
    groups: int
    side: int


def places_of(xy: Tensor) -> SquareRasters:
    """Lay each group of spots on a raster of int(1.5 √spots) rows and as many columns.

    x counts rows and y columns. Positions are scaled to 0 … side − 1 over the group and cut to
    integers, so that only spots at the very maximum reach the last row or column.

    Parameters
    ----------
    xy : Tensor of float32, shape (groups, spots, 2)
    """
    groups, spots, _ = xy.shape
    side = int(math.sqrt(spots) * _PLACES_PER_ROOT)
    cell = (unit_square(xy) * (side - 1)).long().clamp_(0, side - 1)
    group = torch.arange(groups, device=xy.device)[:, None]
    return SquareRasters(
        ((group * side + cell[..., 0]) * side + cell[..., 1]).reshape(-1), groups, side
    )


def unit_square(xy: Tensor) -> Tensor:
    """Scale each axis to 0 … 1 over the spots of a group, (…, spots, 2)."""
    low, high = xy.amin(dim=-2, keepdim=True), xy.amax(dim=-2, keepdim=True)
    return (xy - low) / (high - low + _TINY)


def scattered(values: Tensor, places: SquareRasters) -> Tensor:
    """Lay values on the rasters: the mean of the spots that share a place, 0 where there are none.

    Parameters
    ----------
    values : Tensor, shape (groups · spots, width)

    Returns
    -------
    Tensor, shape (groups, width, side, side)
    """
    at, groups, side = places
    total = values.new_zeros(groups * side**2, values.shape[1]).index_add(0, at, values)
    count = values.new_zeros(len(total)).index_add(0, at, torch.ones_like(values[:, 0]))
    mean = total / count.clamp(min=1)[:, None]
    return mean.view(groups, side, side, -1).permute(0, 3, 1, 2)


def gathered(raster: Tensor, places: SquareRasters) -> Tensor:
    """Read back what lies at the place of each spot, (groups · spots, width)."""
    flat = raster.permute(0, 2, 3, 1).reshape(places.groups * places.side**2, -1)
    return flat.index_select(0, places.at)


def position_code(xy: Tensor, width: int) -> Tensor:
    """Return sin((i + 1) π x) in each even channel i, and cos((i + 1) π y) in the one after it.

    Positions are divided by the largest absolute coordinate of the group, and not centred; the
    frequencies 1, 3, 5, … are those of the published program.

    Parameters
    ----------
    xy : Tensor of float32, shape (groups, spots, 2)
    width : int
        Even.

    Returns
    -------
    Tensor of float32, shape (groups, spots, width)
    """
    scaled = xy / (xy.abs().amax(dim=(1, 2), keepdim=True) + _TINY)
    frequency = math.pi * torch.arange(1, width, 2, device=xy.device, dtype=xy.dtype)
    waves = (scaled[..., :1] * frequency).sin(), (scaled[..., 1:] * frequency).cos()
    return torch.stack(waves, dim=-1).flatten(-2)


class Memory(NamedTuple):
    """What spots attend to: keys and values of the cells, each (cells, width)."""

    keys: Tensor
    values: Tensor


class SpatialConvolution(nn.Module):
    """Two convolutions on the raster of each group, added to the spots, LayerNorm."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.LayerNorm(width)
        # Never used, as published: it counts among the 4,819,432 parameters.
        self.idle_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, spots: Tensor, xy: Tensor) -> Tensor:
        return self.norm(self.on_raster(spots, xy) + spots)

    def on_raster(self, spots: Tensor, xy: Tensor) -> Tensor:
        """Return what the convolutions give at the place of each spot, (groups, spots, width)."""
        places = places_of(xy)
        return gathered(self.convolved(scattered(spots.flatten(0, 1), places)), places).view_as(
            spots
        )

    def convolved(self, raster: Tensor) -> Tensor:
        """Convolve rasters twice, (groups, width, rows, columns)."""
        return self.second(self.dropout(self.first(raster).relu()))


class SincaCrossAttention(nn.Module):
    """Spots attend to cells with several heads, added to the spots, LayerNorm."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.join = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def remember(self, cells: Tensor) -> Memory:
        """Return keys and values of cells, (cells, width)."""
        return Memory(self.key(cells), self.value(cells))

    def forward(self, spots: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return the spots and the weights, (heads, spots, cells), of spots (spots, width)."""
        queries, keys, values = (
            part.view(len(part), self.heads, -1).transpose(0, 1)
            for part in (self.query(spots), *memory)
        )
        scores = queries @ keys.transpose(1, 2) / queries.shape[2] ** 0.5
        weights = scores.softmax(dim=2)
        attended = (self.dropout(weights) @ values).transpose(0, 1).reshape(spots.shape)
        return self.norm(self.join(attended) + spots), weights


class Output(NamedTuple):
    """What the network says of spots.

    Attributes
    ----------
    unknown : Tensor, shape (groups, spots, unknown genes)
    known : Tensor, shape (groups, spots, known genes)
        What it makes of the measured genes.
    weights : Tensor, shape (heads, groups · spots, cells)
        Attention; no gradient flows through it.
    """

    unknown: Tensor
    known: Tensor
    weights: Tensor

    def attention(self) -> Tensor:
        """Average the attention over heads, (groups, spots, cells)."""
        return self.weights.mean(dim=0).unflatten(0, self.known.shape[:2])


class SincaReferenceNet(nn.Module):
    """SINCA-Net.

    Parameters
    ----------
    known, unknown : int
        Genes that are its input, and genes that it predicts.
    recipe : SincaReferenceRecipe
    """

    def __init__(self, known: int, unknown: int, recipe: SincaReferenceRecipe) -> None:
        super().__init__()
        width, heads = recipe.width, recipe.heads
        self.known_projection = nn.Linear(known, width)
        self.cell_projection = nn.Linear(known + unknown, width)
        self.convolution = SpatialConvolution(width, recipe.dropout)
        self.attention = SincaCrossAttention(width, heads, recipe.dropout)
        layer = nn.TransformerEncoderLayer(
            width, heads, recipe.feed_forward, recipe.dropout, batch_first=True
        )
        # Copies of one layer begin with equal weights, as torch makes them.
        self.transformer = nn.TransformerEncoder(
            layer, recipe.layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.unknown_head = nn.Linear(width, unknown)
        self.known_head = nn.Linear(width, known)
        self.dropout = nn.Dropout(recipe.dropout)

    def remember(self, cells: Tensor) -> Memory:
        """Return what spots attend to, of the expression of cells, (cells, genes)."""
        return self.attention.remember(self.cell_projection(cells))

    def forward(self, known: Tensor, xy: Tensor, memory: Memory) -> Output:
        """Predict groups of spots; a spot's prediction depends on the others of its group.

        Parameters
        ----------
        known : Tensor, shape (groups, spots, known genes)
        xy : Tensor of float32, shape (groups, spots, 2)
        memory : Memory
        """
        spots = self.known_projection(known)
        spots = spots + position_code(xy, spots.shape[2])
        spots = self.dropout(self.convolution(spots, xy))
        attended, weights = self.attention(spots.flatten(0, 1), memory)
        spots = self.dropout(attended.view_as(spots))
        spots = self.dropout(self.transformer(spots))
        return Output(self.unknown_head(spots), self.known_head(spots), weights.detach())
