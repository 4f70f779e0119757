"""What `enhance` and `predict` share: open slides, name results, fill them tile by tile."""

from __future__ import annotations

import json
import math
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_stenhance.errors import InputError
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.source import FeatureSettings, FeatureSource
from napari_stenhance.methods.familiar import unfamiliar_doubts
from napari_stenhance.methods.protocol import Fitted, FittedHere
from napari_stenhance.methods.registry import load_fitted
from napari_stenhance.results.attention import write_attention_tile, written_attention
from napari_stenhance.results.genes import (
    create_gene,
    is_written,
    write_gene,
    write_gene_tile,
)
from napari_stenhance.results.inputs import log_section
from napari_stenhance.results.lattice import lattices
from napari_stenhance.results.result import SUFFIX, ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.results.unfamiliar import (
    share_unfamiliar,
    write_distance_tile,
    written_distance,
)
from napari_stenhance.running.device import describe_device
from napari_stenhance.running.job import Job, Partial
from napari_stenhance.section.formats.format import holds_samples
from napari_stenhance.section.named_regions import NamedRegions
from napari_stenhance.section.region import Region
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.pyramid import coarsen_all, mean_pool
from napari_stenhance.storage.tiles import missing_tiles, write_tile
from napari_stenhance.tasks.faults import feature_doubts, quality_doubts
from napari_stenhance.tasks.given_tissue import with_given_tissue
from napari_stenhance.tasks.kept_model import KeptModel
from napari_stenhance.tasks.options import SlideOptions
from napari_stenhance.tasks.placement_doubt import with_placement_doubt
from napari_stenhance.tasks.predict_lattice import write_between
from napari_stenhance.tasks.recorded import Command, log_command

if TYPE_CHECKING:
    import torch
    import zarr
    from numpy.typing import NDArray

    from napari_stenhance.results.field import GeneField

_PACKAGES = (
    "napari-stenhance",
    "torch",
    "numba",
    "numpy",
    "scipy",
    "scikit-image",
    "scikit-learn",
    "zarr",
    "pyvips",
)


def versions() -> dict[str, str]:
    """Return the versions that decide the bytes of a result."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def open_for(
    section: Any,
    options: SlideOptions,
    *,
    image: Path | None = None,
    spots: bool,
    slide: bool,
    cache: Cache,
    job: Job,
) -> Section:
    """Open a section, or take one that was made in Python, with what the task needs of it.

    Raises
    ------
    InputError
        If it lacks spots, slide or scale, an image, another scale or another series is given to
        one that is open already, or a tissue mask is none of its slide.
    """
    if image is not None and isinstance(section, Section):
        msg = f"{section.name}: this section is open already; give its slide with a path to counts."
        raise InputError(msg, option="image")
    if isinstance(section, Section):
        _check_open(section, options)
        opened = section
    else:
        how = options.opening()
        if not spots and not holds_samples(section):
            # What is predicted on need not hold several, as what was learned from does.
            how["sample"] = None
        if not spots:
            # Nor are there spots to be placed.
            how["registration"] = None
        opened = open_section(section, **how, image=image, spots=spots, cache=cache, job=job)
    opened = with_given_tissue(opened, getattr(options, "tissue", None))
    complete = opened.spots is not None and opened.slide is not None and opened.mpp is not None
    if spots and slide and complete:
        opened = with_placement_doubt(opened, cache, job)
    if opened.slide is not None and opened.slide.tissue is not None:
        job.note(f"{opened.name}: tissue is what the mask says that was given.")
    for doubt in opened.doubts:
        job.note(f"{opened.name}: {doubt}")
    if spots:
        opened.need_spots()
    if slide:
        opened.need_slide().scale()
    if opened.slide is not None:
        # Results are known by it, caches too: what takes a while is shown here.
        opened.slide.state.sha256(job)
    return opened


def _check_open(section: Section, options: SlideOptions) -> None:
    """Refuse to open anew what is open already."""
    if options.mpp not in (None, section.mpp):
        msg = (
            f"{section.name}: this section is open already, with a scale of "
            f"{section.mpp or 'unknown'} µm per pixel; give another where it is opened."
        )
        raise InputError(msg, option="mpp")
    slide = section.slide
    if options.series not in (None, slide and slide.called):
        msg = f"{section.name}: this section is open already; choose its image where it is opened."
        raise InputError(msg, option="series")
    if options.sample not in (None, section.source and section.source.sample):
        msg = f"{section.name}: this section is open already; choose the sample where it is opened."
        raise InputError(msg, option="sample")
    if options.registration is not None:
        msg = f"{section.name}: this section is open already; place its spots where it is opened."
        raise InputError(msg, option="registration")
    if not options.icc and slide is not None and slide.icc:
        msg = (
            f"{section.name}: this section is open already, with its colours converted to sRGB; "
            "say otherwise where it is opened."
        )
        raise InputError(msg, option="icc")


def name_outputs(out: Path | None, sections: Sequence[Section]) -> list[Path]:
    """Name the result of each section: `out` itself, or `<out>/<name>.stenhance.zarr` for several.

    Without `out`, each is `<name>.stenhance.zarr` in the working folder.

    Raises
    ------
    InputError
        If two slides have the same name or one that no file can have, or a result cannot be
        written there: before anything is computed.
    """
    names = [section.name for section in sections]
    if len(names) == 1 and out is not None:
        paths = [out]
    else:
        out = out or Path()
        odd = next((name for name in names if Path(name).name != name), None)
        if odd is not None:
            msg = f"{odd!r} is no name of a file; say where the result goes."
            raise InputError(msg, option="out")
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            msg = f"Two slides are called {twice[0]}; rename one, or give them in two commands."
            raise InputError(msg)
        if ResultFolder.is_result(out):
            msg = f"{out}: this is the result of one slide; for several give another folder."
            raise InputError(msg, option="out")
        paths = [out / f"{name}{SUFFIX}" for name in names]
    for path, section in zip(paths, sections, strict=True):
        ResultFolder.need_place(path, section)
    return paths


@dataclass(frozen=True)
class Plan:
    """What is the same for every slide of one command.

    Attributes
    ----------
    name : str
        Of the run: `<method>-<encoder>-<preset>`.
    features : FeatureSettings
        How the method sees slides.
    identity : dict
        Options and inputs: runs are the same if it is.
    doubts : tuple of str
        About what was learned from.
    learned_from : tuple of Section
        What was, if this command learns: faults of their slides are doubts too.
    seed : int
    region : Region or None
    write : tuple of str
        Genes to write as images.
    lattice : int or None
        Into how many parts the steps between spots are divided, to predict there too.
    clear_dead_locks : bool
        The user's word that no process of another host writes the results any more.
    keeping : KeptModel or None
        Where a model that was just trained is kept if a result has no room for it.
    command : dict
        What was asked for, as `recorded` writes it.
    """

    name: str
    features: FeatureSettings
    identity: dict[str, Any]
    doubts: tuple[str, ...]
    seed: int
    region: Region | None
    write: tuple[str, ...]
    lattice: int | None = None
    clear_dead_locks: bool = False
    keeping: KeptModel | None = None
    learned_from: tuple[Section, ...] = ()
    command: Command = field(default_factory=dict)


def note_doubts(fitted: Fitted, job: Job) -> None:
    """Say what a model doubts of itself."""
    for doubt in fitted.decoder.doubts:
        job.note(doubt)


def region_of(given: Path | Region | None, slides: Sequence[Section], job: Job) -> Region | None:
    """Take the region to predict in: pixels, as QuPath writes them, by the scale of the slides.

    Raises
    ------
    InputError
        If it cannot be read, or is in pixels and the slides have several scales.
    """
    if given is None or isinstance(given, Region):
        return given
    # Of slides that differ, a file in pixels could be of any.
    scales = {section.need_slide().scale() for section in slides}
    shapes = {section.need_slide().shape for section in slides}
    regions = NamedRegions.read(
        given,
        scales.pop() if len(scales) == 1 else None,
        shapes.pop() if len(shapes) == 1 else None,
    )
    for doubt in regions.doubts:
        job.note(doubt)
    return regions.united()


Model = Callable[[ResultFolder, str], Fitted]
"""Provides the model of a run: `model(result, run)`."""


def predict_all(
    slides: Sequence[Section], out: Path | None, plan: Plan, model: Model, job: Job
) -> tuple[FieldRun, ...]:
    """Predict on every slide, each into its own result; go on where an earlier command stopped."""
    outputs = name_outputs(out, slides)
    return tuple(
        _predict_one(section, path, plan, model, job)
        for section, path in zip(slides, outputs, strict=True)
    )


def _predict_one(section: Section, path: Path, plan: Plan, model: Model, job: Job) -> FieldRun:
    slide = section.need_slide()
    features = open_features(slide, plan.features, job)
    grid = features.grid  # what it refuses is said before anything is written
    doubts = (*plan.doubts, *(f"{section.name}: {d}" for d in section.doubts))
    provenance = {
        "seed": plan.seed,
        "device": describe_device(plan.features.device),
        "versions": versions(),
        "features": features.fingerprint,
        "doubts": list(dict.fromkeys(doubts)),
    }
    with ResultFolder.writing(
        path, slide, plan.name, clear_dead_locks=plan.clear_dead_locks
    ) as result:
        mask = {} if slide.tissue is None else {"tissue_sha256": slide.tissue.sha256}
        before = result.runs
        run = result.start_run(plan.name, plan.identity | mask, provenance, grid)
        log_section(result, section, run=run)
        log_command(result, plan.command, section.name, run)
        if plan.region:
            result.save_region(run, plan.region)
        if _is_complete(result, run, plan):
            job.note(f"{path}: the run {run} is already complete.")
        else:
            try:
                _fill(result, run, section, features, plan, model, job)
            except InputError:
                if run not in before and not result.model_folder(run).is_dir():
                    # What was refused before anything was learned is no run that goes on.
                    result.forget_run(run)
                raise
            filled = FieldRun(result, run)
            for gene in plan.write:
                write_gene(filled, gene, job)
            result.log("complete", run=run)
        job.emit(Partial(result.path, run))
    return FieldRun(ResultFolder.open(path), run)


def _is_complete(result: ResultFolder, run: str, plan: Plan) -> bool:
    """Tell whether field, lattice and gene images of a run are all there."""
    if not _is_filled(result, run, plan):
        return False
    return all(is_written(FieldRun(result, run), gene) for gene in plan.write)


def _is_filled(result: ResultFolder, run: str, plan: Plan) -> bool:
    """Tell whether all is there that needs the model."""
    if not result.run_attributes(run)["complete"]:
        return False
    return plan.lattice is None or plan.lattice in lattices(result, run)


def saved_model(
    result: ResultFolder, run: str, learned: dict[str, Any], device: torch.device
) -> Fitted | None:
    """Load the model of this run, or of another one here that learned the same from the same."""
    plain = json.loads(json.dumps(learned))
    for other in (run, *result.runs):
        identity = result.run_attributes(other)["identity"]
        # What is usual goes unnamed, so a run that names another did not learn the same.
        same = all(identity.get(key) == plain.get(key) for key in (*plain, "tissue", "quality"))
        if same and result.model_folder(other).is_dir():
            return load_fitted(result.model_folder(other), device)
    return None


def _check_here(fitted: FittedHere, features: FeatureSource, name: str) -> None:
    """Refuse another section than a model has counted, and the same at another scale.

    Raises
    ------
    InputError
        If it is one.
    """
    if fitted.slide != features.slide.identity():
        msg = (
            f"{name}: this model holds the counts of the section that it learned from, and "
            "predicts that alone; use one that was learned with preset robust."
        )
        raise InputError(msg, option="result")
    if not math.isclose(fitted.mpp, features.grid.mpp):
        msg = (
            f"{name}: this model counted its spots at {fitted.mpp:g} µm per pixel, and this is "
            f"the same slide at {features.grid.mpp:g}; give it the same scale, or learn anew."
        )
        raise InputError(msg, option="mpp")


def _fill(
    result: ResultFolder,
    run: str,
    section: Section,
    features: FeatureSource,
    plan: Plan,
    model: Model,
    job: Job,
) -> None:
    """Predict what a run still lacks: tiles, coarse levels, a lattice."""
    if _is_filled(result, run, plan):
        return
    grid = features.grid
    inside = plan.region.mask(grid) if plan.region else None
    wanted = features.tissue if inside is None else features.tissue & inside
    if not wanted.any():
        name = features.slide.name
        msg = f"{name}: the region holds no tissue; draw it in micrometres, on the tissue."
        raise InputError(msg, option="region")
    fitted = model(result, run)
    if isinstance(fitted, FittedHere):
        _check_here(fitted, features, section.name)
    of_slides = [s.need_slide() for s in plan.learned_from]
    new = not any(slide.same_as(features.slide) for slide in of_slides)
    sections = (*plan.learned_from, *([section] if new else []))
    sources = [open_features(slide, plan.features, job) for slide in of_slides]
    seen = feature_doubts(sections, [*sources, *([features] if new else [])], job)
    faults = quality_doubts(sections, plan.features, job)
    doubts = [*result.run_attributes(run)["doubts"], *faults, *seen, *fitted.decoder.doubts]
    result.update_run(run, doubts=list(dict.fromkeys(doubts)))
    if not result.model_folder(run).is_dir():
        with nullcontext() if plan.keeping is None else plan.keeping.unless_saved(fitted):
            result.save_model(run, fitted.save)
    for gene in plan.write:
        fitted.decoder.index_of(gene)
    halo = math.ceil(fitted.halo_um / grid.pitch_um)
    needed = None if inside is None else ndimage.maximum_filter(inside, size=2 * halo + 1)
    features.extract(needed)
    if not result.run_attributes(run)["complete"]:
        tissue = features.slide.tissue
        if tissue is None:
            result.write_tissue(features.tissue, grid, plan.features.tissue)
        else:
            # As the run uses it; and as it was given, where that differs.
            result.write_tissue(features.tissue, grid, tissue.name)
            result.write_tissue(tissue.values, tissue.grid, tissue.name)
        field = result.create_field(run, fitted.decoder, grid, features.dim)
        _fill_tiles(result, run, field, fitted, features, wanted, halo, plan.write, job)
        distance = written_distance(result, run)
        for raster in (field.latent, field.spread, *written_attention(result, run).values()):
            coarsen_all(raster, mean_pool)
        coarsen_all(distance, mean_pool)
        result.complete_run(
            run, job, feature_key=features.key, **_familiarity(result, run, distance, job)
        )
    if plan.lattice is not None:
        write_between(result, run, section, plan.lattice, fitted, features, wanted, job)


def _familiarity(
    result: ResultFolder, run: str, distance: Sequence[zarr.Array[Any]], job: Job
) -> dict[str, Any]:
    """Return what a run says of how much tissue is unlike what was learned from, and note it."""
    share, attributes = share_unfamiliar(distance), result.run_attributes(run)
    if share is None:
        return {}
    learned = attributes["identity"]["learned_from"]
    doubts = unfamiliar_doubts(share, [one["name"] for one in learned])
    for doubt in doubts:
        job.note(doubt)
    both = [*attributes["doubts"], *doubts]
    return {"unfamiliar": round(share, 4), "doubts": list(dict.fromkeys(both))}


def _fill_tiles(
    result: ResultFolder,
    run: str,
    field: GeneField,
    fitted: Fitted,
    features: FeatureSource,
    wanted: NDArray[np.bool_],
    halo: int,
    write: Sequence[str],
    job: Job,
) -> None:
    crops, filling = features.settings.crops, FieldRun(result, run)
    images = {gene: create_gene(filling, gene) for gene in write}
    latent, spread = field.latent[0], field.spread[0]
    # Latents are written after all else: a tile whose latents exist is whole.
    missing = missing_tiles(latent)
    with job.stage(f"Predicting {result.attributes['slide']['name']}", len(missing)) as stage:
        for tile in missing:
            here = wanted[tile.rows, tile.columns]
            values = variance = np.full((*tile.shape, latent.shape[2]), np.nan, np.float32)
            if here.any():
                seen = features.tile(tile.rows, tile.columns, halo, raw=fitted.raw)
                predicted = fitted.latent(seen)
                values = np.where(here[..., None], predicted.mean, np.nan)
                variance = np.where(here[..., None], predicted.variance, np.nan)
                if predicted.attention is not None and crops is not None:
                    attention = np.where(here[..., None], predicted.attention, np.nan)
                    write_attention_tile(result, run, field, crops.sizes_um, tile, attention)
                if predicted.distance is not None:
                    distance = np.where(here, predicted.distance, np.nan)
                    write_distance_tile(result, run, field, tile, distance)
            write_tile(spread, tile, variance)
            write_tile(latent, tile, values)
            for gene, levels in images.items():
                write_gene_tile(levels, filling, gene, tile)
            result.log("tile", run=run, index=tile.index, tissue=int(here.sum()))
            job.emit(Partial(result.path, run))
            stage.advance()
