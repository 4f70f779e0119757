"""Networks and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_stenhance.features.positions import Resizing
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
    half : bool
        Whether half precision is known to do on a GPU.
    trained : bool
        Whether to refuse weights that were never trained, as of a checkpoint of the first step.
    mpp : float
        Micrometres per pixel that it was trained on; superpixels are read at it.
    resizing : {"smooth", "plain", "dino"}
        How its table of positions is resized for pictures of another size.
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
    half: bool = False
    trained: bool = False
    mpp: float = 0.5
    resizing: Resizing = "smooth"

    def build(self) -> torch.nn.Module:
        """Build it with random weights, always the same, and without a classifier."""
        keep_out_triton()
        import timm

        with seeded(SEED):
            model = timm.create_model(self.arch, pretrained=False, num_classes=0, **self.options)
        return model.eval()
