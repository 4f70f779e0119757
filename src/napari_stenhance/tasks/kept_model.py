"""A trained model that its result has no room for: kept elsewhere, until it has."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.methods.protocol import Fitted
from napari_stenhance.methods.registry import load_fitted
from napari_stenhance.running.job import Job
from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.storage.cache import Cache

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class KeptModel:
    """Where a model may be kept that could not be saved.

    Attributes
    ----------
    places : tuple of Path
        In the cache, and in the system's folder for temporary files.
    """

    places: tuple[Path, ...]

    @classmethod
    def from_training(cls, learned: Mapping[str, Any], cache: Cache) -> KeptModel:
        """Name the places for the model that is learned from these inputs with these options."""
        key = hashlib.sha256(json.dumps(learned, sort_keys=True).encode()).hexdigest()[:32]
        temporary = Path(tempfile.gettempdir()) / f"stenhance-model-{key}"
        return cls((cache.entry("models", key), temporary))

    def load(self, device: torch.device, job: Job) -> Fitted | None:
        """Load the model if it was kept."""
        for place in self.places:
            if not _is_mine(place):
                continue
            with suppress(InputError):
                fitted = load_fitted(place, device)
                job.note(f"The model was trained already, and kept in {place}.")
                return fitted
        return None

    @contextmanager
    def unless_saved(self, fitted: Fitted) -> Iterator[None]:
        """Keep a model if the block cannot save it; once it can, what was kept goes.

        Raises
        ------
        InputError
            As the block did, and where the model is now.
        """
        try:
            yield
        except InputError as error:
            msg = f"{str(error).rstrip('.')}; the trained model is {self._keep(fitted)}."
            raise InputError(msg) from error
        self._forget()

    def _keep(self, fitted: Fitted) -> str:
        self._forget()
        for place in self.places:
            with suppress(InputError):
                with atomic_path(place, folder=True) as aside:
                    fitted.save(aside)
                return f"kept in {place}, from where the same command goes on"
        return f"lost, for there is no room in {' or in '.join(map(str, self.places))} either"

    def _forget(self) -> None:
        for place in filter(_is_mine, self.places):
            shutil.rmtree(place, ignore_errors=True)


def _is_mine(place: Path) -> bool:
    """Tell whether a model is there that this user kept: anybody may write temporary files."""
    return place.is_dir() and (sys.platform == "win32" or place.stat().st_uid == os.getuid())
