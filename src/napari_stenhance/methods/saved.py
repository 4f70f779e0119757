"""The two files of a saved model: weights.safetensors and config.json, never pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from napari_stenhance.errors import InputError

Tensors = dict[str, NDArray[Any]]
T = TypeVar("T")


def save_model(folder: Path, tensors: Tensors, config: dict[str, Any]) -> None:
    """Write both files into a folder that exists."""
    whole = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    save_file(whole, folder / "weights.safetensors")
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
        return make(load_file(folder / "weights.safetensors"), config)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        msg = f"{folder}: the saved model cannot be read ({error}); train it again with enhance."
        raise InputError(msg) from error
