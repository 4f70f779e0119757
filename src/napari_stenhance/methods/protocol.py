"""What a method is: it fits samples, and what it fitted predicts latents on tiles of features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.methods.field import Decoder
from napari_stenhance.methods.sample import Sample
from napari_stenhance.running.job import Job


class Latent(NamedTuple):
    """A prediction for the core of a tile, each (rows, columns, r); NaN off the tissue."""

    mean: NDArray[np.float32]
    variance: NDArray[np.float32]


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


class Method(Protocol):
    """A published method with its options."""

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
    def genes(self) -> str:
        """Which genes it models where none are chosen; see `choose_genes`."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        ...

    def fit(self, samples: Sequence[Sample], genes: Sequence[str], job: Job) -> Fitted:
        """Learn from the spots of one or more sections."""
        ...
