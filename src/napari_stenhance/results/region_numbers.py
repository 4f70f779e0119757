"""Numbers of regions, cells and domains: what is predicted in each, and what its spots measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.results.gene_sums import GeneNames
from napari_stenhance.results.region_cover import RegionCover
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.markers import marker_scores
from napari_stenhance.section.gene_names import aliases_in
from napari_stenhance.section.spots import counts_of, log1p_cp10k
from napari_stenhance.storage.levels import Levels
from napari_stenhance.storage.tiles import tiles_of

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.section.named_regions import NamedRegions
    from napari_stenhance.section.section import Section

REST = "rest"
"""What a region is compared with by default: all that is not in it."""
_FEWEST = 3
"""Spots on each side, below which nothing is tested."""
_SHOWN = 10
MEASURED_UNIT = "log1p CP10k"
_COMPARED = (
    *("number", "area_um2", "gene", "origin", "reliability", "unit", "superpixels", "mean", "sd"),
    *("against", "difference", "effect", "spots", "measured_mean", "measured_sd"),
    *("measured_unit", "measured_difference", "measured_effect", "q"),
)
"""Columns of a comparison, also where no gene is compared."""


@dataclass(frozen=True)
class Moments:
    """Number, sum and sum of squares of values in each of some areas.

    Attributes
    ----------
    number, total, squares : ndarray of float64, shape (areas,)
    """

    number: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, areas: NDArray[Any], values: NDArray[np.floating], number: int) -> Moments:
        """Add up values that each lie in an area; those that are NaN are none."""
        known = np.isfinite(values)
        area, known_values = areas[known], values[known].astype(np.float64)
        return cls(
            np.bincount(area, minlength=number).astype(np.float64),
            np.bincount(area, known_values, minlength=number).astype(np.float64),
            np.bincount(area, known_values**2, minlength=number).astype(np.float64),
        )

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.number + other.number, self.total + other.total, self.squares + other.squares
        )

    def without(self, other: Moments) -> Moments:
        """Take away what is also in others."""
        return Moments(
            self.number - other.number, self.total - other.total, self.squares - other.squares
        )

    def at(self, area: int) -> Moments:
        """Return those of one area."""
        return Moments(self.number[[area]], self.total[[area]], self.squares[[area]])

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean; NaN of nothing."""
        return np.divide(self.total, self.number, out=_nan(self.number), where=self.number > 0)

    @property
    def variance(self) -> NDArray[np.float64]:
        """The sample variance; NaN of less than two."""
        spread = self.squares - self.total * np.nan_to_num(self.mean)
        several = self.number > 1
        found = np.divide(spread, self.number - 1, out=_nan(self.number), where=several)
        # Of values that are all the same, rounding may leave less than nothing.
        return np.where(several, np.maximum(found, 0), np.nan)

    @property
    def sd(self) -> NDArray[np.float64]:
        """The sample standard deviation; NaN of less than two."""
        return np.sqrt(self.variance)

    def compared(self, other: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return differences of means, and these in pooled standard deviations (Cohen's d)."""
        difference = self.mean - other.mean
        freedom = self.number + other.number - 2
        both = np.nan_to_num(self.variance) * np.maximum(self.number - 1, 0)
        both += np.nan_to_num(other.variance) * np.maximum(other.number - 1, 0)
        pooled = np.divide(both, freedom, out=_nan(freedom), where=freedom > 0)
        effect = np.divide(difference, np.sqrt(pooled), out=_nan(freedom), where=pooled > 0)
        return difference, effect


def _nan(like: NDArray[Any]) -> NDArray[np.float64]:
    return np.full(np.shape(like), np.nan)


class MeasuredSpots:
    """What the spots of a section measured, gene by gene.

    Attributes
    ----------
    section : Section
    names : GeneNames
        What genes and sums are read by.
    genes : tuple of str
    library : ndarray of float64, shape (spots,)
    """

    def __init__(self, section: Section) -> None:
        spots = section.need_spots()
        self.section = section
        self.genes = tuple(map(str, spots.var_names))
        self.names = GeneNames(self.genes, aliases_in(spots.var))
        given = section.library
        self.library = np.asarray(
            spots.X.sum(axis=1, dtype=np.float64) if given is None else given, np.float64
        ).ravel()

    def __len__(self) -> int:
        return len(self.library)

    @property
    def xy_um(self) -> NDArray[np.float64]:
        """Where they lie in the world, (spots, 2); in pixels where no scale is known."""
        return self.section.positions()[0]

    def columns(self, genes: Sequence[str], spots: Any = slice(None)) -> sp.csc_array[np.float32]:
        """Return log1p CP10k of some genes, by default at every spot."""
        # As the section has them: of a million bins a second copy is a gigabyte.
        counts = counts_of(self.section.need_spots(), genes)[spots]
        return sp.csc_array(log1p_cp10k(counts, self.library[spots]))

    def values(self, gene: str) -> NDArray[np.float64] | None:
        """Return a gene, or a sum of genes, at every spot in log1p CP10k; None if not measured."""
        if gene not in self.names:
            return None
        weights = self.names.find(gene).weights
        by = np.array(list(weights.values()))
        return np.asarray(self.columns(tuple(weights)) @ by, np.float64).ravel()


@dataclass(frozen=True, eq=False)
class RegionGroups:
    """What numbers are made of: regions, cells or domains, over superpixels and among spots.

    Attributes
    ----------
    what : str
        "region", "cell" or "domain".
    names, kinds : tuple of str
        Kinds are classes as QuPath has them; empty where there are none.
    numbers : tuple of int
        0, 1 … in the order that they were given.
    area_um2 : ndarray of float64, shape (groups,)
        NaN where no scale is known.
    cover : RegionCover
    spots : sparse array of bool, shape (groups, spots), or None
        Which spots have their centre in each; None where no spots are known.
    """

    what: str
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    numbers: tuple[int, ...]
    area_um2: NDArray[np.float64]
    cover: RegionCover
    spots: sp.csr_array[np.bool_] | None

    def named(self, regions: NamedRegions) -> RegionGroups:
        """Return the same with the names of the same regions, which may have changed."""
        return replace(self, names=regions.names, kinds=regions.kinds)

    def number_of(self, name: str) -> int:
        """Find the group that is called so.

        Raises
        ------
        InputError
            If none is, or several are.
        """
        at = [n for n, one in enumerate(self.names) if one == name]
        if len(at) == 1:
            return at[0]
        few = list(dict.fromkeys(self.names))
        names = ", ".join(few[:_SHOWN]) + " …" * (len(few) > _SHOWN)
        found = f"several {self.what}s are" if at else f"no {self.what} is"
        msg = f"{name!r}: {found} called so; there are: {names}."
        raise InputError(msg, option="against")

    def spots_in(self, group: int) -> NDArray[np.bool_]:
        """Tell which spots lie in one of them; none where no spots are known."""
        if self.spots is None:
            return np.zeros(0, bool)
        inside: NDArray[np.bool_] = self.spots[[group]].toarray().ravel()
        return inside


def covered_moments(levels: Levels, cover: RegionCover, other: int | None) -> list[Moments]:
    """Add up the values of an image in each of some areas.

    Parameters
    ----------
    levels : Levels
    cover : RegionCover
    other : int, optional
        An area of which the part that lies in each is added up as well.

    Returns
    -------
    list of Moments
        Of each area; and of its part that lies in the other, too.
    """
    nothing = np.zeros(cover.number)
    sums = [Moments(nothing, nothing, nothing)] * (1 if other is None else 2)
    for part in cover.tiles:
        values = levels.read(0, *part.tile.index).ravel()[part.place]
        sums[0] = sums[0] + Moments.of(part.area, values, cover.number)
        if other is not None:
            within = np.isin(part.place, part.place[part.area == other])
            shared = Moments.of(part.area[within], values[within], cover.number)
            sums[1] = sums[1] + shared
    return sums


def whole_moments(levels: Levels) -> Moments:
    """Add up all values of an image, as those of one area."""
    nothing = np.zeros(1)
    whole = Moments(nothing, nothing, nothing)
    for part in tiles_of(levels.shapes[0], levels.tile):
        values = levels.read(0, *part.index).ravel()
        whole = whole + Moments.of(np.zeros(values.size, np.intp), values, 1)
    return whole


@dataclass(frozen=True, eq=False)
class MarkerTests:
    """Wilcoxon's test of every measured gene, between the spots of a region and others.

    Attributes
    ----------
    q : ndarray of float64, shape (genes,)
        Adjusted over all genes by Benjamini and Hochberg; NaN where spots are too few.
    z : ndarray of float64, shape (genes,)
        Above 0 where there is more in the region.
    """

    q: NDArray[np.float64]
    z: NDArray[np.float64]

    @classmethod
    def between(
        cls, measured: MeasuredSpots, inside: NDArray[np.bool_], others: NDArray[np.bool_]
    ) -> MarkerTests:
        """Test; spots in both count as inside."""
        others = others & ~inside
        if min(inside.sum(), others.sum()) < _FEWEST:
            nothing = np.full(len(measured.genes), np.nan)
            return cls(nothing, nothing)
        kept = np.flatnonzero(inside | others)
        z, q = marker_scores([(measured.columns(measured.genes, kept), (~inside[kept]) * 1)], 2)
        return cls(q[0].astype(np.float64), z[0].astype(np.float64))


def group_numbers(
    run: GeneSource | None,
    groups: RegionGroups,
    genes: Sequence[str],
    measured: MeasuredSpots | None,
    job: Job,
) -> pd.DataFrame:
    """Say how much of some genes there is in each group; without a run, what was measured alone.

    Returns
    -------
    DataFrame
        A row for each group and gene, as `napari_stenhance.summarise` says.
    """
    import pandas as pd

    tables = []
    with job.stage("Numbers of regions", len(genes)) as stage:
        for gene in genes:
            nothing = np.zeros(len(groups.names))
            found = Moments(nothing, nothing, nothing)
            if run is not None:
                (found,) = covered_moments(run.levels(gene), groups.cover, None)
            of_spots = _spots_moments(groups, measured, gene)
            columns = {
                **_same_of_all(run, groups, gene),
                "superpixels": found.number.astype(np.int64),
                "mean": found.mean,
                "sd": found.sd,
                **_of_spots(groups, of_spots),
            }
            tables.append(pd.DataFrame(columns))
            stage.advance()
    return pd.concat(tables, ignore_index=True)


def compared_numbers(
    run: GeneSource | None,
    groups: RegionGroups,
    chosen: Sequence[tuple[int, Sequence[str]]],
    against: int | None,
    measured: MeasuredSpots | None,
    job: Job,
) -> pd.DataFrame:
    """Say how much of some genes there is in some groups, and how much more than elsewhere.

    Parameters
    ----------
    run : GeneSource or None
        None where only what was measured is compared.
    groups : RegionGroups
    chosen : sequence of tuple
        Numbers of groups, each with its genes.
    against : int or None
        The group to compare with, without what lies in both; None for all of the tissue that is not
        in the group.
    measured : MeasuredSpots or None
    job : Job

    Returns
    -------
    DataFrame
        As that of `group_numbers`, with differences and effects.
    """
    import pandas as pd

    other = REST if against is None else groups.names[against]
    tables, whole = [], dict[str, Moments]()
    with job.stage("Comparing regions", len(chosen)) as stage:
        for group, genes in chosen:
            one = _one_of(groups, group)
            tests = None
            if measured is not None:
                inside = groups.spots_in(group)
                others = ~inside if against is None else groups.spots_in(against)
                tests = MarkerTests.between(measured, inside, others)
            for gene in genes:
                job.check()
                nothing = np.zeros(1)
                found = rest = Moments(nothing, nothing, nothing)
                if run is None:
                    pass
                elif against is None:
                    levels = run.levels(gene)
                    (found,) = covered_moments(levels, one.cover, None)
                    if gene not in whole:
                        whole[gene] = whole_moments(levels)
                    rest = whole[gene].without(found)
                else:
                    levels = run.levels(gene)
                    pair = groups.cover.chosen([group, against])
                    sums, shared = covered_moments(levels, pair, 0)
                    found, rest = sums.at(0), sums.at(1).without(shared.at(1))
                difference, effect = found.compared(rest)
                of_spots = _spots_moments(one, measured, gene)
                columns = {
                    **_same_of_all(run, one, gene),
                    "superpixels": found.number.astype(np.int64),
                    "mean": found.mean,
                    "sd": found.sd,
                    "against": other,
                    "difference": difference,
                    "effect": effect,
                    **_of_spots(one, of_spots),
                    **_compared_spots(groups, group, against, measured, gene, tests),
                }
                tables.append(pd.DataFrame(columns))
            stage.advance()
    if not tables:
        return pd.DataFrame(columns=[groups.what, *_COMPARED])
    return pd.concat(tables, ignore_index=True)


def _one_of(groups: RegionGroups, group: int) -> RegionGroups:
    spots = None if groups.spots is None else groups.spots[[group]]
    return RegionGroups(
        groups.what,
        (groups.names[group],),
        (groups.kinds[group],),
        (groups.numbers[group],),
        groups.area_um2[[group]],
        groups.cover.chosen([group]),
        spots,
    )


def _same_of_all(run: GeneSource | None, groups: RegionGroups, gene: str) -> dict[str, Any]:
    """Return the columns that say what numbers are of."""
    kinds = {"class": list(groups.kinds)} if any(groups.kinds) else {}
    return {
        groups.what: list(groups.names),
        "number": [n + 1 for n in groups.numbers],
        **kinds,
        "area_um2": groups.area_um2,
        "gene": gene if run is None else run.names.label(gene),
        "origin": "" if run is None else run.origin(gene),
        "reliability": "" if run is None else run.reliability(gene),
        "unit": "" if run is None else run.unit,
    }


def _spots_moments(
    groups: RegionGroups, measured: MeasuredSpots | None, gene: str
) -> Moments | None:
    """Add up what was measured of a gene in each group; None where there are no such spots."""
    values = None if measured is None else measured.values(gene)
    if values is None or groups.spots is None:
        return None
    group, spot = groups.spots.nonzero()
    return Moments.of(group, values[spot], len(groups.names))


def _of_spots(groups: RegionGroups, found: Moments | None) -> dict[str, Any]:
    nothing = np.full(len(groups.names), np.nan)
    number: NDArray[Any] = nothing
    if groups.spots is not None:
        number = np.asarray(groups.spots.sum(axis=1), np.int64).ravel()
    return {
        "spots": number,
        "measured_mean": nothing if found is None else found.mean,
        "measured_sd": nothing if found is None else found.sd,
        "measured_unit": MEASURED_UNIT if found is not None else "",
    }


def _compared_spots(
    groups: RegionGroups,
    group: int,
    against: int | None,
    measured: MeasuredSpots | None,
    gene: str,
    tests: MarkerTests | None,
) -> dict[str, Any]:
    difference, effect, q = np.nan, np.nan, np.nan
    values = None if measured is None else measured.values(gene)
    if measured is not None and values is not None and tests is not None:
        inside = groups.spots_in(group)
        others = ~inside if against is None else groups.spots_in(against) & ~inside
        one, rest = (
            Moments.of(np.zeros(int(which.sum()), np.intp), values[which], 1)
            for which in (inside, others)
        )
        (difference,), (effect,) = one.compared(rest)
        # Of a sum of genes none was tested.
        at = measured.names.known.get(measured.names.meant(gene))
        q = np.nan if at is None else float(tests.q[at])
    return {"measured_difference": difference, "measured_effect": effect, "q": q}


def as_measurements(table: pd.DataFrame, groups: int) -> list[dict[str, float]]:
    """Return the numbers of a table for each group, by names that say what they are."""
    numbers: list[dict[str, float]] = [{} for _ in range(groups)]
    for row in table.to_dict("records"):
        said, of = numbers[row["number"] - 1], f"{row['gene']} {row['origin']}"
        said[f"{of} mean, {row['unit']}"] = row["mean"]
        said[f"{of} SD, {row['unit']}"] = row["sd"]
        if row["measured_unit"]:
            said[f"{row['gene']} measured mean, {row['measured_unit']}"] = row["measured_mean"]
            said[f"{row['gene']} measured SD, {row['measured_unit']}"] = row["measured_sd"]
    return numbers
