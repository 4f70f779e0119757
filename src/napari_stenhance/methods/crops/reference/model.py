"""A network trained as published: predicts a grid or any positions, saves and loads itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.features.source import FeatureSource
from napari_stenhance.methods.crops.reference.recipe import (
    CropReferenceRecipe,
    array_codes,
    groups_of,
    sees_raw,
)
from napari_stenhance.methods.protocol import Latent, Positions
from napari_stenhance.methods.saved import GeneModel, Tensors, load_model, shared_parts
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job

WINDOW = 7
"""Superpixels of 7 × 7 are a group: about as many as there are spots in one."""
_WINDOWS_AT_ONCE = 8
_NETWORK = "network."


@dataclass(frozen=True, kw_only=True)
class CropReferenceModel(GeneModel):
    """A network: `Fitted` and `FittedCrops`.

    Spots and points between them are predicted in groups of about 50 in their order, as published;
    a grid in windows of 7 × 7 superpixels, which lie fixed on it.

    Attributes
    ----------
    recipe : CropReferenceRecipe
    network : Module
    array_of_um : ndarray of float64, shape (3, 2)
        From (x, y, 1) in micrometres to (column, row) on the array that was learned from.
    crops_um : tuple of float
    dim : int
        Length of a feature vector, over all sizes.
    """

    recipe: CropReferenceRecipe
    network: nn.Module
    array_of_um: NDArray[np.float64]
    crops_um: tuple[float, ...]
    dim: int

    @property
    def halo_um(self) -> float:
        """What lies in one window with a superpixel."""
        return (WINDOW - 1) * self.pitch_um

    @property
    def raw(self) -> bool:
        """Whether it sees features as the encoder made them; see `sees_raw`."""
        return sees_raw(self.encoder)

    def latent(self, tile: FeatureTile) -> Latent:
        """Predict the core of a tile: the genes; the variance is 0, there are no members.

        Raises
        ------
        InferenceError
            If the device fails.
        """
        # Counted from where the grid begins, so that windows are the same in every tile.
        column, row = np.floor(tile.centre_um[0, 0] / self.pitch_um).astype(np.int64)
        lead = int(row % WINDOW), int(column % WINDOW)
        height, width = (
            -(-(n + before) // WINDOW) for n, before in zip(tile.tissue.shape, lead, strict=True)
        )

        def windows(values: NDArray[Any]) -> NDArray[Any]:
            whole = np.zeros((height * WINDOW, width * WINDOW, *values.shape[2:]), values.dtype)
            whole[lead[0] :, lead[1] :][: values.shape[0], : values.shape[1]] = values
            parted = whole.reshape(height, WINDOW, width, WINDOW, *values.shape[2:]).swapaxes(1, 2)
            return parted.reshape(height * width, WINDOW**2, *values.shape[2:])

        tissue = windows(tile.tissue)
        held = tissue.any(axis=1)
        if not held.any():
            nothing = np.full(
                (*tile.tissue[tile.core].shape, len(self.decoder.genes)), np.nan, "f4"
            )
            return Latent(nothing, nothing)
        genes, attention = self._run(
            windows(tile.values)[held], windows(self._array_xy(tile.centre_um))[held], tissue[held]
        )

        def core(values: NDArray[np.float32]) -> NDArray[np.float32]:
            whole = np.full((*tissue.shape, values.shape[2]), np.nan, np.float32)
            whole[held] = values
            whole[~tissue] = np.nan
            parted = whole.reshape(height, width, WINDOW, WINDOW, -1).swapaxes(1, 2)
            flat = parted.reshape(height * WINDOW, width * WINDOW, -1)[lead[0] :, lead[1] :]
            return flat[tile.core]

        mean = core(genes)
        over_sizes = core(attention) if attention.shape[2] else None
        return Latent(mean, np.where(np.isnan(mean), mean, np.float32(0)), over_sizes)

    def latent_at(self, features: FeatureSource, positions: Positions, job: Job) -> Latent:
        """Predict positions, whether or not they lie on tissue, in groups in their order.

        Raises
        ------
        InferenceError
            If the device fails.
        """
        crops = features.at(positions.xy_um, raw=self.raw)
        array_xy = positions.array_xy
        if array_xy is None:
            array_xy = self._array_xy(positions.xy_um)
        parts = []
        for group in groups_of(len(crops)):
            tissue = np.ones((1, len(group)), bool)
            parts.append(self._run(crops[group][None], array_xy[group][None], tissue))
            job.check()
        genes, attention = (np.concatenate(p, axis=1)[0] for p in zip(*parts, strict=True))
        over_sizes = attention if attention.shape[1] else None
        return Latent(genes, np.zeros_like(genes), over_sizes)

    def _array_xy(self, xy_um: NDArray[np.float64]) -> NDArray[np.float64]:
        return xy_um @ self.array_of_um[:2] + self.array_of_um[2]

    def _run(
        self, crops: NDArray[np.float32], array_xy: NDArray[np.float64], there: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict groups, (groups, n, …), a fixed number at once."""
        device = next(self.network.parameters()).device
        # One group of spots, or a fixed number of windows: others could round apart.
        at_once = 1 if len(crops) == 1 else _WINDOWS_AT_ONCE
        parts = []
        with torch.inference_mode(), inference_errors("Prediction"):
            for low in range(0, len(crops), at_once):
                some = np.arange(low, low + at_once).clip(max=len(crops) - 1)
                seen = (crops[some], array_codes(array_xy[some]), there[some])
                out = self.network(*(torch.tensor(part).to(device) for part in seen))
                parts.append([o[: len(crops) - low].cpu().numpy() for o in out])
        genes, attention = (np.concatenate(p) for p in zip(*parts, strict=True))
        return genes, attention

    def parts(self) -> tuple[Tensors, dict[str, Any]]:
        """Return networks and settings, as they are saved."""
        tensors: Tensors = {"array_of_um": self.array_of_um}
        for name, values in self.network.state_dict().items():
            tensors[_NETWORK + name] = values.detach().cpu().numpy()
        config = {
            "method": self.recipe.method,
            "preset": "reference",
            "dim": self.dim,
            "crops_um": list(self.crops_um),
        }
        return tensors, config

    @classmethod
    def load(
        cls, folder: Path, recipe: CropReferenceRecipe, device: torch.device
    ) -> CropReferenceModel:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If files are missing or damaged.
        """

        def make(tensors: Tensors, config: dict[str, Any]) -> CropReferenceModel:
            shared, crops_um = shared_parts(tensors, config), tuple(config["crops_um"])
            network = recipe.make(config["dim"], len(crops_um), shared["decoder"].channels)
            network.load_state_dict(
                {
                    name.removeprefix(_NETWORK): torch.tensor(values)
                    for name, values in tensors.items()
                    if name.startswith(_NETWORK)
                }
            )
            return cls(
                **shared,
                recipe=recipe,
                network=network.to(device).eval(),
                array_of_um=tensors["array_of_um"],
                crops_um=crops_um,
                dim=config["dim"],
            )

        return load_model(folder, make)
