"""Which genes: all, the most variable, the most counted, a list, or a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.hvg import seurat_v3_variance
from napari_stenhance.methods.sample import Sample

ALL = "all"
HVG, HEG, VAR, SEURAT = "hvg:", "heg:", "var:", "seurat_v3:"
CONTROLS = (
    "BLANK",
    "NegControlCodeword",
    "NegControlProbe",
    "UnassignedCodeword",
    "DeprecatedCodeword",
)
"""How the names of control features begin: of probes and codewords that stand for no gene."""

COUNTED_ABOVE = 20
MOST_MAPS = 3000
"""As the published program of Pixel2Gene on large slides."""


def named_genes(spec: str) -> tuple[str, ...]:
    """Read a list of genes: `A,B,C`, or a text file with one on each line.

    Raises
    ------
    InputError
        If it names none.
    """
    listed = Path(spec).read_text("utf-8").splitlines() if _is_file(spec) else spec.split(",")
    genes = tuple(dict.fromkeys(gene.strip() for gene in listed if gene.strip()))
    if not genes:
        msg = (
            f"Genes {spec}: no gene is named; write all, hvg:N, seurat_v3:N, heg:N, A,B,C or a "
            "file with one a line."
        )
        raise InputError(msg)
    return genes


def _is_file(spec: str) -> bool:
    try:
        return Path(spec).is_file()
    except OSError:
        # Many names are too long for that of a file.
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
    """Leave out control features, which `CONTROLS` tells by their names."""
    return tuple(gene for gene in genes if not gene.startswith(CONTROLS))


def require_genes(genes: Sequence[str], measured: Sequence[str], option: str) -> None:
    """Refuse genes that were not measured.

    Raises
    ------
    InputError
        Names them; `option` asked for them.
    """
    there = set(measured)
    lost = [gene for gene in genes if gene not in there]
    if lost:
        msg = (
            f"{', '.join(lost[:5])}{' …' if len(lost) > 5 else ''} ({len(lost)} of {len(genes)}) "
            "are no genes that every training section measured; remove them from the list."
        )
        raise InputError(msg, option=option)


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


def is_rule(spec: str) -> bool:
    """Tell whether genes are chosen by a rule, and not by name.

    Raises
    ------
    InputError
        If N of `hvg:N`, `seurat_v3:N`, `heg:N` or `var:N` is no positive number.
    """
    if spec == ALL:
        return True
    rule = next((rule for rule in (HVG, HEG, VAR, SEURAT) if spec.startswith(rule)), None)
    if rule is None:
        return False
    number = spec.removeprefix(rule)
    if not number.isdigit() or int(number) == 0:
        msg = f"Genes {spec}: write {rule}N with a number of genes, for example {rule}1000."
        raise InputError(msg, option="genes")
    return True


def choose_genes(spec: str, samples: Sequence[Sample[Any]]) -> tuple[str, ...]:
    """Resolve `all`, a rule, `A,B,C` or a file against what the samples measured.

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
    if not is_rule(spec):
        genes = named_genes(spec)
        require_genes(genes, measured, "genes")
        return genes
    chosen = without_controls(measured)
    if chosen and spec != ALL:
        chosen = _by_rule(spec, chosen, samples)
    if not chosen:
        msg = (
            f"Genes {spec}: this leaves no gene (control features are left out, and heg:N needs "
            f"more than {COUNTED_ABOVE} counts); name the genes that you want."
        )
        raise InputError(msg, option="genes")
    return chosen


def _by_rule(spec: str, genes: Sequence[str], samples: Sequence[Sample[Any]]) -> tuple[str, ...]:
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
