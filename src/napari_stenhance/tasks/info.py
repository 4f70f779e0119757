"""Say in words what lies at a path, and every doubt about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import SECTION, Help, Image, Mpp, Options

if TYPE_CHECKING:
    from napari_stenhance.methods.field import Decoder
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class InfoOptions(Options):
    """Options of `info`."""

    path: Annotated[
        Path, Help("A section, a slide or a result.", positional=True, takes=(*SECTION, "Result"))
    ]
    mpp: Mpp = None
    image: Image = None
    verify: Annotated[
        bool, Help("Read every file of a result, and check that it is what was written.")
    ] = False


def info(
    options: InfoOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[str, ...]:
    """Describe a section, a slide or a result, one fact or doubt in each line.

    Raises
    ------
    InputError
        If nothing is there, it is not recognised, or it is damaged.
    """
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.section import Section, open_section

    path: Any = options.path
    if isinstance(path, Path) and ResultFolder.is_result(path):
        result = ResultFolder.open(path)
        lines = describe_result(result)
        return (*lines, *verify_result(result, job or Job())) if options.verify else lines
    if options.verify:
        msg = f"{path}: only results have a list of what was written; this is none."
        raise InputError(msg, option="verify")
    if isinstance(path, Section):
        return describe_section(path)
    return describe_section(
        open_section(path, mpp=options.mpp, image=options.image, cache=cache, job=job)
    )


def _doubts(doubts: tuple[str, ...] | list[str]) -> list[str]:
    return [f"Doubt: {doubt}" for doubt in doubts] or ["No doubts."]


def describe_section(section: Section) -> tuple[str, ...]:
    """Describe a section, one fact or doubt in each line."""
    lines = [f"Section {section.name}"]
    if section.slide is None:
        lines.append("Slide: none")
    else:
        height, width = section.slide.shape
        size = f"{width} × {height} px, {len(section.slide.levels)} levels"
        if section.slide.mpp is None:
            lines.append(f"Slide: {section.slide.path.name}, {size}, scale unknown")
        else:
            mpp = section.slide.mpp
            lines.append(
                f"Slide: {section.slide.path.name}, {size}, {mpp:.4g} µm per pixel "
                f"({section.slide.mpp_source}): {width * mpp / 1000:.2f} × "
                f"{height * mpp / 1000:.2f} mm"
            )
    if section.spots is None:
        lines.append("Spots: none")
    else:
        geometry = section.geometry()
        unit = "µm" if geometry.unit == "micrometer" else "px"
        lines.append(
            f"Spots: {section.spots.n_obs} × {section.spots.n_vars} genes; "
            f"{geometry.spot_shape}s of {geometry.spot_diameter_um:g} {unit} at a pitch of "
            f"{geometry.pitch_um:g} {unit}"
        )
    return tuple(lines + _doubts(section.doubts))


def verify_result(result: ResultFolder, job: Job) -> tuple[str, ...]:
    """Read every file of the complete runs of a result, and say of each run how many are right.

    Raises
    ------
    InputError
        If one is missing or not what was written.
    Cancelled
        If the job was cancelled.
    """
    from napari_stenhance.results.domains import domain_runs
    from napari_stenhance.results.imputed import imputed_runs
    from napari_stenhance.results.proof import Kind, verify_run

    runs: list[tuple[Kind, str]] = [
        *(("fields", run) for run in result.runs if result.run_attributes(run)["complete"]),
        *(("labels", run.name) for run in domain_runs(result)),
        *(("imputed", run.name) for run in imputed_runs(result)),
    ]
    lines = []
    for kind, run in runs:
        number = verify_run(result.path, kind, run, job, proven=result.proven)
        what = f"{number} files are what was written" if number else "nothing says what was written"
        lines.append(f"Verified {run}: {what}.")
    return tuple(lines) or ("Nothing to verify: no run is complete.",)


def _held_out(decoder: Decoder) -> list[str]:
    """Say how well genes were predicted on spots that were held out, if any were."""
    import numpy as np

    r, given = (v[np.isfinite(v)] for v in (decoder.held_out_r, decoder.held_out_r_given_depth))
    if not len(r):
        return []
    beyond = f", with depth held constant {np.median(given):.2f}" if len(given) else ""
    return [f"  On held-out spots, of {len(r)} genes: median r {np.median(r):.2f}{beyond}"]


def describe_result(result: ResultFolder) -> tuple[str, ...]:
    """Describe a result, one fact or doubt in each line.

    Raises
    ------
    InputError
        If it is damaged.
    """
    from napari_stenhance.results.about import ADVICE
    from napari_stenhance.storage.reading import reading

    with reading(result.path, "what it says of itself", ADVICE):
        return _describe_result(result)


def _describe_result(result: ResultFolder) -> tuple[str, ...]:
    from napari_stenhance.results.domains import domain_runs
    from napari_stenhance.results.genes import written_genes
    from napari_stenhance.results.imputed import (
        HOLDOUT_R,
        IMPUTED,
        imputed_runs,
        written_images,
    )
    from napari_stenhance.results.lattice import lattice_name, lattices
    from napari_stenhance.results.proof import UNPROVEN

    lines = [f"Result for {'slide' if result.has_slide else 'spots'} {result.name}"]
    if result.has_slide:
        slide = result.about["slide"]
        height, width = slide["shape"]
        scale = f"{slide['mpp']:.4g} µm per pixel ({slide['mpp_source']})"
        lines.append(f"Slide: {width} × {height} px, {scale}")
    else:
        lines.append("Slide: none")
    doubts: list[str] = [] if result.proven else [UNPROVEN]
    for run in result.runs:
        about = result.run_attributes(run)
        state = "complete" if about["complete"] else "not complete: run the same command again"
        learned = ", ".join(s["name"] for s in about["identity"]["learned_from"])
        what = "imputed genes of " if result.learned_imputed(run) else ""
        inside = ", inside a region" if about["identity"].get("region") else ""
        lines.append(
            f"Run {run} ({state}): learned from {what}{learned}, seed {about['seed']}{inside}"
        )
        if about.get("field_created"):
            field = result.field(run)
            rows, columns = field.grid.shape
            images = len(written_genes(result, run))
            lines.append(
                f"  {len(field.genes)} genes in {field.unit}, on {rows} × {columns} superpixels of "
                f"{field.grid.pitch_um:g} µm, rank {field.decoder.channels}; "
                f"{images} written as images"
            )
            lines += _held_out(field.decoder)
        lines += [f"  Table {lattice_name(run, s)}" for s in lattices(result, run)]
        doubts += about["doubts"]
    for domains in domain_runs(result):
        grid, about = domains.grid, domains.about
        unit = "µm" if grid.unit == "micrometer" else "px"
        chosen = f", their number by {domains.criterion}" if domains.criterion else ""
        lines.append(
            f"Domains {domains.name}: {len(domains.domains)} domains{chosen}, of "
            f"{'superpixels' if about['spots'] is None else 'spots'}, on {grid.shape[0]} × "
            f"{grid.shape[1]} pixels of {grid.pitch_um:g} {unit}"
        )
        doubts += about["doubts"]
    for imputed in imputed_runs(result):
        grid, about, number = imputed.grid, imputed.about, int(imputed.var[IMPUTED].sum())
        r = imputed.var[HOLDOUT_R].median()
        images = len(written_images(imputed))
        known = "" if math.isnan(r) else f"; of hidden genes, median r {r:.2f}"
        lines += [
            (
                f"Imputed {imputed.name}: {number} genes from {about['identity']['cells']['name']},"
                f" {len(imputed.genes) - number} as measured, of {about['spots']} spots{known}; "
                f"{images} written as images"
            ),
            f"  {about['matched']}",
        ]
        doubts += about["doubts"]
    return tuple(lines + _doubts(list(dict.fromkeys(doubts))))
