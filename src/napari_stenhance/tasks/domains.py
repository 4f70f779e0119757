"""Find spatial domains of sections, or of the superpixels of gene fields."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.tasks.domain_options import (
    Clustering,
    DomainMethodName,
    DomainPreset,
    Group,
    Refine,
    Runs,
)
from napari_stenhance.tasks.options import (
    SECTION,
    ClearDeadLocks,
    Device,
    Epochs,
    Help,
    Image,
    Seed,
    SlideOptions,
)

if TYPE_CHECKING:
    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class DomainsOptions(SlideOptions):
    """Options of `domains`; sections may also be `Section` objects."""

    sections: Annotated[
        tuple[Path, ...],
        Help(
            "Sections with spots; several get the same domains. Or results of enhance, whose "
            "superpixels are then put into domains.",
            positional=True,
            takes=(*SECTION, "Result"),
        ),
    ]
    out: Annotated[
        Path | None,
        Help(
            "The result folder (C2.stenhance.zarr); for several sections, a folder of results; by "
            "default NAME.stenhance.zarr in the working folder; domains of a result go into it."
        ),
    ] = None
    method: DomainMethodName = "stamgc"
    n_domains: Annotated[
        int | None, Help("How many domains; by default, estimated.", label="Number of domains")
    ] = None
    superpixel_um: Annotated[
        float | None,
        Help(
            "Of a result: find domains of coarser superpixels, two, four, eight … times as wide as "
            "those of its run, which takes less time and memory; by default as wide.",
            unit="µm",
            label="Superpixel",
        ),
    ] = None
    preset: DomainPreset = "robust"
    clustering: Clustering = "auto"
    runs: Runs = None
    refine: Refine = False
    group: Group = ""
    epochs: Epochs = None
    image: Image = None
    device: Device = "auto"
    seed: Seed = 0
    clear_dead_locks: ClearDeadLocks = False


def domains(
    options: DomainsOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[DomainRun, ...]:
    """Find spatial domains, and write them as label images and tables.

    `napari_stenhance.domains` says what comes of it, and what it raises.
    """
    from napari_stenhance.results.domains import domain_runs, number_domains, write_run
    from napari_stenhance.results.run import made_alike
    from napari_stenhance.running.device import describe_device, inference_errors, resolve_device
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.domain_inputs import expression_of_spots, open_inputs
    from napari_stenhance.tasks.domain_options import LEAST, make_domain_method
    from napari_stenhance.tasks.inference import versions
    from napari_stenhance.tasks.recorded import log_command, recorded

    job, cache = job or Job(), cache or Cache.default()
    device = resolve_device(options.device)
    method = make_domain_method(options, options.seed, device)
    seen = open_inputs(options, cache, job)
    for one in seen:
        if len(one.slice.xy) <= (options.n_domains or LEAST):
            msg = (
                f"{one.slice.name}: {counted(few := len(one.slice.xy), 'position')} "
                f"{agree(few, 'is', 'are')} too few for "
                f"{options.n_domains or LEAST} domains; ask for fewer, or give other spots."
            )
            raise InputError(msg)
    together = {
        "method": options.method,
        "preset": options.preset,
        "recipe": method.describe(),
        "n_domains": options.n_domains,
        "seed": options.seed,
        "found_in": [one.identity for one in seen],
    }
    identities = [{**together, "this": n} for n in range(len(seen))]
    stem, command = f"{options.method}-{options.preset}", recorded("domains", options)
    with ExitStack() as stack:
        results = [
            stack.enter_context(one.writing(stem, clear_dead_locks=options.clear_dead_locks))
            for one in seen
        ]
        runs = [
            made_alike(domain_runs(result), identity)
            for result, identity in zip(results, identities, strict=True)
        ]
        done = [run for run in runs if run is not None]
        for one, run in zip(seen, runs, strict=True):
            if run is not None:
                job.note(f"{run.result.path}: the run {run.name} is already complete.")
                log_command(run.result, command, one.slice.name, run.name)
        if len(done) == len(seen):
            return tuple(done)
        with inference_errors("Finding domains"):
            found = method.find([one.slice for one in seen], options.n_domains, job)
        found = found.of_observations([one.slice for one in seen])
        found = replace(found, labels=number_domains(found.labels))
        provenance = {
            "seed": options.seed,
            "device": describe_device(device),
            "versions": versions(),
            "n_domains": found.n_domains,
            "criterion": found.criterion,
            "scores": [list(score) for score in found.scores],
        }
        with job.stage("Writing domains", len(seen)) as stage:
            expression = expression_of_spots(seen, found)
            for n, (one, result) in enumerate(zip(seen, results, strict=True)):
                if runs[n] is None:
                    made = runs[n] = write_run(
                        result,
                        stem,
                        identities[n],
                        {**provenance, "doubts": list(one.doubts)},
                        one.lay(found, n, expression),
                    )
                    log_command(result, command, one.slice.name, made.name)
                stage.advance()
    return tuple(run for run in runs if run is not None)
