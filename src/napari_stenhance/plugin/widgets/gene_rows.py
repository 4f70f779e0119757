"""What the table of genes knows of each, and which of them are seen, in which order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.results.gene_source import GeneSource, judge
from napari_stenhance.results.gene_statistics import GeneStatistics


@dataclass(frozen=True, eq=False)
class GeneRows:
    """Genes of a run, or of spots, and how far each can be trusted.

    Attributes
    ----------
    genes : tuple of str
    reliability : ndarray of str, shape (genes,)
        As `Reliability`.
    numbers : mapping of str to ndarray of float, shape (genes,)
        Columns; NaN where a number is not known. A column that is not there is known of no gene.
    only_depth : ndarray of bool, shape (genes,), or None
        Which cannot be told from depth though their r given depth is known; None where nothing
        says it.
    domains : ndarray of str, shape (genes,), or None
        Where each is expressed most.
    aliases : mapping of str to str
        Which gene an id means, or a symbol, beside its name.
    """

    genes: tuple[str, ...]
    reliability: NDArray[Any]
    numbers: dict[str, NDArray[np.floating]]
    only_depth: NDArray[np.bool_] | None = None
    domains: NDArray[Any] | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_run(cls, run: GeneSource, least: float) -> GeneRows:
        """List the genes of a run, those first that were not measured."""
        measured = np.array([run.origin(gene) == "measured" for gene in run.genes], bool)
        order = np.argsort(measured, kind="stable")
        given, told = run.held_out_r_given_depth, run.told_from_depth
        return cls(
            tuple(run.genes[n] for n in order),
            judge(given, measured, least, told)[order],
            {"r": run.held_out_r[order], "given": given[order]},
            only_depth=None if told is None else (np.isfinite(given) & ~told)[order],
            aliases=run.aliases,
        )

    @classmethod
    def of_measured(
        cls, genes: tuple[str, ...], aliases: Mapping[str, str] | None = None
    ) -> GeneRows:
        """List genes that were measured."""
        said = np.full(len(genes), "measured", dtype=object)
        return cls(genes, said, {}, aliases=aliases or {})

    def with_statistics(
        self, genes: Sequence[str], said: GeneStatistics, domains: Mapping[str, str]
    ) -> GeneRows:
        """Add what was computed of the same genes, in the order of their run, and their domains."""
        order = [self.row_of[gene] for gene in genes]
        columns = {name: np.empty(len(order)) for name in ("mean", "moran")}
        columns["mean"][order], columns["moran"][order] = said.mean, said.moran
        top = [domains.get(gene, "") for gene in self.genes]
        return replace(
            self,
            numbers={**self.numbers, **columns},
            domains=np.array(top, dtype=object) if any(top) else None,
        )

    @cached_property
    def _folded(self) -> list[str]:
        return [gene.casefold() for gene in self.genes]

    @cached_property
    def _searched(self) -> list[str]:
        """What each gene is called, in all ways."""
        called = list(self._folded)
        for other, gene in self.aliases.items():
            if gene in self.row_of:
                called[self.row_of[gene]] += f"\n{other.casefold()}"
        return called

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each gene."""
        return {gene: row for row, gene in enumerate(self.genes)}

    def order(
        self,
        text: str = "",
        within: Collection[int] | None = None,
        *,
        only_reliable: bool = False,
        by: str | None = None,
        descending: bool = False,
    ) -> NDArray[np.int64]:
        """Return which rows are seen, from the top down.

        Parameters
        ----------
        text : str
            A part of the name, or of the id, in any letters.
        within : collection of int, optional
            The rows of a list; by default all.
        only_reliable : bool
            Leave out what was predicted not reliably, and of what it is not known.
        by : {"gene", "r", "given", "mean", "moran", "domain"}, optional
            What to sort by; what is not known comes last.
        descending : bool
        """
        seen = np.ones(len(self.genes), bool)
        if text:
            text = text.casefold()
            seen &= np.fromiter((text in called for called in self._searched), bool, len(seen))
        if within is not None:
            chosen = np.zeros(len(seen), bool)
            chosen[list(within)] = True
            seen &= chosen
        if only_reliable:
            seen &= np.isin(self.reliability.astype(str), ("reliable", "measured"))
        rows = np.flatnonzero(seen)
        if by is None:
            return rows
        if by == "gene":
            keys = np.array([self._folded[row] for row in rows], dtype=object)
        elif by == "domain" and self.domains is not None:
            keys = self.domains[rows]
        else:
            keys = self.numbers.get(by, np.full(len(self.genes), np.nan))[rows]
            return rows[np.argsort(-keys if descending else keys, kind="stable")]
        placed = np.argsort(keys, kind="stable")
        return rows[placed[::-1] if descending else placed]

    def meant(self, text: str, rows: NDArray[np.int64]) -> str | None:
        """Return the gene that was typed, in any letters, or else the only one that is seen."""
        if text in self.row_of:
            return text
        exact = [row for row, gene in enumerate(self._folded) if gene == text.casefold()]
        found = exact if exact else rows
        return self.genes[found[0]] if text and len(found) == 1 else None
