"""Encoders by name, `NAME[?key=value&...]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.features.crops import CropEncoder
from napari_stenhance.features.encoder import Encoder
from napari_stenhance.features.networks import FILES, NETWORKS, SEED, EncoderNetwork
from napari_stenhance.features.stain import VERSION as STAIN_VERSION
from napari_stenhance.features.stain import StainEncoder
from napari_stenhance.features.vit import VERSION, Channels, TimmEncoder
from napari_stenhance.features.weights import in_hub_cache, weights_hash
from napari_stenhance.running.device import keep_out_triton
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import torch

ENCODERS = ("stain", *NETWORKS, "timm:MODEL")

_OPTIONS = "weights=FILE, pretrained=false and channels=rgb or bgr"
_TIMM = re.compile(r"timm:[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")


@dataclass(frozen=True)
class EncoderSpec:
    """What the option `encoder` says, taken apart.

    Attributes
    ----------
    name : str
        `stain`, `uni`, …, or `timm:MODEL`, where MODEL may end in `.TAG`.
    weights : Path or None
        A file of weights; by default they are looked for where Hugging Face keeps them.
    pretrained : bool
        False for random weights, of which no others are like these.
    channels : {"rgb", "bgr"}
        "bgr" gives the network red for blue, as the published programs did by mistake.
    """

    name: str
    weights: Path | None = None
    pretrained: bool = True
    channels: Channels = "rgb"

    @classmethod
    def parse(cls, text: str) -> EncoderSpec:
        """Take `NAME[?key=value&...]` apart.

        Raises
        ------
        InputError
            If there is no such encoder, or no such option of it.
        """
        name, _, options = text.partition("?")
        if name not in ENCODERS[:-1] and not _TIMM.fullmatch(name):
            msg = f"Encoder {text}: there is no such encoder; choose one of {_listed()}."
            raise InputError(msg, option="encoder")
        if name == "stain" and options:
            msg = f"Encoder {text}: stain has no options; its whole name is stain."
            raise InputError(msg, option="encoder")
        given: dict[str, Any] = {}
        for option in options.split("&") if options else []:
            key, _, value = option.partition("=")
            if key in given:
                msg = f"Encoder {text}: {key} is given twice; give it once."
                raise InputError(msg, option="encoder")
            if key == "weights" and value:
                with reading(value, "the weights", "name a file that is there"):
                    given[key] = Path(value).expanduser()
            elif key == "pretrained" and value == "false":
                given[key] = False
            elif key == "channels" and value in ("rgb", "bgr"):
                given[key] = value
            else:
                msg = f"Encoder {text}: {option} is no option; there are {_OPTIONS}."
                raise InputError(msg, option="encoder")
        if "weights" in given and "pretrained" in given:
            msg = f"Encoder {text}: either weights=FILE or random ones, not both; leave one out."
            raise InputError(msg, option="encoder")
        return cls(name, **given)


def _listed() -> str:
    return ", ".join(ENCODERS)


def portable(spec: str) -> str:
    """Return an encoder as results and models may record it: without the path of its weights."""
    parsed = EncoderSpec.parse(spec)
    options = [] if parsed.pretrained else ["pretrained=false"]
    options += [] if parsed.channels == "rgb" else [f"channels={parsed.channels}"]
    return parsed.name + ("?" + "&".join(options) if options else "")


def encoder_title(spec: str) -> str:
    """Return a short name for runs and files: `stain`, `uni`, `timm-resnet18`."""
    return EncoderSpec.parse(spec).name.partition(".")[0].replace(":", "-")


def encoder_identity(spec: str) -> str:
    """Name weights and version of an encoder, apart from what a slide's scale changes.

    Raises
    ------
    InputError
        If there is no such encoder, or its weights are not here.
    """
    parsed = EncoderSpec.parse(spec)
    if parsed.name == "stain":
        return f"stain{STAIN_VERSION}"
    network = _network(parsed)
    return _identity(parsed, network, _weights(parsed, network))


def make_encoder(name: str, slide: Slide) -> Encoder:
    """Make an encoder of superpixels for a slide.

    Raises
    ------
    InputError
        If there is no such encoder of that name, or the slide's scale is unknown.
    """
    if EncoderSpec.parse(name).name != "stain":
        msg = (
            f"Encoder {name}: features of superpixels come only from stain so far; encoders of "
            "crops, as this one is, serve the methods histosge and spamcaf."
        )
        raise InputError(msg, option="encoder")
    return StainEncoder(slide.scale())


def make_crop_encoder(spec: str, device: torch.device) -> CropEncoder:
    """Make any encoder but `stain` for a device.

    Raises
    ------
    InputError
        If there is no such encoder, or its weights are not here or do not fit.
    InferenceError
        If the device cannot hold it.
    """
    parsed = EncoderSpec.parse(spec)
    network = _network(parsed)
    weights = _weights(parsed, network)
    identity = _identity(parsed, network, weights)
    return TimmEncoder(network, identity, device, weights, parsed.channels)


def _network(spec: EncoderSpec) -> EncoderNetwork:
    """Look the network up, here or in timm."""
    if spec.name in NETWORKS:
        return NETWORKS[spec.name]
    keep_out_triton()
    from timm.models import get_pretrained_cfg, is_model

    model = spec.name.removeprefix("timm:")
    try:
        about = get_pretrained_cfg(model) if is_model(model) else None
    except RuntimeError:  # no such tag
        about = None
    if about is None:
        msg = (
            f"Encoder {spec.name}: timm has no such model; `python -c 'import timm; "
            "print(*timm.list_models(pretrained=True))'` lists those there are."
        )
        raise InputError(msg, option="encoder")
    return EncoderNetwork(
        name=f"timm:{about.architecture}" + (f".{about.tag}" if about.tag else ""),
        arch=model,
        side_px=about.input_size[-1],
        mean=about.mean,
        std=about.std,
        licence=about.license or "unknown",
        repos=(about.hf_hub_id,) if about.hf_hub_id else (),
        files=(about.hf_hub_filename,) if about.hf_hub_filename else FILES,
    )


def _weights(spec: EncoderSpec, network: EncoderNetwork) -> Path | None:
    """Find the file of weights; None if random ones were asked for."""
    if not spec.pretrained:
        return None
    found = spec.weights or in_hub_cache(network.repos, network.files)
    if found is None:
        msg = f"Encoder {spec.name}: its weights are not on this machine; {_advice(network)}"
        raise InputError(msg, option="encoder")
    return found


def _advice(network: EncoderNetwork) -> str:
    """Say how weights are fetched, which this program never does by itself."""
    given = (
        f"give a file as {network.name}?weights=FILE ({network.name}?pretrained=false has random "
        "weights, for trials)."
    )
    if not network.repos:
        return given
    repo, file = network.repos[0], network.files[0]
    gate = f"ask for access at https://huggingface.co/{repo} and " if network.gated else ""
    return (
        f"{gate}fetch them with `hf download {repo} {file}` (licence {network.licence}), or {given}"
    )


def _identity(spec: EncoderSpec, network: EncoderNetwork, weights: Path | None) -> str:
    which = f"random{SEED}" if weights is None else weights_hash(weights)[:16]
    colours = "" if spec.channels == "rgb" else f"-{spec.channels}"
    return f"{network.name}-v{VERSION}-{which}{colours}"
