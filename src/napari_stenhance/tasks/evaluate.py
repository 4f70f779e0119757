"""Compare what a method finds with what is known of a section."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.methods.registry import (
    Kind,
    method_choices,
    method_entry,
    preset_choices,
    refuse_given,
)
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.domain_options import Clustering, Group, Refine, Runs
from napari_stenhance.tasks.impute import Attended
from napari_stenhance.tasks.options import (
    SECTION,
    Device,
    Epochs,
    Help,
    Image,
    SlideOptions,
    TissueMask,
    check_seed,
)
from napari_stenhance.tasks.training import Crops, EncoderName, Genes, Quality

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache

_KINDS: tuple[Kind, ...] = ("domains", "genes", "imputation")
_OF_KIND: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("truth", "n_domains"), ("domains",)),
    **dict.fromkeys(("ratio", "encoder", "image", "quality", "tissue"), ("genes",)),
    "genes": ("genes", "imputation"),
    **dict.fromkeys(("reference", "folds"), ("imputation",)),
}
"""Options that only mean something to some kinds of methods."""


@dataclass(frozen=True)
class EvaluateOptions(SlideOptions):
    """Options of `evaluate`; the section may also be a `Section` object."""

    section: Annotated[Path, Help("A section with spots.", positional=True, takes=SECTION)]
    method: Annotated[str, Help("What is evaluated", choices=partial(method_choices, *_KINDS))] = (
        "stamgc"
    )
    reference: Annotated[
        Path | None,
        Help("Single cells to impute from: an .h5ad of raw counts.", takes=("AnnData",)),
    ] = None
    folds: Annotated[
        int, Help("Into so many the genes are dealt that spots and cells share; each is hidden.")
    ] = 5
    truth: Annotated[
        str,
        Help("Column of the spots that says their domain; spots without it are left out."),
    ] = ""
    n_domains: Annotated[
        int | None,
        Help("How many domains; by default as many as the truth has, else estimated."),
    ] = None
    split: Annotated[
        Literal["recovery"],
        Help("Which spots a method that predicts genes learns from: recovery, a random part."),
    ] = "recovery"
    ratio: Annotated[float, Help("Share of the spots that it learns from.")] = 0.5
    genes: Genes = ()
    seeds: Annotated[
        str, Help("Once with each of these, which also draws what is hidden: 0, 0-4 or 1234,0-4.")
    ] = "0"
    preset: Annotated[
        str,
        Help(
            "How the method is trained, robust so that it does best, the others as published (of "
            "sinca, first is the first version of its program)",
            choices=partial(preset_choices, *_KINDS),
        ),
    ] = "robust"
    encoder: EncoderName = "stain"
    crops: Crops = ""
    quality: Quality = True
    tissue: TissueMask = None
    attended: Attended = "cells"
    clustering: Clustering = "auto"
    runs: Runs = None
    refine: Refine = False
    group: Group = ""
    epochs: Epochs = None
    image: Image = None
    device: Device = "auto"


@dataclass(frozen=True)
class Score:
    """How well one run of a method did, or what it must beat.

    Attributes
    ----------
    seed : int
    what : str
        The method, a way to read it, or the name of a baseline.
    values : dict
        Name and value of each measure.
    n_domains : int or None
        How many domains were found.
    """

    seed: int
    what: str
    values: dict[str, float]
    n_domains: int | None = None


def evaluate(
    options: EvaluateOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[Score, ...]:
    """Score a method on a section: domains, genes of spots, or whole genes, that it did not see.

    Nothing is written.

    `napari_stenhance.evaluate` says what comes of it, and what it raises.
    """
    from napari_stenhance.running.device import resolve_device
    from napari_stenhance.storage.cache import Cache

    job, cache = job or Job(), cache or Cache.default()
    entry = method_entry(options.method)
    for field in dataclasses.fields(options):
        kinds = _OF_KIND.get(field.name, _KINDS)
        if entry.kind not in kinds:
            refuse_given(options, field, list(method_choices(*kinds)))
    entry.check(options)
    device, seeds = resolve_device(options.device), _seeds(options.seeds)
    score = {"domains": _domains, "genes": _genes, "imputation": _hidden_genes}[entry.kind]
    return score(options, seeds, device, cache, job)


def _domains(
    options: EvaluateOptions, seeds: tuple[int, ...], device: torch.device, cache: Cache, job: Job
) -> tuple[Score, ...]:
    from napari_stenhance.running.device import inference_errors
    from napari_stenhance.scoring.agreement import agreement, compactness
    from napari_stenhance.tasks.domain_options import make_domain_method, open_spots, spots_slices

    section = open_spots(options.section, options, None, cache, job)
    truth = _truth(section, options.truth) if options.truth else None
    number = options.n_domains
    if number is None and truth is not None:
        number = len({label for label in truth if label is not None})
    (seen,) = spots_slices([section], job)
    scores = []
    with job.stage(f"Evaluating {options.method}", len(seeds)) as stage:
        for seed in seeds:
            method = make_domain_method(options, seed, device)
            with inference_errors("Finding domains"):
                found = method.find([seen], number, job)
            labels = seen.of_observations(found.labels[0])
            values = {} if truth is None else agreement(labels, truth)
            values |= compactness(found.embedding[0], found.labels[0], seed)
            scores.append(Score(seed, options.method, values, found.n_domains))
            stage.advance()
    return tuple(scores)


def _genes(
    options: EvaluateOptions, seeds: tuple[int, ...], device: torch.device, cache: Cache, job: Job
) -> tuple[Score, ...]:
    from napari_stenhance.features.registry import find_encoder
    from napari_stenhance.features.source import CropLayout, FeatureSettings
    from napari_stenhance.tasks.faults import quality_doubts
    from napari_stenhance.tasks.recovery import recover
    from napari_stenhance.tasks.training import open_training, pitch_between

    if not 0 < options.ratio < 1:
        msg = f"Ratio {options.ratio:g}: write the share of the spots to learn from, as 0.5."
        raise InputError(msg, option="ratio")
    if options.method == "pixel2gene" and options.preset in {"reference", "istar"}:
        msg = (
            f"Preset {options.preset}: pixel2gene then predicts counts of superpixels, and here "
            "log1p CP10k of spots is compared; choose robust, or use compare."
        )
        raise InputError(msg, option="preset")
    methods = [method_entry(options.method).make(options, seed, device) for seed in seeds]
    section = open_training(options.section, options, options.image, cache, job)
    sizes_um = methods[0].crops_um
    crops = None if sizes_um is None else CropLayout(sizes_um, pitch_between([section]))
    features = FeatureSettings(
        find_encoder(options.encoder),
        device,
        cache,
        crops=crops,
        quality=options.quality,
        or_cpu=options.device == "auto",
    )
    quality_doubts([section], features, job)
    scores = []
    with job.stage(f"Evaluating {options.method}", len(seeds)) as stage:
        for seed, method in zip(seeds, methods, strict=True):
            genes = options.genes or method.genes
            found = recover(section, method, features, genes, options.ratio, seed, job)
            scores += [
                Score(seed, options.method if what == "method" else what, values)
                for what, values in found.items()
            ]
            stage.advance()
    return tuple(scores)


def _hidden_genes(
    options: EvaluateOptions, seeds: tuple[int, ...], device: torch.device, cache: Cache, job: Job
) -> tuple[Score, ...]:
    from napari_stenhance.section.cells import open_cells
    from napari_stenhance.tasks.domain_options import open_spots
    from napari_stenhance.tasks.gene_folds import gene_scores, keep_genes
    from napari_stenhance.tasks.gene_methods import baselines, imputing
    from napari_stenhance.tasks.impute import see_shared

    if options.reference is None:
        msg = f"{options.method} learns from single cells; name their file."
        raise InputError(msg, option="reference")
    section = open_spots(options.section, options, None, cache, job)
    opened = open_cells(options.reference, section.need_spots(), job=job)
    for said in (opened.report, *opened.doubts):
        job.note(said)
    cells = opened.cells
    spots = keep_genes(see_shared(section, cells), cells, options.genes)
    scores, entry = [], method_entry(options.method)
    for seed in seeds:
        method = (
            imputing(entry.name, entry.make(options, seed, device))
            if entry.published is None or options.preset == entry.presets[0]
            else entry.published(options, device)
        )
        found = gene_scores(spots, cells, (method, baselines), options.folds, seed, job)
        scores += [Score(seed, what, values) for what, values in found.items()]
    return tuple(scores)


def _seeds(spec: str) -> tuple[int, ...]:
    """Read `0`, `0-4`, `1,5,9` or `1234,0-4`."""
    found: list[int] = []
    try:
        for part in spec.split(","):
            first, dash, last = part.partition("-")
            ends = [int(n) for n in (first, last if dash else first)]
            for end in ends:
                check_seed(end, "seeds")
            found += range(ends[0], ends[1] + 1)
    except ValueError:
        found = []
    if not found:
        msg = f"Seeds {spec}: write one seed, a range as 0-4, or several as 1,5,9."
        raise InputError(msg, option="seeds")
    return tuple(found)


def _truth(section: Section, column: str) -> NDArray[np.object_]:
    """Return what a column says of each spot; None where it says nothing.

    Raises
    ------
    InputError
        If there is no such column, or it says nothing of any spot.
    """
    obs = section.need_spots().obs
    if column not in obs:
        columns = ", ".join(map(str, obs.columns)) or "none"
        msg = (
            f"{section.where}: the truth {column} is no column of the spots; there are: {columns}."
        )
        raise InputError(msg, option="truth")
    known = obs[column].notna() & (obs[column].astype(str).str.strip() != "")
    if not known.any():
        msg = f"{section.where}: the truth {column} is empty for every spot; choose another column."
        raise InputError(msg, option="truth")
    truth = obs[column].astype(str).to_numpy(object, copy=True)
    truth[~known.to_numpy()] = None
    return truth
