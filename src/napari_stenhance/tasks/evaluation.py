"""What an evaluation found: scores, the protocol that they belong to, and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.tasks.scored_part import SpotMaps

SEEDS_LEAST = 20
"""So many seeds must there be for a 5th percentile."""
_LOW = 5


@dataclass(frozen=True)
class Score:
    """How well one run of a method did, or what it must beat.

    Attributes
    ----------
    seed : int or None
        None of what has none, and is the same with every seed.
    what : str
        The method, a way to read it, or the name of a baseline.
    values : dict
        Name and value of each measure.
    n_domains : int or None
        How many domains were found.
    hidden : str
        What was predicted, where several things were hidden in turn.
    of_genes : DataFrame or None
        The measures of each gene, by its name.
    of_spots : DataFrame or None
        Of each hidden spot, by its name: r and RMSE over the genes.
    """

    seed: int | None
    what: str
    values: dict[str, float]
    n_domains: int | None = None
    hidden: str = ""
    of_genes: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    of_spots: pd.DataFrame | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Summary:
    """One thing that was scored, over seeds.

    Attributes
    ----------
    what : str
    seeds : int
        How many; 0 if it has none.
    parts : int
        How many things were hidden in turn; a measure is their mean before seeds are looked at.
    mean, sd : dict of str to float
        Of each measure; NaN where one is not known, and the standard deviation of one seed.
    low : dict of str to float
        The 5th percentile, with at least 20 seeds; else NaN.
    """

    what: str
    seeds: int
    parts: int
    mean: dict[str, float]
    sd: dict[str, float]
    low: dict[str, float]


@dataclass(frozen=True)
class Evaluation(Sequence[Score]):
    """The scores of an evaluation, in their order, and how they came to be.

    Attributes
    ----------
    scores : tuple of Score
    protocol : dict
        What was hidden and learned from, on which scale it was compared, with which method, seeds,
        inputs (hashes) and versions: no number means anything without it.
    doubts : tuple of str
        What was said of inputs and models meanwhile.
    maps : tuple of SpotMaps
        What the method predicted with the first seed, one for each thing that was hidden.
    """

    scores: tuple[Score, ...]
    protocol: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    doubts: tuple[str, ...] = field(default=(), repr=False, compare=False)
    maps: tuple[SpotMaps, ...] = field(default=(), repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    @overload
    def __getitem__(self, at: int) -> Score: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Score, ...]: ...
    def __getitem__(self, at: int | slice) -> Score | tuple[Score, ...]:
        return self.scores[at]

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of all measures, in the order in which they are first given."""
        return tuple(dict.fromkeys(name for score in self.scores for name in score.values))

    @property
    def hidden(self) -> tuple[str, ...]:
        """What was hidden in turn; one empty name, where it was one thing."""
        return tuple(dict.fromkeys(score.hidden for score in self.scores))

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """Each thing that was scored: means over what was hidden, and of these over seeds."""
        return tuple(self._summary(what) for what in dict.fromkeys(s.what for s in self.scores))

    def _summary(self, what: str) -> Summary:
        import numpy as np

        scores = [score for score in self.scores if score.what == what]
        names = [name for name in self.measures if any(name in s.values for s in scores)]
        seeds = list(dict.fromkeys(score.seed for score in scores))
        # A mean in which a part is missing would be of something else: it is not known.
        table = np.array(
            [
                np.mean(
                    [[s.values.get(n, math.nan) for n in names] for s in scores if s.seed == seed],
                    axis=0,
                )
                for seed in seeds
            ]
        )
        several, many = len(table) > 1, len(table) >= SEEDS_LEAST
        unknown = np.full(len(names), math.nan)
        columns = (
            table.mean(axis=0),
            table.std(axis=0, ddof=1) if several else unknown,
            np.percentile(table, _LOW, axis=0) if many else unknown,
        )
        return Summary(
            what,
            sum(seed is not None for seed in seeds),
            len({score.hidden for score in scores}),
            *(dict(zip(names, map(float, column), strict=True)) for column in columns),
        )
