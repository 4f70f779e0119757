"""Networks as encoders of superpixels: the features of their patches, averaged over the grid.

A network sees squares that overlap, laid from the slide's pixel (0, 0). Of each only the middle,
its window, is kept: patches at a border know one side of their surroundings only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.cropping import Crops
from napari_stenhance.features.encoder import TileRequest
from napari_stenhance.features.forward import Forward, Precision
from napari_stenhance.features.networks import EncoderNetwork
from napari_stenhance.features.replica import Normalisation
from napari_stenhance.features.vit import VERSION, Channels
from napari_stenhance.features.window_batches import WindowLayout, encode_windows
from napari_stenhance.running.device import devices_like
from napari_stenhance.section.resample import area_weights

if TYPE_CHECKING:
    import torch

    from napari_stenhance.section.slide import Slide

    Read = Callable[[Any, torch.Tensor], torch.Tensor]

PITCH_UM = 8.0
_MAGNIFIED = 1.5
_LARGEST = np.finfo(np.float16).max


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
    read: Read


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
        precision: Precision | None = None,
    ) -> None:
        """Build the network and load its weights; None for random ones.

        Raises
        ------
        InputError
            If the weights do not fit, or the network has no features of places.
        InferenceError
            If the device cannot hold the network.
        """
        layout, self._map = plan_windows(network)
        side_px = layout.side_px
        devices = devices_like(device)
        taps = _taps(layout, self._map.patch_px)
        on_devices = ([(at.to(d), share.to(d)) for at, share in taps] for d in devices)
        # By the device of the copy of the network that is asked.
        self._taps = {there[0][0].device: there for there in on_devices}

        def load() -> Any:
            model: Any = network.load(weights, side_px)
            if not _has_tokens(model):
                # Without memory, tables of places are not looked into.
                with _refusing(network, side_px):
                    _seen(model, self._map.read, side_px, "cpu")
            return model

        self.name, self.dim, self.layout = network.name, self._map.dim, layout
        self.patch_um = self._map.patch_px * layout.mpp
        colours = Normalisation(network.mean, network.std, channels == "bgr")
        precisions = () if precision is None else (precision,)
        self._forward = Forward(load, self.name, side_px, colours, devices, self._cells, precisions)
        seen = side_px, layout.window_px, layout.mpp, network.resizing
        self._settings = [VERSION, "dense", identity, *seen, network.mean, network.std, channels]

    def on(self, slide: Slide) -> DenseEncoder:
        """Return the encoder of a slide."""
        return DenseEncoder(self, slide.scale())

    @property
    def batch(self) -> int:
        """How many squares go through the network at a time; fewer take as long."""
        return self._forward.batch

    @property
    def at_once(self) -> int:
        """How many threads keep the device busy."""
        return self._forward.at_once

    def fingerprint(self) -> str:
        """Identify weights, settings, and whatever else may change a bit of a vector."""
        return f"{self.name.replace(':', '-')}-dense-{self._forward.digest(*self._settings)}"

    def encode(self, squares: Crops) -> NDArray[np.float32]:
        """Encode the windows in the middle of squares, (n, rows, rows, dim).

        Raises
        ------
        InferenceError
            If the device fails, or returns what is not a number or too large a one.
        """
        found = self._forward(squares)
        if np.abs(found).max() > _LARGEST:
            raise self._forward.refusal("too large a number")
        return found

    def _cells(self, model: Any, pictures: torch.Tensor) -> torch.Tensor:
        """Average patches over superpixels, down and along."""
        import torch

        cells = self._map.read(model, pictures).float()
        taps = self._taps[cells.device]
        for axis in (1, 2):
            shape = [-1 if n == axis else 1 for n in range(4)]
            parts = [cells.index_select(axis, at) * w.view(shape) for at, w in taps]
            cells = torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]
        return cells


def plan_windows(network: EncoderNetwork) -> tuple[WindowLayout, PatchMap]:
    """Lay out what a network sees at a time, and say what is taken from it.

    Raises
    ------
    InputError
        If it has no features of places.
    """
    import torch

    # Of no bytes: only to see how it is made.
    with torch.device("meta"):
        plan: Any = network.build()
    side, context = _OF_LAYERS
    if _has_tokens(plan):
        embed = plan.patch_embed
        patch = embed.img_size[0] // embed.grid_size[0]
        side, context = _OF_LARGE_PATCHES if patch >= _LARGE_PATCH else _OF_SMALL_PATCHES
        side = side // patch * patch
    layout = WindowLayout.around(side, context, network.mpp, PITCH_UM)
    with _refusing(network, side):
        read = _tokens if _has_tokens(plan) else _stage(plan, network.mpp)
        _, rows, columns, dim = _seen(plan, read, side, "meta").shape
        if rows != columns or side % rows:
            msg = f"{rows} × {columns} places in {side} pixels"
            raise ValueError(msg)
    return layout, PatchMap(dim, side // rows, read)


@contextmanager
def _refusing(network: EncoderNetwork, side: int) -> Iterator[None]:
    """Say that a network has no features of places, whatever it raises of such pictures."""
    try:
        yield
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        msg = (
            f"Encoder {network.name}: this network gives no map of features for pictures of {side} "
            f"× {side} pixels; choose another, or a method that sees crops: histosge or spamcaf."
        )
        raise InputError(msg, option="encoder") from error


def _seen(model: Any, read: Read, side: int, device: str) -> torch.Tensor:
    """Show a network an empty picture, and return its map."""
    import torch

    if hasattr(model, "set_input_size"):
        model.set_input_size(img_size=(side, side))
    with torch.inference_mode():
        return read(model, torch.zeros(1, 3, side, side, device=device))


def _has_tokens(model: Any) -> bool:
    return hasattr(model, "num_prefix_tokens") and hasattr(model, "set_input_size")


def _taps(layout: WindowLayout, patch_px: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """List the first patch under each superpixel, and the next ones, each with its share.

    One without a share, as the second where patches are superpixels, is left out.
    """
    import torch

    patches, cell = layout.side_px // patch_px, layout.window_px / layout.rows / patch_px
    shares = area_weights(layout.halo_px / patch_px, cell, layout.rows, 0, patches)
    return [
        (
            torch.from_numpy(np.minimum(shares.first + tap, patches - 1)),
            torch.from_numpy(shares.weights[:, tap]),
        )
        for tap in np.flatnonzero(shares.weights.any(axis=0))
    ]


def _tokens(model: Any, pictures: torch.Tensor) -> torch.Tensor:
    """Take the patch tokens of a vision transformer, without those before them."""
    tokens = model.forward_features(pictures)[:, model.num_prefix_tokens :]
    # Of networks that were trained to be pooled; their tokens are not normed before.
    after = getattr(model, "fc_norm", None)
    found: torch.Tensor = tokens if after is None else after(tokens)
    return found.unflatten(1, model.patch_embed.grid_size)


def _stage(plan: Any, mpp: float) -> Read:
    """Take the last stage whose patches are no larger than superpixels.

    Raises
    ------
    ValueError
        If there is none.
    """
    stages = list(getattr(plan, "feature_info", ()))
    fine = [n for n, s in enumerate(stages) if s["reduction"] * mpp <= PITCH_UM * 1.01]
    if not fine or not hasattr(plan, "forward_intermediates"):
        msg = "no such stage"
        raise ValueError(msg)

    def read(model: Any, pictures: torch.Tensor) -> torch.Tensor:
        (found,) = model.forward_intermediates(
            pictures, indices=[fine[-1]], stop_early=True, intermediates_only=True
        )
        return found.permute(0, 2, 3, 1)

    return read


@dataclass(frozen=True)
class DenseEncoder:
    """A network as the `SlideEncoder` of a slide.

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

    def encode_tiles(self, request: TileRequest) -> Iterator[NDArray[np.float16]]:
        """Yield the superpixels of each rectangle, (rows, columns, dim); 0 without tissue."""
        network = self.network
        return encode_windows(
            request, network.layout, network.encode, network.batch, network.at_once
        )
