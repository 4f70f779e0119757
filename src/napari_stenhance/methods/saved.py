"""The two files of a saved model: weights.safetensors and config.json, never pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from napari_stenhance.errors import InputError
from napari_stenhance.methods.field import Decoder
from napari_stenhance.running.random import seeded

Tensors = dict[str, NDArray[Any]]
T = TypeVar("T")


def save_model(folder: Path, tensors: Tensors, config: dict[str, Any]) -> None:
    """Write both files into a folder that exists."""
    whole = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    # Not by `save_file`, whose error on a full disk is none of the system's.
    (folder / "weights.safetensors").write_bytes(save(whole))
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")


def load_model(folder: Path, make: Callable[[Tensors, dict[str, Any]], T]) -> T:
    """Read both files, and make the model of them.

    Raises
    ------
    InputError
        If files are missing or damaged, or the model cannot be made of them.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        tensors = load_file(folder / "weights.safetensors")
        # Layers draw what they begin with, before it is replaced.
        with seeded(0):
            return make(tensors, config)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        msg = f"{folder}: the saved model cannot be read ({error}); train it again with enhance."
        raise InputError(msg) from error


def decoder_parts(decoder: Decoder) -> tuple[Tensors, dict[str, Any]]:
    """Return what a saved model keeps of a decoder: tensors, and entries of config.json."""
    tensors: Tensors = {
        "decoder_bias": decoder.bias,
        "held_out_r": decoder.held_out_r,
        "held_out_r_given_depth": decoder.held_out_r_given_depth,
        "spread_scale": decoder.spread_scale,
    }
    if decoder.weights is not None:
        tensors["decoder_weights"] = decoder.weights
    about = {"unit": decoder.unit, "genes": list(decoder.genes), "doubts": list(decoder.doubts)}
    return tensors, about


def decoder_of(tensors: Tensors, config: dict[str, Any]) -> Decoder:
    """Make the decoder of what `decoder_parts` returned."""
    # Models that were saved before these were kept do not have them.
    unknown = np.full(len(config["genes"]), np.nan, np.float32)
    return Decoder(
        genes=tuple(config["genes"]),
        weights=tensors.get("decoder_weights"),
        bias=tensors["decoder_bias"],
        unit=config["unit"],
        held_out_r=tensors["held_out_r"],
        held_out_r_given_depth=tensors.get("held_out_r_given_depth", unknown),
        spread_scale=tensors["spread_scale"],
        doubts=tuple(config.get("doubts", ())),
    )
