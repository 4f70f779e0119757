"""What the user set under *File → Preferences → stenhance*: panels take it as their defaults.

The core never reads it: what a run used is said in its options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preferences:
    """What the user prefers.

    Attributes
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        What computes.
    encoder : str
        What turns tissue into features.
    memory_gib : float
        How much the tiles of what is shown may take, in GiB.
    """

    device: str
    encoder: str
    memory_gib: float

    def fill(self, fields: dict[str, Any]) -> None:
        """Set those fields of a form that something is preferred for."""
        for name in ("device", "encoder"):
            if name in fields:
                fields[name].value = getattr(self, name)


def preferences() -> Preferences:
    """Return what napari keeps of the user's choices, or the manifest's defaults."""
    from napari.settings import get_plugin_settings

    computing: Any = get_plugin_settings("napari-stenhance").computing
    return Preferences(computing.device, computing.encoder.strip(), computing.memory_gib)
