"""Networks of timm as encoders of crops."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InferenceError
from napari_stenhance.features.networks import SEED, EncoderNetwork
from napari_stenhance.features.weights import load_weights
from napari_stenhance.running.device import inference_errors

if TYPE_CHECKING:
    import torch

VERSION = 1
_BATCH = 32
_MAGNIFIED = 1.5

Channels = Literal["rgb", "bgr"]


class TimmEncoder:
    """A network of timm as a `CropEncoder`; which vector is a crop's is the network's to say.

    Attributes
    ----------
    name : str
    dim : int
    side_px : int
    batch : int
        Crops go through the network so many at a time: one on a CPU, so that company changes no
        bit of a vector; more would gain a tenth there.
    """

    def __init__(
        self,
        network: EncoderNetwork,
        identity: str,
        device: torch.device,
        weights: Path | None,
        channels: Channels = "rgb",
    ) -> None:
        """Build the network and load its weights; None for random ones.

        Raises
        ------
        InputError
            If the weights do not fit.
        InferenceError
            If the device cannot hold the network.
        """
        import torch

        model = network.build()
        if weights is not None:
            load_weights(model, weights, trained=network.trained)
        self.name, self.side_px, self._network = network.name, network.side_px, network
        self.dim = network.width(model)
        self.batch = 1 if device.type == "cpu" else _BATCH
        self._identity, self._device, self._channels = identity, device, channels
        self._statistics = network.mean, network.std
        self._half = network.half and device.type == "cuda"
        with inference_errors(f"Loading {self.name}"):
            self._model = model.to(device)
            self._mean, self._std = (
                torch.tensor(s, device=device).view(1, 3, 1, 1) for s in self._statistics
            )
            if self._half:
                noise = np.random.default_rng(SEED).integers(
                    0, 256, (self.side_px, self.side_px, 3)
                )
                self._half = bool(np.isfinite(self._vectors(noise[None].astype(np.uint8))).all())

    def fingerprint(self) -> str:
        """Identify weights, settings, and whatever else may change a bit of a vector."""
        import timm
        import torch

        precision = "half" if self._half else "single"
        settings = [VERSION, self._identity, self.side_px, self._statistics, self._channels]
        machine = [self._device.type, precision, timm.__version__, torch.__version__]
        text = json.dumps([settings, machine])
        return f"{self.name.replace(':', '-')}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

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

    def encode(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode crops, (n, side_px, side_px, 3), into (n, dim).

        Raises
        ------
        InferenceError
            If the device fails, or returns what is not a number.
        """
        values = np.empty((len(crops), self.dim), np.float32)
        for start in range(0, len(crops), self.batch):
            part = crops[start : start + self.batch]
            # Always as many: kernels, and with them the last bits, depend on it.
            full = np.zeros((self.batch, *crops.shape[1:]), np.uint8)
            full[: len(part)] = part
            with inference_errors(f"Encoding with {self.name}"):
                values[start : start + len(part)] = self._vectors(full)[: len(part)]
        if not np.isfinite(values).all():
            msg = f"{self.name} returned what is not a number on this device; try the device cpu."
            raise InferenceError(msg, option="device")
        return values

    def _vectors(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        # TensorFloat-32, which torch allows itself in convolutions, rounds to three digits.
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        half = torch.autocast(self._device.type, torch.float16, enabled=self._half)
        with torch.inference_mode(), exact, half:
            pixels = torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2)
            if self._channels == "bgr":
                pixels = pixels.flip(1)
            standardised = (pixels.float() / 255 - self._mean) / self._std
            vectors = self._network.vectors(self._model, standardised)
            values: NDArray[np.float32] = vectors.float().cpu().numpy()
        return values
