"""Lay regions, cells and domains over a run's superpixels and among the spots of its section."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import shapely
from numpy.typing import NDArray

from napari_stenhance.results.region_cover import RegionCover
from napari_stenhance.results.region_numbers import MeasuredSpots, RegionGroups
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid

if TYPE_CHECKING:
    from napari_stenhance.results.domains import DomainRun
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.section.named_regions import NamedRegions


def lay_regions(
    run: GeneSource | None,
    regions: NamedRegions,
    measured: MeasuredSpots | None,
    what: str,
    job: Job,
) -> RegionGroups:
    """Lay regions, or cells, over a run; without one, among spots alone.

    Parameters
    ----------
    run : GeneSource or None
    regions : NamedRegions
    measured : MeasuredSpots or None
    what : str
        "region" or "cell".
    job : Job
    """
    area = shapely.area(regions.areas)
    mpp = None if measured is None else measured.section.mpp
    if run is not None:
        mpp = None if run.grid.unit == "pixel" else run.grid.mpp
        cover = RegionCover.under(regions.areas, run.grid, _tile_of(run), job)
    else:
        cover = _no_cover(len(regions))
    if mpp is None:
        area = np.full(len(regions), np.nan)
    spots = None
    if measured is not None:
        tree = shapely.STRtree(regions.areas)
        spot, region = tree.query(shapely.points(measured.xy_um), predicate="within")
        spots = _membership(region, spot, len(regions), len(measured))
    numbers = tuple(range(len(regions)))
    return RegionGroups(what, regions.names, regions.kinds, numbers, area, cover, spots)


def lay_domains(
    run: GeneSource | None, domains: DomainRun, measured: MeasuredSpots | None, job: Job
) -> RegionGroups:
    """Lay domains over a run; a spot is of the domain that was found for it, or that it lies in."""
    every, pitch = domains.domains, domains.grid.pitch_um
    pixels = np.zeros(256, np.int64)
    labels = domains.levels[0]
    # Rows at a time, as tall as its chunks.
    for top in range(0, labels.shape[0], labels.chunks[0]):
        part = np.asarray(labels[top : top + labels.chunks[0]])
        pixels += np.bincount(part.ravel(), minlength=256)
    scale = np.nan if domains.grid.unit == "pixel" else pitch**2
    area = (pixels[[one.value for one in every]] * scale).astype(np.float64)
    cover = _no_cover(len(every))
    if run is not None:
        cover = RegionCover.of_domains(domains, run.grid, _tile_of(run), job)
    spots = None
    if measured is not None:
        domain = _domain_of_spots(domains, measured)
        spot = np.flatnonzero(domain >= 0)
        spots = _membership(domain[spot], spot, len(every), len(measured))
    names = tuple(one.name for one in every)
    kinds, numbers = ("",) * len(names), tuple(range(len(names)))
    return RegionGroups("domain", names, kinds, numbers, area, cover, spots)


def _no_cover(number: int) -> RegionCover:
    """Return the cover of some areas where there is no superpixel."""
    return RegionCover(number, Grid(1.0, (1, 1), 1.0), 1, ())


def _tile_of(run: GeneSource) -> int:
    return run.levels(run.shown_first).tile


def _membership(
    group: NDArray[np.integer], spot: NDArray[np.integer], groups: int, spots: int
) -> sp.csr_array[np.bool_]:
    return sp.csr_array((np.ones(len(spot), bool), (group, spot)), shape=(groups, spots))


def _domain_of_spots(domains: DomainRun, measured: MeasuredSpots) -> NDArray[np.int64]:
    """Return the number of each spot's domain, in the order of the domains; -1 of none."""
    from napari_stenhance.results.domains import LABEL

    names = [one.name for one in domains.domains]
    found, ids = domains.spots(), measured.section.need_spots().obs_names
    if found is not None and found.obs_names.equals(ids):
        return found.obs[LABEL].cat.set_categories(names).cat.codes.to_numpy(np.int64)
    at = np.rint(domains.grid.position(measured.xy_um)).astype(np.int64)
    labels = domains.levels[0]
    inside = ((at >= 0) & (at < labels.shape)).all(axis=1)
    number = np.full(256, -1)
    number[[one.value for one in domains.domains]] = np.arange(len(names))
    domain = np.full(len(at), -1)
    image = np.asarray(labels[:])
    domain[inside] = number[image[at[inside, 0], at[inside, 1]]]
    return domain
