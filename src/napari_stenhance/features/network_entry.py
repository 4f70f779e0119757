"""Networks of timm in the registry of encoders: their options, and where their weights lie."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.features.dense import DenseEncoder, DenseNetwork
from napari_stenhance.features.forward import Precision
from napari_stenhance.features.networks import SEED, EncoderNetwork
from napari_stenhance.features.registry import PACKAGE, Encoder
from napari_stenhance.features.vit import VERSION, Channels, TimmEncoder
from napari_stenhance.features.weights import weights_hash
from napari_stenhance.running.extensions import extensions
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import torch

    from napari_stenhance.section.slide import Slide

_CHOICES = {"channels": ("rgb", "bgr"), "precision": ("float32", "bfloat16", "float16")}
_OPTIONS = "weights=FILE, pretrained=false, " + ", ".join(
    f"{key}={' or '.join(values)}" for key, values in _CHOICES.items()
)


@dataclass(frozen=True)
class NetworkEntry:
    """A network, or a family of them, as `ENCODER`; encodes crops and superpixels.

    Attributes
    ----------
    name : str
        As sentences list it: `uni`, `timm:MODEL`.
    pattern : str
        Regular expression of the names that it answers to.
    network : callable
        Returns what is known of the network of such a name.
    networks : tuple of EncoderNetwork
        Those that can be listed.
    """

    name: str
    pattern: str
    network: Callable[[str], EncoderNetwork]
    networks: tuple[EncoderNetwork, ...] = ()

    def chosen(self, name: str, options: Mapping[str, str]) -> Encoder | None:
        """Return the encoder of that name with its options, if it is one of these.

        Raises
        ------
        InputError
            If an option cannot be.
        """
        if not re.fullmatch(self.pattern, name):
            return None
        choice = NetworkChoice(name, self.network, **_taken(name, options))
        return Encoder(choice.portable, choice.identity, choice.dense, choice.make)


def networks_entry(*networks: EncoderNetwork) -> NetworkEntry:
    """Register networks that are known by name."""
    by_name = {network.name: network for network in networks}
    pattern = "|".join(re.escape(name) for name in by_name)
    return NetworkEntry(", ".join(by_name), pattern, by_name.__getitem__, networks)


def find_network(name: str) -> EncoderNetwork:
    """Return what is known of the network of a name, of those that have weights.

    Raises
    ------
    InputError
        If there is none.
    """
    entries = [e for e in extensions(PACKAGE, "ENCODER") if hasattr(e, "networks")]
    for entry in entries:
        if isinstance(entry, NetworkEntry) and re.fullmatch(entry.pattern, name):
            return entry.network(name)
        for network in entry.networks:
            if network.name == name:
                found: EncoderNetwork = network
                return found
    if "+" in name or "?" in name:
        parts = ", ".join(part.partition("?")[0] for part in name.split("+"))
        msg = f"{name}: weights are those of one encoder; name one by itself, of {parts}."
        raise InputError(msg, option="name")
    listed = ", ".join(entry.name for entry in entries)
    msg = f"{name}: there is no such encoder with weights; choose one of {listed}."
    raise InputError(msg, option="name")


def _taken(name: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Take the options of a network."""
    taken: dict[str, Any] = {}
    for key, value in options.items():
        if key == "weights" and value:
            with reading(value, "the weights", "name a file that is there"):
                taken[key] = Path(value).expanduser()
        elif (key, value) == ("pretrained", "false"):
            taken[key] = False
        elif value in _CHOICES.get(key, ()):
            taken[key] = value
        else:
            msg = f"Encoder {name}: {key}={value} is no option; there are {_OPTIONS}."
            raise InputError(msg, option="encoder")
    if "weights" in taken and "pretrained" in taken:
        msg = f"Encoder {name}: either weights=FILE or random ones, not both; leave one out."
        raise InputError(msg, option="encoder")
    return taken


@dataclass(frozen=True)
class NetworkChoice:
    """A network with its options.

    Attributes
    ----------
    name : str
    network : callable
        See `NetworkEntry`.
    weights : Path or None
        A file of weights; by default they are looked for where Hugging Face keeps them.
    pretrained : bool
        False for random weights, of which no others are like these.
    channels : {"rgb", "bgr"}
        "bgr" gives the network red for blue, as the published programs did by mistake.
    precision : {"float32", "bfloat16", "float16"}, optional
        What is computed in; by default what the device has in hardware.
    """

    name: str
    network: Callable[[str], EncoderNetwork]
    weights: Path | None = None
    pretrained: bool = True
    channels: Channels = "rgb"
    precision: Precision | None = None

    @property
    def portable(self) -> str:
        """The name with its options, but for the path of the weights."""
        options = [] if self.pretrained else ["pretrained=false"]
        options += [] if self.channels == "rgb" else [f"channels={self.channels}"]
        options += [] if self.precision is None else [f"precision={self.precision}"]
        return self.name + ("?" + "&".join(options) if options else "")

    def identity(self) -> str:
        """Name network, weights, and what changes its vectors.

        Raises
        ------
        InputError
            If there is no such network, or its weights are not here.
        """
        network = self.network(self.name)
        return self._identity(network, self._file(network))

    def make(self, device: torch.device) -> TimmEncoder:
        """Build the network and load its weights.

        Raises
        ------
        InputError
            If there is no such network, or its weights are not here or do not fit.
        InferenceError
            If the device cannot hold it.
        """
        network = self.network(self.name)
        weights = self._file(network)
        identity = self._identity(network, weights)
        return TimmEncoder(network, identity, device, weights, self.channels, self.precision)

    def dense(self, device: torch.device) -> Callable[[Slide], DenseEncoder]:
        """Build the network and load its weights, as `make` does, for the superpixels of slides."""
        network = self.network(self.name)
        weights = self._file(network)
        identity = self._identity(network, weights)
        return DenseNetwork(network, identity, device, weights, self.channels, self.precision).on

    def _identity(self, network: EncoderNetwork, weights: Path | None) -> str:
        which = (
            f"random{SEED}"
            if weights is None
            else published_hash(network.name, network.sha256, weights)[:16]
        )
        colours = "" if self.channels == "rgb" else f"-{self.channels}"
        return f"{network.name}-v{VERSION}-{which}{colours}"

    def _file(self, network: EncoderNetwork) -> Path | None:
        """Find the file of weights; None if random ones were asked for."""
        if not self.pretrained:
            return None
        found = self.weights or network.here()
        if found is None:
            msg = f"Encoder {self.name}: its weights are not on this machine; {_advice(network)}"
            raise InputError(msg, option="encoder")
        return found


def published_hash(name: str, sha256: Mapping[str, str], weights: Path) -> str:
    """Return the hash of a file; of the name of a published one it must be that one."""
    found, known = weights_hash(weights), sha256.get(weights.name)
    if known is not None and found != known:
        msg = (
            f"{weights}: this is not the file of this name that was published for {name} "
            f"(its SHA-256 is {found[:16]}… instead of {known[:16]}…); fetch it again, or give "
            "weights of your own another name."
        )
        raise InputError(msg)
    return found


def _advice(network: EncoderNetwork) -> str:
    """Say how weights are fetched, which happens only when it is asked for."""
    given = (
        f"give a file as {network.name}?weights=FILE ({network.name}?pretrained=false has random "
        "weights, for trials)."
    )
    if network.extra:
        return f"install them with `{network.install}`, or {given}"
    if not network.repos:
        where = f"fetch {network.files[0]} from {network.page} and " if network.page else ""
        return f"{where}{given}"
    return (
        f"`napari-stenhance weights {network.name}` says what they ask for and fetches them, or "
        f"{given}"
    )
