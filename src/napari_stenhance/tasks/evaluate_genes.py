"""Evaluate what predicts genes from a slide: what is hidden in turn, part by part."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.features.quality import VERSION
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import CropLayout, FeatureSettings
from napari_stenhance.methods.genes import rule_of
from napari_stenhance.scoring.scales import UNITS
from napari_stenhance.tasks.evaluate_options import OF_SPLIT, SPLIT_OF, EvaluateOptions
from napari_stenhance.tasks.evaluation import Evaluation, Score
from napari_stenhance.tasks.faults import quality_doubts
from napari_stenhance.tasks.gene_evaluation import (
    CEILING,
    HiddenSpots,
    hide_blocks,
    hide_sections,
    hide_share,
    score_baselines,
    score_hidden,
)
from napari_stenhance.tasks.protocol import protocol_of
from napari_stenhance.tasks.scored_part import ScoredPart, SpotMaps, kept_part
from napari_stenhance.tasks.training import open_training, pitch_between

if TYPE_CHECKING:
    import torch

    from napari_stenhance.methods.protocol import Method
    from napari_stenhance.methods.registry import MethodEntry
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache


def evaluate_genes(
    options: EvaluateOptions,
    entry: MethodEntry,
    seeds: tuple[int, ...],
    device: torch.device,
    cache: Cache,
    job: Job,
) -> Evaluation:
    """Score a method that predicts genes from the slide, beside its baselines.

    Raises
    ------
    InputError
        If sections cannot be used, or nothing is left to learn from.
    InferenceError
        If the device fails.
    """
    _check_split(options)
    methods = [entry.make(options, seed, device) for seed in seeds]
    sections, tests = (
        [open_training(one, options, options.image, cache, job) for one in given]
        for given in (options.sections, options.test)
    )
    sizes_um = methods[0].crops_um
    features = FeatureSettings(
        find_encoder(options.encoder),
        device,
        cache,
        crops=None if sizes_um is None else CropLayout(sizes_um, pitch_between(sections)),
        quality=options.quality,
        or_cpu=options.device == "auto",
    )
    quality_doubts([*sections, *tests], features, job)
    hidden = [_hidden(options, sections, tests, seed) for seed in seeds]
    genes = options.genes or methods[0].genes
    modelled = rule_of(genes) or list(genes)
    scale = options.normalise, UNITS[options.normalise]
    protocol = protocol_of(
        options, entry, seeds, [*sections, *tests], scale, methods[0].describe(),
        encoder=options.encoder, genes=modelled, scored=options.scored,
        **_said_of_split(options, sections, tests), parts=[part.sizes() for part in hidden[0]],
    )  # fmt: skip
    learns: dict[str, Any] = {"method": options.method, "preset": options.preset, "genes": modelled}
    learns["scored"] = options.scored
    scores: list[Score] = []
    maps: list[SpotMaps] = []
    shared: set[tuple[int | None, str, str]] = set()
    with job.stage(f"Evaluating {options.method}", sum(map(len, hidden))) as stage:
        for seed, method, parts in zip(seeds, methods, hidden, strict=True):
            learns |= {"recipe": method.describe(), "seed": seed}
            for part in parts:
                own, best = _kept(part, method, options, features, genes, learns, cache, job)
                name = part.name if len(parts) > 1 else ""
                scores += _scores(own, best, options.method, seed, name)
                # Whole sections are hidden alike with every seed: so is all that has none.
                of_part = _scores(best, best, options.method, _none_of(options, seed), name)
                of_part = [one for one in of_part if (one.seed, name, one.what) not in shared]
                shared |= {(one.seed, name, one.what) for one in of_part}
                scores += of_part
                if seed == seeds[0] and own.maps is not None:
                    maps.append(own.maps)
                stage.advance()
    return Evaluation(tuple(scores), protocol, maps=tuple(maps))


def _none_of(options: EvaluateOptions, seed: int) -> int | None:
    """Return the seed of baselines: none, unless it drew what is hidden."""
    return None if options.split == "sections" else seed


def _kept(
    part: HiddenSpots,
    method: Method,
    options: EvaluateOptions,
    features: FeatureSettings,
    genes: str | Sequence[str],
    learns: Mapping[str, Any],
    cache: Cache,
    job: Job,
) -> tuple[ScoredPart, ScoredPart]:
    """Score the method on one part, and its baselines; or take them as they were kept."""
    seen = part.identity() | _seen(options, features, method)
    scale = options.normalise

    def own(job: Job) -> ScoredPart:
        seed = learns["seed"]
        return score_hidden(part, method, features, genes, options.scored, seed, job, scale)

    found = kept_part({**seen, **learns}, cache, job, own)
    assert found.maps is not None
    names = found.maps.genes

    def baselines(job: Job) -> ScoredPart:
        return score_baselines(part, method, features, names, job, scale)

    return found, kept_part({**seen, "baselines of": list(names)}, cache, job, baselines)


def _scores(
    found: ScoredPart, best: ScoredPart, method: str, seed: int | None, hidden: str
) -> list[Score]:
    """Make scores of a part, each with its share of the noise ceiling."""
    most = max(best.values[CEILING]["r"], 1e-9)
    return [
        Score(
            seed,
            method if what == "method" else what,
            values | {"share of ceiling": values["r"] / most},
            hidden=hidden,
            of_genes=found.of_genes.get(what),
            of_spots=found.of_spots.get(what),
        )
        for what, values in found.values.items()
    ]


def _said_of_split(
    options: EvaluateOptions, sections: Sequence[Section], tests: Sequence[Section]
) -> dict[str, Any]:
    """Return what a protocol says of the way in which spots are hidden."""
    if options.split == "blocks":
        return {"folds": options.folds, "buffer": options.buffer}
    if options.split == "sections":
        learned = ", ".join(section.name for section in sections) if tests else "the others"
        tested = ", ".join(section.name for section in tests or sections)
        return {"tested": tested, "learned": learned}
    return {"hidden_share": 1 - options.ratio}


def _seen(options: EvaluateOptions, features: FeatureSettings, method: Method) -> dict[str, Any]:
    """Return what decides what is seen of slides and learned from, and how it is compared."""
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


def _check_split(options: EvaluateOptions) -> None:
    """Refuse what cannot be hidden, or compared."""
    for field in dataclasses.fields(options):
        hides = options.split or SPLIT_OF["genes"]
        split = OF_SPLIT.get(field.name, hides)
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
    if options.split in {None, "recovery"}:
        return [hide_share(sections[0], options.ratio, seed)]
    if options.split == "blocks":
        return list(hide_blocks(sections[0], options.folds, options.buffer, seed))
    return list(hide_sections(sections, tests))
