"""STAMGC by preset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_stenhance.methods.stamgc.protocol import DomainMethod
from napari_stenhance.methods.stamgc.robust import Robust

if TYPE_CHECKING:
    import torch

DomainPreset = Literal["robust", "reference"]
Clustering = Literal["mixture", "kmeans", "leiden"]


def make_domain_method(
    preset: DomainPreset,
    clustering: Clustering,
    runs: int,
    refine: bool,
    group: str,
    epochs: int | None,
    seed: int,
    device: torch.device,
) -> DomainMethod:
    """Make STAMGC; `group` is a named configuration of the reference, empty by default."""
    return Robust(seed, device)
