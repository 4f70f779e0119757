"""Compare the predictions of a result with counts that it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import SECTION, Help, SlideOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache

_MOST_COUNTED = 300


@dataclass(frozen=True)
class CompareOptions(SlideOptions):
    """Options of `compare`; sections may also be `Section` objects."""

    result: Annotated[
        Path, Help("The result whose predictions to compare.", positional=True, takes=("Result",))
    ]
    truth: Annotated[
        Path, Help("The section with the full counts, at the same spots.", takes=SECTION)
    ]
    measured: Annotated[
        Path | None,
        Help(
            "The section learned from, such as downsample writes; compared as it is, too.",
            takes=SECTION,
        ),
    ] = None
    genes: Annotated[
        tuple[str, ...],
        Help(
            "Genes: names with commas, or @ and a file of them; by default the 300 most counted of "
            "those predicted."
        ),
    ] = ()
    all_spots: Annotated[
        bool, Help("Also spots where the truth is 0, which the published evaluation leaves out.")
    ] = False
    run: Annotated[str, Help("Which run; by default the newest of the whole slide.")] = ""


@dataclass(frozen=True)
class Compared:
    """How well one set of values agrees with the truth.

    Attributes
    ----------
    what : str
        "enhanced", or "as measured".
    genes : tuple of str
    scores : dict
        Of each measure in `scoring.maps.MEASURES`, one value for each gene.
    """

    what: str
    genes: tuple[str, ...]
    scores: dict[str, tuple[float, ...]]

    def medians(self) -> dict[str, float]:
        """Return the median of each measure over the genes for which it is defined."""
        import numpy as np

        defined = {name: [v for v in of if np.isfinite(v)] for name, of in self.scores.items()}
        return {name: float(np.median(of)) if of else np.nan for name, of in defined.items()}


def compare(
    options: CompareOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[Compared, ...]:
    """Compare a result, and the counts it learned from, with the full counts.

    Everything is compared at the spots, in the unit that the run predicts.

    `napari_stenhance.compare` says what comes of it, and what it raises.
    """
    import numpy as np

    from napari_stenhance.results.predictions import at_spots
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.runs import field_run
    from napari_stenhance.scoring.maps import MEASURES, map_agreement, square_lattice
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.inference import open_for

    job, cache = job or Job(), cache or Cache.default()
    result = ResultFolder.open(options.result)
    run = field_run(result, options.run).name
    given = (options.truth,) if options.measured is None else (options.truth, options.measured)
    truth, *measured = (
        open_for(path, options, spots=True, slide=False, cache=cache, job=job) for path in given
    )
    genes = _genes(truth, result.field(run).genes, options.genes)
    predicted = at_spots(result, run, truth, genes)
    unit = predicted.uns["stenhance_prediction"]["unit"]
    true = _values(truth, truth, genes, unit)
    xy_um = np.asarray(predicted.obsm["spatial"]) * predicted.uns["microns_per_pixel"]
    lattice = square_lattice(xy_um, truth.geometry().pitch_um)
    sides = [("as measured", _values(section, truth, genes, unit)) for section in measured]
    sides.append(("enhanced", np.asarray(predicted.X)))
    compared = []
    with job.stage("Comparing", len(sides)) as stage:
        for what, values in sides:
            each = [
                map_agreement(values[:, n], true[:, n], lattice, all_spots=options.all_spots)
                for n in range(len(genes))
            ]
            scores = {name: tuple(one[name] for one in each) for name in MEASURES}
            compared.append(Compared(what, genes, scores))
            stage.advance()
    return tuple(compared)


def _genes(truth: Section, modelled: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Choose genes that were both predicted and counted.

    Raises
    ------
    InputError
        If one that was asked for was not, or there is none.
    """
    import numpy as np

    from napari_stenhance.methods.genes import named_genes, without_controls
    from napari_stenhance.section.gene_names import aliases_in

    spots = truth.need_spots()
    both = set(modelled) & set(spots.var_names)
    if asked:
        where = f"the genes that were predicted and are counted in {truth.where}"
        return named_genes(asked, sorted(both), where, aliases=aliases_in(spots.var))
    total = np.asarray(spots.X.sum(axis=0)).ravel()
    order = np.argsort(-total, kind="stable")
    counted = without_controls([str(spots.var_names[n]) for n in order if total[n]])
    chosen = tuple(gene for gene in counted if gene in both)[:_MOST_COUNTED]
    if not chosen:
        msg = f"{truth.where}: none of its genes was predicted; are these ids of the same kind?"
        raise InputError(msg)
    return chosen


def _values(
    section: Section, truth: Section, genes: Sequence[str], unit: str
) -> NDArray[np.floating]:
    """Return a section's expression at the spots of the truth, 0 where it has no such spot.

    Raises
    ------
    InputError
        If they have no spot in common, or a gene is missing.
    """
    import numpy as np
    import scipy.sparse as sp

    from napari_stenhance.section.spots import log1p_cp10k

    spots = section.need_spots()
    column = spots.var_names.get_indexer(list(genes))
    row = truth.need_spots().obs_names.get_indexer(spots.obs_names)
    found = row >= 0
    if not found.any() or (column < 0).any():
        msg = (
            f"{section.where}: its spots or genes are not those of {truth.where}; compare a result "
            "with the section that its counts were drawn from."
        )
        raise InputError(msg)
    counts = sp.csr_array(spots.X, dtype=np.float32)
    some = sp.csr_array(counts[:, column])
    if unit == "log1p CP10k":
        some = log1p_cp10k(some, np.asarray(counts.sum(axis=1), np.float64).ravel())
    values = np.zeros((truth.need_spots().n_obs, len(genes)), np.float32)
    values[row[found]] = some[np.flatnonzero(found)].toarray()
    return values
