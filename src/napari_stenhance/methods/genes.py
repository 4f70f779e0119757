"""Which genes: all, the most variable, the most counted, a list, or a file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.hvg import seurat_v3_variance
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.section.gene_names import gene_meant
from napari_stenhance.section.tables.features import is_control
from napari_stenhance.storage.reading import reading

ALL = "all"
HVG, HEG, VAR, SEURAT = "hvg:", "heg:", "var:", "seurat_v3:"
EVERYWHERE = "the genes that every training section measured"
_NUMBER = re.compile("[0-9]{1,9}")
COUNTED_ABOVE = 20
_NEAR = 0.75
"""How alike two names are, from 0 to 1, for the one to be taken for a misprint of the other."""
MOST_MAPS = 3000
"""As the published program of Pixel2Gene on large slides."""


def named_genes(
    given: str | Sequence[str],
    there: Sequence[str],
    where: str,
    option: str = "genes",
    aliases: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Resolve genes that someone named against those that are there.

    Parameters
    ----------
    given : str or sequence of str
        Each a gene, several as `A,B,C`, or `@FILE`, a text file with one gene on each line. What is
        a gene as a whole stays whole, commas and all.
    there : sequence of str
    where : str
        What these are, such as "the genes of the model", for the sentence.
    option : str
        The field in which they were given.
    aliases : mapping of str to str, optional
        What else they are called, as ids beside symbols; see `aliases_of`.

    Returns
    -------
    tuple of str
        Each once, in the order given.

    Raises
    ------
    InputError
        If none is named, one is not there, or a file cannot be read.
    """
    known, others = frozenset(there), aliases or {}
    texts = (given,) if isinstance(given, str) else given
    listed = (gene for text in texts for gene in _listed(text, known))
    genes = tuple(dict.fromkeys(gene_meant(gene, known, others) for gene in listed))
    if not genes:
        msg = f"{', '.join(texts) or 'Genes'}: no gene is named; write A,B,C or @FILE."
        raise InputError(msg, option=option)
    lost = [gene for gene in genes if gene not in known]
    if lost:
        shown = ", ".join(lost[:5]) + (" …" if len(lost) > 5 else "")
        number = f" ({len(lost)} of {len(genes)})" if len(genes) > 1 else ""
        msg = f"{shown}{number}: not among {where}; {_hint(lost, there)}"
        raise InputError(msg, option=option)
    return genes


def genes_of(run: str) -> str:
    """Say, for `named_genes`, that genes are those of a run."""
    return f"the genes of the run {run}"


def _listed(text: str, known: Collection[str]) -> list[str]:
    if text in known or not text.startswith("@"):
        return split_genes(text, known)
    with reading(text[1:], "the list of genes", "give a text file with one gene on each line"):
        lines = Path(text[1:]).expanduser().read_text("utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip()]


def split_genes(text: str, known: Collection[str]) -> list[str]:
    """Take `A,B,C` apart, but not a gene that has a comma in its name: the longest that is known.

    Parameters
    ----------
    text : str
    known : collection of str
        Genes that are there; a name that is none of them stays as it is, for others to refuse.
    """
    parts = text.split(",")
    most = 1 + max((gene.count(",") for gene in known), default=0)
    genes: list[str] = []
    while parts:
        tried = (",".join(parts[:size]).strip() for size in range(min(most, len(parts)), 1, -1))
        gene = next((whole for whole in tried if whole in known), parts[0].strip())
        del parts[: 1 + gene.count(",")]
        genes.append(gene)
    return [gene for gene in genes if gene]


def _hint(lost: Sequence[str], there: Sequence[str]) -> str:
    """Say what was meant: genes in other letters, a file, or the nearest; else, what to do."""
    alike = {gene.casefold(): gene for gene in there}
    meant = [alike[gene.casefold()] for gene in lost if gene.casefold() in alike]
    file = next((name for name in lost if _is_file(name)), None)
    if file is not None and not meant:
        return f"for the genes of that file, write @{file}."
    if not meant:
        near = (difflib.get_close_matches(gene, there, 1, _NEAR) for gene in lost[:5])
        meant = list(dict.fromkeys(gene for found in near for gene in found))
    if meant:
        return f"did you mean {', '.join(meant[:5])}?"
    return "leave it out." if len(lost) == 1 else "leave them out."


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        # Not every name can be that of a file.
        return False


def common_genes(measured: Sequence[tuple[str, Sequence[str]]]) -> tuple[str, ...]:
    """Return the genes measured in every section, in the order of the first.

    Parameters
    ----------
    measured : sequence of tuple
        Name and genes of each section.

    Raises
    ------
    InputError
        If there is none.
    """
    first, *others = (genes for _, genes in measured)
    shared = set(first).intersection(*others)
    if not shared:
        examples = "; ".join(f"{name}: {', '.join(genes[:3])}" for name, genes in measured)
        msg = f"The sections have no gene in common ({examples}); use the same kind of gene ids."
        raise InputError(msg)
    return tuple(gene for gene in first if gene in shared)


def without_controls(genes: Sequence[str]) -> tuple[str, ...]:
    """Leave out control features, which their names tell: not every table says types."""
    return tuple(gene for gene in genes if not is_control(gene))


def require_few(genes: Sequence[str], preset: str) -> None:
    """Refuse more genes than a preset can keep that has a map of its own for each.

    Raises
    ------
    InputError
        If there are too many.
    """
    if len(genes) > MOST_MAPS:
        msg = (
            f"The preset {preset} keeps a map of every gene, of {MOST_MAPS} at most, and "
            f"{len(genes)} were asked for; choose fewer, for example hvg:1000."
        )
        raise InputError(msg, option="genes")


def rule_of(given: str | Sequence[str]) -> str | None:
    """Return the rule by which genes are chosen; None if they are named.

    Raises
    ------
    InputError
        If N of `hvg:N`, `seurat_v3:N`, `heg:N` or `var:N` is no positive number, or names stand
        beside a rule.
    """
    texts = (given,) if isinstance(given, str) else given
    rules = [text for text in texts if text == ALL or text.startswith((HVG, HEG, VAR, SEURAT))]
    if not rules:
        return None
    if len(texts) > 1:
        msg = f"{', '.join(texts[:5])}: {rules[0]} chooses alone; leave it out, or all others."
        raise InputError(msg, option="genes")
    (text,) = rules
    rule, colon, number = text.partition(":")
    if text != ALL and not is_number(number):
        rule += colon
        msg = f"Genes {text}: write {rule}N with a number of genes, for example {rule}1000."
        raise InputError(msg, option="genes")
    return text


def is_number(text: str, least: int = 1) -> bool:
    """Tell whether a text is a number of genes: of digits from 0 to 9, which not all digits are."""
    return _NUMBER.fullmatch(text) is not None and int(text) >= least


def choose_genes(given: str | Sequence[str], samples: Sequence[TrainingSection]) -> tuple[str, ...]:
    """Resolve `all`, a rule, or names (`named_genes`) against what the samples measured.

    Rules: `hvg:N`, the largest variance of log1p CP10k; `var:N`, the largest variance of raw
    counts, as in iStar (Zhang et al. 2024); `seurat_v3:N`, the largest standardised variance of
    raw counts (`methods.hvg`), of several samples the mean; all three in the order of the first
    sample. `heg:N`, the most counts, of genes with more than 20, most first, as in Pixel2Gene (Yao
    et al. 2026). Rules choose no control features; who names one, gets it.

    Raises
    ------
    InputError
        If N is no positive number, a named gene was not measured in every sample, or a rule leaves
        no gene.
    """
    measured = common_genes([(s.name, s.genes) for s in samples])
    rule = rule_of(given)
    if rule is None:
        return named_genes(given, measured, EVERYWHERE)
    chosen = without_controls(measured)
    if chosen and rule != ALL:
        chosen = _by_rule(rule, chosen, samples)
    if not chosen:
        msg = (
            f"Genes {rule}: this leaves no gene (control features are left out, and heg:N needs "
            f"more than {COUNTED_ABOVE} counts); name the genes that you want."
        )
        raise InputError(msg, option="genes")
    return chosen


def _by_rule(
    spec: str, genes: Sequence[str], samples: Sequence[TrainingSection]
) -> tuple[str, ...]:
    number = int(spec.partition(":")[2])
    if spec.startswith(HEG):
        total = np.sum([s.counts_of(genes).sum(axis=0, dtype=np.float64) for s in samples], axis=0)
        order = np.argsort(-total, kind="stable")[:number]
        return tuple(genes[n] for n in order if total[n] > COUNTED_ABOVE)
    if spec.startswith(SEURAT):
        spread = np.mean([seurat_v3_variance(s.counts_of(genes)) for s in samples], axis=0)
    elif spec.startswith(VAR):
        spread = variance([s.counts_of(genes) for s in samples])
    else:
        spread = variance([s.log1p_cp10k(genes) for s in samples])
    return tuple(genes[n] for n in np.sort(np.argsort(-spread, kind="stable")[:number]))


def variance(expressions: Sequence[sp.csr_array[np.float32]]) -> NDArray[np.float64]:
    """Variance of each gene over the spots of all sections, each centred on its own mean.

    This is what ranks highly variable genes here: variance of log1p CP10k.
    """
    total = np.zeros(expressions[0].shape[1])
    for expression in expressions:
        mean = np.asarray(expression.mean(axis=0)).ravel()
        square = np.asarray(expression.multiply(expression).sum(axis=0)).ravel()
        total += square - expression.shape[0] * mean**2
    return total / sum(e.shape[0] for e in expressions)
