"""What `enhance` and `predict` share: open slides, name outputs, fill a field tile by tile."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.features.extract import FeatureMap, extract
from napari_stenhance.features.registry import make_encoder
from napari_stenhance.methods.protocol import Fitted
from napari_stenhance.methods.registry import load_fitted
from napari_stenhance.results.genes import gene_group, gene_levels, write_gene
from napari_stenhance.results.result import SUFFIX, Result
from napari_stenhance.running.job import Job, TileDone
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.region import Region
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.pyramid import coarsen_all, mean_pool
from napari_stenhance.storage.tiles import folder_of, missing_tiles, write_tile

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from napari_stenhance.methods.field import GeneField

_PACKAGES = ("napari-stenhance", "torch", "numpy", "scipy", "scikit-image", "zarr", "pyvips-binary")


def versions() -> dict[str, str]:
    """Return the versions that decide the bytes of a result."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def read_region(path: Path | None) -> Region | None:
    """Read the region option."""
    return None if path is None else Region.read(path)


def open_for(
    section: Any, mpp: float | None, *, spots: bool, slide: bool, cache: Cache, job: Job
) -> Section:
    """Open a section, or take one that was made in Python, with what the task needs of it.

    Raises
    ------
    InputError
        If it lacks spots, slide or scale.
    """
    opened = (
        section
        if isinstance(section, Section)
        else open_section(section, mpp=mpp, spots=spots, cache=cache, job=job)
    )
    for doubt in opened.doubts:
        job.note(f"{opened.name}: {doubt}")
    if spots:
        opened.need_spots()
    if slide:
        opened.need_slide().scale()
    return opened


def check_outputs(out: Path) -> None:
    """Refuse, before any work, an output that is not ours to write.

    Raises
    ------
    InputError
        If a file lies there, or its folder is missing and cannot be made.
    """
    if out.is_file():
        msg = f"{out}: a file lies here; choose another --out, nothing was touched."
        raise InputError(msg)


def name_outputs(out: Path, names: Sequence[str]) -> list[Path]:
    """Name the result of each slide: `out` itself, or `<out>/<name>.stenhance.zarr` for several.

    Raises
    ------
    InputError
        If two slides have the same name, or `out` is a folder of something else.
    """
    if len(names) == 1:
        paths = [out]
    else:
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            msg = f"Two slides are called {twice[0]}; rename one, or give them in two commands."
            raise InputError(msg)
        if Result.is_result(out):
            msg = (
                f"{out}: this is the result of one slide; for several give another folder as --out."
            )
            raise InputError(msg)
        paths = [out / f"{name}{SUFFIX}" for name in names]
    for path in paths:
        if path.exists() and not Result.is_result(path) and not Result.is_scratch(path):
            msg = (
                f"{path}: something that is not a result of napari-stenhance lies here; "
                "choose another --out, nothing was touched."
            )
            raise InputError(msg)
    return paths


@dataclass(frozen=True)
class Target:
    """A slide to predict on, and its result."""

    result: Result
    section: Section
    encoder: str
    device: torch.device
    cache: Cache

    def start_run(self, stem: str, identity: dict[str, Any], provenance: dict[str, Any]) -> str:
        """Find or begin the run that these options make."""
        slide = self.section.need_slide()
        encoder = make_encoder(self.encoder, slide, self.device)
        grid = Grid.over(slide, encoder.pitch_um)
        doubts = [*provenance["doubts"], *(f"{slide.name}: {d}" for d in encoder.doubts())]
        record = {**provenance, "doubts": doubts, "features": encoder.fingerprint()}
        return self.result.start_run(stem, identity, record, grid)

    def is_complete(self, run: str, write: Sequence[str]) -> bool:
        """Tell whether field and gene images of a run are all there."""
        if not self.result.run_attributes(run)["complete"]:
            return False
        images = [gene_group(self.result, run, gene) for gene in write]
        return all(
            image is not None and not any(missing_tiles(level) for level in gene_levels(image))
            for image in images
        )

    def saved_model(self, run: str, learned: dict[str, Any]) -> Fitted | None:
        """Load the model of this run, or of another one here that learned from the same."""
        for other in (run, *self.result.runs):
            identity = self.result.run_attributes(other)["identity"]
            same = all(identity.get(key) == value for key, value in _plain(learned).items())
            folder = self.result.model_folder(other)
            if same and folder.is_dir():
                return load_fitted(folder, self.device)
        return None

    def keep_model(self, run: str, fitted: Fitted) -> None:
        """Save the model in this result, if it is not there."""
        if not self.result.model_folder(run).is_dir():
            self.result.save_model(run, fitted.save)


def _plain(identity: dict[str, Any]) -> dict[str, Any]:
    import json

    plain: dict[str, Any] = json.loads(json.dumps(identity))
    return plain


def predict_target(
    target: Target,
    run: str,
    fitted: Fitted,
    region: Region | None,
    write: Sequence[str],
    job: Job,
) -> None:
    """Fill the field of a run, tile by tile, then its gene images; go on where it stopped."""
    result, slide = target.result, target.section.need_slide()
    for gene in write:
        fitted.decoder.index_of(gene)
    encoder = make_encoder(target.encoder, slide, target.device)
    grid = Grid.over(slide, encoder.pitch_um)
    inside = region.mask(grid) if region else None
    halo = round(fitted.halo_um / grid.pitch_um)
    needed = None if inside is None else _grown(inside, halo)
    features = extract(slide, encoder, job, cache=target.cache, needed=needed)
    if inside is not None and not (inside & features.tissue).any():
        msg = f"{slide.name}: the region holds no tissue; draw it in micrometres, on the tissue."
        raise InputError(msg)
    result.write_tissue(features.tissue, grid)
    field = result.create_field(run, fitted.decoder, grid)
    result.update_run(run, feature_key=features.key)
    _fill(result, run, field, fitted, features, inside, halo, job)
    for raster in (field.latent, field.spread):
        coarsen_all(raster, mean_pool)
    field.forget()
    for gene in write:
        write_gene(result, run, field, gene, job)
    result.update_run(run, complete=True)
    result.log("complete", run=run)


def _grown(mask: NDArray[np.bool_], halo: int) -> NDArray[np.bool_]:
    from scipy import ndimage

    grown: NDArray[np.bool_] = ndimage.maximum_filter(mask, size=2 * halo + 1)
    return grown


def _fill(
    result: Result,
    run: str,
    field: GeneField,
    fitted: Fitted,
    features: FeatureMap,
    inside: NDArray[np.bool_] | None,
    halo: int,
    job: Job,
) -> None:
    latent, spread = field.latent[0], field.spread[0]
    # Latents are written after the spread: a tile whose latents exist is whole.
    missing = missing_tiles(latent)
    name = result.about["slide"]["name"]
    with job.stage(f"Predicting {name}", len(missing)) as stage:
        for tile in missing:
            wanted = features.tissue[tile.rows, tile.columns]
            if inside is not None:
                wanted = wanted & inside[tile.rows, tile.columns]
            values = np.full((*tile.shape, latent.shape[2]), np.nan, np.float32)
            variance = values
            if wanted.any():
                predicted = fitted.latent(features.tile(tile.rows, tile.columns, halo))
                values = np.where(wanted[..., None], predicted.mean, np.nan)
                variance = np.where(wanted[..., None], predicted.variance, np.nan)
            write_tile(spread, tile, variance)
            write_tile(latent, tile, values)
            result.log("tile", run=run, index=tile.index, tissue=int(wanted.sum()))
            job.emit(TileDone(folder_of(latent), tile.index))
            stage.advance()
