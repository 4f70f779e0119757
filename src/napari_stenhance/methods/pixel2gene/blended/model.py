"""A trained blend of image and counts: predicts the section that it learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.methods.pixel2gene.blended.surroundings import Surroundings
from napari_stenhance.methods.pixel2gene.model import Pixel2GeneModel
from napari_stenhance.methods.protocol import Latent
from napari_stenhance.methods.saved import GeneModel, Tensors, load_model, shared_parts

_AROUND = "around_"
_ARRAYS = tuple(field.name for field in fields(Surroundings) if field.name != "origin")


@dataclass(frozen=True, kw_only=True)
class BlendedModel(GeneModel):
    """An ensemble that sees the image, and what is counted around: `Fitted`, `FittedHere`.

    A latent is that of the image, and after it the scores of what is counted.

    Attributes
    ----------
    image : Pixel2GeneModel
    around : Surroundings
    slide : dict
        Identity of the slide whose spots were counted.
    mpp : float
        Micrometres per pixel of that slide.
    """

    image: Pixel2GeneModel
    around: Surroundings
    slide: Mapping[str, Any]
    mpp: float

    @property
    def crops_um(self) -> None:
        """It sees superpixels."""

    @property
    def halo_um(self) -> float:
        """As far as the image is looked at."""
        return self.image.halo_um

    @property
    def raw(self) -> bool:
        """It learned from standardised features."""
        return False

    def latent(self, tile: FeatureTile) -> Latent:
        """Predict the core of a tile; the variance is that of the members, and of counting.

        Raises
        ------
        InferenceError
            If the device fails.
        """
        said = self.image.latent(tile)
        axes = self.around.noise.size
        tissue = tile.tissue[tile.core]
        first = (self.pitch_um - self.mpp) / 2
        at = np.rint((tile.centre_um[tile.core][tissue] - first) / self.pitch_um).astype(np.int64)
        counted = [np.full((*tissue.shape, axes), np.nan, np.float32) for _ in range(2)]
        parts = self.around.beside(at[:, 1], at[:, 0], said.mean[tissue], said.variance[tissue])
        for whole, part in zip(counted, parts, strict=True):
            whole[tissue] = part
        return Latent(
            np.concatenate([said.mean, counted[0]], axis=2),
            np.concatenate([said.variance, counted[1]], axis=2),
            distance=said.distance,
        )

    def parts(self) -> tuple[Tensors, dict[str, Any]]:
        """Return networks, counts and settings, as they are saved."""
        tensors, config = self.image.parts()
        around: Tensors = {_AROUND + name: getattr(self.around, name) for name in _ARRAYS}
        told = {
            "preset": "blended",
            "origin": list(self.around.origin),
            "slide": dict(self.slide),
            "mpp": self.mpp,
        }
        return {**tensors, **around}, {**config, **told}

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> BlendedModel:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If files are missing or damaged.
        """

        def make(tensors: Tensors, config: dict[str, Any]) -> BlendedModel:
            arrays: dict[str, NDArray[Any]] = {name: tensors[_AROUND + name] for name in _ARRAYS}
            around = Surroundings(origin=tuple(config["origin"]), **arrays)
            shared = shared_parts(tensors, config)
            decoder = shared["decoder"]
            of_image = replace(
                decoder, weights=decoder.weights[: len(decoder.weights) - around.noise.size]
            )
            image = Pixel2GeneModel.of_parts(
                tensors, config, {**shared, "decoder": of_image}, device
            )
            return cls(
                image=image, around=around, slide=config["slide"], mpp=config["mpp"], **shared
            )

        return load_model(folder, make)
