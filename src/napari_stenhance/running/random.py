"""Random numbers from a seed, while the host's own stay where they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let torch draw from a seed in the block; afterwards its generators are as they were.

    Whoever calls us has a sequence of random numbers of their own: in a notebook, or in another
    plugin. `torch.manual_seed` would begin it anew on every device, so the generators that are
    used are seeded one by one: the CPU's, and that of a device.

    Parameters
    ----------
    seed : int
    device : torch.device, optional
        What computes, beside the CPU.
    """
    import torch

    device = torch.device("cpu") if device is None else device
    kind = device.type
    before = torch.get_rng_state()
    if kind == "cuda":
        of_device = torch.cuda.get_rng_state(device)
    elif kind == "mps":
        of_device = torch.mps.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        if kind == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif kind == "mps":
            torch.mps.manual_seed(seed)
        yield
    finally:
        torch.set_rng_state(before)
        if kind == "cuda":
            torch.cuda.set_rng_state(of_device, device)
        elif kind == "mps":
            torch.mps.set_rng_state(of_device)
