"""A trained ensemble of Pixel2Gene, preset `robust`: predicts, saves and loads itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.methods.ensemble import Ensemble
from napari_stenhance.methods.members import standardise
from napari_stenhance.methods.pixel2gene.inputs import WIDE_UM, inputs_of
from napari_stenhance.methods.protocol import Latent
from napari_stenhance.methods.saved import GeneModel, Tensors, load_model, shared_parts
from napari_stenhance.running.device import inference_errors

_SLICE_BYTES = 64 * 1024**2


@dataclass(frozen=True, kw_only=True)
class Pixel2GeneModel(GeneModel):
    """A trained ensemble: `Fitted`.

    Attributes
    ----------
    network : Ensemble
    shift, scale : ndarray of float32, shape (inputs,)
        Standardise the inputs.
    clip : float
    score_scale : float
        What outputs are multiplied with to be scores on the gene basis.
    """

    network: Ensemble
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]
    clip: float
    score_scale: float

    @property
    def crops_um(self) -> None:
        """It sees superpixels."""

    @property
    def halo_um(self) -> float:
        """Half of the widest context window, in micrometres."""
        return WIDE_UM / 2

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
        InputError
            If the model saw less around a superpixel than is seen now.
        """
        rows, columns = tile.core
        tissue = tile.tissue[rows, columns]
        shape = (*tissue.shape, self.decoder.channels)
        mean, variance = (np.full(shape, np.nan, np.float32) for _ in range(2))
        distance = None
        if tissue.any():
            inputs = inputs_of(tile, self.pitch_um)
            if inputs.shape[1] != len(self.shift):
                msg = (
                    f"This model has {len(self.shift)} inputs where {inputs.shape[1]} are seen "
                    "now: a version before this one trained it; train it again with enhance."
                )
                raise InputError(msg)
            standard = standardise(inputs, self.shift, self.scale, self.clip, out=inputs)
            # Of a large tile, all members' scores are the most that is ever held.
            moments = [(p.mean(axis=0), p.var(axis=0, ddof=1)) for p in self._slices(standard)]
            mean[tissue], variance[tissue] = map(np.concatenate, zip(*moments, strict=True))
            distance = self.distance_over(tissue, standard)
        return Latent(mean, variance, distance=distance)

    def scores(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return each member's scores, (members, n, r), of raw inputs (n, channels)."""
        return self.scores_of(standardise(inputs, self.shift, self.scale, self.clip))

    def scores_of(self, standard: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return each member's scores, (members, n, r), of standardised inputs (n, channels)."""
        return np.concatenate(list(self._slices(standard)), axis=1)

    def _slices(self, standard: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Yield each member's scores of some standardised inputs after others."""
        device = self.network.weights[0].device
        members = self.network.weights[0].shape[0]
        widest = max(w.shape[2] for w in self.network.weights)
        # Fixed slices: matrix products of another size may differ in the last bit.
        at_once = _SLICE_BYTES // (4 * members * widest)
        for low in range(0, len(standard), at_once):
            with torch.inference_mode(), inference_errors("Prediction"):
                part = torch.from_numpy(standard[low : low + at_once]).to(device)
                outputs = self.network(part.expand(members, *part.shape)).cpu().numpy()
            yield outputs * np.float32(self.score_scale)

    def parts(self) -> tuple[Tensors, dict[str, Any]]:
        """Return networks and settings, as they are saved."""
        tensors: Tensors = {
            **{f"weight{n}": w.detach().cpu().numpy() for n, w in enumerate(self.network.weights)},
            **{f"bias{n}": b.detach().cpu().numpy() for n, b in enumerate(self.network.biases)},
            "shift": self.shift,
            "scale": self.scale,
        }
        config = {
            "method": "pixel2gene",
            "preset": "robust",
            "clip": self.clip,
            "score_scale": self.score_scale,
        }
        return tensors, config

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Pixel2GeneModel:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If files are missing or damaged.
        """

        def make(tensors: Tensors, config: dict[str, Any]) -> Pixel2GeneModel:
            return cls.of_parts(tensors, config, shared_parts(tensors, config), device)

        return load_model(folder, make)

    @classmethod
    def of_parts(
        cls,
        tensors: Tensors,
        config: dict[str, Any],
        shared: dict[str, Any],
        device: torch.device,
    ) -> Pixel2GeneModel:
        """Make the model of its `parts`, and what it shares with others."""
        layers = sum(name.startswith("weight") for name in tensors)
        weights = [tensors[f"weight{n}"] for n in range(layers)]
        network = Ensemble(
            weights[0].shape[0],
            weights[0].shape[1],
            weights[-1].shape[2],
            [w.shape[2] for w in weights[:-1]],
            drop=0.0,
        )
        with torch.no_grad():
            for n, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
                w.copy_(torch.from_numpy(weights[n]))
                b.copy_(torch.from_numpy(tensors[f"bias{n}"]))
        return cls(
            **shared,
            network=network.to(device).eval(),
            shift=tensors["shift"],
            scale=tensors["scale"],
            clip=config["clip"],
            score_scale=config["score_scale"],
        )
