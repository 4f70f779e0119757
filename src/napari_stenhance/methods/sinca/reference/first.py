"""The first published version: it hides entries of the whole slice; all genes in and out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from napari_stenhance.methods.sinca.reference.network import SincaCrossAttention, unit_square
from napari_stenhance.methods.sinca.reference.training import HeldOut, dense_log1p
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded

MOST_CELLS = 5000
"""Of more cells, so many are drawn anew whenever spots attend to them, also in prediction."""
_MOST_PLACES = 256
_PLACES_PER_ROOT = 2
_NARROWER = 4
_SLOWER = 0.5
_MASK_SEED = 42


@dataclass(frozen=True)
class SincaFirstRecipe:
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


class SincaFirstNet(nn.Module):
    """The first published network.

    Parameters
    ----------
    genes : int
        That spots and cells share.
    recipe : SincaFirstRecipe
    """

    def __init__(self, genes: int, recipe: SincaFirstRecipe) -> None:
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


def drawn_mask(
    shape: tuple[int, int], among: NDArray[np.int64], ratio: float, epoch: int
) -> NDArray[np.bool_]:
    """Draw entries to hide, each with the same probability, among some of the genes.

    Returns
    -------
    ndarray of bool, shape (spots, genes)
        Seeded by 42 + `epoch`.
    """
    mask = np.random.RandomState(_MASK_SEED + epoch).random_sample(shape) < ratio
    allowed = np.zeros(shape[1], dtype=bool)
    allowed[among] = True
    return mask & allowed


def masked_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the squared error of the hidden entries, summed, over the number of all entries."""
    return mse_loss(predicted * mask, target * mask)


def predict_held_out_first(
    spots: sp.csr_array[np.float32],
    cells: sp.csr_array[np.float32],
    xy: NDArray[np.floating],
    unknown: NDArray[np.int64],
    recipe: SincaFirstRecipe,
    *,
    leak: bool,
    seed: int,
    device: torch.device,
    job: Job,
) -> HeldOut:
    """Train on one section, and predict it with the weights of the last epoch.

    Parameters
    ----------
    spots, cells, xy, unknown, seed, device, job
        As in `predict_held_out`.
    recipe : SincaFirstRecipe
    leak : bool
        True, as published: the held-out genes are seen, but for the entries hidden in validation,
        and the loss of those sets the learning rate. False: they are 0 in all that the network
        sees, and other genes' entries set the learning rate. Their output columns are trained in
        neither case.

    Raises
    ------
    InferenceError
        If the device fails.
    """
    known = np.setdiff1d(np.arange(spots.shape[1]), unknown)
    seen = np.zeros(spots.shape, np.float32)
    visible = np.arange(spots.shape[1]) if leak else known
    seen[:, visible] = dense_log1p(spots[:, visible])
    expression, reference, positions = (
        torch.tensor(values, dtype=torch.float32, device=device)
        for values in (seen, dense_log1p(cells), xy)
    )

    def mask(among: NDArray[np.int64], epoch: int) -> Tensor:
        drawn = drawn_mask(seen.shape, among, recipe.mask_ratio, epoch)
        return torch.tensor(drawn, device=device)

    with inference_errors("Training"), seeded(seed, device):
        network = SincaFirstNet(len(expression.T), recipe).to(device)
        optimiser = torch.optim.Adam(
            network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        slower = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, factor=_SLOWER, patience=recipe.patience
        )
        validated = mask(unknown if leak else known, 0)
        with job.stage("Training SINCA-Net", recipe.epochs) as stage:
            for epoch in range(recipe.epochs):
                network.train()
                hidden = mask(known, epoch)
                predicted, _, _ = network(expression * ~hidden, positions, reference)
                loss = masked_loss(predicted, expression, hidden)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
                optimiser.step()
                network.eval()
                with torch.no_grad():
                    predicted, _, _ = network(expression * ~validated, positions, reference)
                    slower.step(float(masked_loss(predicted, expression, validated)))
                stage.advance()
        network.eval()
        with torch.no_grad():
            predicted, weights, drawn = network(expression, positions, reference)
            attended = weights @ reference.index_select(0, drawn)[:, unknown]
    return HeldOut(predicted.cpu().numpy()[:, unknown], attended.cpu().numpy())
