"""Networks and what is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_stenhance.running.device import keep_out_triton
from napari_stenhance.running.random import seeded

if TYPE_CHECKING:
    import torch

SEED = 0
FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class EncoderNetwork:
    """What is known of a network before it is built.

    Attributes
    ----------
    name : str
        As the option `encoder` takes it.
    arch : str
        What timm calls the architecture.
    side_px : int
        It sees square pictures of so many pixels along each side.
    mean, std : tuple of float
        What each of red, green and blue, from 0 to 1, is standardised by.
    licence : str
        Of the weights.
    options : mapping
        What timm must be told beyond the architecture.
    repos, files : tuple of str
        Where weights lie on Hugging Face, in the order in which they are looked for.
    gated : bool
        Whether access to the weights must be asked for.
    citation : str
    half : bool
        Whether half precision is known to do on a GPU.
    patch_px : int or None
        Side of the pixels that make a token, of a vision transformer.
    mpp : float or None
        Micrometres per pixel of what it was trained on.
    params, keys : int or None
        How many numbers, and how many tensors, it consists of.
    shapes : str or None
        What `shapes_hash` says of it.
    """

    name: str
    arch: str
    side_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str
    options: Mapping[str, Any] = field(default_factory=dict)
    repos: tuple[str, ...] = ()
    files: tuple[str, ...] = FILES
    gated: bool = False
    citation: str = ""
    half: bool = False
    patch_px: int | None = None
    mpp: float | None = None
    params: int | None = None
    keys: int | None = None
    shapes: str | None = None

    def build(self) -> torch.nn.Module:
        """Build it with random weights, always the same, and without a classifier."""
        keep_out_triton()
        import timm

        with seeded(SEED):
            model = timm.create_model(self.arch, pretrained=False, num_classes=0, **self.options)
        return model.eval()


def shapes_hash(model: torch.nn.Module) -> str:
    """Identify an architecture: 12 hexadecimal digits over the names and shapes of its tensors."""
    lines = (f"{k}:{tuple(v.shape)}" for k, v in sorted(model.state_dict().items()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
