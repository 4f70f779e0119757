"""Which encoders there are, whose weights are on this machine, and how the others are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import Help, Options

if TYPE_CHECKING:
    from napari_stenhance.features.networks import EncoderNetwork


@dataclass(frozen=True)
class WeightsOptions(Options):
    """Options of `weights`."""

    name: Annotated[
        str | None,
        Help(
            "An encoder, such as uni or timm:resnet18; by default all are listed.", positional=True
        ),
    ] = None
    yes: Annotated[bool, Help("The licence has been read and is accepted: fetch the weights.")] = (
        False
    )


@dataclass(frozen=True)
class EncoderWeights:
    """An encoder, and what its weights cost.

    Attributes
    ----------
    name : str
        As the option `encoder` takes it.
    here : bool
        Whether it can be used now.
    path : Path or None
        The file of weights, if it is here and there is one.
    licence : str
        Of the weights; empty where there are none.
    commercial : bool or None
        Whether the licence allows commercial use; None if its own words must be read.
    terms : str
        What else is asked of whoever uses them, one sentence; or empty.
    gated : bool
        Whether access must be asked for.
    size_bytes : int
        About how much is to be fetched; 0 if nobody knows.
    fetched : bool
        Whether `weights` can fetch them; else they are installed, or fetched by hand.
    install : str
        The command that installs them, if a package holds them.
    needs : str
        What an encoder that can only be fetched by hand, or is of another package, says that it
        lacks.
    page : str
        The web page of the weights, with the licence.
    citation : str
    """

    name: str
    here: bool
    path: Path | None = None
    licence: str = ""
    commercial: bool | None = None
    terms: str = ""
    gated: bool = False
    size_bytes: int = 0
    fetched: bool = False
    install: str = ""
    needs: str = ""
    page: str = ""
    citation: str = ""


def weights(options: WeightsOptions, job: Job | None = None) -> tuple[EncoderWeights, ...]:
    """List encoders, those on this machine first; or fetch the weights of one.

    `napari_stenhance.weights` says what comes of it, and what it raises.
    """
    if options.name is None:
        if options.yes:
            msg = "Name the encoder whose weights are to be fetched."
            raise InputError(msg, option="name")
        # What needs no weights comes first.
        return tuple(sorted(_all(), key=lambda one: (not one.here, one.path is not None)))
    from napari_stenhance.features.fetching import fetch_weights
    from napari_stenhance.features.network_entry import find_network

    for entry in _entries():
        if entry.name == options.name and not hasattr(entry, "networks"):
            one = _other(entry)
            if options.yes and one.needs:
                raise InputError(one.needs, option="name")
            return (one,)
    network = find_network(options.name)
    one = _of(network)
    if not options.yes:
        return (one,)
    if one.needs:
        raise InputError(one.needs, option="name")
    fetch_weights(network, job or Job())
    return (_of(network),)


def _entries() -> tuple[Any, ...]:
    from napari_stenhance.features.registry import PACKAGE
    from napari_stenhance.running.extensions import extensions

    return extensions(PACKAGE, "ENCODER")


def _all() -> list[EncoderWeights]:
    found = []
    for entry in _entries():
        of_networks = hasattr(entry, "networks")
        found += [_of(network) for network in entry.networks] if of_networks else [_other(entry)]
    return found


def _other(entry: Any) -> EncoderWeights:
    """Tell whether an encoder that is not just a network has all that it needs."""
    needs = _lacks(entry)
    return EncoderWeights(entry.name, here=not needs, needs=needs)


def _lacks(entry: Any) -> str:
    """Return what an encoder says that it lacks; of a family, nothing."""
    try:
        encoder = entry.chosen(entry.name, {})
        if encoder is not None:
            encoder.identity()
    except InputError as error:
        return str(error)
    return ""


def _of(network: EncoderNetwork) -> EncoderWeights:
    from napari_stenhance.features.registry import find_encoder

    path = network.here()
    by_hand = path is None and not (network.repos or network.install)
    repo = f"https://huggingface.co/{network.repos[0]}" if network.repos else ""
    return EncoderWeights(
        name=network.name,
        here=path is not None,
        path=path,
        licence=network.licence,
        commercial=network.commercial,
        terms=network.terms,
        gated=network.gated,
        size_bytes=network.size_bytes,
        fetched=bool(network.repos),
        install=network.install,
        needs=_lacks(find_encoder(network.name)) if by_hand else "",
        page=network.page or repo,
        citation=network.citation,
    )
