"""One copy of a network on one device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.cropping import Crops

if TYPE_CHECKING:
    import torch

Output = Callable[[Any, "torch.Tensor"], "torch.Tensor"]
"""Takes the network and pictures (n, 3, side, side), and returns (n, …)."""


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


class NetworkReplica:
    """A network on a device; several threads may run it at once.

    To a GPU pixels are sent once, as bytes, and cut there. A batch is one CUDA graph, where the
    network allows, and while one is computed the next is on its way and the last one comes back.

    Parameters
    ----------
    model : torch.nn.Module
        On the CPU; it is moved.
    device : torch.device
    dtype : torch.dtype
    colours : Normalisation
    output : callable
        What is asked of the network.
    recording : threading.Lock
        Of all replicas of a process: one graph is recorded at a time.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        colours: Normalisation,
        output: Output,
        recording: threading.Lock,
    ) -> None:
        """Put the network on the device."""
        import torch

        self._device, self._dtype, self._output = device, dtype, output
        self._swapped = colours.swapped
        mean, std = (
            torch.tensor(c, device=device).view(1, 3, 1, 1) for c in (colours.mean, colours.std)
        )
        self._scale, self._shift = 1 / (255 * std), -mean / std
        self.model: Any = model.to(device, dtype)
        self._convolves = not hasattr(model, "num_prefix_tokens")
        if self._convolves:
            self.model = self.model.to(memory_format=torch.channels_last)
        self._lock, self._recording = threading.Lock(), recording
        self._graph: _Graph | None = None

    def is_finite(self, side: int) -> bool:
        """Tell whether what the network makes of a picture of noise is finite."""
        noise = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
        with _inference():
            values = self._values(self._cut(Crops.from_array(noise), 1))
            return bool(values.isfinite().all())

    def run(self, crops: Crops, batch: int) -> NDArray[np.float32]:
        """Run crops, of which there are no more than a batch, filled up to one."""
        with _inference():
            if self._device.type == "cuda":
                return self._on_cuda(crops, batch)
            values: NDArray[np.float32] = (
                self._values(self._cut(crops, batch))[: len(crops)].float().cpu().numpy()
            )
            return values

    def free_memory(self) -> None:
        """Give back what larger batches took, once nothing computes."""
        import torch

        if self._device.type == "cuda":
            with self._lock, torch.cuda.device(self._device):
                torch.cuda.synchronize()
                self._graph = None
                torch.cuda.empty_cache()

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
        return self._output(self.model, standard)

    def _on_cuda(self, crops: Crops, batch: int) -> NDArray[np.float32]:
        """Use a stream of its own, so that copies go on beside another thread's batch."""
        import torch

        stream = torch.cuda.Stream(self._device)
        with torch.cuda.stream(stream):
            pictures = self._cut(crops, batch)
            with self._lock:
                if self._graph is None or self._graph.batch != batch:
                    self._graph = None
                    with self._recording:
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
        # The stream that torch would take by default is that of the first device that recorded.
        stream = torch.cuda.Stream(like.device)
        try:
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
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


@contextmanager
def _inference() -> Iterator[None]:
    import torch

    # TensorFloat-32, which torch allows itself in convolutions, rounds to three digits.
    exact = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.inference_mode(), exact:
        yield
