"""Compare what a method finds with what is known of a section."""

from __future__ import annotations

import dataclasses
import math
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
from napari_stenhance.storage.atomic import atomic_path, need_free
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
    from napari_stenhance.tasks.gene_evaluation import HiddenSpots

_KINDS: tuple[Kind, ...] = ("domains", "genes", "imputation")
Split = Literal["recovery", "blocks", "sections"]
_OF_SPLIT: dict[str, Split] = {"ratio": "recovery", "buffer": "blocks", "test": "sections"}
"""Options that only mean something where that is hidden."""
_OF_KIND: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("truth", "n_domains"), ("domains",)),
    **dict.fromkeys(
        ("split", "ratio", "buffer", "test", "scored", "encoder", "image", "quality", "tissue"),
        ("genes",),
    ),
    **dict.fromkeys(("genes", "folds"), ("genes", "imputation")),
    "reference": ("imputation",),
}
"""Options that only mean something to some kinds of methods."""


@dataclass(frozen=True)
class EvaluateOptions(SlideOptions):
    """Options of `evaluate`; sections may also be `Section` objects."""

    sections: Annotated[
        tuple[Path, ...],
        Help(
            "A section with spots; several only where whole sections are left out.",
            positional=True,
            takes=SECTION,
        ),
    ]
    method: Annotated[str, Help("What is evaluated", choices=partial(method_choices, *_KINDS))] = (
        "stamgc"
    )
    reference: Annotated[
        Path | None,
        Help("Single cells to impute from: an .h5ad of raw counts.", takes=("AnnData",)),
    ] = None
    folds: Annotated[
        int,
        Help(
            "Into so many parts genes that spots and cells share are dealt, or blocks of tissue; "
            "each is hidden in turn."
        ),
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
        Split,
        Help(
            "What is hidden from a method that predicts genes: recovery, a random part of the "
            "spots; blocks of tissue of 1 mm; or whole sections, each in turn."
        ),
    ] = "recovery"
    ratio: Annotated[float, Help("Of recovery: share of the spots that it learns from.")] = 0.5
    buffer: Annotated[
        float,
        Help("Of blocks: what lies so near to a hidden spot is not learned from.", unit="µm"),
    ] = 200.0
    test: Annotated[
        tuple[Path, ...],
        Help("Of sections: these are predicted, and all others learned from.", takes=SECTION),
    ] = ()
    scored: Annotated[
        int,
        Help("So many genes are compared: those that vary most where it learns."),
    ] = 250
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
    csv: Annotated[
        Path | None,
        Help("Write every measure of every seed to this table; nothing is overwritten."),
    ] = None


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
    hidden : str
        What was predicted, where several things were hidden in turn.
    """

    seed: int
    what: str
    values: dict[str, float]
    n_domains: int | None = None
    hidden: str = ""


def evaluate(
    options: EvaluateOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[Score, ...]:
    """Score a method on a section: domains, genes of spots, or whole genes, that it did not see.

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
    whole = entry.kind == "genes" and options.split == "sections"
    if len(options.sections) != 1 and not whole:
        msg = f"{len(options.sections)} sections: give one; several are for the split sections."
        raise InputError(msg, option="sections")
    device, seeds = resolve_device(options.device), _seeds(options.seeds)
    if options.csv is not None:
        need_free(options.csv)
    score = {"domains": _domains, "genes": _genes, "imputation": _hidden_genes}[entry.kind]
    scores = score(options, seeds, device, cache, job)
    if options.csv is not None:
        _write(scores, options.csv)
    return scores


def _write(scores: tuple[Score, ...], path: Path) -> None:
    import pandas as pd

    rows = [
        {"seed": one.seed, "hidden": one.hidden, "what": one.what, "domains": one.n_domains}
        | one.values
        for one in scores
    ]
    with atomic_path(path) as aside:
        pd.DataFrame(rows).dropna(axis=1, how="all").to_csv(aside, index=False)


def _domains(
    options: EvaluateOptions, seeds: tuple[int, ...], device: torch.device, cache: Cache, job: Job
) -> tuple[Score, ...]:
    from napari_stenhance.running.device import inference_errors
    from napari_stenhance.scoring.agreement import agreement, compactness
    from napari_stenhance.tasks.domain_options import make_domain_method, open_spots, spots_slices

    section = open_spots(options.sections[0], options, None, cache, job)
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
    from napari_stenhance.tasks.gene_evaluation import score_hidden
    from napari_stenhance.tasks.training import open_training, pitch_between

    _check_split(options)
    methods = [method_entry(options.method).make(options, seed, device) for seed in seeds]
    sections, tests = (
        [open_training(one, options, options.image, cache, job) for one in given]
        for given in (options.sections, options.test)
    )
    sizes_um = methods[0].crops_um
    crops = None if sizes_um is None else CropLayout(sizes_um, pitch_between(sections))
    features = FeatureSettings(
        find_encoder(options.encoder),
        device,
        cache,
        crops=crops,
        quality=options.quality,
        or_cpu=options.device == "auto",
    )
    quality_doubts([*sections, *tests], features, job)
    hidden = [_hidden(options, sections, tests, seed) for seed in seeds]
    scores = []
    with job.stage(f"Evaluating {options.method}", sum(map(len, hidden))) as stage:
        for seed, method, parts in zip(seeds, methods, hidden, strict=True):
            for part in parts:
                genes = options.genes or method.genes
                found = score_hidden(part, method, features, genes, options.scored, seed, job)
                name = part.name if len(parts) > 1 else ""
                scores += [
                    Score(seed, options.method if what == "method" else what, values, hidden=name)
                    for what, values in found.items()
                ]
                stage.advance()
    return tuple(scores)


def _check_split(options: EvaluateOptions) -> None:
    """Refuse what cannot be hidden, or compared."""
    for field in dataclasses.fields(options):
        split = _OF_SPLIT.get(field.name, options.split)
        given = getattr(options, field.name)
        if split != options.split and given != field.default:
            msg = f"{field.name.capitalize()} is an option of the split {split}; leave it out."
            raise InputError(msg, option=field.name)
    if not 0 < options.ratio < 1:
        msg = f"Ratio {options.ratio:g}: write the share of the spots to learn from, as 0.5."
        raise InputError(msg, option="ratio")
    if options.split == "blocks" and options.folds < 2:
        msg = f"Folds {options.folds}: give 2 or more."
        raise InputError(msg, option="folds")
    if not 0 <= options.buffer < math.inf:
        msg = f"Buffer {options.buffer:g} µm: give 0 or more."
        raise InputError(msg, option="buffer")
    if options.scored < 1:
        msg = f"Scored {options.scored}: give 1 or more."
        raise InputError(msg, option="scored")
    if options.split == "sections" and len(options.sections) + len(options.test) < 2:
        msg = "One section is nothing to leave others out of; give several, or one as test."
        raise InputError(msg, option="sections")
    if options.method == "pixel2gene" and options.preset in {"reference", "istar"}:
        msg = (
            f"Preset {options.preset}: pixel2gene then predicts counts of superpixels, and here "
            "log1p CP10k of spots is compared; choose robust, or use compare."
        )
        raise InputError(msg, option="preset")


def _hidden(
    options: EvaluateOptions, sections: list[Section], tests: list[Section], seed: int
) -> list[HiddenSpots]:
    """List what is hidden, one after the other."""
    from napari_stenhance.tasks.gene_evaluation import hide_blocks, hide_sections, hide_share

    if options.split == "recovery":
        return [hide_share(sections[0], options.ratio, seed)]
    if options.split == "blocks":
        return list(hide_blocks(sections[0], options.folds, options.buffer, seed))
    return list(hide_sections(sections, tests))


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
    section = open_spots(options.sections[0], options, None, cache, job)
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
