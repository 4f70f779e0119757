"""What the tasks about domains share: the options of STAMGC, and what it sees of a section."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.methods.registry import make_method, method_choices, preset_choices
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.tasks.options import Help, SlideOptions

if TYPE_CHECKING:
    import torch

    from napari_stenhance.methods.stamgc.protocol import DomainMethod, Slice
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache

DomainMethodName = Annotated[
    str, Help("What finds domains", choices=partial(method_choices, "domains"))
]
DomainPreset = Annotated[
    str,
    Help(
        "How domains are found, robust so that it agrees best with anatomists, reference as "
        "published",
        choices=partial(preset_choices, "domains"),
    ),
]
Clustering = Annotated[
    Literal["auto", "mixture", "kmeans", "leiden"],
    Help("What makes domains of the embedding: auto is mixture for robust, kmeans for reference."),
]
Runs = Annotated[
    int | None,
    Help(
        "Trainings whose domains are put together; by default as the preset says: 5 or 1.",
        label="Trainings",
    ),
]
Refine = Annotated[
    bool, Help("Give each spot the domain of most spots around it, at the end.", label="Smooth")
]
Group = Annotated[
    str,
    Help(
        "A published configuration by its name (10x, MERFISH …); for reference only.",
        label="Published setting",
    ),
]
LEAST, MOST = 2, 255


def make_domain_method(options: Any, seed: int, device: torch.device) -> DomainMethod:
    """Make the method that options name that have a field for each of its own.

    Raises
    ------
    InputError
        If a number is out of range, or an option is not one of its own.
    """
    number = options.n_domains
    if number is not None and not LEAST <= number <= MOST:
        msg = f"There can be {LEAST} to {MOST} domains, not {number}."
        raise InputError(msg, option="n_domains")
    return make_method(options, seed, device)


def open_spots(
    section: Any, options: SlideOptions, image: Path | None, cache: Cache, job: Job
) -> Section:
    """Open a section whose spots are wanted; slide and scale may be missing, which is said.

    Raises
    ------
    InputError
        If it has no spots, or their counts are not raw.
    """
    from napari_stenhance.section.spots import check_raw
    from napari_stenhance.tasks.inference import open_for

    opened = open_for(section, options, image=image, spots=True, slide=False, cache=cache, job=job)
    check_raw(opened.need_spots(), opened.where)
    if opened.mpp is not None and opened.slide is None:
        job.note(f"{opened.name}: there is no slide, so images are laid over the spots alone.")
    return opened


def spots_slices(sections: Sequence[Section], job: Job) -> tuple[Slice, ...]:
    """Return what STAMGC sees of sections: the genes that all measured, once for each position."""
    from napari_stenhance.methods.genes import common_genes, without_controls
    from napari_stenhance.methods.stamgc.protocol import Slice
    from napari_stenhance.section.distinct import DistinctPositions
    from napari_stenhance.section.spots import counts_of
    from napari_stenhance.section.stated import fiducial_px

    shared = common_genes([(s.name, list(s.need_spots().var_names)) for s in sections])
    genes = without_controls(shared)
    if not genes:
        msg = f"{sections[0].where}: only control features were measured; give counts of genes."
        raise InputError(msg)
    dropped = max(s.need_spots().n_vars for s in sections) - len(genes)
    if dropped:
        job.note(
            f"{counted(dropped, 'gene')} that not every section measured, or controls, "
            f"{agree(dropped, 'is', 'are')} left out."
        )
    slices = []
    for section in sections:
        spots = section.need_spots()
        xy, pitch = section.positions()
        places = DistinctPositions.among(xy)
        fiducial = fiducial_px(spots.uns)
        slices.append(
            Slice(
                section.name,
                xy[places.first],
                pitch,
                genes,
                counts=places.summed(counts_of(spots, genes)),
                fiducial=None if fiducial is None else fiducial * (section.mpp or 1.0),
                place=None if places.all_differ else places.of,
            )
        )
    return tuple(slices)
