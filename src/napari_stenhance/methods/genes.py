"""Which genes: all, by a rule, a list, or a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.sample import Sample

ALL = "all"
HVG = "hvg"
HEG = "heg"
VAR = "var"
# Pixel2Gene's cut (Yao et al. 2026): a total of at most 20 counts, and probes that are no genes.
_LOW_TOTAL = 20
_NO_GENES = (
    "BLANK",
    "NegControlCodeword",
    "NegControlProbe",
    "UnassignedCodeword",
    "DeprecatedCodeword",
)


def named_genes(spec: str) -> tuple[str, ...]:
    """Read a list of genes: `A,B,C`, or a text file with one on each line.

    Raises
    ------
    InputError
        If it names none.
    """
    path = Path(spec)
    listed = path.read_text("utf-8").splitlines() if path.is_file() else spec.split(",")
    genes = tuple(dict.fromkeys(gene.strip() for gene in listed if gene.strip()))
    if not genes:
        msg = (
            f"--genes {spec}: no gene is named; write all, hvg:N, A,B,C or a file with one a line."
        )
        raise InputError(msg)
    return genes


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


def require_genes(genes: Sequence[str], measured: Sequence[str], option: str) -> None:
    """Refuse genes that were not measured.

    Raises
    ------
    InputError
        Names them, and the option that asked for them.
    """
    there = set(measured)
    lost = [gene for gene in genes if gene not in there]
    if lost:
        msg = (
            f"{option}: {', '.join(lost[:5])}{' …' if len(lost) > 5 else ''} ({len(lost)} of "
            f"{len(genes)}) not measured in every training section; remove them from the list."
        )
        raise InputError(msg)


def is_rule(spec: str) -> bool:
    """Tell whether genes are chosen by a rule, and not by name.

    Raises
    ------
    InputError
        If N of `hvg:N`, `heg:N` or `var:N` is no positive number.
    """
    if spec == ALL:
        return True
    rule, colon, number = spec.partition(":")
    if not colon or rule not in {HVG, HEG, VAR}:
        return False
    if not number.isdigit() or int(number) == 0:
        msg = f"--genes {spec}: write {rule}:N with a number of genes, for example {rule}:1000."
        raise InputError(msg)
    return True


def choose_genes(spec: str, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Resolve `all`, a rule, `A,B,C` or a file against what the samples measured.

    Rules: `hvg:N`, the largest variance of log1p CP10k; `var:N`, the largest variance of raw
    counts, as in iStar (Zhang et al. 2024); `heg:N`, the largest total, above 20 and without
    control probes, in that order, as in Pixel2Gene (Yao et al. 2026).

    Raises
    ------
    InputError
        If N is no positive number, a named gene was not measured in every sample, or none is left.
    """
    measured = common_genes([(s.name, s.genes) for s in samples])
    if not is_rule(spec):
        genes = named_genes(spec)
        require_genes(genes, measured, "--genes")
        return genes
    if spec == ALL:
        return measured
    rule, _, number = spec.partition(":")
    if rule == HEG:
        return _highest(samples, measured)[: int(number)]
    spread = variance(
        [s.log1p_cp10k(measured) if rule == HVG else s.counts_of(measured) for s in samples]
    )
    most = np.argsort(-spread, kind="stable")[: int(number)]
    return tuple(measured[n] for n in np.sort(most))


def _highest(samples: Sequence[Sample], measured: Sequence[str]) -> tuple[str, ...]:
    """Return the genes that pass Pixel2Gene's cut, those with the most counts first."""
    total = sum(s.counts_of(measured).sum(axis=0, dtype=np.float64) for s in samples)
    kept = tuple(
        measured[n]
        for n in np.argsort(-np.asarray(total), kind="stable")
        if total[n] > _LOW_TOTAL and not measured[n].startswith(_NO_GENES)
    )
    if not kept:
        msg = f"--genes {HEG}: no gene has more than {_LOW_TOTAL} counts; choose genes by name."
        raise InputError(msg)
    return kept


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
