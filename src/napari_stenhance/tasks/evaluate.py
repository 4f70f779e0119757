"""Compare what a method finds with what is known of a section."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.methods.registry import (
    Kind,
    MethodEntry,
    method_choices,
    method_entry,
    preset_choices,
    refuse_given,
)
from napari_stenhance.running.job import Event, Job, Note
from napari_stenhance.scoring.scales import UNITS, Normalisation
from napari_stenhance.storage.atomic import need_free
from napari_stenhance.tasks.domain_options import Clustering, Group, Refine, Runs
from napari_stenhance.tasks.evaluation import Evaluation, Score
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

    from napari_stenhance.features.source import FeatureSettings
    from napari_stenhance.methods.protocol import Method
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.gene_evaluation import HiddenSpots

_KINDS: tuple[Kind, ...] = ("domains", "genes", "imputation")
Split = Literal["recovery", "blocks", "sections", "genes"]
_OF_SPLIT: dict[str, Split] = {"ratio": "recovery", "buffer": "blocks", "test": "sections"}
"""Options that only mean something where that is hidden."""
_OF_KIND: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("truth", "n_domains"), ("domains",)),
    **dict.fromkeys(
        ("ratio", "buffer", "test", "scored", "normalise", "encoder", "image", "quality", "tissue"),
        ("genes",),
    ),
    **dict.fromkeys(("genes", "folds", "split"), ("genes", "imputation")),
    "reference": ("imputation",),
}
"""Options that only mean something to some kinds of methods."""
_SPLIT_OF: dict[Kind, str] = {"genes": "recovery", "imputation": "genes", "domains": "nothing"}
"""What is hidden, where nothing else is said."""


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
        Split | None,
        Help(
            "What is hidden: recovery, a random part of the spots, as by default; blocks of tissue "
            "of 1 mm; whole sections, each in turn; or genes, as always from an imputation."
        ),
    ] = None
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
    normalise: Annotated[
        Normalisation,
        Help(
            "The scale in which predicted and measured are compared: log1p CP10k, as methods learn "
            "it; log1p CPM of the scored genes alone; or Pearson residuals."
        ),
    ] = "log1p-cp10k"
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
    json: Annotated[
        Path | None,
        Help("Write all of it, each gene and spot too, with the protocol, to this .json file."),
    ] = None
    report: Annotated[
        Path | None,
        Help("Write a page to read: tables, maps, scatter, calibration; one .html file."),
    ] = None


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
        kinds = _OF_KIND.get(field.name, _KINDS)
        if entry.kind not in kinds:
            refuse_given(options, field, list(method_choices(*kinds)))
    entry.check(options)
    split = options.split or _SPLIT_OF[entry.kind]
    _check_kind(options, entry, split)
    device, seeds = resolve_device(options.device), _seeds(options.seeds)
    for path in (options.csv, options.json, options.report):
        if path is not None:
            need_free(path)
    score = {"domains": _domains, "genes": _genes, "imputation": _hidden_genes}[entry.kind]
    noted: dict[str, None] = {}

    def hear(event: Event) -> None:
        if isinstance(event, Note):
            noted[event.text] = None
        job.emit(event)

    heard = dataclasses.replace(job, listener=hear, _noted=set())
    found = score(options, seeds, device, cache, heard)
    found = dataclasses.replace(found, doubts=tuple(noted))
    if options.csv is not None:
        write_scores_csv(found, options.csv)
    if options.json is not None:
        write_scores_json(found, options.json)
    if options.report is not None:
        from napari_stenhance.tasks.evaluation_report import write_report

        write_report(found, options.report)
    return found


def _check_kind(options: EvaluateOptions, entry: MethodEntry, split: str) -> None:
    """Refuse to hide what the method sees nothing of, and more sections than are looked at."""
    if (split == "genes") != (entry.kind == "imputation") and entry.kind != "domains":
        hides = "genes alone" if entry.kind == "imputation" else "recovery, blocks or sections"
        msg = f"Split {split}: from {options.method} {hides} can be hidden; choose that."
        raise InputError(msg, option="split")
    if len(options.sections) != 1 and split != "sections":
        msg = f"{len(options.sections)} sections: give one; several are for the split sections."
        raise InputError(msg, option="sections")


def _protocol(
    options: EvaluateOptions,
    seeds: Sequence[int],
    sections: Sequence[Section],
    scale: tuple[str, str],
    recipe: Any,
    **more: Any,
) -> dict[str, Any]:
    """Say how scores come to be, as it is written with them."""
    from napari_stenhance.methods.training_section import input_identity
    from napari_stenhance.tasks.inference import versions
    from napari_stenhance.tasks.scored_part import code_sha256

    entry = method_entry(options.method)
    return {
        "kind": entry.kind,
        "method": options.method,
        "preset": options.preset,
        "recipe": recipe,
        "split": options.split or _SPLIT_OF[entry.kind],
        "seeds": list(seeds),
        "normalisation": dict(zip(("name", "unit"), scale, strict=True)),
        **more,
        "sections": [{**input_identity(s), "spots": s.need_spots().n_obs} for s in sections],
        "device": options.device,
        "versions": versions(),
        "code_sha256": code_sha256(),
    }


def _domains(
    options: EvaluateOptions, seeds: tuple[int, ...], device: torch.device, cache: Cache, job: Job
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
    protocol = _protocol(options, seeds, [section], ("", ""), recipe, truth=options.truth)
    protocol |= {"split": "nothing", "n_domains": number}
    known = None if truth is None else hashlib.sha256(repr(list(truth)).encode()).hexdigest()
    identity = _part_of(protocol) | {"truth_sha256": known, "device": device.type}
    scores = []
    with job.stage(f"Evaluating {options.method}", len(seeds)) as stage:
        for seed in seeds:
            part = kept_part({**identity, "seed": seed}, cache, job, partial(score, seed))
            (values,) = part.values.values()
            scores.append(Score(seed, options.method, values, part.n_domains))
            stage.advance()
    return Evaluation(tuple(scores), protocol)


def _part_of(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a protocol decides the numbers of any seed."""
    return {name: value for name, value in protocol.items() if name != "seeds"}


def _genes(
    options: EvaluateOptions, seeds: tuple[int, ...], device: torch.device, cache: Cache, job: Job
) -> Evaluation:
    from napari_stenhance.features.registry import find_encoder
    from napari_stenhance.features.source import CropLayout, FeatureSettings
    from napari_stenhance.methods.genes import rule_of
    from napari_stenhance.tasks.faults import quality_doubts
    from napari_stenhance.tasks.gene_evaluation import CEILING, score_baselines, score_hidden
    from napari_stenhance.tasks.scored_part import kept_part
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
    genes = options.genes or methods[0].genes
    tested = [section.name for section in tests or sections]
    protocol = _protocol(
        options,
        seeds,
        [*sections, *tests],
        (options.normalise, UNITS[options.normalise]),
        methods[0].describe(),
        encoder=options.encoder,
        genes=rule_of(genes) or list(genes),
        scored=options.scored,
        hidden_share=1 - options.ratio,
        folds=options.folds,
        buffer=options.buffer,
        tested=", ".join(tested),
        learned=_named([s.name for s in sections], others=not tests),
        parts=[
            {
                "name": part.name,
                "hidden_spots": int(part.hidden.sum()),
                "learned_spots": sum(s.need_spots().n_obs for s in part.learned),
            }
            for part in hidden[0]
        ],
    )
    scale = options.normalise
    scores, maps, said = [], [], set()
    with job.stage(f"Evaluating {options.method}", sum(map(len, hidden))) as stage:
        for seed, method, parts in zip(seeds, methods, hidden, strict=True):
            for part in parts:
                of_part = part.identity() | _seen(options, features, method)
                ours = {"recipe": method.describe(), "genes": protocol["genes"], "seed": seed}
                ours |= {"method": options.method, "preset": options.preset}
                own = kept_part(
                    {**of_part, **ours, "scored": options.scored},
                    cache,
                    job,
                    lambda job, part=part, method=method, seed=seed: score_hidden(  # type: ignore[misc]
                        part, method, features, genes, options.scored, seed, job, scale
                    ),
                )
                assert own.maps is not None
                names = own.maps.genes
                best = kept_part(
                    {**of_part, "baselines of": list(names)},
                    cache,
                    job,
                    lambda job, part=part, method=method, names=names: score_baselines(  # type: ignore[misc]
                        part, method, features, names, job, scale
                    ),
                )
                if seed == seeds[0]:
                    maps.append(own.maps)
                name = part.name if len(parts) > 1 else ""
                most = max(best.values[CEILING]["r"], 1e-9)
                # With other seeds the same is left out, and what has no seed is the same again.
                once = options.split == "sections"
                for found, its_seed in ((own, seed), (best, None if once else seed)):
                    for what, values in found.values.items():
                        called = options.method if what == "method" else what
                        if its_seed is None and (name, called, names) in said:
                            continue
                        said.add((name, called, names))
                        scores.append(
                            Score(
                                its_seed,
                                called,
                                values | {"share of ceiling": values["r"] / most},
                                hidden=name,
                                of_genes=found.of_genes.get(what),
                                of_spots=found.of_spots.get(what),
                            )
                        )
                stage.advance()
    return Evaluation(tuple(scores), protocol, maps=tuple(maps))


def _seen(options: EvaluateOptions, features: FeatureSettings, method: Method) -> dict[str, Any]:
    """Return what decides what is seen of slides and learned from, and how it is compared."""
    from napari_stenhance.features.quality import VERSION

    crops = features.crops
    return {
        "encoder": features.encoder.identity(),
        "quality": VERSION if options.quality else None,
        "crops": None if crops is None else [list(crops.sizes_um), crops.pitch_um],
        "least_share": method.least_share,
        "most_spots": method.most_spots,
        "normalise": options.normalise,
        "device": features.device.type,
    }


def _named(names: Sequence[str], *, others: bool) -> str:
    return "the others" if others else ", ".join(names)


def _check_split(options: EvaluateOptions) -> None:
    """Refuse what cannot be hidden, or compared."""
    for field in dataclasses.fields(options):
        hides = options.split or _SPLIT_OF["genes"]
        split = _OF_SPLIT.get(field.name, hides)
        given = getattr(options, field.name)
        if split != hides and given != field.default:
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
    if options.normalise == "log1p-cpm-panel" and options.scored < 2:
        msg = "One scored gene is all of its panel, and never varies there; score 2 or more."
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

    if options.split in {None, "recovery"}:
        return [hide_share(sections[0], options.ratio, seed)]
    if options.split == "blocks":
        return list(hide_blocks(sections[0], options.folds, options.buffer, seed))
    return list(hide_sections(sections, tests))


def _hidden_genes(
    options: EvaluateOptions, seeds: tuple[int, ...], device: torch.device, cache: Cache, job: Job
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
    entry = method_entry(options.method)
    ours = entry.published is None or options.preset == entry.presets[0]
    made = [entry.make(options, seed, device) if ours else None for seed in seeds]
    protocol = _protocol(
        options,
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
        own = _part_of(protocol) | {"device": device.type}
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
