"""A trained ensemble that sees crops: predicts a grid or any positions, saves and loads itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.features.source import FeatureSource
from napari_stenhance.methods.crops.design import Design
from napari_stenhance.methods.crops.members import Members
from napari_stenhance.methods.crops.neighbourhood import Neighbourhood, Standard, reach
from napari_stenhance.methods.protocol import Latent, Positions
from napari_stenhance.methods.saved import (
    GeneModel,
    Tensors,
    load_model,
    read_config,
    shared_parts,
)
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job

_NETWORK = "network."
# Positions between two looks at whether to stop.
_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class CropModel(GeneModel):
    """A trained ensemble: `Fitted` and `FittedCrops`; it looks at superpixels around a position.

    Attributes
    ----------
    design : Design
    members : Members
    standard : Standard
    crops_um : tuple of float
    score_scale : float
        What outputs are multiplied with to be scores on the gene basis.
    """

    design: Design
    members: Members
    standard: Standard
    crops_um: tuple[float, ...]
    score_scale: float

    @property
    def halo_um(self) -> float:
        """How far around a superpixel it looks, in micrometres."""
        return reach(self.design.offsets_um, self.pitch_um)

    @property
    def raw(self) -> bool:
        """It learned from standardised features."""
        return False

    def latent(self, tile: FeatureTile) -> Latent:
        """Predict the core of a tile: mean and variance of the members' scores.

        Raises
        ------
        InferenceError
            If the device fails.
        """
        rows, columns = tile.core
        tissue = tile.tissue[rows, columns]
        seen = Neighbourhood.within(tile, self.pitch_um, self.design.offsets_um)
        said = self._predict(seen)

        def placed(values: NDArray[np.float32]) -> NDArray[np.float32]:
            raster = np.full((*tissue.shape, values.shape[1]), np.nan, np.float32)
            raster[tissue] = values
            return raster

        over_sizes = None if said.attention is None else placed(said.attention)
        distance = self.distance_over(tissue, self.standard(torch.tensor(seen.own)).numpy())
        return Latent(placed(said.mean), placed(said.variance), over_sizes, distance)

    def latent_at(self, features: FeatureSource, positions: Positions, job: Job) -> Latent:
        """Predict positions, whether or not they lie on tissue.

        Raises
        ------
        InferenceError
            If the device fails.
        """
        xy_um, offsets = positions.xy_um, self.design.offsets_um
        parts = []
        for low in range(0, max(len(xy_um), 1), _AT_ONCE):
            some = xy_um[low : low + _AT_ONCE]
            parts.append(self._predict(Neighbourhood.at(features, some, offsets)))
            job.check()
        mean, variance, attention, _ = zip(*parts, strict=True)
        over_sizes = None if attention[0] is None else np.concatenate(attention)
        return Latent(np.concatenate(mean), np.concatenate(variance), over_sizes)

    def scores(self, seen: Neighbourhood) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return each member's scores, (members, n, r), and the mean attention, (n, sizes)."""
        with inference_errors("Prediction"):
            scores, attention = self.members.predict(seen, self.standard)
        return scores * np.float32(self.score_scale), attention

    def _predict(self, seen: Neighbourhood) -> Latent:
        if not len(seen.own):
            none = np.empty((0, self.decoder.channels), np.float32)
            return Latent(none, none)
        scores, attention = self.scores(seen)
        over_sizes = attention if attention.shape[1] else None
        return Latent(scores.mean(axis=0), scores.var(axis=0, ddof=1), over_sizes)

    def parts(self) -> tuple[Tensors, dict[str, Any]]:
        """Return networks and settings, as they are saved."""
        tensors: Tensors = {}
        for name, values in self.members.parameters.items():
            tensors[_NETWORK + name] = values.detach().cpu().numpy()
        tensors["shift"], tensors["scale"] = (
            part.cpu().numpy() for part in (self.standard.shift, self.standard.scale)
        )
        config = {
            "method": self.design.method,
            "preset": "robust",
            **({"variant": self.design.variant} if self.design.variant else {}),
            "crops_um": list(self.crops_um),
            "clip": self.standard.clip,
            "score_scale": self.score_scale,
        }
        return tensors, config

    @classmethod
    def load(cls, folder: Path, design: Design, device: torch.device) -> CropModel:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If files are missing or damaged, or it is of a network that the method had before.
        """
        if design.variant and read_config(folder).get("variant") != design.variant:
            msg = f"{folder}: saved before the network of {design.method} changed; train it again."
            raise InputError(msg)

        def make(tensors: Tensors, config: dict[str, Any]) -> CropModel:
            shared = shared_parts(tensors, config)
            crops_um = tuple(config["crops_um"])
            network = design.make(len(tensors["shift"]), len(crops_um), shared["decoder"].channels)
            parameters = {
                name: torch.tensor(tensors[_NETWORK + name]).to(device)
                for name, _ in network.named_parameters()
            }
            return cls(
                **shared,
                design=design,
                members=Members(network, parameters),
                standard=Standard.given(tensors["shift"], tensors["scale"], config["clip"]),
                crops_um=crops_um,
                score_scale=config["score_scale"],
            )

        return load_model(folder, make)
