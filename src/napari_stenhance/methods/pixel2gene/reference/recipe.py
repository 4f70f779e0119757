"""The published recipes, number for number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Pixel2GeneReferenceRecipe:
    """Hyperparameters of Pixel2Gene (the defaults) and of iStar (`ISTAR`).

    Yao et al., bioRxiv 10.64898/2026.02.21.707168 (2026), and Zhang et al., Nature Biotechnology
    42, 1372 (2024), with what only their programs tell. Lengths are in superpixels.

    Attributes
    ----------
    preset : str
        What this recipe is called.
    genes : str
        Which genes, where none are chosen.
    hidden : tuple of int
        Widths of the hidden layers.
    slope : float
        Of the leaky ReLU after each.
    floor : float
        The output is ELU(floor) + floor: always positive.
    epochs : int
    learning_rate : float, optional
        Of Adam. By default 1e-4 for fewer than 10,000 spots, 1e-5 for fewer than 500,000, else
        1e-6.
    batch, batches : int
        A batch is so many spots, or so small that there are this many batches.
    folds : int
        Each member learns from all but one spatial fold; with 0 from everything.
    block : int
        Side of the blocks that folds are made of.
    states : int
        Members, each with its own start, for each fold.
    combine : {"mean", "median"}
        How members become one map.
    clusters : int
        Kinds of tissue, within each of which spots with few counts are left out; 0 keeps all.
    percentile : float
        Of the counts of the spots of a kind that have any: up to this they are left out.
    most_clustered : int
        Tissue superpixels that kinds are found on. The published program takes all; of more than
        this, a fixed draw is taken here.
    nearest : bool
        Where a spot's centre lies in the raster of superpixels: its position divided by 16 pixels
        is rounded, and not cut.
    colliding : bool
        Number blocks as the published program does, which gives blocks of a wide slide the same
        number.
    """

    preset: Literal["reference", "istar"] = "reference"
    genes: str = "hvg:1000"
    hidden: tuple[int, ...] = (256, 256, 256, 256)
    slope: float = 0.1
    floor: float = 0.01
    epochs: int = 600
    learning_rate: float | None = None
    batch: int = 128
    batches: int = 16
    folds: int = 10
    block: int = 8
    states: int = 1
    combine: Literal["mean", "median"] = "mean"
    clusters: int = 15
    percentile: float = 30.0
    most_clustered: int = 250_000
    nearest: bool = False
    colliding: bool = False

    @property
    def members(self) -> int:
        """How many networks are trained."""
        return max(self.folds, 1) * self.states

    def rate(self, spots: int) -> float:
        """Return the learning rate for a number of training spots."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-4 if spots < 10_000 else 1e-5 if spots < 500_000 else 1e-6

    def batch_size(self, spots: int) -> int:
        """Return the spots in a batch; the published program fails below `batches` spots."""
        return max(min(self.batch, spots // self.batches), 1)


PIXEL2GENE = Pixel2GeneReferenceRecipe()
ISTAR = Pixel2GeneReferenceRecipe(
    preset="istar",
    genes="var:1000",
    epochs=400,
    learning_rate=1e-4,
    folds=0,
    states=5,
    combine="median",
    clusters=0,
    nearest=True,
)
