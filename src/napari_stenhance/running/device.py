"""Which device computes, and how it is recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_stenhance.errors import DeviceMemoryError, InferenceError, InputError
from napari_stenhance.running.numbers import counted

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
    keep_out_triton()
    import torch

    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = "cuda" if available["cuda"] else "mps" if available["mps"] else "cpu"
    if not available.get(name, False):
        msg = f"Device {name}: this machine has no such device; choose auto."
        raise InputError(msg, option="device")
    return torch.device(name)


def devices_like(device: torch.device) -> tuple[torch.device, ...]:
    """List a device and those of this machine that are just like it: GPUs of the same name.

    Parameters
    ----------
    device : torch.device
        One that has a number stands for itself.
    """
    import torch

    if str(device) != "cuda":
        return (device,)
    names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return tuple(torch.device("cuda", n) for n, name in enumerate(names) if name == names[0])


def keep_out_triton() -> None:
    """Keep torch's optimisers from loading triton into a process that draws with Mesa's LLVM.

    libtriton carries an LLVM of its own, and two of them in one process end in a segmentation
    fault: so on a remote desktop or in a virtual machine, where napari's canvas is drawn in
    software. Nothing here uses triton; to torch it is as if it were not installed.
    """
    maps = Path("/proc/self/maps")
    if "triton" not in sys.modules and maps.exists() and "libLLVM" in maps.read_text("utf-8"):
        sys.modules["triton"] = None  # type: ignore[assignment]


def describe_device(device: torch.device) -> str:
    """Name the device as provenance: on a CPU the number of threads decides the last bits."""
    import torch

    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({counted(torch.get_num_threads(), 'thread')})"
    return device.type


def threads() -> int:
    """Return how many threads may compute: as many as torch, whose setting there is."""
    import torch

    return torch.get_num_threads()


def is_full(error: RuntimeError) -> bool:
    """Tell whether a GPU's memory did not do.

    PyTorch has a class for it, but CUDA's libraries and Apple's GPUs say so in words only.
    """
    import torch

    said = str(error)
    full = "out of memory" in said or "ALLOC_FAILED" in said
    return full or isinstance(error, torch.OutOfMemoryError)


@contextmanager
def inference_errors(doing: str) -> Iterator[None]:
    """Turn torch's RuntimeErrors (out of memory is one) into an error that threads do not swallow.

    Raises
    ------
    DeviceMemoryError
        From one that says that a GPU's memory did not do.
    InferenceError
        From any other RuntimeError in the block.
    """
    try:
        yield
    except RuntimeError as error:
        kind = DeviceMemoryError if is_full(error) else InferenceError
        short = (str(error).strip() or type(error).__name__).splitlines()[0]
        msg = (
            f"{doing} failed on this device: {short}. Try the device cpu, or close other programs."
        )
        raise kind(msg, option="device") from error
