"""The network of the first published version: the whole slice at once, all genes in and out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_stenhance.methods.sinca.reference.network import SincaCrossAttention
from napari_stenhance.methods.sinca.reference.raster import unit_square
from napari_stenhance.methods.sinca.reference.recipe import Normalise, require_heads

MOST_CELLS = 5000
"""Of more cells, so many are drawn anew whenever spots attend to them, also in prediction."""
_MOST_PLACES = 256
_PLACES_PER_ROOT = 2
_NARROWER = 4


@dataclass(frozen=True)
class SincaWholeRecipe:
    """The first published version, and how it is trained; numbers of its command line.

    Attributes
    ----------
    width, heads, layers, feed_forward : int
        Of the network; `width` is a multiple of `heads` and of 4.
    dropout : float
    epochs : int
        One step each.
    mask_ratio : float
        Share of the entries that are hidden and predicted in a step.
    learning_rate, weight_decay : float
        Of Adam.
    clip : float
        Largest norm of a gradient.
    patience : int
        Epochs without a lower loss until the learning rate is halved.
    normalise : {"log1p", "standardize", "none"}
    """

    width: int = 256
    heads: int = 8
    layers: int = 4
    feed_forward: int = 2048
    dropout: float = 0.1
    epochs: int = 100
    mask_ratio: float = 0.1
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    clip: float = 1.0
    patience: int = 10
    normalise: Normalise = "log1p"

    def __post_init__(self) -> None:
        require_heads(self.width, self.heads, _NARROWER)


class WholePlaces(NamedTuple):
    """Where spots lie on one square raster, and which spot of a place is laid there.

    Attributes
    ----------
    at : Tensor of int64, shape (spots,)
        row · side + column.
    last : Tensor of int64, shape (places,)
        The last spot of each place; −1 where there is none.
    side : int
    """

    at: Tensor
    last: Tensor
    side: int


def whole_places_of(xy: Tensor) -> WholePlaces:
    """Lay a slice on a raster of at most 256 × 256 places, int(2 √spots) a side; y counts rows.

    Parameters
    ----------
    xy : Tensor of float32, shape (spots, 2)
    """
    spots = len(xy)
    side = min(int(_PLACES_PER_ROOT * math.sqrt(spots)), _MOST_PLACES)
    column, row = (unit_square(xy) * (side - 1)).long().unbind(dim=1)
    at = row * side + column
    order = torch.arange(spots, device=xy.device)
    last = at.new_full((side**2,), -1).scatter_reduce(0, at, order, "amax")
    return WholePlaces(at, last, side)


class ResidualConvolution(nn.Module):
    """Two convolutions with batch normalisation, beside the raster itself; read at the spots."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
        )

    def forward(self, spots: Tensor, xy: Tensor) -> Tensor:
        at, last, side = whole_places_of(xy)
        flat = spots.index_select(0, last.clamp(min=0)) * (last >= 0)[:, None]
        raster = flat.T.reshape(1, -1, side, side)
        found = (self.inner(raster) + raster).relu()
        return found.flatten(2)[0].T.index_select(0, at)


class SharedInput(nn.Module):
    """One projection of spots and cells; each has an embedding and a narrow adapter of its own."""

    def __init__(self, genes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Linear(genes, width)
        self.modality = nn.Embedding(2, width)
        self.adapters = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, width // _NARROWER),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(width // _NARROWER, width),
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, expression: Tensor, modality: int) -> Tensor:
        """Project spots (modality 0) or cells (1), (rows, genes)."""
        rows = self.projection(expression) + self.modality.weight[modality]
        return self.norm(rows + self.adapters[modality](rows))


class SincaWholeNet(nn.Module):
    """The first published network.

    Parameters
    ----------
    genes : int
        That spots and cells share.
    recipe : SincaWholeRecipe
    """

    def __init__(self, genes: int, recipe: SincaWholeRecipe) -> None:
        super().__init__()
        width, dropout = recipe.width, recipe.dropout
        self.input = SharedInput(genes, width, dropout)
        self.convolution = ResidualConvolution(width)
        self.attention = SincaCrossAttention(width, recipe.heads, dropout)
        layer = nn.TransformerEncoderLayer(
            width, recipe.heads, recipe.feed_forward, dropout, batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(
            layer, recipe.layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = nn.Sequential(
            nn.Linear(width, width // 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width // 2, genes),
        )

    def forward(self, masked: Tensor, xy: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict all genes of all spots.

        Parameters
        ----------
        masked : Tensor, shape (spots, genes)
            0 where an entry is hidden.
        xy : Tensor of float32, shape (spots, 2)
        cells : Tensor, shape (cells, genes)

        Returns
        -------
        genes : Tensor, shape (spots, genes)
        weights : Tensor, shape (spots, drawn cells)
            Attention, averaged over heads.
        drawn : Tensor of int64, shape (drawn cells,)
            The cells that were attended to.
        """
        drawn = torch.arange(len(cells), device=cells.device)
        if len(cells) > MOST_CELLS:
            drawn = torch.randperm(len(cells), device=cells.device)[:MOST_CELLS]
        spots = self.convolution(self.input(masked, 0), xy)
        memory = self.attention.remember(self.input(cells.index_select(0, drawn), 1))
        spots, weights = self.attention(spots, memory)
        spots = self.transformer(spots[None])[0]
        return self.head(spots), weights.detach().mean(dim=0), drawn
