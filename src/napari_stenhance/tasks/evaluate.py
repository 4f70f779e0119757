"""Compare what a method finds with what is known of a section."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.running.device import DeviceName
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.finding import Clustering, Epochs, Group, Preset, Refine, Runs
from napari_stenhance.tasks.options import Help, Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class EvaluateOptions(Options):
    """Options of `evaluate`; the section may also be a `Section` object."""

    section: Annotated[Path, Help("A section with spots.", positional=True)]
    method: Annotated[Literal["stamgc"], Help("What is evaluated.")] = "stamgc"
    truth: Annotated[
        str,
        Help("Column of the spots that says their domain; spots without it are left out."),
    ] = ""
    n_domains: Annotated[
        int | None,
        Help("How many domains; by default as many as the truth has, else estimated."),
    ] = None
    seeds: Annotated[str, Help("Find domains once with each of these: 0, 0-4 or 1,5,9.")] = "0"
    preset: Preset = "robust"
    clustering: Clustering = "auto"
    runs: Runs = None
    refine: Refine = False
    group: Group = ""
    epochs: Epochs = None
    mpp: Annotated[
        float | None, Help("Scale of the section, where files do not say.", unit="µm per pixel")
    ] = None
    device: Annotated[DeviceName, Help("What computes.")] = "auto"


@dataclass(frozen=True)
class Score:
    """How well one run of a method did.

    Attributes
    ----------
    seed : int
    n_domains : int
    values : dict
        Name and value of each measure.
    """

    seed: int
    n_domains: int
    values: dict[str, float]


def evaluate(
    options: EvaluateOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[Score, ...]:
    """Score a method on a section, with the truth if the spots carry it; nothing is written.

    Parameters
    ----------
    options : EvaluateOptions
    job : Job, optional
        Receives progress and notes; cancels.
    cache : Cache, optional
        Where pyramids lie; by default the user's.

    Returns
    -------
    tuple of Score
        One for each seed: ARI, NMI and AMI on the spots whose label is known, if there is a truth;
        silhouette and Davies-Bouldin in the space that was clustered.

    Raises
    ------
    InputError
        If the section or an option cannot be used, or the truth is not there.
    InferenceError
        If the device fails.
    Cancelled
        If the job was cancelled.
    """
    from napari_stenhance.running.device import inference_errors, resolve_device
    from napari_stenhance.scoring.agreement import agreement, compactness
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.finding import make_method, open_spots, spots_slices

    job, cache = job or Job(), cache or Cache.default()
    device, seeds = resolve_device(options.device), _seeds(options.seeds)
    section = open_spots(options.section, options.mpp, None, cache, job)
    truth = _truth(section, options.truth) if options.truth else None
    number = options.n_domains
    if number is None and truth is not None:
        number = len({label for label in truth if label is not None})
    (seen,) = spots_slices([section], job)
    scores = []
    with job.stage(f"Evaluating {options.method}", len(seeds)) as stage:
        for seed in seeds:
            method = make_method(options, seed, device)
            with inference_errors("Finding domains"):
                found = method.find([seen], number, job)
            values = {} if truth is None else agreement(found.labels[0], truth)
            values |= compactness(found.embedding[0], found.labels[0], seed)
            scores.append(Score(seed, found.n_domains, values))
            stage.advance()
    return tuple(scores)


def _seeds(spec: str) -> tuple[int, ...]:
    """Read `0`, `0-4` or `1,5,9`."""
    try:
        first, dash, last = spec.partition("-")
        seeds = range(int(first), int(last) + 1) if dash else map(int, spec.split(","))
        found = tuple(seeds)
    except ValueError:
        found = ()
    if not found:
        msg = f"--seeds {spec}: write one seed, a range as 0-4, or several as 1,5,9."
        raise InputError(msg)
    return found


def _truth(section: Section, column: str) -> NDArray[np.object_]:
    """Return what a column says of each spot; None where it says nothing.

    Raises
    ------
    InputError
        If there is no such column, or it says nothing of any spot.
    """
    obs = section.need_spots().obs
    if column not in obs:
        there = ", ".join(map(str, obs.columns)) or "none"
        msg = f"{section.where}: --truth {column} is no column of the spots; there are: {there}."
        raise InputError(msg)
    known = obs[column].notna() & (obs[column].astype(str).str.strip() != "")
    if not known.any():
        msg = f"{section.where}: --truth {column} is empty for every spot; choose another column."
        raise InputError(msg)
    truth = obs[column].astype(str).to_numpy(object, copy=True)
    truth[~known.to_numpy()] = None
    return truth
