"""Several samples in one table, each in pixels of a slide of its own: told apart, never merged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stenhance.errors import InputError
from napari_stenhance.section.distinct import DistinctPositions
from napari_stenhance.section.several import SeveralSamples, listed_samples
from napari_stenhance.section.spots import ARRAY_COLUMNS, array_columns

if TYPE_CHECKING:
    import pandas as pd

_NAMED = re.compile(
    r"(library|lib|sample|batch|slide|section|slice|capture_area|array|dataset|donor|patient"
    r"|subject|specimen|replicate|rep|orig|image|puck|tissue_section|region)"
    r"(_?(id|ids|name|names|key|no|number|nr|ident))?"
)
"""Columns that may say of which sample a spot is; only where it lies proves it."""
# A library is of one area of capture, which has a picture of its own.
_LIBRARY = re.compile(r"library([_. ]?(id|name))?")
_SAMPLE = re.compile(r"sample([_. ]?(id|name))?")
_GROUPS_MOST, _NUMBERS_MOST = 1000, 64
# Of the spots: as many must be numbered, or lie, as only spots of two samples do.
_SHARE_LEAST = 0.05
# Of the distance to the nearest of its own sample: spots of one lattice lie no nearer.
_NEARER = 0.75
_LOOKED_AT = 20_000
# Spots that share a number: of more slides than that there is a column; of none it is the row.
_ALIKE_MOST = 64
_SPOTS_MOST = 50_000
# Of the distance to the nearest: three neighbours and more lie so near on a lattice of one slide.
_RING = 1.3
_IDS = {"beginnings": r"^([^_:.-]+)[_:.-]", "ends": r"[_:.-]([^_:.-]+)$"}


@dataclass(frozen=True)
class SampleColumn:
    """What tells the samples of a table apart.

    Attributes
    ----------
    column : str
        Of `obs`.
    names : tuple of str
        In the order in which they first occur.
    of : ndarray of int64, shape (spots,)
        The sample of each spot, an index into `names`.
    """

    column: str
    names: tuple[str, ...]
    of: NDArray[np.int64]

    @property
    def how(self) -> str:
        """What tells them apart, in words."""
        return (
            f"by the {self.column} of their ids"
            if self.column in _IDS
            else (f'by obs["{self.column}"]')
        )


def choose_sample(
    obs: pd.DataFrame,
    uns: Mapping[str, Any],
    xy: NDArray[np.float64],
    where: str,
    wanted: str | None = None,
) -> NDArray[np.bool_] | None:
    """Find the spots of the one sample that is meant; None if all are of one.

    Parameters
    ----------
    obs : DataFrame
    uns : mapping
        Its "spatial" may name the libraries.
    xy : ndarray of float64, shape (spots, 2)
    where : str
        What errors name.
    wanted : str, optional
        The sample's name.

    Raises
    ------
    SeveralSamples
        If there are several, and none is named, or another.
    InputError
        If nothing tells them apart, or there is one alone of another name.
    """
    libraries = _libraries(uns)
    columns = _columns(obs, libraries)
    linked = [one for one in columns if libraries and set(one.names) <= libraries]
    proven = [
        one
        for one in columns
        if len(one.names) > 1
        and ((one in linked and len(libraries) > 1) or _lie_apart(one, obs, xy))
    ]
    # Patients have several samples: the finest is what lies on one slide.
    proven.sort(key=lambda one: (-len(one.names), one not in linked))
    if not proven:
        proven = _called_otherwise(obs, xy)
    if wanted is None:
        if proven:
            raise SeveralSamples.named(where, proven[0].how, proven[0].names, None)
        _refuse_untold(obs, xy, where)
        for one in _several_called(columns, _LIBRARY):
            msg = (
                f'{where}: obs["{one.column}"] names several samples: {listed_samples(one.names)}; '
                "name the sample to open, or take that column out if all lie on one slide."
            )
            raise SeveralSamples(msg, samples=one.names)
        return None
    named = [one for one in (*proven, *linked, *columns) if wanted in one.names]
    if named:
        return np.asarray(named[0].of == named[0].names.index(wanted))
    if proven:
        raise SeveralSamples.named(where, proven[0].how, proven[0].names, wanted)
    if libraries == {wanted}:
        return None
    msg = f"{where}: this is one sample alone, and not called {wanted!r}; name no sample of it."
    raise InputError(msg, option="sample")


def side_by_side(obs: pd.DataFrame) -> tuple[str, ...]:
    """Say which samples are opened as one section, as nothing but a column tells them apart."""
    return tuple(
        f'obs["{one.column}"] names several samples, {listed_samples(one.names)}: as they lie '
        "beside each other, they are opened as of one slide; name one to open it alone."
        for one in _several_called(_columns(obs, set()), _SAMPLE)
    )


def _several_called(columns: list[SampleColumn], called: re.Pattern[str]) -> list[SampleColumn]:
    return [one for one in columns if len(one.names) > 1 and called.fullmatch(one.column.lower())]


def one_sample(
    obs: pd.DataFrame, uns: Mapping[str, Any], wanted: str | None = None
) -> Mapping[str, Any]:
    """Return `uns` with the library of the one sample alone in its "spatial"."""
    libraries = _libraries(uns)
    if len(libraries) < 2:
        return uns
    said = {one.names[0] for one in _columns(obs, libraries) if len(one.names) == 1} | {wanted}
    known = [name for name in uns["spatial"] if name in said]
    if len(known) != 1:
        return uns
    return {**uns, "spatial": {known[0]: uns["spatial"][known[0]]}}


def library_doubts(uns: Mapping[str, Any]) -> tuple[str, ...]:
    """Say that nothing of several libraries is used, where nothing says whose the spots are."""
    libraries = sorted(_libraries(uns))
    if len(libraries) < 2:
        return ()
    doubt = (
        f'uns["spatial"] holds several libraries ({", ".join(libraries[:12])}), and no '
        "column of obs says whose the spots are: none of them is used."
    )
    return (doubt,)


def file_name(name: str) -> str:
    """Write a sample's name so that a file can be called so."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("._") or "sample"


def _libraries(uns: Mapping[str, Any]) -> set[str]:
    spatial = uns.get("spatial")
    if not isinstance(spatial, Mapping):
        return set()
    return {str(key) for key, library in spatial.items() if isinstance(library, Mapping)}


def _columns(obs: pd.DataFrame, libraries: set[str]) -> list[SampleColumn]:
    """List the columns that may name samples: by what they are called, or as the libraries are."""
    import pandas as pd

    found = []
    for column in obs.columns:
        name = re.sub(r"[^a-z0-9]+", "_", str(column).lower()).strip("_")
        called = _NAMED.fullmatch(name) is not None
        if not (called or libraries):
            continue
        try:
            codes, values = pd.factorize(obs[column], use_na_sentinel=False)
        except TypeError:
            # Such as lists.
            continue
        number = _NUMBERS_MOST if pd.api.types.is_float_dtype(obs[column]) else _GROUPS_MOST
        if 0 < len(values) <= min(number, max(1, len(obs) // 2)):
            names = tuple(map(str, values))
            if called or set(names) <= libraries:
                found.append(SampleColumn(str(column), names, codes.astype(np.int64)))
    return found


def _array_places(obs: pd.DataFrame) -> NDArray[np.complex128] | None:
    """Return where each spot is on the array that it was printed on; None if nothing says."""
    for names in ARRAY_COLUMNS:
        numbers = array_columns(obs, names)
        if numbers is not None:
            return np.rint(numbers) @ np.array([1, 1j])
    return None


def _lie_apart(sample: SampleColumn, obs: pd.DataFrame, xy: NDArray[np.float64]) -> bool:
    """Tell whether spots of two samples are numbered alike, or lie as those of one never do."""
    places = _array_places(obs)
    if places is not None:
        alone = len(np.unique(places))
        both = len(np.unique(np.column_stack([places, sample.of]), axis=0))
        if both - alone >= max(2, _SHARE_LEAST * len(places)) and both == len(places):
            return True
    return _overlap(sample, xy)


def _overlap(sample: SampleColumn, xy: NDArray[np.float64]) -> bool:
    """Tell whether spots lie nearer to those of another sample than to any of their own."""
    trees, rows = [], []
    for group in range(len(sample.names)):
        some = np.flatnonzero(sample.of == group)
        rows.append(some)
        trees.append(cKDTree(xy[some[DistinctPositions.among(xy[some]).first]]))
    step = -(-len(xy) // _LOOKED_AT)
    near, seen = 0, 0
    for group, some in enumerate(rows):
        own = trees[group]
        if own.n < 2:
            continue
        within = float(np.median(own.query(own.data[::step], k=2)[0][:, 1]))
        looked = xy[some[::step]]
        close = np.zeros(len(looked), bool)
        low, high = own.mins - within, own.maxes + within
        for other, tree in enumerate(trees):
            apart = (tree.mins > high).any() or (tree.maxes < low).any()
            if other != group and not apart:
                most = _NEARER * within
                close |= np.isfinite(tree.query(looked, distance_upper_bound=most)[0])
        near, seen = near + int(close.sum()), seen + len(looked)
    return seen > 0 and near >= max(2, _SHARE_LEAST * seen)


def _called_otherwise(obs: pd.DataFrame, xy: NDArray[np.float64]) -> list[SampleColumn]:
    """Find the column of any name, or the part of ids, that separates arrays or lattices.

    Only where spots cannot be of one slide, and by what no cluster of spots does.
    """
    twice, places = _numbered_twice(obs, xy), _array_places(obs)
    if not twice and (places is not None or len(xy) > _SPOTS_MOST or _on_one_lattice(xy)):
        return []
    found = []
    for one in _any_columns(obs):
        if places is not None and twice:
            spot = np.column_stack([places.real, places.imag, one.of])
            at = len(np.unique(np.column_stack([spot, xy]), axis=0))
            apart = at == len(np.unique(spot, axis=0))
        else:
            apart = _lattices_cross(one, xy)
        if apart:
            found.append(one)
    return sorted(found, key=lambda one: len(one.names))[:1]


def _any_columns(obs: pd.DataFrame) -> Iterator[SampleColumn]:
    """List what could name samples: columns with a few values, and the parts of ids."""
    import pandas as pd

    ids = pd.Series(obs.index.astype(str))
    parts = {name: ids.str.extract(pattern, expand=False) for name, pattern in _IDS.items()}
    for name, column in [*((str(c), obs[c]) for c in obs.columns), *parts.items()]:
        if pd.api.types.is_float_dtype(column):
            continue
        try:
            codes, values = pd.factorize(column, use_na_sentinel=False)
        except TypeError:
            continue
        if 1 < len(values) <= min(_ALIKE_MOST, len(obs) // 4):
            yield SampleColumn(name, tuple(map(str, values)), codes.astype(np.int64))


def _on_one_lattice(xy: NDArray[np.float64]) -> bool:
    """Tell whether most spots have several neighbours that are all about as near."""
    places = xy[DistinctPositions.among(xy).first]
    if len(places) < 5:
        return True
    near = cKDTree(places).query(places[:: -(-len(places) // _LOOKED_AT)], k=4)[0][:, 1:]
    return bool(np.median(near[:, 2] / near[:, 0]) <= _RING)


def _lattices_cross(sample: SampleColumn, xy: NDArray[np.float64]) -> bool:
    """Tell whether each sample lies on a lattice, and spots nearer to another's than its step."""
    first = DistinctPositions.among(xy).first
    of, places = sample.of[first], xy[first]
    groups = [places[of == group] for group in range(len(sample.names))]
    if not all(len(some) > 4 and _on_one_lattice(some) for some in groups):
        return False
    own = [cKDTree(some).query(some, k=2)[0][:, 1] for some in groups]
    least = _NEARER * float(np.quantile(np.concatenate(own), 0.01))
    near = cKDTree(places).query(places, k=2)[0][:, 1] < least
    return int(near.sum()) >= max(2, _SHARE_LEAST * len(places))


def _numbered_twice(obs: pd.DataFrame, xy: NDArray[np.float64]) -> int:
    """Count the places of one array that are numbered twice or more, as those of several are."""
    numbers = array_columns(obs, ARRAY_COLUMNS[0])
    if numbers is None:
        return 0
    # Cells of one spot share its number and its position: these are of one slide.
    different = np.unique(np.column_stack([numbers, xy]), axis=0)[:, :2]
    number = np.unique(different, axis=0, return_counts=True)[1]
    twice = int((number > 1).sum())
    alike = number.max() <= _ALIKE_MOST and twice >= max(2, _SHARE_LEAST * len(number))
    return twice if alike else 0


def _refuse_untold(obs: pd.DataFrame, xy: NDArray[np.float64], where: str) -> None:
    """Refuse places of one array that are numbered twice, where no column tells them apart."""
    if twice := _numbered_twice(obs, xy):
        names = ARRAY_COLUMNS[0]
        msg = (
            f"{where}: {names[1]} and {names[0]} number {twice} places twice or more, "
            "as those of several slides are, and no column of obs tells these apart; add one, "
            'such as "library_id", or give each sample as a table of its own.'
        )
        raise InputError(msg)
