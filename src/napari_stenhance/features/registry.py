"""Encoders by name."""

from __future__ import annotations

from napari_stenhance.errors import InputError
from napari_stenhance.features.encoder import Encoder
from napari_stenhance.features.stain import VERSION, StainEncoder
from napari_stenhance.section.slide import Slide

ENCODERS = ("stain",)


def encoder_identity(name: str) -> str:
    """Name weights and version of an encoder, apart from what a slide's scale changes."""
    return f"{name}{VERSION}"


def make_encoder(name: str, slide: Slide) -> Encoder:
    """Make an encoder for a slide.

    Raises
    ------
    InputError
        If there is no encoder of that name, or the slide's scale is unknown.
    """
    if name != "stain":
        msg = f"--encoder {name}: there is no such encoder; choose one of {', '.join(ENCODERS)}."
        raise InputError(msg)
    return StainEncoder(slide.scale())
