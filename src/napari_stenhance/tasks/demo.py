"""The main job from end to end on a phantom, judged by the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.errors import StenhanceError
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import Device, Help, Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.phantoms.phantom import Phantom
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache

_SHOWN = ("ERBB2", "COL1A1", "CD3E", "MS4A1")
_TILE = 128
# Above this, genes that follow nothing would be predicted: the prediction would be an artefact.
NOTHING_MOST = 0.1
OF_CELLS = "cells (the next two)"


@dataclass(frozen=True)
class DemoOptions(Options):
    """Options of `demo`."""

    out: Annotated[Path, Help("The folder for phantom and result.", positional=True)] = Path(
        "stenhance-demo"
    )
    size_mm: Annotated[float, Help("Side of the slide, 1 to 20.", unit="mm")] = 4.0
    seed: Annotated[int, Help("Decides the phantom, and every random choice in training.")] = 41
    device: Device = "auto"


@dataclass(frozen=True)
class TruthScore:
    """How well one group of genes was predicted: median over them of r with the truth.

    r is over all superpixels of 8 µm that are tissue and were predicted.

    Attributes
    ----------
    follows : str
        What these genes follow.
    genes : int
    measured, unmeasured : float
        By the model, in the part of the section with spots and in the part without.
    measured_interpolation, unmeasured_interpolation : float
        By inverse-distance interpolation of the same spots.
    """

    follows: str
    genes: int
    measured: float
    measured_interpolation: float
    unmeasured: float
    unmeasured_interpolation: float


@dataclass(frozen=True)
class DemoDone:
    """What the demo made, and how close it came.

    Attributes
    ----------
    section, result : Path
    scores : tuple of TruthScore
        For each group of genes; the first is what the image can tell: the first 70 % of genes.
    """

    section: Path
    result: Path
    scores: tuple[TruthScore, ...]


def demo(options: DemoOptions, job: Job | None = None, cache: Cache | None = None) -> DemoDone:
    """Make a phantom, predict its genes, and compare with the known truth.

    `napari_stenhance.demo` says what comes of it, and what it raises.
    """
    from napari_stenhance.phantoms.write import write_phantom
    from napari_stenhance.section.section import open_section
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.enhance import EnhanceOptions, enhance

    job, cache = job or Job(), cache or Cache.default()
    phantom = write_phantom(options.out / "phantom", options.size_mm, options.seed, job)
    enhancing = EnhanceOptions(
        sections=(phantom.folder,),
        out=options.out / "phantom.stenhance.zarr",
        write=_SHOWN,
        device=options.device,
        seed=options.seed,
    )
    (result,) = enhance(enhancing, job, cache)
    section = open_section(phantom.folder, cache=cache)
    done = DemoDone(phantom.folder, result.path, compare_with_truth(phantom, section, result, job))
    check_nothing(done.scores)
    return done


def compare_with_truth(
    phantom: Phantom, section: Section, result: ResultFolder, job: Job
) -> tuple[TruthScore, ...]:
    """Compare predictions of the newest run, and interpolated spots, with the truth."""
    import numpy as np
    import scipy.sparse as sp

    from napari_stenhance.results.runs import field_run
    from napari_stenhance.scoring.baselines import Interpolation
    from napari_stenhance.scoring.metrics import PearsonSums
    from napari_stenhance.section.spots import log1p_cp10k
    from napari_stenhance.storage.tiles import tiles_of

    spots = section.need_spots()
    genes = list(spots.var_names)
    counts = sp.csr_array(spots.X)
    library = np.asarray(counts.sum(axis=1), np.float64).ravel()
    interpolate = Interpolation(section.spots_um(), log1p_cp10k(counts, library).toarray())
    field = field_run(result).field
    chosen = field.decoder.indices_of(genes)
    sums = {
        (part, by): PearsonSums(len(genes)) for part in (True, False) for by in ("model", "spots")
    }
    tiles = list(tiles_of(phantom.domain.shape, _TILE))
    with job.stage("Comparing with the truth", len(tiles)) as stage:
        for tile in tiles:
            labelled = np.argwhere(phantom.domain[tile.rows, tile.columns] > 0)
            row, column = (labelled + (tile.rows.start, tile.columns.start)).T
            latent = field.latent_of(row, column)
            seen = np.isfinite(latent[:, 0])
            row, column, latent = row[seen], column[seen], latent[seen]
            truth = phantom.expression(genes, tile.rows, tile.columns)
            truth = truth[:, row - tile.rows.start, column - tile.columns.start].T
            for part in (True, False):
                here = phantom.measured[row, column] == part
                if here.any():
                    at = field.grid.centres_um(row[here], column[here])
                    predicted = field.decoder.values(latent[here], chosen)
                    sums[part, "model"].add(predicted, truth[here])
                    sums[part, "spots"].add(interpolate(at), truth[here])
            stage.advance()
    r = {key: one.r() for key, one in sums.items()}
    follows = np.array(phantom.follows[: len(genes)])
    return tuple(_scores(r, follows))


def _scores(
    r: dict[tuple[bool, str], NDArray[np.float64]], follows: NDArray[np.str_]
) -> Iterator[TruthScore]:
    import numpy as np

    groups = list(dict.fromkeys(follows.tolist()))
    of_cells = np.isin(follows, groups[:2])
    for name, some in ((OF_CELLS, of_cells), *((g, follows == g) for g in groups)):
        median = {key: float(np.nanmedian(values[some])) for key, values in r.items()}
        yield TruthScore(
            follows=name,
            genes=int(some.sum()),
            measured=median[True, "model"],
            measured_interpolation=median[True, "spots"],
            unmeasured=median[False, "model"],
            unmeasured_interpolation=median[False, "spots"],
        )


def check_nothing(scores: tuple[TruthScore, ...]) -> None:
    """Refuse a prediction of what cannot be predicted.

    Raises
    ------
    StenhanceError
        If the genes that follow nothing correlate with the truth above 0.1.
    """
    (nothing,) = (s for s in scores if s.follows == "nothing")
    most = max(nothing.measured, nothing.unmeasured)
    if most > NOTHING_MOST:
        msg = (
            f"Genes that follow nothing were predicted with r = {most:.2f}: the truth leaks into "
            "the prediction, and no score of this run can be trusted. Please report this."
        )
        raise StenhanceError(msg)
