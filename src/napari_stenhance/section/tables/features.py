"""Which features of a table are genes: one rule for spots and cells, and for every reader."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
TYPE_COLUMNS = (
    "feature_types",
    "feature_type",
    "feature_biotype",
    "modality",
    "codeclass",
    "feature_class",
    "probe_type",
    "target_type",
    "gene_type",
    "assay",
    "type",
)
"""Columns of `var` that may say what a feature is, as 10x and others do; letters tell them."""
ASIDE = "not_genes"
"""The key of `obsm` that holds what is no gene, and of `uns` that names its columns."""
_NO_GENE = re.compile(
    r"antibod|antigen|crispr|guide|multiplexing|hashtag|control|codeword|blank|spike|isotype"
    r"|total[ _-]?seq|cite[ _-]?seq|surface|^abs?$|^adts?$|^htos?$"
    r"|^neg(?:ative|$|[ _-]?(?:prb|probe|ctrl))"
    r"|^prot$|protein(?![ _-]?coding)|^(?:un|de)(?:assigned|precated)|false ?code|^peaks?$|^atac"
    r"|^custom$",
    re.IGNORECASE,
)
_CONTROL = re.compile(
    r"Neg(ative)?[_-]?(Control|Ctrl)[_-]?(Probe|Codeword)?[_-]?.*|Neg_?Probe[_-]?.*"
    r"|GenomicControl(Probe)?[_-].*|(Un|De)(assigned|precated)Codeword[_-].*|antisense_.*"
    r"|BLANK([_-].*|\d+)|Intergenic_Region_.*|NegPrb\d*|Negative\d+|SystemControl\d+|FalseCode\d+"
    r"|ERCC-\d{5}",
    re.IGNORECASE,
)
_ANTIBODY = re.compile(
    r".+[_.-]Total_?Seq[A-D]?([_.-].*)?|(ADT|HTO)[_-].+|hash_?tag[_ -]?\d+.*", re.IGNORECASE
)
_CONTROLS, _ANTIBODIES = "controls by their names", "antibodies by their names"
_NAME_COLUMNS = ("feature_name", "gene_name", "gene_symbol", "gene_symbols", "symbol", "name")
_KINDS_MOST = 6


def is_control(name: str) -> bool:
    """Tell by its name alone whether a feature is a control: of what stands for no gene."""
    return _CONTROL.fullmatch(name) is not None


def feature_types(var: pd.DataFrame) -> list[str]:
    """Return what each feature is said to be; empty where nothing says."""
    columns = {_letters(name): name for name in var.columns}
    for column in map(_letters, TYPE_COLUMNS):
        if column in columns:
            said = var[columns[column]].astype(object)
            kinds = [str(t).strip() for t in said.where(said.notna(), "")]
            # Others say something else of genes.
            if any(_is_gene(kind) or _NO_GENE.search(kind) for kind in set(kinds)):
                return kinds
    return [""] * len(var)


def _letters(name: object) -> str:
    return re.sub(r"[\W_]+", "", str(name)).lower()


def _is_gene(kind: str) -> bool:
    return _letters(kind) == _letters(GENES)


def _by_name(names: Iterable[str]) -> str:
    """Say what a feature is that has these names, if it is no gene."""
    for name in names:
        if is_control(name):
            return _CONTROLS
        if _ANTIBODY.fullmatch(name):
            return _ANTIBODIES
    return ""


def kinds_aside(var: pd.DataFrame) -> NDArray[Any]:
    """Say of each feature what it is if it is no gene, and nothing of a gene.

    The type decides where there is one; names such as `NegControlProbe_…` do where there is none.

    Returns
    -------
    ndarray of str, shape (features,)
    """
    types = feature_types(var)
    named = any(map(_is_gene, set(types)))
    names = [var.index.astype(str), *(var[c].astype(str) for c in _NAME_COLUMNS if c in var)]
    kinds = []
    for kind, *called in zip(types, *names, strict=True):
        if not kind:
            kinds.append(_by_name(called))
        elif named:
            kinds.append("" if _is_gene(kind) else kind)
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
    return kept, (f'{said}, but set aside as obsm["{ASIDE}"].',)
