"""Which features of a table are genes: one rule for spots and cells, and for every reader."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import agree, counted

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

GENES = "Gene Expression"
TYPE_COLUMNS = ("feature_types", "feature_type", "feature_biotype", "modality", "codeclass")
"""Columns of `var`, in any letters, that say what a feature is, as 10x, scanpy and others do."""
ASIDE = "not_genes"
"""The key of `obsm` that holds what is no gene, and of `uns` that names its columns."""
_NO_GENE = re.compile(
    r"antibod|antigen|crispr|guide|multiplexing|hashtag|control|codeword|blank|spike"
    r"|^adt$|^hto$|^negative|^protein(?![ _-]?coding)|^custom$",
    re.IGNORECASE,
)
_CONTROL = re.compile(
    r"NegControl(Probe|Codeword)?[_-].*|(Un|De)(assigned|precated)Codeword[_-].*|antisense_.*"
    r"|BLANK[_-].*|Intergenic_Region_.*|NegPrb\d*|Negative\d+|SystemControl\d+|FalseCode\d+"
    r"|ERCC-\d{5}",
    re.IGNORECASE,
)
_CONTROLS = "controls by their names"
_KINDS_MOST = 6


def is_control(name: str) -> bool:
    """Tell by its name alone whether a feature is a control: of what stands for no gene."""
    return _CONTROL.fullmatch(name) is not None


def feature_types(var: pd.DataFrame) -> list[str]:
    """Return what each feature is said to be; empty where nothing says."""
    columns = {str(name).lower(): name for name in var.columns}
    for column in TYPE_COLUMNS:
        if column in columns:
            said = var[columns[column]].astype(object)
            return [str(t).strip() for t in said.where(said.notna(), "")]
    return [""] * len(var)


def kinds_aside(var: pd.DataFrame) -> NDArray[Any]:
    """Say of each feature what it is if it is no gene, and nothing of a gene.

    The type decides where there is one; names such as `NegControlProbe_…` do where there is none.

    Returns
    -------
    ndarray of str, shape (features,)
    """
    types = feature_types(var)
    named = any(kind.lower() == GENES.lower() for kind in types)
    kinds = []
    for kind, name in zip(types, map(str, var.index), strict=True):
        if not kind:
            kinds.append(_CONTROLS if is_control(name) else "")
        elif named:
            kinds.append("" if kind.lower() == GENES.lower() else kind)
        else:
            kinds.append(kind if _NO_GENE.search(kind) else "")
    return np.array(kinds, dtype=object)


def listed_kinds(kinds: NDArray[Any]) -> str:
    """List the kinds of what is no gene, for a sentence."""
    several = sorted(set(kinds) - {""})
    more = " …" if len(several) > _KINDS_MOST else ""
    return ", ".join(several[:_KINDS_MOST]) + more


def need_genes(kinds: NDArray[Any], where: str) -> NDArray[np.bool_]:
    """Tell which features are genes.

    Raises
    ------
    InputError
        If none is.
    """
    genes = np.asarray(kinds == "")
    if len(genes) and not genes.any():
        msg = (
            f"{where}: none of its {counted(len(genes), 'feature')} is a gene, there are only "
            f"{listed_kinds(kinds)}; give the table of genes."
        )
        raise InputError(msg)
    return genes


def set_aside(spots: ad.AnnData, where: str) -> tuple[ad.AnnData, tuple[str, ...]]:
    """Take what is no gene out of `X`, so that it is neither counted nor predicted, nor lost.

    Returns
    -------
    spots : AnnData
        Genes alone; the counts of the others are `obsm["not_genes"]`, sparse, and their rows of
        `var`, with their kind, `uns["not_genes"]`. The table itself, if all are genes.
    doubts : tuple of str

    Raises
    ------
    InputError
        If no feature is a gene.
    """
    kinds = kinds_aside(spots.var)
    genes = need_genes(kinds, where)
    if genes.all():
        return spots, ()
    kept = spots[:, genes].copy()
    kept.uns[ASIDE] = spots.var[~genes].assign(kind=kinds[~genes]).astype(str)
    others = int((~genes).sum())
    no_genes = agree(others, "that is no gene", "that are no genes")
    said = f"{counted(others, 'feature')} {no_genes} ({listed_kinds(kinds)}) "
    said += f"{agree(others, 'is', 'are')} not counted"
    if spots.X is None:
        return kept, (f"{said}.",)
    kept.obsm[ASIDE] = sp.csr_matrix(spots.X[:, np.flatnonzero(~genes)])
    return kept, (f'{said}: they are set aside, as obsm["{ASIDE}"].',)
