"""What a method is: it fits samples, and what it fitted predicts latents on tiles of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.features.source import FeatureSource
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Job


class Latent(NamedTuple):
    """A prediction for the core of a tile, each (rows, columns, r); NaN off the tissue.

    For positions instead of a tile, each is (n, r). `attention` is what a method says of the sizes
    of crops, (…, sizes), which sum to 1; None where it says nothing. `distance` is how far tissue
    lies from what was learned from, (rows, columns), as `FamiliarTissue` measures it; None where
    that is not known, and for positions.
    """

    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    attention: NDArray[np.float32] | None = None
    distance: NDArray[np.float32] | None = None

    def at_rows(self, rows: NDArray[np.int64]) -> Latent:
        """Return predictions of positions by their rows, NaN where a row is −1."""

        def taken(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.where(rows[:, None] >= 0, values[rows], np.float32(np.nan))

        attention = None if self.attention is None else taken(self.attention)
        return Latent(taken(self.mean), taken(self.variance), attention)


@dataclass(frozen=True)
class Positions:
    """Where a method that sees crops predicts, apart from a grid.

    Attributes
    ----------
    xy_um : ndarray of float64, shape (n, 2)
        In micrometres of the world.
    array_xy : ndarray of float64, shape (n, 2), or None
        (column, row) on the array that the spots were printed on; points between spots have
        fractions. None where it is not known.
    """

    xy_um: NDArray[np.float64]
    array_xy: NDArray[np.float64] | None = None


class Fitted(Protocol):
    """A method that has learned."""

    @property
    def encoder(self) -> str:
        """Name of the encoder whose features it learned from."""
        ...

    @property
    def encoder_identity(self) -> str:
        """Weights and version of that encoder."""
        ...

    @property
    def pitch_um(self) -> float:
        """Side of a superpixel of those features, in micrometres."""
        ...

    @property
    def crops_um(self) -> tuple[float, ...] | None:
        """Sides of the crops that it sees of each position; None where it sees superpixels."""
        ...

    @property
    def decoder(self) -> Decoder:
        """Genes, and what turns a latent into their values."""
        ...

    @property
    def halo_um(self) -> float:
        """How far around a superpixel its latent looks, in micrometres."""
        ...

    @property
    def raw(self) -> bool:
        """Whether it sees features as the encoder made them, and not standardised."""
        ...

    def latent(self, tile: FeatureTile) -> Latent:
        """Predict the core of a tile."""
        ...

    def save(self, folder: Path) -> None:
        """Write weights.safetensors and config.json."""
        ...


@runtime_checkable
class FittedCrops(Protocol):
    """What a method that has learned from crops does besides: it predicts at any position."""

    def latent_at(self, features: FeatureSource, positions: Positions, job: Job) -> Latent:
        """Predict positions, whether or not they lie on tissue."""
        ...


@runtime_checkable
class FittedHere(Protocol):
    """What a method says besides that predicts the slide it has learned from, and no other."""

    @property
    def slide(self) -> Mapping[str, Any]:
        """Identity of that slide."""
        ...

    @property
    def mpp(self) -> float:
        """Its micrometres per pixel, by which what was counted was laid on superpixels."""
        ...


class Method(Protocol):
    """A published method with its options."""

    @property
    def crops_um(self) -> tuple[float, ...] | None:
        """Sides of the crops that it sees of each position; None where it sees superpixels."""
        ...

    @property
    def halo_um(self) -> float:
        """How far around a spot's superpixels features are needed, in micrometres.

        Infinite where it looks at the whole slide.
        """
        ...

    @property
    def least_share(self) -> float:
        """Spots with less than this share of the median count are not learned from."""
        ...

    @property
    def most_spots(self) -> int | None:
        """How many spots it learns from at most, drawn where there are more; None for all."""
        ...

    @property
    def genes(self) -> str:
        """Which genes it models where none are chosen; see `choose_genes`."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        ...

    def fit(self, samples: Sequence[TrainingSection], genes: Sequence[str], job: Job) -> Fitted:
        """Learn from the spots of one or more sections."""
        ...
