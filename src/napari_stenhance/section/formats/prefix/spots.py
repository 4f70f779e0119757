"""Prefix files, the input of the published Pixel2Gene and iStar programs.

References
----------
Pixel2Gene: https://doi.org/10.64898/2026.02.21.707168; iStar:
https://doi.org/10.1038/s41587-023-02019-9
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.formats.format import SectionFiles
from napari_stenhance.section.formats.prefix import names as named
from napari_stenhance.section.formats.prefix.tables import read_locations, read_parquet
from napari_stenhance.section.scale import PLAUSIBLE_MPP
from napari_stenhance.section.several import SeveralSamples
from napari_stenhance.section.spots import (
    BIN_PITCH_MOST_UM,
    SpotGeometry,
    are_bins,
    nearest_distance,
)
from napari_stenhance.section.tables.text import read_counts

if TYPE_CHECKING:
    import anndata as ad

_WIDER = 1.1
"""Positions may be rounded to pixels, so a spot may seem this much wider than the pitch."""


def open_prefix(path: Path, sample: str | None = None) -> SectionFiles:
    """Find the files of a folder's one prefix, or of `folder/prefix`.

    Raises
    ------
    InputError
        If it holds several sections, a part is missing, or the positions or a number beside them
        cannot be read.
    """
    folder, names, found = named.named_by(path, named.prefixes)
    if sample is not None:
        meant = [prefix for prefix in found if sample in (prefix, named.name_of(prefix, folder))]
        if len(meant) != 1:
            raise SeveralSamples.named(str(folder), "by their prefixes", found, sample)
        found = meant
    if len(found) > 1:
        msg = (
            f"{folder}: the folder holds several sections, of the prefixes "
            f"{', '.join(map(repr, found))}; name the one you mean, such as {folder / found[-1]}."
        )
        raise SeveralSamples(msg, samples=found)
    (prefix,) = found
    doubts: list[str] = []

    def choose(choices: tuple[str, ...]) -> Path | None:
        present = [prefix + name for name in choices if prefix + name in names]
        if len(present) > 1:
            doubts.append(f"{present[0]} is read, and {', '.join(present[1:])} is not.")
        return folder / present[0] if present else None

    counts, locations, image = map(choose, (named.COUNTS, named.LOCATIONS, named.IMAGES))
    # Counts there are: they make a prefix.
    if counts is None or locations is None:
        msg = (
            f"{folder}: {prefix}{named.LOCATIONS[0]} is missing beside the counts; it must hold "
            "each spot's id and its x and y in pixels of the original image."
        )
        raise InputError(msg)
    if prefix + named.MASK in names:
        doubts.append(f"{prefix}{named.MASK} is not used: tissue is found in the image.")
    mpp = named.number_in(folder / f"{prefix}{named.PIXEL_SIZE}")
    low, high = PLAUSIBLE_MPP
    if mpp is not None and not low <= mpp <= high:
        doubts.append(
            f"{prefix}{named.PIXEL_SIZE} says {mpp:g} µm per pixel, which cannot be right for a "
            f"slide ({low:g} to {high:g}), and is not used; give the true scale."
        )
        mpp = None
    file = folder / f"{prefix}{named.RADIUS}"
    radius = named.number_in(file)
    if radius is not None and radius < 0:
        msg = f"{file}: the radius is {radius:g}; it must not be negative."
        raise InputError(msg)
    ids, xy = read_locations(locations)
    return SectionFiles(
        name=named.name_of(prefix, folder),
        origin=counts,
        images=() if image is None else (image,),
        xy=xy,
        mpp=mpp,
        mpp_source="unknown" if mpp is None else f"stated in {prefix}{named.PIXEL_SIZE}",
        read=partial(_read, counts, locations, ids, xy),
        doubts=tuple(doubts),
        without=f"There is no slide: {prefix}he-raw.jpg, .png or .tif is missing.",
        geometry=None if radius is None else partial(_geometry, file.name, radius, xy),
    )


def _geometry(
    file: str, radius: float, xy: NDArray[np.float64], mpp: float | None
) -> tuple[SpotGeometry, str]:
    """Decide what the number in `radius-raw.txt` means.

    The published program reads a radius in raw pixels, its description says a diameter in µm.
    A spot cannot be wider than the pitch; where that does not decide, the program is believed.
    """
    pitch_px = nearest_distance(xy)
    unit: Literal["micrometer", "pixel"] = "pixel" if mpp is None else "micrometer"
    scale, short = (1.0, "px") if mpp is None else (mpp, "µm")
    pitch = pitch_px * scale
    if radius == 0:
        doubt = (
            f"{file} says 0: neither a radius in raw pixels nor a diameter in µm, but one bin for "
            f"each superpixel; squares of the pitch, {pitch:.4g} {short}, are taken."
        )
        return SpotGeometry(pitch, "square", pitch, unit), doubt
    first, second = 2 * radius * scale, radius
    fits = [diameter <= pitch * _WIDER for diameter in (first, second)]
    says = (
        f"{file} says {radius:g}: either a radius in raw pixels, so a diameter of {first:.4g} "
        f"{short}, as the published program reads it, or a diameter of {second:.4g} µm, as its "
        "description says;"
    )
    if mpp is None:
        taken, why = first, "the first is taken, as without a scale they cannot be compared."
    elif fits == [False, True]:
        taken, why = second, f"the second is taken, as spots lie {pitch:.4g} µm apart."
    elif fits == [True, False]:
        taken, why = first, f"the first is taken, as spots lie {pitch:.4g} µm apart."
    else:
        both = "both fit" if fits[0] else "neither fits"
        taken, why = first, f"the first is taken, as {both} spots {pitch:.4g} µm apart."
    bins = mpp is not None and pitch <= BIN_PITCH_MOST_UM and are_bins(xy, pitch_px)
    return SpotGeometry(taken, "square" if bins else "disc", pitch, unit), f"{says} {why}"


def _read(
    path: Path, locations: Path, location_ids: list[str] | None, xy: NDArray[np.float64]
) -> tuple[ad.AnnData, tuple[str, ...]]:
    import anndata as ad
    import pandas as pd

    parse = read_parquet if path.suffix == ".parquet" else read_counts
    ids, genes, counts = parse(path)
    kept, at, doubts = _match(path, locations, ids, location_ids, counts.shape[0], len(xy))
    if ids is None:
        ids = location_ids or [str(n) for n in range(counts.shape[0])]
    spots = ad.AnnData(
        X=counts if len(kept) == counts.shape[0] else counts[kept],
        obs=pd.DataFrame(index=pd.Index(ids)[kept]),
        var=pd.DataFrame(index=pd.Index(genes)),
        obsm={"spatial": xy[at]},
    )
    return spots, doubts


def _match(
    path: Path,
    locations: Path,
    ids: list[str] | None,
    location_ids: list[str] | None,
    rows: int,
    positions: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp], tuple[str, ...]]:
    """Find the position of each row of counts: by id, or by order where ids cannot tell.

    The published programs go by order alone.

    Returns
    -------
    kept : ndarray of int
        Rows of the counts that have a position.
    at : ndarray of int
        Which.
    doubts : tuple of str
    """
    import pandas as pd

    every = np.arange(rows)
    if ids is not None and ids == location_ids:
        return every, every, ()
    if ids is not None and location_ids is not None and not _only_count(ids, location_ids):
        where = pd.Index(location_ids)
        if not where.is_unique:
            msg = f"{locations}: the id {where[where.duplicated()][0]!r} occurs more than once."
            raise InputError(msg)
        at = where.get_indexer(pd.Index(ids))
        kept = np.flatnonzero(at >= 0)
        if len(kept):
            lost = rows - len(kept)
            left = (
                f"; {counted(lost, 'row', rows)} {agree(lost, 'has', 'have')} none" if lost else ""
            )
            doubt = (
                f"{path.name} and {locations.name} list their spots differently: rows are matched "
                f"by id{left}."
            )
            return kept, at[kept], (doubt,)
    if rows != positions:
        msg = (
            f"{path}: there are {counted(rows, 'row')} of counts, but "
            f"{counted(positions, 'position')} in {locations.name}, and no ids that both share; "
            "these files do not belong together."
        )
        raise InputError(msg)
    doubt = (
        f"{path.name} and {locations.name} share no ids: rows are matched by their order alone, "
        "so check that it is the same."
    )
    return every, every, (doubt,)


def _only_count(ids: list[str], location_ids: list[str]) -> bool:
    """Say whether ids are row numbers, which name nothing: one table counts from 0, one from 1."""
    if len(ids) != len(location_ids):
        return False
    try:
        numbers = np.array([ids, location_ids], dtype=np.int64)
    except (ValueError, OverflowError):
        return False
    return bool((np.diff(numbers) == 1).all())
