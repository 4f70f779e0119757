"""Make a synthetic section whose expression is known everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import Help, Options

if TYPE_CHECKING:
    from napari_stenhance.phantoms.phantom import Phantom


@dataclass(frozen=True)
class PhantomOptions(Options):
    """Options of `phantom`."""

    out: Annotated[Path, Help("The folder to make.", positional=True)]
    size_mm: Annotated[float, Help("Side of the slide, 1 to 20.", unit="mm")] = 4.0
    genes: Annotated[
        int,
        Help(
            "How many genes spots and bins measure, 200 to 40,000; with more than 200, bins are "
            "also written as a Visium HD folder."
        ),
    ] = 200
    seed: Annotated[int, Help("Decides anatomy, stain and counts.")] = 0


def phantom(options: PhantomOptions, job: Job | None = None) -> Phantom:
    """Make a synthetic section: H&E, spots, bins, cells, a reference, and the truth.

    `napari_stenhance.phantom` says what comes of it, and what it raises.
    """
    from napari_stenhance.phantoms.write import write_phantom

    return write_phantom(options.out, options.size_mm, options.seed, job, genes=options.genes)
