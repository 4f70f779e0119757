"""The published network, and how it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, mse_loss

from napari_stenhance.methods.pixel2gene.reference.recipe import Pixel2GeneReferenceRecipe
from napari_stenhance.running.job import Job, Stage

_TINY = 1e-12


class Pixel2GeneReferenceNet(nn.Module):
    """Hidden layers of Linear → LeakyReLU, then Linear → ELU(floor) + floor.

    It has PyTorch's own initial weights.

    Parameters
    ----------
    inputs, outputs : int
    hidden : sequence of int
    slope, floor : float
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: Sequence[int], slope: float, floor: float
    ) -> None:
        super().__init__()
        self.floor = floor
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise((inputs, *hidden)):
            layers += [nn.Linear(fan_in, fan_out), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (…, outputs), all positive, of (…, inputs)."""
        return positive(self.layers(inputs), self.floor)


def positive(values: Tensor, floor: float) -> Tensor:
    """Return x + floor above 0, and floor · exp(x) below."""
    return elu(values, floor) + floor


@dataclass(frozen=True)
class SpotData:
    """What all members learn from, on the device; see `Rows`."""

    inputs: Tensor
    under: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Pixel2GeneReferenceMember:
    """A trained network, and what its outputs of 0 and 1 stand for.

    Attributes
    ----------
    network : Pixel2GeneReferenceNet
    low, span : Tensor of float32, shape (genes,)
        Smallest count of a gene over the spots that it learned from, and largest less smallest.
    """

    network: Pixel2GeneReferenceNet
    low: Tensor
    span: Tensor

    def spots(self, data: SpotData, rows: Tensor) -> Tensor:
        """Predict the counts of spots: the mean over their superpixels, brought back to counts."""
        return self.outputs(data, rows) * self.span + self.low

    def outputs(self, data: SpotData, rows: Tensor) -> Tensor:
        """Return the mean output over the superpixels of each spot, (rows, genes)."""
        # Stored in half precision, seen in single.
        seen = data.inputs[data.under[rows]].float()
        return self.network(seen).mean(dim=1)


def train_reference_member(
    network: Pixel2GeneReferenceNet,
    data: SpotData,
    rows: Tensor,
    recipe: Pixel2GeneReferenceRecipe,
    stage: Stage,
    job: Job,
) -> Pixel2GeneReferenceMember:
    """Train a network on some rows with Adam, to the end: nothing is held out, nothing stops it.

    Loss: mean squared error, over spots and genes, between the mean output over a spot's
    superpixels and its counts, scaled to 0 … 1 for each gene over these rows.
    """
    counts = data.counts[rows]
    low, high = counts.amin(dim=0), counts.amax(dim=0)
    member = Pixel2GeneReferenceMember(network, low, high - low)
    optimiser = torch.optim.Adam(
        network.parameters(), lr=recipe.rate(len(rows)), betas=(0.9, 0.999), eps=1e-8
    )
    batch = recipe.batch_size(len(rows))
    network.train()
    for _ in range(recipe.epochs):
        order = rows[torch.randperm(len(rows)).to(rows.device)]
        for chosen in order.split(batch):
            target = (data.counts[chosen] - low) / (member.span + _TINY)
            loss = mse_loss(member.outputs(data, chosen), target)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            job.check()
        stage.advance()
    network.eval()
    return member
