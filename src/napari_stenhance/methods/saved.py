"""The two files of a saved model: weights.safetensors and config.json, never pickle."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from napari_stenhance.features.registry import find_encoder
from napari_stenhance.methods.decoder import Decoder, depth_channel
from napari_stenhance.methods.familiar import FamiliarTissue
from napari_stenhance.methods.held_out import HeldOutSpots
from napari_stenhance.running.random import seeded
from napari_stenhance.storage.reading import reading
from napari_stenhance.storage.seal import file_crc32, json_crc32

Tensors = dict[str, NDArray[Any]]
T = TypeVar("T")
WEIGHTS, CONFIG = "weights.safetensors", "config.json"
ADVICE = "copy it again, or train it again with enhance"
_SEAL = "crc32"
_HELD_OUT = "held_out_spots."
_FAMILIAR = "familiar_tissue."
_SHARED = ("pitch_um", "encoder", "encoder_identity")


def save_model(folder: Path, tensors: Tensors, config: dict[str, Any]) -> None:
    """Write both files into a folder that exists."""
    whole = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    # Not by `save_file`, whose error on a full disk is none of the system's.
    (folder / WEIGHTS).write_bytes(save(whole))
    config = {**config, "weights_crc32": file_crc32(folder / WEIGHTS)}
    config[_SEAL] = json_crc32(config)
    (folder / CONFIG).write_text(json.dumps(config, indent=1), "utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """Read what a model says of itself; the older ones have no checksums.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    with reading(folder / CONFIG, "the saved model", ADVICE):
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text("utf-8"))
        # Models of before had neither checksum.
        seal, old = config.pop(_SEAL, None), "weights_crc32" not in config
        if seal != json_crc32(config) and not (old and seal is None):
            msg = "its content is not what was written"
            raise ValueError(msg)
    return config


def load_model(folder: Path, make: Callable[[Tensors, dict[str, Any]], T]) -> T:
    """Read both files, and make the model of them.

    Raises
    ------
    InputError
        If files are missing or damaged, or the model cannot be made of them.
    """
    config = read_config(folder)
    with reading(folder / WEIGHTS, "the saved model", ADVICE):
        crc32 = config.pop("weights_crc32", None)
        if crc32 is not None and file_crc32(folder / WEIGHTS) != crc32:
            msg = "its content is not what was written"
            raise ValueError(msg)
        tensors = load_file(folder / WEIGHTS)
        # Layers draw what they begin with, before it is replaced.
        with seeded(0):
            return make(tensors, config)


@dataclass(frozen=True, kw_only=True)
class GeneModel(ABC):
    """What every model of genes holds beside its networks, and how it is saved: base of `Fitted`.

    Attributes
    ----------
    decoder : Decoder
        Without weights if the latent holds the genes.
    pitch_um : float
        Of the grid that it predicts on.
    encoder : str
        Name of the encoder whose features it learned from.
    encoder_identity : str
        Weights and version of that encoder.
    familiar : FamiliarTissue or None
        What it learned from looks like; None in an older model, or where it is not known.
    """

    decoder: Decoder
    pitch_um: float
    encoder: str
    encoder_identity: str
    familiar: FamiliarTissue | None = None

    @abstractmethod
    def parts(self) -> tuple[Tensors, dict[str, Any]]:
        """Return what else is saved: tensors, and entries of config.json, the method among them."""

    def distance_over(
        self, tissue: NDArray[np.bool_], inputs: NDArray[np.float32]
    ) -> NDArray[np.float32] | None:
        """Return how far superpixels lie from what was learned from; None where it is not known.

        Parameters
        ----------
        tissue : ndarray of bool, shape (rows, columns)
        inputs : ndarray of float32, shape (superpixels of tissue, channels)
            Standardised, in row-major order.

        Returns
        -------
        ndarray of float32, shape (rows, columns), or None
            NaN off the tissue.
        """
        if self.familiar is None:
            return None
        distance = np.full(tissue.shape, np.nan, np.float32)
        distance[tissue] = self.familiar.distance(inputs)
        return distance

    def save(self, folder: Path) -> None:
        """Write weights.safetensors and config.json."""
        tensors, config = self.parts()
        of_decoder, told = _decoder_parts(self.decoder)
        config |= {name: getattr(self, name) for name in _SHARED}
        if self.familiar is not None:
            tensors |= {f"{_FAMILIAR}{n}": values for n, values in self.familiar.arrays().items()}
        save_model(folder, {**tensors, **of_decoder}, {**config, **told})


def learned_through(encoder: str, pitch_um: float) -> dict[str, Any]:
    """Return the attributes of `GeneModel` that say what a model has learned from."""
    found = find_encoder(encoder)
    return {"pitch_um": pitch_um, "encoder": found.name, "encoder_identity": found.identity()}


def shared_parts(tensors: Tensors, config: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of `GeneModel` as they were saved."""
    of_tissue = _named(tensors, _FAMILIAR)
    return {
        "decoder": _decoder_of(tensors, config),
        "familiar": FamiliarTissue.from_arrays(of_tissue),
        **{name: config[name] for name in _SHARED},
    }


def _named(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}


def _decoder_parts(decoder: Decoder) -> tuple[Tensors, dict[str, Any]]:
    tensors: Tensors = {
        "decoder_bias": decoder.bias,
        "held_out_r": decoder.held_out_r,
        "held_out_r_given_depth": decoder.held_out_r_given_depth,
        "spread_scale": decoder.spread_scale,
    }
    if decoder.weights is not None:
        tensors["decoder_weights"] = decoder.weights
    if decoder.coverage is not None:
        tensors["coverage"] = decoder.coverage
    if decoder.held_out is not None:
        kept = decoder.held_out.arrays
        tensors |= {f"{_HELD_OUT}{name}": values for name, values in kept.items()}
    return tensors, {
        "unit": decoder.unit,
        "genes": list(decoder.genes),
        "doubts": list(decoder.doubts),
        **({} if decoder.depth is None else {"depth": list(decoder.depth)}),
        **({"other_names": list(decoder.other_names)} if decoder.other_names else {}),
    }


def _decoder_of(tensors: Tensors, config: dict[str, Any]) -> Decoder:
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
        other_names=tuple(config.get("other_names", ())),
        held_out=HeldOutSpots.from_arrays(_named(tensors, _HELD_OUT)),
        coverage=tensors.get("coverage"),
        depth=depth_channel(config.get("depth")),
    )
