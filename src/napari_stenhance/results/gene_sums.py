"""Genes that are added up: `ERBB2 + GRB7 - ALB`, and the mean of a set of genes as its score."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isclose, isfinite

from napari_stenhance.errors import InputError
from napari_stenhance.methods.decoder import no_such_gene
from napari_stenhance.section.gene_names import gene_meant

NAMED = " = "
"""Between what someone calls a sum, and its formula."""
_BREAKS = frozenset(" \t\n+-*/(),")
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(?=[\s+\-*/(),]|$)", re.IGNORECASE)
_MEAN = re.compile(r"mean\s*\(", re.IGNORECASE)
_WORD = re.compile(r"[^\s+*/(),]+")
_DEEPEST, _LONGEST, _SHOWN = 50, 2**16, 40
_ADVICE = "write sums and differences of genes, as 2 * A + B - C, or their mean, as mean(A, B, C)"

_Value = float | dict[str, float]
"""A number, or the weight of each gene."""


@dataclass(frozen=True)
class GeneSum:
    """A weighted sum of genes: of what is shown of each, in its unit, so that no gene is below 0.

    `mean(A, B, C)` is the score of a set: the mean of its genes, in log1p CP10k. It is the first
    term of `scanpy.tl.score_genes` (of Satija et al. 2015), without the mean of control genes: of
    spots, which measured more genes than a run predicts, those would be others than of the run,
    and one name would stand for two formulas.

    Attributes
    ----------
    text : str
        The formula as it can be read again, after the name that someone gave it, if any. A single
        gene is its name.
    weights : mapping of str to float
        Of each gene; none is 0.
    """

    text: str
    weights: Mapping[str, float]

    @property
    def genes(self) -> tuple[str, ...]:
        """The genes that it is made of."""
        return tuple(self.weights)

    @property
    def label(self) -> str:
        """What to call it in a title: its name, and its formula, or how many genes that has."""
        name, _, formula = self.text.rpartition(NAMED)
        if len(name) > _SHOWN:
            name = f"{name[:_SHOWN]}…"
        if len(formula) > _SHOWN:
            number = len(self.weights)
            is_mean = all(isclose(weight, 1 / number) for weight in self.weights.values())
            formula = f"{'mean' if is_mean else 'sum'} of {number} genes"
        return f"{name}: {formula}" if name else formula


def is_formula(text: str) -> bool:
    """Tell whether a text that is no gene may be meant as a sum."""
    return NAMED in text or any(sign in text for sign in "+-*/(")


def score_of(genes: Sequence[str], name: str = "", known: Container[str] = ()) -> str:
    """Write the score of a set of genes as a sum; see `GeneSum`.

    Parameters
    ----------
    genes : sequence of str
        One or more.
    name : str
        Of the set.
    known : container of str
        Genes: a set that is called like one of them is called a set.
    """
    formula = genes[0] if len(genes) == 1 else f"mean({', '.join(genes)})"
    called = " ".join(name.split())
    called += " (set)" * (called in known)
    return f"{called}{NAMED}{formula}" if called else formula


class GeneNames:
    """Genes that there are, by which genes and sums are read.

    Names of genes come first, longest first: `HLA-A` is that gene, where there is one, and what is
    left of its name stands for a difference only where there is none.

    Parameters
    ----------
    genes : iterable of str
    aliases : mapping of str to str, optional
        What else they are called, as ids beside symbols; see `aliases_of`.

    Attributes
    ----------
    known : dict of str to int
        The place of each.
    """

    def __init__(self, genes: Iterable[str], aliases: Mapping[str, str] | None = None) -> None:
        self.known: dict[str, int] = {}
        for n, gene in enumerate(genes):
            self.known.setdefault(gene, n)
        self._aliases = aliases or {}
        self._longest = max(map(len, (*self.known, *self._aliases)), default=0)
        self._alike: dict[str, list[str]] = {}
        for gene in self.known:
            self._alike.setdefault(gene.casefold(), []).append(gene)
        # What is looked at is asked for again and again.
        self._found = lru_cache(maxsize=8)(self._read)

    def __contains__(self, text: str) -> bool:
        """Tell whether a gene, or each of a sum, is there, as it is written."""
        try:
            return text in self.known or bool(self._found(text, any_case=False))
        except InputError:
            return False

    def label(self, text: str) -> str:
        """Call a gene, or a sum, in a title."""
        return text if text in self.known else self.find(text).label

    def find(self, text: str, *, any_case: bool = False) -> GeneSum:
        """Read a sum, or a gene.

        Parameters
        ----------
        text : str
            Sums and differences of genes, which numbers may multiply or divide, `mean(A, B)`, and
            brackets; before it, a name of one's own and " = ".
        any_case : bool
            Take genes that are written in other letters, where only one can be meant.

        Raises
        ------
        InputError
            If it is none, or a gene is not there.
        """
        text = text if text in self.known else text.strip()
        return self._found(text, any_case=any_case)

    def _read(self, text: str, *, any_case: bool) -> GeneSum:
        if text in self.known:
            return GeneSum(text, {text: 1.0})
        if len(text) > _LONGEST:
            msg = f"{text[:_SHOWN]} …: it is longer than {_LONGEST} letters; {_ADVICE}."
            raise InputError(msg)
        name, named, formula = text.rpartition(NAMED)
        reader = _Reader(formula, self, any_case=any_case)
        weights = {gene: weight for gene, weight in reader.read().items() if weight}
        if name.strip() in self.known and weights != {name.strip(): 1.0}:
            msg = f"{name.strip()} is a gene: give the sum {formula.strip()[:_SHOWN]} another name."
            raise InputError(msg)
        if not weights or not all(map(isfinite, weights.values())):
            left = "its numbers are too large" if weights else "nothing is left of it"
            msg = f"{text[:_SHOWN]}: {left}; {_ADVICE}."
            raise InputError(msg)
        written = reader.written
        if not named and list(weights.values()) == [1.0]:
            written = next(iter(weights))
        return GeneSum(f"{name.strip()}{named}{written}", weights)

    def gene_at(self, text: str, at: int, *, any_case: bool) -> tuple[str, int] | None:
        """Return the longest gene that is written at a place, and where it ends."""
        for end in range(min(len(text), at + self._longest), at, -1):
            if end < len(text) and text[end] not in _BREAKS:
                continue
            found = [self.meant(text[at:end])]
            if found[0] not in self.known:
                found = self._alike.get(found[0].casefold(), []) if any_case else []
            if len(found) > 1:
                msg = f"{text[at:end]}: {' and '.join(found)} are called so; write one of them."
                raise InputError(msg)
            if found:
                return found[0], end
        return None

    def meant(self, name: str) -> str:
        """Return the gene that is called so; the name itself if none is."""
        return gene_meant(name, self.known, self._aliases)

    def lost(self, word: str) -> InputError:
        """Say that a gene is not there."""
        return no_such_gene(word, self.known, "it was not measured or not chosen.")


class _Reader:
    """Reads one formula, from left to right.

    Attributes
    ----------
    written : str
        What was read, each gene as it is called and one space around each sign.
    """

    def __init__(self, text: str, names: GeneNames, *, any_case: bool) -> None:
        self._text, self._names, self._any_case = text, names, any_case
        self._at = self._depth = 0
        self.written = ""

    def read(self) -> dict[str, float]:
        value = self._sum()
        if self._next():
            raise self._wrong()
        return self._genes(value)

    def _next(self) -> str:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._text[self._at : self._at + 1]

    def _take(self, written: str) -> None:
        self._at += 1
        self.written += written

    def _wrong(self) -> InputError:
        rest = self._text[self._at :].strip()
        where = f"at {rest[:_SHOWN]!r}" if rest else "at its end"
        return InputError(f"{self._text[:_SHOWN]}: not understood {where}; {_ADVICE}.")

    def _genes(self, value: _Value) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        msg = f"{self._text[:_SHOWN]}: numbers multiply or divide genes, and are not added; "
        raise InputError(f"{msg}{_ADVICE}.")

    def _sum(self) -> _Value:
        sign = 1.0
        while (found := self._next()) and found in "+-":
            sign *= -1 if found == "-" else 1
            self._take("-" if found == "-" else "")
        total = _times(self._product(), sign)
        while (found := self._next()) and found in "+-":
            self._take(f" {found} ")
            more = self._genes(_times(self._product(), -1 if found == "-" else 1))
            total = dict(self._genes(total))
            for gene, weight in more.items():
                total[gene] = total.get(gene, 0.0) + weight
        return total

    def _product(self) -> _Value:
        value = self._one()
        while (found := self._next()) and found in "*/":
            self._take(f" {found} ")
            other = self._one()
            if isinstance(other, dict):
                if found == "/" or isinstance(value, dict):
                    msg = f"{self._text[:_SHOWN]}: genes are multiplied and divided by numbers "
                    msg += "only; of logarithms, a difference stands for a ratio."
                    raise InputError(msg)
                value = _times(other, value)
            elif found == "*":
                value = _times(value, other)
            elif other:
                value = _times(value, 1 / other)
            else:
                raise self._wrong()
        return value

    def _one(self) -> _Value:
        first, rest = self._next(), self._text[self._at :]
        if first == "(":
            self._take("(")
            parts = self._inner()
            self._close()
            if len(parts) > 1:
                raise self._wrong()
            return parts[0]
        mean = _MEAN.match(rest)
        if mean:
            self._at += mean.end()
            self.written += "mean("
            genes = [self._genes(one) for one in self._inner()]
            self._close()
            return _mean(genes)
        found = self._names.gene_at(self._text, self._at, any_case=self._any_case)
        if found is not None:
            gene, self._at = found
            self.written += gene
            return {gene: 1.0}
        number = _NUMBER.match(rest)
        if number and isfinite(float(number[0])):
            self._at += number.end()
            self.written += number[0]
            return float(number[0])
        word = _WORD.match(rest.lstrip("-"))
        raise self._wrong() if word is None or number else self._names.lost(word[0])

    def _inner(self) -> list[_Value]:
        """Read what stands between brackets, in parts between commas."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong()
        parts = [self._sum()]
        while self._next() == ",":
            self._take(", ")
            parts.append(self._sum())
        self._depth -= 1
        return parts

    def _close(self) -> None:
        if self._next() != ")":
            raise self._wrong()
        self._take(")")


def _times(value: _Value, factor: float) -> _Value:
    if isinstance(value, dict):
        return {gene: weight * factor for gene, weight in value.items()}
    return value * factor


def _mean(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for gene, weight in part.items():
            total[gene] = total.get(gene, 0.0) + weight / len(parts)
    return total
