"""Genes to look at, whatever they come from: fields, published rasters, imputations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.genes import genes_of, named_genes
from napari_stenhance.results.field import What
from napari_stenhance.results.gene_statistics import GeneStatistics
from napari_stenhance.results.gene_sums import GeneNames, is_formula
from napari_stenhance.results.run import Run
from napari_stenhance.scoring.metrics import RELIABLE_R
from napari_stenhance.storage.levels import Levels

Origin = Literal["predicted", "imputed", "partly imputed", "measured"]
Reliability = Literal["reliable", "not reliable", "not known", "measured"]


def judge(
    given_depth: NDArray[np.floating],
    measured: NDArray[np.bool_],
    least: float = RELIABLE_R,
    told: NDArray[np.bool_] | None = None,
) -> NDArray[np.object_]:
    """Tell of genes whether what is shown of them is reliable.

    Parameters
    ----------
    given_depth : ndarray, shape (genes,)
        Pearson's r with depth held constant, on held-out spots; NaN where it is not known.
    measured : ndarray of bool, shape (genes,)
        Whether what was measured is shown.
    least : float
        The least r of a reliable one.
    told : ndarray of bool, shape (genes,), optional
        Whether a gene can be told from depth; what cannot is not reliable, but where the least is
        0 or below: who asks for that asks for nothing beyond depth.

    Returns
    -------
    ndarray of object, shape (genes,)
        As `Reliability`. What is not known is not unreliable.
    """
    found = np.full(np.shape(given_depth), "not known", dtype=object)
    beyond = given_depth >= least
    found[beyond if told is None or least <= 0 else beyond & told] = "reliable"
    found[np.isfinite(given_depth) & (found != "reliable")] = "not reliable"
    found[measured] = "measured"
    return found


_WORST_FIRST: tuple[Reliability, ...] = ("not reliable", "not known", "reliable", "measured")


class GeneSource(Run):
    """A run whose genes can be looked at, and sums of genes, as `GeneSum` writes them."""

    pooled: ClassVar[bool]
    """Whether coarse levels of images that are written are means; else, as they are looked at."""

    @property
    @abstractmethod
    def number(self) -> int:
        """How many of its kind the result had before it."""

    @property
    @abstractmethod
    def genes(self) -> tuple[str, ...]:
        """Genes that can be shown."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """Unit of their images."""

    @property
    @abstractmethod
    def shown_first(self) -> str:
        """The gene to look at first."""

    @property
    @abstractmethod
    def held_out_r(self) -> NDArray[np.float32]:
        """Pearson's r of each gene where it was measured and hidden; NaN if not known."""

    @property
    @abstractmethod
    def held_out_r_given_depth(self) -> NDArray[np.float32]:
        """The same with the log total count of the spots held constant."""

    @property
    def told_from_depth(self) -> NDArray[np.bool_] | None:
        """Whether each gene's r given depth is above 0 by its error; None where that is not known.

        Of how many spots that r is, must be known for it.
        """
        return None

    @cached_property
    def statistics(self) -> GeneStatistics:
        """What can be said of every gene at once: ask only for that of a complete run."""
        return self.compute_statistics()

    @property
    def known_statistics(self) -> GeneStatistics | None:
        """The same if it was computed before; else None."""
        found: GeneStatistics | None = vars(self).get("statistics")
        return found

    @abstractmethod
    def compute_statistics(self) -> GeneStatistics:
        """Compute what can be said of every gene at once."""

    @cached_property
    def names(self) -> GeneNames:
        """What genes and sums are read by."""
        return GeneNames(self.genes, self.aliases)

    @property
    def aliases(self) -> Mapping[str, str]:
        """Which gene each other name means, as ids beside symbols."""
        return {}

    def named(self, given: str | Sequence[str]) -> tuple[str, ...]:
        """Resolve genes, or a sum of them that stands by itself; see `named_genes`.

        Raises
        ------
        InputError
            If none is named, or one is not there.
        """
        texts = (given,) if isinstance(given, str) else given
        if len(texts) == 1 and is_formula(texts[0]) and not texts[0].startswith("@"):
            try:
                return (self.names.find(texts[0]).text,)
            except InputError as error:
                # Else it may be a list, or a file, which the other sentences are for.
                if "(" in texts[0] or any(sign in texts[0] for sign in (" + ", " - ", " * ")):
                    raise InputError(str(error), option="genes") from None
        return named_genes(given, self.genes, genes_of(self.name), aliases=self.aliases)

    def levels(self, gene: str, what: What = "expression") -> Levels:
        """Show one gene or sum of genes, or the spread of a gene; NaN where there is nothing.

        Raises
        ------
        InputError
            If a gene is not there, or its values are damaged; if the spread is asked for of a
            sum: that of its genes does not say it.
        """
        gene = self.names.meant(gene)
        if gene in self.names.known or not is_formula(gene):
            return self.gene_levels(gene, what)
        found = self.names.find(gene)
        if what == "spread":
            msg = f"{found.label}: the spread of a sum is not known; ask for a gene's."
            raise InputError(msg)
        return self.sum_levels(found.weights)

    @abstractmethod
    def gene_levels(self, gene: str, what: What = "expression") -> Levels:
        """Show one gene, or its spread; see `levels`."""

    @abstractmethod
    def sum_levels(self, weights: Mapping[str, float]) -> Levels:
        """Show the weighted sum of what is shown of some genes."""

    def origin(self, gene: str) -> Origin:
        """Tell where the values of a gene, or of a sum, come from."""
        if gene in self.names.known:
            return self.gene_origin(gene)
        found = {self.gene_origin(one) for one in self.names.find(gene).genes}
        return next(iter(found)) if len(found) == 1 else "partly imputed"

    @abstractmethod
    def gene_origin(self, gene: str) -> Origin:
        """Tell where the values of a gene come from."""

    def reliability(self, gene: str, least: float = RELIABLE_R) -> Reliability:
        """Tell whether what is shown of a gene is reliable; see `judge`.

        Of a sum, that of its least reliable gene: how well it is predicted itself is not computed.
        """
        given, told, found = self.held_out_r_given_depth, self.told_from_depth, set()
        for one in self.names.find(gene).genes:
            at, measured = self.names.known[one], self.gene_origin(one) == "measured"
            one_told = None if told is None else told[at : at + 1]
            found.add(judge(given[at : at + 1], np.array([measured]), least, one_told)[0])
        return next(one for one in _WORST_FIRST if one in found)

    def trust(self, gene: str) -> str:
        """Say how far a gene, or a sum, can be trusted."""
        if gene in self.names.known:
            return self.gene_trust(gene)
        found = self.names.find(gene)
        said = f"{found.label}: how well it is predicted as a whole is not known"
        predicted = [one for one in found.genes if self.gene_origin(one) != "measured"]
        least = self.least_of(predicted)
        if least is None:
            more = "" if predicted else "; its genes are shown as they were measured"
            return f"{said}{more}."
        worst, r = least
        return (
            f"{said}; of its genes, {worst} has the least r given depth on what was held out, "
            f"{r:.2f}."
        )

    def least_of(self, genes: Sequence[str]) -> tuple[str, float] | None:
        """Return which of some genes has the least r given depth, if it is known of any."""
        given = {one: float(self.held_out_r_given_depth[self.names.known[one]]) for one in genes}
        known = {one: r for one, r in given.items() if np.isfinite(r)}
        return min(known.items(), key=lambda one: one[1]) if known else None

    @abstractmethod
    def gene_trust(self, gene: str) -> str:
        """Say how far a gene can be trusted."""
