"""Domains that a person renamed, merged, hid or repainted, as a run beside the one they are of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.results.domains import (
    CONFIDENCE,
    LABEL,
    DomainRun,
    DomainRunContent,
    domain_runs,
    label_spots,
    write_run,
)
from napari_stenhance.results.label_map import LABELS_MOST, raster_labels
from napari_stenhance.results.palette import colour_of
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.run import made_alike
from napari_stenhance.results.summaries import (
    Domain,
    Expression,
    field_expression,
    spots_expression,
    symbols_of,
)
from napari_stenhance.section.observed import Observed, observed_in
from napari_stenhance.section.spots import counts_of, positions_px

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

_EDITED = "-edited"
_KEPT = ("seed", "device", "versions", "n_domains", "criterion", "scores", "doubts")


@dataclass(frozen=True, eq=False)
class SpotLabels:
    """The domains of spots as they were found, and where the spots lie in the label image.

    Attributes
    ----------
    names : ndarray of object, shape (spots,)
    labels : ndarray of int64, shape (spots,)
        Values of domains; 0 is none.
    confidence : ndarray of float, shape (spots,)
    at : tuple of two ndarrays of int, shape (spots,)
        Row and column of the pixel under each spot.
    under : ndarray of uint8, shape (spots,)
        What that pixel was found to be.
    observed : str
        What one of them is, in a word.
    """

    names: NDArray[np.object_]
    labels: NDArray[np.int64]
    confidence: NDArray[np.floating[Any]]
    at: tuple[NDArray[np.intp], NDArray[np.intp]]
    under: NDArray[np.uint8]
    observed: Observed

    @classmethod
    def from_run(cls, run: DomainRun, spots: ad.AnnData) -> SpotLabels:
        """Take them from the spots of a run."""
        value_of = {d.name: d.value for d in run.domains}
        labels = np.array([value_of.get(d, 0) for d in spots.obs[LABEL].astype(object)], np.int64)
        grid, confidence = run.grid, spots.obs[CONFIDENCE].to_numpy(copy=True)
        pixels = np.rint(grid.position(positions_px(spots, run.name) * grid.mpp)).astype(int)
        row, column = np.clip(pixels, 0, np.array(grid.shape) - 1).T
        under = np.asarray(run.levels[0][...])[row, column]
        names = np.asarray(spots.obs_names, dtype=object)
        observed = observed_in(spots, run.name)
        return cls(names, labels, confidence, (row, column), under, observed)


@dataclass(frozen=True)
class DomainEdit:
    """What a person changed about the domains of a run; nothing of it is written yet.

    Attributes
    ----------
    run : DomainRun
    domains : tuple of Domain
        As they are now; those that were merged into another are gone.
    merged : mapping of int to int
        Where the domains went that are gone.
    painted : ndarray of uint8, or None
        The label image as it was painted; None if nobody painted.
    """

    run: DomainRun
    domains: tuple[Domain, ...]
    merged: Mapping[int, int]
    painted: NDArray[np.uint8] | None = field(default=None, compare=False)

    @classmethod
    def from_run(cls, run: DomainRun) -> DomainEdit:
        """Begin with what the run has."""
        return cls(run, run.domains, {})

    @property
    def changed(self) -> bool:
        """Whether there is anything to save."""
        return not self.same_as(DomainEdit.from_run(self.run))

    def same_as(self, other: DomainEdit) -> bool:
        """Tell whether both would be written alike."""
        return self.domains == other.domains and self.same_labels(other)

    def same_labels(self, other: DomainEdit) -> bool:
        """Tell whether everything is in the same domain in both, whatever that is called."""
        if self.run.key != other.run.key or self.merged != other.merged:
            return False
        one, two = self.painted, other.painted
        return one is two or (one is not None and two is not None and np.array_equal(one, two))

    def domain(self, which: int | str) -> Domain:
        """Find a domain by its value or name.

        Raises
        ------
        InputError
            If there is none.
        """
        for domain in self.domains:
            if which in {domain.value, str(domain.value), domain.name}:
                return domain
        names = ", ".join(f"{d.value} ({d.name})" for d in self.domains)
        msg = f"There is no domain {which} in {self.run.name}; there are: {names}."
        raise InputError(msg)

    def rename(self, which: int | str, name: str) -> DomainEdit:
        """Rename a domain.

        Raises
        ------
        InputError
            If there is no such domain, the name is empty or that of another one.
        """
        old, name = self.domain(which), name.strip()
        if not name or name in {d.name for d in self.domains if d is not old}:
            said = f"is called {name!r} already: merge them instead" if name else "needs a name"
            msg = f"{old.name} cannot be renamed: a domain {said}."
            raise InputError(msg)
        return self._with(replace(old, name=name))

    def hide(self, which: int | str, *, hidden: bool = True) -> DomainEdit:
        """Hide a domain, or show it again."""
        return self._with(replace(self.domain(which), hidden=hidden))

    def recolour(self, which: int | str, colour: str) -> DomainEdit:
        """Give a domain another colour.

        Raises
        ------
        InputError
            If there is no such domain, or the colour is not `#RRGGBB`.
        """
        old = self.domain(which)
        if not re.fullmatch(r"#[0-9A-Fa-f]{6}", colour):
            msg = f"{old.name} cannot be {colour}: write a colour as #RRGGBB, as in #E69F00."
            raise InputError(msg)
        return self._with(replace(old, colour=colour.upper()))

    def merge(self, which: int | str, into: int | str) -> DomainEdit:
        """Put a domain into another, whose name and colour remain.

        Raises
        ------
        InputError
            If one of them is not there, or they are the same.
        """
        gone, stays = self.domain(which), self.domain(into)
        if gone is stays:
            msg = f"{gone.name} cannot be merged with itself; choose another domain."
            raise InputError(msg)
        merged = {
            old: stays.value if new == gone.value else new for old, new in self.merged.items()
        }
        return replace(
            self,
            domains=tuple(d for d in self.domains if d is not gone),
            merged={**merged, gone.value: stays.value},
        )

    def paint(self, painted: NDArray[np.integer]) -> DomainEdit:
        """Take a label image that was painted; values that are new become domains.

        Raises
        ------
        InputError
            If a value is no domain that can be.
        """
        values = [int(value) for value in np.unique(painted) if value]
        if values and not 0 < max(values) <= LABELS_MOST:
            msg = f"Label {max(values)} was painted; domains can be 1 to {LABELS_MOST}."
            raise InputError(msg)
        known = {d.value for d in self.domains} | set(self.merged)
        new = tuple(Domain(v, f"Domain {v}", colour_of(v)) for v in values if v not in known)
        domains = sorted((*self.domains, *new), key=lambda d: d.value)
        return replace(self, domains=tuple(domains), painted=painted.astype(np.uint8))

    def _with(self, changed: Domain) -> DomainEdit:
        return replace(
            self,
            domains=tuple(changed if d.value == changed.value else d for d in self.domains),
        )

    def lookup(self) -> NDArray[np.uint8]:
        """Return what each value of the label image has become."""
        table = np.arange(LABELS_MOST + 1, dtype=np.uint8)
        for old, new in self.merged.items():
            table[old] = new
        return table

    def save(self, *, clear_dead_locks: bool = False) -> DomainRun:
        """Write it as a run of its own, `<run>-edited`; the one it is of stays as it is.

        Raises
        ------
        InputError
            If another process is writing this result.
        """
        run, raster = self.run, self.raster()
        identity = self._identity(raster)
        found = self._content(raster)
        stem = run.name.split(_EDITED)[0] + _EDITED
        kept = {key: run.attributes[key] for key in _KEPT}
        with ResultFolder.adding(
            run.result.path, stem, clear_dead_locks=clear_dead_locks
        ) as result:
            made = made_alike(domain_runs(result), identity)
            return made or write_run(result, stem, identity, kept, found)

    def is_saved_as(self, run: DomainRun) -> bool:
        """Tell whether a run is what saving this makes."""
        return made_alike([run], self._identity(self.raster())) is not None

    def summary(self) -> pd.DataFrame:
        """Count anew how much there is of each domain and what marks it: what saving writes.

        It may take a while: it reads the counts.
        """
        raster = self.raster()
        pixels = np.bincount(raster.ravel(), minlength=LABELS_MOST + 1)
        return self._content(raster).table(pixels).obs

    def raster(self) -> NDArray[np.uint8]:
        """Return what has become of the label image."""
        painted = self.painted
        return self.lookup()[np.asarray(self.run.levels[0][...]) if painted is None else painted]

    def spot_labels(self, spots: SpotLabels) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Label spots: those whose pixel was repainted as it is now, others as they were.

        Returns
        -------
        labels : ndarray of int64, shape (spots,)
        repainted : ndarray of bool, shape (spots,)
            Nobody knows how sure these are.
        """
        lookup = self.lookup()
        labels = lookup[spots.labels].astype(np.int64)
        if self.painted is None:
            return labels, np.zeros(len(labels), bool)
        now = lookup[self.painted[spots.at]]
        repainted = now != lookup[spots.under]
        labels[repainted] = now[repainted]
        return labels, repainted

    def _identity(self, raster: NDArray[np.uint8]) -> dict[str, Any]:
        return {
            "edited_from": self.run.name,
            "domains": [asdict(d) for d in self.domains],
            "merged": sorted(self.merged.items()),
            "pixels_sha256": hashlib.sha256(raster.tobytes()).hexdigest(),
        }

    def _content(self, raster: NDArray[np.uint8]) -> DomainRunContent:
        """Return what is written."""
        if self.run.attributes["spots"] is None:
            return self._superpixels(raster)
        return self._spots(raster)

    def _spots(self, raster: NDArray[np.uint8]) -> DomainRunContent:
        spots, grid = self.run.spots(), self.run.grid
        assert spots is not None
        found = SpotLabels.from_run(self.run, spots)
        labels, repainted = self.spot_labels(found)
        spots.obs[CONFIDENCE] = np.where(repainted, np.nan, found.confidence)
        spots.obs = spots.obs.drop(columns=[LABEL])
        expression = self._known_expression()
        if expression is None:
            genes = tuple(self.run.table().var_names)
            values = [d.value for d in self.domains]
            expression = spots_expression(
                [(counts_of(spots, genes), labels)], genes, symbols_of(spots, genes), values
            )
        return DomainRunContent(
            domains=self.domains,
            grid=grid,
            label=raster_labels(raster),
            expression=expression,
            number=np.bincount(labels, minlength=LABELS_MOST + 1),
            spots=label_spots(spots, labels, self.domains),
        )

    def _superpixels(self, raster: NDArray[np.uint8]) -> DomainRunContent:
        source = self.run.attributes["field"]
        expression = self._known_expression()
        if expression is None:
            genes = self.run.result.field(source["run"])
            values = [d.value for d in self.domains]
            expression = field_expression(genes, source["level"], raster, values)
        return DomainRunContent(
            domains=self.domains,
            grid=self.run.grid,
            label=raster_labels(raster),
            expression=expression,
            number=np.bincount(raster.ravel(), minlength=LABELS_MOST + 1),
            field=source,
        )

    def _known_expression(self) -> Expression | None:
        """Return what the run says, which holds while everything is in the domain it was in."""
        same = self.same_labels(DomainEdit.from_run(self.run))
        return self.run.expression() if same else None


def edit_all(
    run: DomainRun,
    rename: Sequence[str] = (),
    merge: Sequence[str] = (),
    hide: Sequence[str] = (),
    recolour: Sequence[str] = (),
) -> DomainEdit:
    """Apply edits that are written as text.

    `3=White matter` renames, `5=3` merges 5 into 3, `3=#E69F00` recolours.

    Raises
    ------
    InputError
        If one of them cannot be done.
    """
    edit = DomainEdit.from_run(run)
    for text in merge:
        edit = edit.merge(*_pair(text, "merge"))
    for text in recolour:
        edit = edit.recolour(*_pair(text, "recolour"))
    for text in rename:
        edit = edit.rename(*_pair(text, "rename"))
    for text in hide:
        edit = edit.hide(text)
    return edit


def _pair(text: str, option: str) -> tuple[str, str]:
    left, equals, right = text.partition("=")
    if not equals or not left.strip() or not right.strip():
        msg = f"{text}: write DOMAIN=NEW, as in 3=White matter."
        raise InputError(msg, option=option)
    return left.strip(), right.strip()
