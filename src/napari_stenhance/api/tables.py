"""What a run says of spots, as a table for scanpy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.results.domains import DomainRun, domain_runs
from napari_stenhance.results.imputed import ImputedRun, imputed_runs

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

    from napari_stenhance.methods.field import Decoder
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.runs import FieldRun
    from napari_stenhance.section.section import Section


def held_out(decoder: Decoder) -> pd.DataFrame:
    """Return how well each gene was predicted on held-out spots, also with depth held constant."""
    import pandas as pd

    return pd.DataFrame(
        {
            "held_out_r": decoder.held_out_r,
            "held_out_r_given_depth": decoder.held_out_r_given_depth,
        },
        index=pd.Index(decoder.genes),
    )


def table_of(
    folder: ResultFolder,
    run: FieldRun | ImputedRun | DomainRun,
    at: Any,
    genes: Sequence[str] | None,
) -> ad.AnnData:
    """Return what a run says of spots; see `Result.to_anndata`.

    Raises
    ------
    InputError
        If there are no spots, they belong to another slide, or a gene is not there.
    """
    from napari_stenhance.api.read import read
    from napari_stenhance.results.export import at_spots
    from napari_stenhance.results.imputed_table import only_genes

    if isinstance(run, ImputedRun | DomainRun):
        if at is not None:
            msg = f"{folder.path}: the run {run.name} holds its own spots already; leave out `at`."
            raise InputError(msg)
        if isinstance(run, ImputedRun):
            table = run.table()
            if genes is None:
                return table
            for gene in genes:
                run.index_of(gene)
            return only_genes(table, genes)
        return _with_domains(folder, run, genes)
    section = _own_spots(folder, run) if at is None else read(at)
    return at_spots(folder, run.name, section, genes)


def _with_domains(folder: ResultFolder, run: DomainRun, genes: Sequence[str] | None) -> ad.AnnData:
    spots = run.spots()
    if spots is None:
        msg = (
            f"{folder.path}: the domains of {run.name} are those of superpixels, and not of spots; "
            "they are in `labels`."
        )
        raise InputError(msg)
    if genes is None:
        return spots
    lost = [gene for gene in genes if gene not in spots.var_names]
    if lost:
        msg = f"{folder.path}: {', '.join(lost[:5])} were not measured at the spots of {run.name}."
        raise InputError(msg)
    return spots[:, list(genes)].copy()


def _own_spots(folder: ResultFolder, run: FieldRun) -> Section:
    """Find spots of the slide in the result itself: an imputation or domains brought them.

    Raises
    ------
    InputError
        If it holds none.
    """
    from napari_stenhance.section.section import Section

    of_domains = (one.spots() for one in reversed(domain_runs(folder)))
    of_imputed = (one.table() for one in reversed(imputed_runs(folder)))
    spots = next((t for t in chain(of_domains, of_imputed) if t is not None), None)
    if spots is None:
        msg = (
            f"{folder.path}: the run {run.name} predicted superpixels, and this result holds no "
            "spots; name those of a section with `at`."
        )
        raise InputError(msg)
    return Section(spots=spots, name=folder.name, mpp=folder.about["slide"]["mpp"])
