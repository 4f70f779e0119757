"""A model that has learned, where it lies: in a folder of its own, or in a result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.methods.genes import genes_of
from napari_stenhance.methods.registry import load_fitted
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import field_run
from napari_stenhance.storage.atomic import atomic_path
from napari_stenhance.storage.hashing import file_hash
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import torch

    from napari_stenhance.features.masks import TissueKind
    from napari_stenhance.methods.protocol import Fitted
    from napari_stenhance.running.job import Job
    from napari_stenhance.storage.cache import Cache

FORMAT_VERSION = 1
_RECORD = "provenance.json"
_OF_PREDICTION = ("region", "model_sha256", "tissue_sha256")
"""What a run's identity says beyond what its model learned."""


@dataclass(frozen=True)
class Trained:
    """A saved model.

    Attributes
    ----------
    folder : Path
        Holds weights.safetensors and config.json.
    identity : dict
        What was learned, from what.
    provenance : dict
        Seed, device, versions, and doubts about what was learned from.
    genes_of : str
        Whose its genes are, for sentences.
    """

    folder: Path
    identity: dict[str, Any]
    provenance: dict[str, Any]
    genes_of: str = "the genes of the model"

    @classmethod
    def open(cls, path: Path, run: str = "") -> Trained:
        """Open a folder that `save` wrote, or the model of a run in a result.

        Parameters
        ----------
        path : Path
        run : str
            Of a result; by default the newest of the whole slide.

        Raises
        ------
        InputError
            If there is no model, it was written by a newer version, or it has no such run.
        """
        if ResultFolder.is_result(path):
            result = ResultFolder.open(path)
            field = field_run(result, run)
            name, attributes = field.name, field.attributes
            learned = {k: v for k, v in attributes["identity"].items() if k not in _OF_PREDICTION}
            return cls(result.model_folder(name), learned, _provenance(attributes), genes_of(name))
        file = path / _RECORD
        if not file.is_file():
            msg = f"{path}: this is no model and no result of napari-stenhance; train one."
            raise InputError(msg)
        if run:
            msg = f"{path}: a model that was trained alone has no runs; leave {run!r} out."
            raise InputError(msg, option="run")
        with reading(file, advice="train it again"):
            attributes = json.loads(file.read_text("utf-8"))
            version = int(attributes["format_version"])
            opened = cls(path, dict(attributes["identity"]), _provenance(attributes))
        if version > FORMAT_VERSION:
            msg = f"{path}: written in format {version}; update napari-stenhance to read it."
            raise InputError(msg)
        return opened

    @property
    def doubts(self) -> tuple[str, ...]:
        """What was guessed or left out of what was learned from, one sentence each."""
        return tuple(self.provenance["doubts"])

    @property
    def seed(self) -> int:
        """What fixed every random choice."""
        return int(self.provenance["seed"])

    @property
    def tissue(self) -> TissueKind:
        """How tissue was told from glass."""
        kind: TissueKind = self.identity.get("tissue", "density")
        return kind

    def sha256(self, cache: Cache, job: Job) -> str:
        """Hash the weights."""
        return file_hash(self.folder / "weights.safetensors", cache, job)

    def load(self, device: torch.device) -> Fitted:
        """Load the model.

        Raises
        ------
        InputError
            If it is missing or damaged, or this version does not know it.
        """
        return load_fitted(self.folder, device)


def save_trained(
    out: Path,
    identity: dict[str, Any],
    provenance: dict[str, Any],
    save: Callable[[Path], None],
) -> Trained:
    """Write a model, and what it learned from, as a folder; whole or not at all.

    Parameters
    ----------
    out : Path
    identity, provenance : dict
    save : callable
        Writes weights.safetensors and config.json into a folder.

    Raises
    ------
    InputError
        If something lies at `out`, or it cannot be written.
    """
    record = {"format_version": FORMAT_VERSION, "identity": identity, **provenance}
    with atomic_path(out, folder=True) as aside:
        save(aside)
        (aside / _RECORD).write_text(json.dumps(record, indent=1), "utf-8")
    return Trained.open(out)


def copy_trained(trained: Trained, out: Path) -> Trained:
    """Write a saved model, that of a result too, as a folder of its own.

    Raises
    ------
    InputError
        If there is no model, something lies at `out`, or it cannot be written.
    """

    def copy(folder: Path) -> None:
        for name in ("weights.safetensors", "config.json"):
            shutil.copyfile(trained.folder / name, folder / name)

    return save_trained(out, trained.identity, trained.provenance, copy)


def _provenance(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: attributes[name] for name in ("seed", "device", "versions", "doubts")}
