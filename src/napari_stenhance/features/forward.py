"""A network on the devices of a run: crops go in as they were read, what it makes comes out."""

from __future__ import annotations

import copy
import hashlib
import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InferenceError
from napari_stenhance.features.cropping import Crops
from napari_stenhance.features.replica import NetworkReplica, Normalisation, Output
from napari_stenhance.running.device import inference_errors, is_full

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16", "float16"]

_BATCH = {"cuda": 256, "mps": 32}
_ON_CPU, _SMALL = 8, 50_000_000
"""How many a processor takes at a time; of a network with more parameters, one."""
_SIDE = 224
"""Of larger crops, as many as have the pixels of so many of this side."""
_IN_FLIGHT = 3


class Forward:
    """Runs a network over crops; several threads may call it at once.

    Where there are several devices each has a copy of the network, and whichever is free takes the
    next batch.

    Parameters
    ----------
    load : callable
        Makes the network in single precision on the CPU, anew each time.
    name : str
        Of the encoder, in sentences.
    side_px : int
        Of a crop.
    colours : Normalisation
    devices : sequence of torch.device
        All of one kind.
    output : callable
        What is asked of the network.
    precisions : sequence of {"float32", "bfloat16", "float16"}, optional
        The first in which values of noise are finite is used; by default `precisions_on(device)`.

    Attributes
    ----------
    batch : int
        How many crops go through at a time. On a CPU always as many, the last ones filled up: so
        company changes no bit. It is halved, for good, where memory does not do.
    precision : {"float32", "bfloat16", "float16"}
    at_once : int
        How many threads keep the devices busy.
    replicas : tuple of NetworkReplica
        One on each device.

    Raises
    ------
    DeviceMemoryError
        If a GPU cannot hold the network, and what it makes of one picture.
    InferenceError
        If it fails otherwise.
    """

    def __init__(
        self,
        load: Callable[[], torch.nn.Module],
        name: str,
        side_px: int,
        colours: Normalisation,
        devices: Sequence[torch.device],
        output: Output,
        precisions: Sequence[Precision] = (),
    ) -> None:
        """Put the network on the devices."""
        import torch

        self.name, self.side_px = name, side_px
        self._kind = devices[0].type
        each = _IN_FLIGHT if self._kind == "cuda" else 1
        self.at_once = each * len(devices)
        self._lock, recording = threading.Lock(), threading.Lock()
        precisions = precisions or precisions_on(devices[0])
        with inference_errors(f"Loading {name}"):
            for self.precision in precisions:
                model = load()
                parameters = sum(p.numel() for p in model.parameters())
                on_cpu = _ON_CPU if parameters <= _SMALL else 1
                share = min((_SIDE / side_px) ** 2, 1)
                self.batch = max(int(_BATCH.get(self._kind, on_cpu) * share), 1)
                dtype: torch.dtype = getattr(torch, self.precision)
                copies = [model, *(copy.deepcopy(model) for _ in devices[1:])]
                self.replicas = tuple(
                    NetworkReplica(one, device, dtype, colours, output, recording)
                    for one, device in zip(copies, devices, strict=True)
                )
                last = self.precision == precisions[-1]
                # On a GPU in any case: whether its memory does is known before anything is encoded.
                if (last and self._kind == "cpu") or self.replicas[0].is_finite(side_px) or last:
                    break
        self._waiting: queue.SimpleQueue[NetworkReplica] = queue.SimpleQueue()
        for replica in self.replicas * each:
            self._waiting.put(replica)

    def digest(self, *settings: object) -> str:
        """Identify settings, and what of this machine may change a bit: 16 hexadecimal digits.

        Parameters
        ----------
        *settings : object
            As JSON takes them.
        """
        import timm
        import torch

        batch = self.batch if self._kind == "cpu" else None
        machine = [self._kind, self.precision, batch, timm.__version__, torch.__version__]
        return hashlib.sha256(json.dumps([*settings, machine]).encode()).hexdigest()[:16]

    def __call__(self, crops: Crops) -> NDArray[np.float32]:
        """Return what the network makes of crops, (n, …).

        Raises
        ------
        InferenceError
            If the device fails, or returns what is not a number.
        """
        with inference_errors(f"Encoding with {self.name}"):
            values = np.concatenate([v for p in crops.parts(self.batch) for v in self._parts(p)])
        if not np.isfinite(values).all():
            raise self.refusal("what is not a number")
        return values

    def refusal(self, what: str) -> InferenceError:
        """Make the error that says what the network returned, and what may help."""
        option, advice = "encoder", "fetch its weights again, or choose another encoder"
        if self.precision != "float32":
            advice = f"choose {self.name}?precision=float32"
        elif self._kind != "cpu":
            option, advice = "device", "try the device cpu"
        msg = (
            f"{self.name} returned {what}, computed in {self.precision} on {self._kind}; {advice}."
        )
        return InferenceError(msg, option=option)

    def _parts(self, crops: Crops) -> Iterator[NDArray[np.float32]]:
        """Run a batch, or halves of it where the memory of the device does not do for one."""
        batch = self.batch
        if len(crops) <= batch:
            try:
                values = self._run(crops, batch)
            except RuntimeError as error:
                if batch == 1 or not is_full(error):
                    raise
            else:
                yield values
                return
            self._halve(batch)
        for part in crops.parts(self.batch):
            yield from self._parts(part)

    def _run(self, crops: Crops, batch: int) -> NDArray[np.float32]:
        """Let the device that waited longest run a batch."""
        replica = self._waiting.get()
        try:
            return replica.run(crops, batch)
        finally:
            self._waiting.put(replica)

    def _halve(self, tried: int) -> None:
        """Take half as many at a time, unless another thread has seen to that."""
        with self._lock:
            if self.batch == tried:
                self.batch = tried // 2
        for replica in self.replicas:
            replica.free_memory()


def precisions_on(device: torch.device) -> tuple[Precision, ...]:
    """Return what to compute in, best first: bfloat16 where the device has it in hardware."""
    import torch

    if device.type == "cuda":
        half: Precision = "bfloat16" if torch.cuda.is_bf16_supported(False) else "float16"
        return half, "float32"
    if device.type == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16"):
        return "bfloat16", "float32"
    return ("float32",)
