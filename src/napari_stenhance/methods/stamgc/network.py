"""Networks of STAMGC: a graph encoder, a decoder, and branches for the topological loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ENCODER_DROPOUT = 0.1


class GraphConvolution(nn.Module):
    """A X W + b, where A says how features spread; Glorot weights, zero bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: Tensor, spread: Tensor) -> Tensor:
        return spread @ (features @ self.weight) + self.bias


class Branches(nn.Module):
    """Independent small MLPs on the embedding, joined by a linear layer (none if it fits)."""

    def __init__(self, width: int, branches: int, branch_width: int, dropout: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, branch_width),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(branch_width, branch_width),
            )
            for _ in range(branches)
        )
        joined = branches * branch_width
        self.join = (
            nn.Identity() if joined == width else nn.Sequential(nn.Linear(joined, width), nn.ReLU())
        )

    def forward(self, embedding: Tensor) -> Tensor:
        return self.join(torch.cat([branch(embedding) for branch in self.branches], dim=1))


class StamgcEncoder(nn.Module):
    """The published network: two graph convolutions in, one out, all ended by ReLU.

    Parameters
    ----------
    genes : int
    hidden, width : int
        Of the encoder's layers.
    branches, branch_width : int
    dropout : float
        In the branches; the encoder's is fixed at 0.1, as published.
    """

    def __init__(
        self,
        genes: int,
        hidden: int = 128,
        width: int = 64,
        branches: int = 4,
        branch_width: int = 32,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.first = GraphConvolution(genes, hidden)
        self.second = GraphConvolution(hidden, width)
        self.decoder = GraphConvolution(width, genes)
        self.branches = Branches(width, branches, branch_width, dropout)
        self.dropout = nn.Dropout(_ENCODER_DROPOUT)

    def forward(self, features: Tensor, spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embedding, that of the branches, and the reconstruction."""
        hidden = self.dropout(self.first(features, spread).relu())
        embedding = self.second(hidden, spread).relu()
        return embedding, self.branches(embedding), self.decoder(embedding, spread).relu()


class StamgcResidualEncoder(nn.Module):
    """Two graph convolutions beside the input, spread twice, itself; it starts as the latter.

    So the embedding keeps the axes of the input: embeddings of several networks can be averaged,
    and the contrastive losses move spots from where smoothing alone has put them.

    Parameters
    ----------
    axes : int
        Width of input and embedding.
    hidden : int
    branches, branch_width : int
    dropout : float
    """

    def __init__(
        self,
        axes: int,
        hidden: int = 64,
        branches: int = 4,
        branch_width: int = 32,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.first = GraphConvolution(axes, hidden)
        self.second = GraphConvolution(hidden, axes)
        nn.init.zeros_(self.second.weight)
        self.skip = nn.Linear(axes, axes, bias=False)
        self.decoder = nn.Linear(axes, axes)
        for layer in (self.skip, self.decoder):
            nn.init.eye_(layer.weight)
        nn.init.zeros_(self.decoder.bias)
        self.branches = Branches(axes, branches, branch_width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, features: Tensor, smooth: Tensor, first: Tensor, second: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embedding, that of the branches, and the reconstruction of `smooth`.

        `first` spreads from all that is known to what the second convolution, by `second`, spreads
        to the spots; of all spots together both are the same.
        """
        hidden = self.dropout(self.first(features, first).relu())
        embedding = self.skip(smooth) + self.second(hidden, second)
        return embedding, self.branches(embedding), self.decoder(embedding)
