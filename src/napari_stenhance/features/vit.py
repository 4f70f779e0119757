"""Networks of timm as encoders of crops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.cropping import Crops
from napari_stenhance.features.forward import Forward, Precision
from napari_stenhance.features.networks import EncoderNetwork
from napari_stenhance.features.replica import Normalisation
from napari_stenhance.running.device import devices_like

if TYPE_CHECKING:
    import torch

VERSION = 2
_MAGNIFIED = 1.5

Channels = Literal["rgb", "bgr"]


class TimmEncoder:
    """A network of timm as a `CropEncoder`; which vector is a crop's is the network's to say.

    Attributes
    ----------
    name : str
    dim : int
    side_px : int
    batch, at_once : int
        See `Forward`.
    """

    def __init__(
        self,
        network: EncoderNetwork,
        identity: str,
        device: torch.device,
        weights: Path | None,
        channels: Channels = "rgb",
        precision: Precision | None = None,
    ) -> None:
        """Build the network and load its weights; None for random ones.

        Raises
        ------
        InputError
            If the weights do not fit.
        InferenceError
            If the device cannot hold the network.
        """
        self.name, self.side_px, self.dim = network.name, network.side_px, 0

        def load() -> torch.nn.Module:
            model = network.load(weights)
            self.dim = network.width(model)
            return model

        colours = Normalisation(network.mean, network.std, channels == "bgr")
        precisions = () if precision is None else (precision,)
        self._forward = Forward(
            load,
            self.name,
            self.side_px,
            colours,
            devices_like(device),
            network.vectors,
            precisions,
        )
        self._settings = [VERSION, identity, self.side_px, network.mean, network.std, channels]

    @property
    def batch(self) -> int:
        """How many crops go through the network at a time; fewer take as long."""
        return self._forward.batch

    @property
    def at_once(self) -> int:
        """How many threads keep the device busy."""
        return self._forward.at_once

    def fingerprint(self) -> str:
        """Identify weights, settings, and whatever else may change a bit of a vector."""
        return f"{self.name.replace(':', '-')}-{self._forward.digest(*self._settings)}"

    def doubts(self, mpp: float, crop_um: float) -> tuple[str, ...]:
        """Say that the slide has too few pixels for such crops."""
        times = mpp * self.side_px / crop_um
        if times <= _MAGNIFIED:
            return ()
        doubt = (
            f"Crops of {crop_um:g} µm are magnified {times:.1f} times, to the {self.side_px} "
            f"pixels that {self.name} sees: the slide has only {mpp:.3g} µm per pixel."
        )
        return (doubt,)

    def encode(self, crops: Crops) -> NDArray[np.float32]:
        """Encode crops into (n, dim).

        Raises
        ------
        InferenceError
            If the device fails, or returns what is not a number.
        """
        return self._forward(crops) if len(crops) else np.empty((0, self.dim), np.float32)
