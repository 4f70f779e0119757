"""Which device computes, and how it is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from napari_stenhance.errors import InferenceError, InputError

if TYPE_CHECKING:
    import torch

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def resolve_device(name: DeviceName) -> torch.device:
    """Turn a device option into a torch device.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "mps"}
        "auto" takes an NVIDIA GPU, then an Apple GPU, then the CPU.

    Raises
    ------
    InputError
        If the device that was asked for is not there.
    """
    import torch

    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    if not there.get(name, False):
        msg = f"--device {name}: this machine has no such device; use --device auto."
        raise InputError(msg)
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Name the device as provenance: on a CPU the number of threads decides the last bits."""
    import torch

    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return device.type


@contextmanager
def inference_errors(doing: str) -> Iterator[None]:
    """Turn torch's RuntimeErrors (out of memory is one) into an error that threads do not swallow.

    Raises
    ------
    InferenceError
        From any RuntimeError in the block.
    """
    try:
        yield
    except RuntimeError as error:
        short = str(error).strip().splitlines()[0]
        msg = f"{doing} failed on this device: {short}. Try --device cpu, or close other programs."
        raise InferenceError(msg) from error
