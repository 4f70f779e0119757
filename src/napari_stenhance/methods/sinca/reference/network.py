"""The published network: a raster of a batch of spots, attention to cells, a transformer."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from napari_stenhance.methods.sinca.reference.raster import (
    gathered,
    places_of,
    position_code,
    scattered,
)
from napari_stenhance.methods.sinca.reference.recipe import SincaReferenceRecipe


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
