"""Networks as encoders of superpixels: the features of their patches, averaged over the grid.

A network sees squares that overlap, laid from the slide's pixel (0, 0). Of each only the middle,
its window, is kept: patches at a border know one side of their surroundings only.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InferenceError, InputError
from napari_stenhance.features.networks import EncoderNetwork
from napari_stenhance.features.positions import resize_positions
from napari_stenhance.features.vit import VERSION, Channels
from napari_stenhance.features.weights import load_weights
from napari_stenhance.running.device import inference_errors
from napari_stenhance.section.resample import area_weights

if TYPE_CHECKING:
    import torch

    from napari_stenhance.section.slide import Slide

PITCH_UM = 8.0
_MAGNIFIED = 1.5
_LARGEST = np.finfo(np.float16).max


@dataclass(frozen=True)
class WindowLayout:
    """What a network sees at a time, and what of it is kept.

    Attributes
    ----------
    side_px : int
        Of a square.
    mpp : float
        Micrometres per pixel; within a hundredth of what was asked for, so that a window is of
        whole pixels.
    rows : int
        Superpixels along each side of a window, the middle of a square.
    window_px : int
    """

    side_px: int
    mpp: float
    rows: int
    window_px: int

    @classmethod
    def around(cls, side_px: int, context_px: int, mpp: float) -> WindowLayout:
        """Lay the widest window that has at least so much context on every side."""
        rows = int((side_px - 2 * context_px) * mpp / PITCH_UM + 1e-6)
        window_px = round(rows * PITCH_UM / mpp)
        return cls(side_px, rows * PITCH_UM / window_px, rows, window_px)

    @property
    def halo_px(self) -> int:
        """How far squares reach beyond their windows."""
        return -(-(self.side_px - self.window_px) // 2)


# Of a square in pixels, side and context: half of what is computed is kept. 28 × 28 patches of 16
# pixels lie in such a square, and their table of positions is enlarged twofold. Of smaller patches
# there would be too many, and the largest networks have them: they see what they were trained on.
_OF_LARGE_PATCHES = 448, 64
_OF_SMALL_PATCHES = 224, 32
# Layers of convolutions know no positions; their paddings fit sides that are multiples of 32.
_OF_LAYERS = 512, 64
_LARGE_PATCH = 16


@dataclass(frozen=True)
class PatchMap:
    """How the features of places are taken from a network.

    Attributes
    ----------
    dim : int
        Their length.
    patch_px : int
        Side of what each stands for, in pixels.
    read : callable
        Takes the network and pictures, (n, 3, side, side), and returns (n, rows, columns, dim).
    """

    dim: int
    patch_px: int
    read: Callable[[Any, torch.Tensor], torch.Tensor]


class DenseNetwork:
    """A network of timm that encodes superpixels of 8 µm on a device.

    A vision transformer's features are its patch tokens after the last norm; those of other
    networks are the map of the last stage that is no coarser than superpixels. Where patches are
    no superpixels, they are averaged by the area that they share with each.

    Attributes
    ----------
    name : str
    dim : int
    layout : WindowLayout
    patch_um : float
        Side of what a vector stands for before it is averaged.
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
            If the weights do not fit, or the network has no features of places.
        InferenceError
            If the device cannot hold the network.
        """
        import torch

        model: Any = network.build()
        if weights is not None:
            load_weights(model, weights, trained=network.trained)
        has_tokens = hasattr(model, "num_prefix_tokens") and hasattr(model, "set_input_size")
        side_context = _OF_LAYERS
        if has_tokens:
            large = model.patch_embed.patch_size[0] >= _LARGE_PATCH
            side_context = _OF_LARGE_PATCHES if large else _OF_SMALL_PATCHES
        layout = WindowLayout.around(*side_context, network.mpp)
        if has_tokens:
            resize_positions(model, layout.side_px, network.resizing)
            self._map = _tokens(model)
        else:
            self._map = _stage(model, network.name, layout)
        patch, cell_px = self._map.patch_px, layout.window_px / layout.rows
        shares = area_weights(
            layout.halo_px / patch, cell_px / patch, layout.rows, 0, layout.side_px // patch
        )
        self.name, self.dim, self.layout = network.name, self._map.dim, layout
        self.patch_um = patch * layout.mpp
        self._settings = [identity, network.mean, network.std, channels, network.resizing]
        self._swapped, self._device, self._lock = channels == "bgr", device, threading.Lock()
        with inference_errors(f"Loading {self.name}"):
            self._model = model.to(device)
            self._mean, self._std = (
                torch.tensor(s, device=device).view(1, 3, 1, 1) for s in (network.mean, network.std)
            )
            # A tap without weight, as the second where patches are superpixels, is left out.
            self._taps = [
                (
                    torch.from_numpy(np.minimum(shares.first + tap, layout.side_px // patch - 1)),
                    torch.from_numpy(shares.weights[:, tap]),
                )
                for tap in np.flatnonzero(shares.weights.any(axis=0))
            ]
            self._taps = [(at.to(device), share.to(device)) for at, share in self._taps]

    def on(self, slide: Slide) -> DenseEncoder:
        """Return the encoder of a slide."""
        return DenseEncoder(self, slide.scale())

    def fingerprint(self) -> str:
        """Identify weights, settings, and whatever else may change a bit of a vector."""
        import timm
        import torch

        seen = ["dense", self.layout.side_px, self.layout.window_px, self.layout.mpp]
        machine = [self._device.type, timm.__version__, torch.__version__]
        text = json.dumps([VERSION, *self._settings, *seen, *machine])
        name = self.name.replace(":", "-")
        return f"{name}-dense-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def windows(self, pixels: NDArray[np.uint8], corners: NDArray[np.int64]) -> NDArray[np.float32]:
        """Encode the windows of squares, (n, rows, rows, dim).

        Parameters
        ----------
        pixels : ndarray of uint8, shape (y, x, 3)
        corners : ndarray of int64, shape (n, 2)
            Row and column of each square's first pixel.

        Raises
        ------
        InferenceError
            If the device fails, or returns what is not a number or too large a one.
        """
        found = np.empty((len(corners), *2 * (self.layout.rows,), self.dim), np.float32)
        side = self.layout.side_px
        # One thread computes, and the others read ahead.
        with self._lock, inference_errors(f"Encoding with {self.name}"):
            for n, (y, x) in enumerate(corners.tolist()):
                found[n] = self._window(pixels[y : y + side, x : x + side])
        # A comparison with what is not a number is false.
        if not (np.abs(found) <= _LARGEST).all():
            msg = (
                f"{self.name} returned what is not a number, or too large a one, on this device; "
                "try the device cpu."
            )
            raise InferenceError(msg, option="device")
        return found

    def _window(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        # TensorFloat-32, which torch allows itself in convolutions, rounds to three digits.
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.inference_mode(), exact:
            picture = torch.from_numpy(square[None].copy()).to(self._device).permute(0, 3, 1, 2)
            if self._swapped:
                picture = picture.flip(1)
            cells = self._cells(self._model, (picture.float() / 255 - self._mean) / self._std)
            values: NDArray[np.float32] = cells[0].cpu().numpy()
        return values

    def _cells(self, model: Any, pictures: torch.Tensor) -> torch.Tensor:
        """Average patches over superpixels, down and along."""
        import torch

        cells = self._map.read(model, pictures).float()
        for axis in (1, 2):
            shape = [-1 if n == axis else 1 for n in range(4)]
            parts = [cells.index_select(axis, at) * w.view(shape) for at, w in self._taps]
            cells = torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]
        return cells


def _tokens(model: Any) -> PatchMap:
    """Take the patch tokens of a vision transformer, without those before them."""
    import torch

    prefix, (rows, columns) = model.num_prefix_tokens, model.patch_embed.grid_size
    # Of networks that were trained to be pooled; their tokens are not normed before.
    after = getattr(model, "fc_norm", None) or torch.nn.Identity()

    def read(model: Any, pictures: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = after(model.forward_features(pictures)[:, prefix:])
        return tokens.unflatten(1, (rows, columns))

    return PatchMap(int(model.num_features), int(model.patch_embed.patch_size[0]), read)


def _stage(model: Any, name: str, layout: WindowLayout) -> PatchMap:
    """Take the last stage whose patches are no larger than superpixels.

    Raises
    ------
    InputError
        If the network has none, or does not see such pictures.
    """
    import torch

    stages = list(getattr(model, "feature_info", ()))
    fine = [n for n, s in enumerate(stages) if s["reduction"] * layout.mpp <= PITCH_UM * 1.01]
    side = layout.side_px
    msg = (
        f"Encoder {name}: this network gives no map of features for pictures of {side} × {side} "
        "pixels; choose another, or a method that sees crops: histosge or spamcaf."
    )
    if not fine or not hasattr(model, "forward_intermediates"):
        raise InputError(msg, option="encoder")

    def read(model: Any, pictures: torch.Tensor) -> torch.Tensor:
        (found,) = model.forward_intermediates(
            pictures, indices=[fine[-1]], stop_early=True, intermediates_only=True
        )
        return found.permute(0, 2, 3, 1)

    try:
        if hasattr(model, "set_input_size"):
            model.set_input_size(img_size=(side, side))
        with torch.inference_mode():
            shape = read(model, torch.zeros(1, 3, side, side)).shape
    except (AssertionError, RuntimeError) as error:
        raise InputError(msg, option="encoder") from error
    patch = side // shape[1]
    if shape[1:3] != (side // patch, side // patch):
        raise InputError(msg, option="encoder")
    return PatchMap(shape[3], patch, read)


@dataclass(frozen=True)
class DenseEncoder:
    """A network as the `SuperpixelEncoder` of a slide.

    Attributes
    ----------
    network : DenseNetwork
    slide_mpp : float
        Micrometres per pixel of the slide.
    """

    network: DenseNetwork
    slide_mpp: float
    pitch_um: float = PITCH_UM

    @property
    def name(self) -> str:
        """Of the network."""
        return self.network.name

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.network.dim

    @property
    def mpp(self) -> float:
        """Micrometres per pixel that the network sees."""
        return self.network.layout.mpp

    @property
    def window_px(self) -> int:
        """Side of what is kept of a square."""
        return self.network.layout.window_px

    @property
    def halo_px(self) -> int:
        """How far squares reach beyond their windows."""
        return self.network.layout.halo_px

    def fingerprint(self) -> str:
        """Identify weights and settings."""
        return self.network.fingerprint()

    def doubts(self) -> tuple[str, ...]:
        """Say that the slide has too few pixels, or that patches are wider than superpixels."""
        doubts = []
        times = self.slide_mpp / self.mpp
        if times > _MAGNIFIED:
            doubts.append(
                f"The slide is magnified {times:.1f} times, to the {self.mpp:.3g} µm per pixel "
                f"that {self.name} sees: it has only {self.slide_mpp:.3g} µm per pixel."
            )
        patch_um = self.network.patch_um
        if patch_um > self.pitch_um * 1.01:
            doubts.append(
                f"{self.name} sees patches of {patch_um:.3g} µm, wider than superpixels: what is "
                "predicted changes no finer than these do."
            )
        return tuple(doubts)

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode whole windows with their halo, (y, x, 3), into (rows, columns, dim)."""
        window_px, cells = self.window_px, self.network.layout.rows
        down, along = ((n - 2 * self.halo_px) // window_px for n in pixels.shape[:2])
        corners = np.indices((down, along)).reshape(2, -1).T * window_px
        found = self.network.windows(pixels, corners).reshape(down, along, cells, cells, -1)
        return np.moveaxis(found, 2, 1).reshape(down * cells, along * cells, -1)
