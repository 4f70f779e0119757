"""A network on a device: crops go in as they were read, what it makes of them comes out."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InferenceError
from napari_stenhance.features.cropping import Crops
from napari_stenhance.running.device import inference_errors

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16", "float16"]
Output = Callable[[Any, "torch.Tensor"], "torch.Tensor"]
"""Takes the network and pictures (n, 3, side, side), and returns (n, …)."""

_BATCH = {"cuda": 256, "mps": 32}
_ON_CPU, _SMALL = 8, 50_000_000
"""How many a processor takes at a time; of a network with more parameters, one."""
_SIDE = 224
"""Of larger crops, as many as have the pixels of so many of this side."""
_IN_FLIGHT = 3


@dataclass(frozen=True)
class Normalisation:
    """How a network sees red, green and blue.

    Attributes
    ----------
    mean, std : tuple of float
        What each, from 0 to 1, is standardised by.
    swapped : bool
        Red for blue, as some published programs did by mistake.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    swapped: bool = False


class Forward:
    """Runs a network over crops; several threads may call it at once.

    To a GPU pixels are sent once, as bytes, and cut there. A batch is one CUDA graph, where the
    network allows, and while one is computed the next is on its way and the last one comes back.

    Parameters
    ----------
    load : callable
        Makes the network in single precision on the CPU, anew each time.
    name : str
        Of the encoder, in sentences.
    side_px : int
        Of a crop.
    colours : Normalisation
    device : torch.device
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
        How many threads keep the device busy.

    Raises
    ------
    InferenceError
        If the device cannot hold the network.
    """

    def __init__(
        self,
        load: Callable[[], torch.nn.Module],
        name: str,
        side_px: int,
        colours: Normalisation,
        device: torch.device,
        output: Output,
        precisions: Sequence[Precision] = (),
    ) -> None:
        """Put the network on the device."""
        import torch

        self.name, self.side_px = name, side_px
        self._device, self._output, self._swapped = device, output, colours.swapped
        self.at_once = _IN_FLIGHT if device.type == "cuda" else 1
        self._lock = threading.Lock()
        self._graph: _Graph | None = None
        precisions = precisions or precisions_on(device)
        with inference_errors(f"Loading {name}"):
            mean, std = (
                torch.tensor(c, device=device).view(1, 3, 1, 1) for c in (colours.mean, colours.std)
            )
            self._scale, self._shift = 1 / (255 * std), -mean / std
            for self.precision in precisions:
                model: Any = load()
                parameters = sum(p.numel() for p in model.parameters())
                on_cpu = _ON_CPU if parameters <= _SMALL else 1
                share = min((_SIDE / side_px) ** 2, 1)
                self.batch = max(int(_BATCH.get(device.type, on_cpu) * share), 1)
                self._dtype: torch.dtype = getattr(torch, self.precision)
                self._model = model.to(device, self._dtype)
                self._convolves = not hasattr(model, "num_prefix_tokens")
                if self._convolves:
                    self._model = self._model.to(memory_format=torch.channels_last)
                if self.precision == precisions[-1] or self._is_finite():
                    break

    def _is_finite(self) -> bool:
        import torch

        noise = torch.from_numpy(
            np.random.default_rng(0).integers(0, 256, (1, 3, self.side_px, self.side_px), np.uint8)
        )
        with _inference():
            return bool(self._values(noise.to(self._device)).isfinite().all())

    def digest(self, *settings: object) -> str:
        """Identify settings, and what of this machine may change a bit: 16 hexadecimal digits.

        Parameters
        ----------
        *settings : object
            As JSON takes them.
        """
        import timm
        import torch

        batch = self.batch if self._device.type == "cpu" else None
        machine = [self._device.type, self.precision, batch, timm.__version__, torch.__version__]
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
            msg = f"{self.name} returned what is not a number on this device; try the device cpu."
            raise InferenceError(msg, option="device")
        return values

    def _parts(self, crops: Crops) -> Iterator[NDArray[np.float32]]:
        """Run a batch, or halves of it where the memory of the device does not do for one."""
        import torch

        batch = self.batch
        if len(crops) <= batch:
            try:
                yield self._run(crops, batch)
            except torch.OutOfMemoryError:
                if batch == 1:
                    raise
            else:
                return
            self._halve(batch)
        for part in crops.parts(self.batch):
            yield from self._parts(part)

    def _halve(self, tried: int) -> None:
        """Take half as many at a time, unless another thread has seen to that."""
        import torch

        with self._lock:
            if self.batch == tried:
                self.batch, self._graph = tried // 2, None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _run(self, crops: Crops, batch: int) -> NDArray[np.float32]:
        with _inference():
            if self._device.type == "cuda":
                return self._on_cuda(crops, batch)
            values: NDArray[np.float32] = (
                self._values(self._cut(crops, batch))[: len(crops)].float().cpu().numpy()
            )
            return values

    def _cut(self, crops: Crops, batch: int) -> torch.Tensor:
        """Send blocks of pixels to the device and cut the crops there: (batch, 3, side, side)."""
        import torch

        side, cuda = crops.side, self._device.type == "cuda"
        pictures = torch.zeros((batch, 3, side, side), dtype=torch.uint8, device=self._device)
        for block in crops.blocks:
            sent = (
                torch.from_numpy(np.ascontiguousarray(block.pixels)),
                torch.from_numpy(np.column_stack([block.corners, block.place])),
            )
            pixels, where = (
                (t.pin_memory() if cuda else t).to(self._device, non_blocking=True) for t in sent
            )
            windows = pixels.unfold(0, side, 1).unfold(1, side, 1)
            pictures[where[:, 2]] = windows[where[:, 0], where[:, 1]]
        return pictures

    def _values(self, pictures: torch.Tensor) -> torch.Tensor:
        """Standardise bytes, (n, 3, side, side), and ask the network."""
        import torch

        if self._swapped:
            pictures = pictures.flip(1)
        standard = (pictures * self._scale).add_(self._shift).to(self._dtype)
        if self._convolves:
            standard = standard.contiguous(memory_format=torch.channels_last)
        return self._output(self._model, standard)

    def _on_cuda(self, crops: Crops, batch: int) -> NDArray[np.float32]:
        """Use a stream of its own, so that copies go on beside another thread's batch."""
        import torch

        stream = torch.cuda.Stream(self._device)
        with torch.cuda.stream(stream):
            pictures = self._cut(crops, batch)
            with self._lock:
                if self._graph is None or self._graph.batch != batch:
                    self._graph = None
                    self._graph = _Graph(self._values, pictures)
                on_device = self._graph(pictures, stream)[: len(crops)]
            values = torch.empty(on_device.shape, dtype=on_device.dtype, pin_memory=True)
            values.copy_(on_device, non_blocking=True)
            stream.synchronize()
        found: NDArray[np.float32] = values.float().numpy()
        return found


class _Graph:
    """A batch through the network as one thing that the device is asked to do.

    Asking for each of its hundred kernels by itself takes longer than a small network's arithmetic,
    the more so beside threads that hold Python's lock.
    """

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor], like: torch.Tensor) -> None:
        """Record it; what cannot be recorded is run as it is."""
        import torch

        self.batch = len(like)
        self._run, self._free = run, torch.cuda.Event()
        self._input = torch.zeros_like(like)
        # What is made once, as handles and plans, must not be recorded.
        for _ in range(2):
            run(self._input)
        torch.cuda.current_stream(like.device).synchronize()
        self._graph: torch.cuda.CUDAGraph | None = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._output = run(self._input)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            self._graph = None

    def __call__(self, pictures: torch.Tensor, stream: torch.cuda.Stream) -> torch.Tensor:
        """Run it after what was asked for before."""
        if self._graph is None:
            return self._run(pictures)
        stream.wait_event(self._free)
        self._input.copy_(pictures)
        self._graph.replay()
        values = self._output.clone()
        self._free = stream.record_event()
        return values


def precisions_on(device: torch.device) -> tuple[Precision, ...]:
    """Return what to compute in, best first: bfloat16 where the device has it in hardware."""
    import torch

    if device.type == "cuda":
        half: Precision = "bfloat16" if torch.cuda.is_bf16_supported(False) else "float16"
        return half, "float32"
    if device.type == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16"):
        return "bfloat16", "float32"
    return ("float32",)


@contextmanager
def _inference() -> Iterator[None]:
    import torch

    # TensorFloat-32, which torch allows itself in convolutions, rounds to three digits.
    exact = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.inference_mode(), exact:
        yield
