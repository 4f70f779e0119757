"""What the user set under *File → Preferences → stenhance*: panels take it as their defaults.

The core never reads it: what a run used is said in its options.
"""

from __future__ import annotations

import os
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
    colours : str
        The colormap of genes.
    cache_folder : str
        Where pyramids and features are kept; empty for the user's cache folder.
    """

    device: str
    encoder: str
    memory_gib: float
    colours: str
    cache_folder: str

    def fill(self, fields: dict[str, Any]) -> None:
        """Set those fields of a form that something is preferred for."""
        for name in ("device", "encoder"):
            if name in fields:
                fields[name].value = getattr(self, name)


def preferences() -> Preferences:
    """Return what napari keeps of the user's choices, or the manifest's defaults."""
    from napari.settings import get_plugin_settings

    settings: Any = get_plugin_settings("napari-stenhance")
    computing = settings.computing
    return Preferences(
        computing.device,
        computing.encoder.strip(),
        computing.memory_gib,
        settings.showing.colours,
        computing.cache_folder.strip(),
    )


def use_cache_folder() -> None:
    """Let the core keep what it can compute again where the user prefers; the environment wins."""
    if folder := preferences().cache_folder:
        os.environ.setdefault("STENHANCE_CACHE", folder)
