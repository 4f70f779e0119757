"""What a run says of spots, as a table for scanpy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.results.domains import DomainRun, domain_runs
from napari_stenhance.results.imputed import ImputedRun, imputed_runs
from napari_stenhance.running.numbers import agree

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

    from napari_stenhance.methods.decoder import Decoder
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.results.run import Run
    from napari_stenhance.section.section import Section


def by_gene(
    source: Decoder | GeneSource, name: Literal["held_out_r", "held_out_r_given_depth"]
) -> pd.Series[float]:
    """Return how well each gene was predicted where it was hidden, by gene."""
    import pandas as pd

    return pd.Series(getattr(source, name), index=pd.Index(source.genes), name=name)


def held_out_table(run: GeneSource) -> pd.DataFrame:
    """Return all that is known of each gene where it was hidden; see `Result.held_out`."""
    import numpy as np
    import pandas as pd

    from napari_stenhance.results.predictions import genes_table
    from napari_stenhance.results.runs import FieldRun

    if isinstance(run, FieldRun):
        return genes_table(run.field.decoder, np.arange(len(run.genes)))
    names = "held_out_r", "held_out_r_given_depth"
    return pd.DataFrame({name: getattr(run, name) for name in names}, index=pd.Index(run.genes))


def table_of(run: Run, at: Any, genes: Sequence[str] | None) -> ad.AnnData:
    """Return what a run says of spots; see `Result.to_anndata`.

    Raises
    ------
    InputError
        If there are no spots, they belong to another slide, or a gene is not there.
    """
    from napari_stenhance.api.read import read
    from napari_stenhance.results.imputed_table import only_genes
    from napari_stenhance.results.predictions import at_spots

    if isinstance(run, ImputedRun | DomainRun) and at is not None:
        msg = f"{run.result.path}: the run {run.name} holds its own spots already; leave out `at`."
        raise InputError(msg)
    if isinstance(run, DomainRun):
        return _with_domains(run, genes)
    if isinstance(run, ImputedRun):
        for gene in genes or ():
            run.index_of(gene)
        return run.table() if genes is None else only_genes(run.table(), genes)
    section = _spots_inside(run) if at is None else read(at)
    return at_spots(run.result, run.name, section, genes)


def _with_domains(run: DomainRun, genes: Sequence[str] | None) -> ad.AnnData:
    spots = run.spots()
    if spots is None:
        msg = (
            f"{run.result.path}: the domains of {run.name} are those of superpixels, and not of "
            "spots; they are in `labels`."
        )
        raise InputError(msg)
    if genes is None:
        return spots
    lost = [gene for gene in genes if gene not in spots.var_names]
    if lost:
        said = ", ".join(lost[:5])
        msg = f"{run.result.path}: {said} {agree(len(lost), 'was', 'were')} not measured at the "
        msg += f"spots of {run.name}."
        raise InputError(msg)
    return spots[:, list(genes)].copy()


def _spots_inside(run: Run) -> Section:
    """Find spots of the slide in the result itself: an imputation or domains brought them.

    Raises
    ------
    InputError
        If it holds none.
    """
    from napari_stenhance.section.section import Section

    of_domains = (one.spots() for one in reversed(domain_runs(run.result)))
    of_imputed = (one.table() for one in reversed(imputed_runs(run.result)))
    spots = next((t for t in chain(of_domains, of_imputed) if t is not None), None)
    if spots is None:
        msg = (
            f"{run.result.path}: the run {run.name} predicted superpixels, and this result holds "
            "no spots; name those of a section with `at`."
        )
        raise InputError(msg)
    return Section(spots=spots, name=run.result.name, mpp=run.result.attributes["slide"]["mpp"])
