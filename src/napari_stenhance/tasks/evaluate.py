"""Compare what a method finds with what is known of a section."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.methods.registry import (
    Kind,
    MethodEntry,
    method_choices,
    method_entry,
    refuse_given,
)
from napari_stenhance.running.job import Job
from napari_stenhance.storage.atomic import need_free
from napari_stenhance.tasks.evaluate_options import KINDS, OF_KIND, SPLIT_OF, EvaluateOptions
from napari_stenhance.tasks.evaluation import Evaluation, Score
from napari_stenhance.tasks.options import check_seed
from napari_stenhance.tasks.protocol import protocol_of, without_seeds

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache


def evaluate(
    options: EvaluateOptions, job: Job | None = None, cache: Cache | None = None
) -> Evaluation:
    """Score a method on a section: domains, genes of spots, or whole genes, that it did not see.

    Parts that were finished are kept in the cache: the same options go on after them.

    `napari_stenhance.evaluate` says what comes of it, and what it raises.
    """
    from napari_stenhance.running.device import resolve_device
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.evaluation_files import write_scores_csv, write_scores_json

    job, cache = job or Job(), cache or Cache.default()
    entry = method_entry(options.method)
    for field in dataclasses.fields(options):
        kinds = OF_KIND.get(field.name, KINDS)
        if entry.kind not in kinds:
            refuse_given(options, field, list(method_choices(*kinds)))
    entry.check(options)
    split = options.split or SPLIT_OF[entry.kind]
    _check_kind(options, entry, split)
    device, seeds = resolve_device(options.device), _seeds(options.seeds)
    for path in (options.csv, options.json, options.report):
        if path is not None:
            need_free(path)
    score = _scorer(entry.kind)
    heard, notes = job.overheard()
    found = score(options, entry, seeds, device, cache, heard)
    found = dataclasses.replace(found, doubts=tuple(notes))
    if options.csv is not None:
        write_scores_csv(found, options.csv)
    if options.json is not None:
        write_scores_json(found, options.json)
    if options.report is not None:
        from napari_stenhance.tasks.evaluation_report import write_report

        write_report(found, options.report)
    return found


def _scorer(kind: Kind) -> Callable[..., Evaluation]:
    if kind == "genes":
        from napari_stenhance.tasks.evaluate_genes import evaluate_genes

        return evaluate_genes
    return _domains if kind == "domains" else _hidden_genes


def _check_kind(options: EvaluateOptions, entry: MethodEntry, split: str) -> None:
    """Refuse to hide what the method sees nothing of, and more sections than are looked at."""
    if (split == "genes") != (entry.kind == "imputation") and entry.kind != "domains":
        hides = "genes alone" if entry.kind == "imputation" else "recovery, blocks or sections"
        msg = f"Split {split}: from {options.method} {hides} can be hidden; choose that."
        raise InputError(msg, option="split")
    if len(options.sections) != 1 and split != "sections":
        msg = f"{len(options.sections)} sections: give one; several are for the split sections."
        raise InputError(msg, option="sections")


def _domains(
    options: EvaluateOptions,
    entry: MethodEntry,
    seeds: tuple[int, ...],
    device: torch.device,
    cache: Cache,
    job: Job,
) -> Evaluation:
    from napari_stenhance.running.device import inference_errors
    from napari_stenhance.scoring.agreement import agreement, compactness
    from napari_stenhance.tasks.domain_options import make_domain_method, open_spots, spots_slices
    from napari_stenhance.tasks.scored_part import ScoredPart, kept_part

    section = open_spots(options.sections[0], options, None, cache, job)
    truth = _truth(section, options.truth) if options.truth else None
    number = options.n_domains
    if number is None and truth is not None:
        number = len({label for label in truth if label is not None})
    (seen,) = spots_slices([section], job)

    def score(seed: int, job: Job) -> ScoredPart:
        method = make_domain_method(options, seed, device)
        with inference_errors("Finding domains"):
            found = method.find([seen], number, job)
        labels = seen.of_observations(found.labels[0])
        values = {} if truth is None else agreement(labels, truth)
        values |= compactness(found.embedding[0], found.labels[0], seed)
        return ScoredPart({options.method: values}, n_domains=found.n_domains)

    recipe = make_domain_method(options, seeds[0], device).describe()
    protocol = protocol_of(options, entry, seeds, [section], ("", ""), recipe, truth=options.truth)
    protocol |= {"split": "nothing", "n_domains": number}
    known = None if truth is None else hashlib.sha256(repr(list(truth)).encode()).hexdigest()
    identity = without_seeds(protocol) | {"truth_sha256": known, "device": device.type}
    scores = []
    with job.stage(f"Evaluating {options.method}", len(seeds)) as stage:
        for seed in seeds:
            part = kept_part({**identity, "seed": seed}, cache, job, partial(score, seed))
            (values,) = part.values.values()
            scores.append(Score(seed, options.method, values, part.n_domains))
            stage.advance()
    return Evaluation(tuple(scores), protocol)


def _hidden_genes(
    options: EvaluateOptions,
    entry: MethodEntry,
    seeds: tuple[int, ...],
    device: torch.device,
    cache: Cache,
    job: Job,
) -> Evaluation:
    from napari_stenhance.methods.genes import ALL, rule_of
    from napari_stenhance.section.cells import open_cells
    from napari_stenhance.tasks.domain_options import open_spots
    from napari_stenhance.tasks.gene_folds import gene_scores, keep_genes
    from napari_stenhance.tasks.gene_methods import baselines, imputing
    from napari_stenhance.tasks.impute import see_shared
    from napari_stenhance.tasks.scored_part import kept_part

    if options.reference is None:
        msg = f"{options.method} learns from single cells; name their file."
        raise InputError(msg, option="reference")
    section = open_spots(options.sections[0], options, None, cache, job)
    opened = open_cells(options.reference, section.need_spots(), job=job)
    for said in (opened.report, *opened.doubts):
        job.note(said)
    cells = opened.cells
    spots = keep_genes(see_shared(section, cells), cells, options.genes)
    ours = entry.published is None or options.preset == entry.presets[0]
    made = [entry.make(options, seed, device) if ours else None for seed in seeds]
    protocol = protocol_of(
        options,
        entry,
        seeds,
        [section],
        ("log1p-cp10k", "log1p CP10k of the library without the hidden genes"),
        made[0].describe() if made[0] is not None else {"epochs": options.epochs},
        genes=rule_of(options.genes or ALL) or list(options.genes),
        folds=options.folds,
        cells_sha256=cells.sha256(),
    )
    either = {name: protocol[name] for name in ("sections", "genes", "folds", "cells_sha256")}
    scores = []
    for seed, made_one in zip(seeds, made, strict=True):
        method = (
            imputing(entry.name, made_one)
            if made_one is not None
            else entry.published(options, device)  # type: ignore[misc]
        )
        own = without_seeds(protocol) | {"device": device.type}
        for identity, predict in ((own, method), (either | {"what": "baselines"}, baselines)):
            part = kept_part(
                {**identity, "seed": seed},
                cache,
                job,
                lambda job, predict=predict, seed=seed: gene_scores(  # type: ignore[misc]
                    spots, cells, (predict,), options.folds, seed, job
                ),
            )
            scores += [
                Score(seed, what, values, of_genes=part.of_genes.get(what))
                for what, values in part.values.items()
            ]
    return Evaluation(tuple(scores), protocol)


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
