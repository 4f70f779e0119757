"""What domains are found in: the spots of a section, or the superpixels of a gene field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.field import GeneField
from napari_stenhance.methods.sample import counts_hash
from napari_stenhance.methods.stamgc.protocol import Domains, Slice
from napari_stenhance.results.domains import (
    CONFIDENCE,
    EMBEDDING,
    Found,
    label_spots,
    new_domains,
)
from napari_stenhance.results.label_map import (
    LABELS_MOST,
    nearest_labels,
    pixel_um,
    raster_labels,
    reach_um,
)
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.summaries import (
    Expression,
    field_expression,
    spots_expression,
    symbols_of,
)
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import Section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.tiles import tile_size, tiles_of
from napari_stenhance.tasks.finding import open_spots, spots_slices
from napari_stenhance.tasks.predicting import name_outputs

_PIXELS_IN_PITCH = 8
_MEMORY_SHARE = 0.25


class Seen(Protocol):
    """One input of a run.

    Attributes
    ----------
    slice : Slice
    identity : dict
        With hashes.
    doubts : tuple of str
    """

    @property
    def slice(self) -> Slice: ...
    @property
    def identity(self) -> dict[str, Any]: ...
    @property
    def doubts(self) -> tuple[str, ...]: ...

    def writing(self, run: str, *, clear_dead_locks: bool) -> AbstractContextManager[ResultFolder]:
        """Open the result that the run goes to, as its only writer."""
        ...

    def lay(self, found: Domains, at: int, expression: Expression | None) -> Found:
        """Return what is written of the slice number `at`."""
        ...


@dataclass(frozen=True)
class SeenSpots:
    """The spots of a section, and where their result goes."""

    section: Section
    path: Path
    slice: Slice

    @property
    def identity(self) -> dict[str, Any]:
        """Name and hashes."""
        slide = self.section.slide
        return {
            "name": self.section.name,
            "slide_sha256": None if slide is None else slide.sha256,
            "mpp": self.section.mpp,
            "spots_sha256": counts_hash(self.section),
        }

    @property
    def doubts(self) -> tuple[str, ...]:
        """What was guessed or left out when the section was opened."""
        return tuple(f"{self.section.name}: {doubt}" for doubt in self.section.doubts)

    @contextmanager
    def writing(self, run: str, *, clear_dead_locks: bool) -> Iterator[ResultFolder]:
        """Open the result that the run goes to, as its only writer."""
        with ResultFolder.writing(
            self.path, self.section, run, clear_dead_locks=clear_dead_locks
        ) as result:
            if result.has_slide:
                result.log("slide", path=self.section.need_slide().path.resolve())
            yield result

    def lay(self, found: Domains, at: int, expression: Expression | None) -> Found:
        """Label the spots, and the places nearest to each."""
        assert expression is not None
        labels, domains = found.labels[at], new_domains(found.n_domains)
        xy, pitch, mpp = self.slice.xy, self.slice.pitch, self.section.mpp
        slide, reach = self.section.slide, reach_um(xy)
        grid = (
            Grid.around(xy, pitch / _PIXELS_IN_PITCH, reach, mpp)
            if slide is None or mpp is None
            else Grid.over(slide, pixel_um(pitch))
        )
        confidence = {CONFIDENCE: found.confidence[at]}
        spots = label_spots(self.section.need_spots(), labels, domains, **confidence)
        spots.obsm[EMBEDDING] = found.embedding[at]
        return Found(
            domains=domains,
            grid=grid,
            label=nearest_labels(xy, labels, grid, reach),
            expression=expression,
            number=np.bincount(labels, minlength=LABELS_MOST + 1),
            spots=spots,
        )


@dataclass(frozen=True)
class SeenField:
    """The superpixels of a field, at one of its levels."""

    result: ResultFolder
    run: str
    field: GeneField
    level: int
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    slice: Slice

    @property
    def identity(self) -> dict[str, Any]:
        """Name, the field's own identity, and the level."""
        return {
            "name": self.result.name,
            "run": self.run,
            "field": self.result.run_attributes(self.run)["identity"],
            "level": self.level,
        }

    @property
    def doubts(self) -> tuple[str, ...]:
        """Those about the field."""
        return tuple(self.result.run_attributes(self.run)["doubts"])

    def writing(self, run: str, *, clear_dead_locks: bool) -> AbstractContextManager[ResultFolder]:
        """Open the result that the run goes to, as its only writer."""
        return ResultFolder.adding(self.result.path, run, clear_dead_locks=clear_dead_locks)

    def lay(self, found: Domains, at: int, expression: Expression | None) -> Found:
        """Label the superpixels."""
        base, labels = self.field.grid, found.labels[at]
        shape = self.field.latent[self.level].shape
        grid = Grid(base.scale_um(self.level), (shape[0], shape[1]), base.mpp)
        raster = np.zeros(grid.shape, np.uint8)
        raster[self.row, self.column] = labels
        domains = new_domains(found.n_domains)
        values = [d.value for d in domains]
        return Found(
            domains=domains,
            grid=grid,
            label=raster_labels(raster),
            expression=field_expression(self.field, self.level, raster, values),
            number=np.bincount(labels, minlength=LABELS_MOST + 1),
            field={"run": self.run, "level": self.level},
        )


def see(
    sections: Sequence[Any],
    out: Path | None,
    mpp: float | None,
    image: Path | None,
    cache: Cache,
    job: Job,
) -> Sequence[Seen]:
    """Open what domains are found in.

    Raises
    ------
    InputError
        If an input cannot be used, sections are mixed with results, or fields come of different
        models.
    """
    if not sections:
        msg = "domains: name at least one section with spots, or a result of enhance."
        raise InputError(msg)
    fields = [isinstance(s, Path) and ResultFolder.is_result(s) for s in sections]
    if all(fields):
        return _see_fields(sections, out, job)
    if any(fields):
        msg = "domains: spots and superpixels cannot be put into domains together; name sections, "
        msg += "or results."
        raise InputError(msg)
    if image is not None and len(sections) > 1:
        msg = "--image is the slide of one section; put the slides of several beside their counts."
        raise InputError(msg)
    if out is None:
        msg = "domains: name the result folder with --out."
        raise InputError(msg)
    opened = [open_spots(section, mpp, image, cache, job) for section in sections]
    paths = name_outputs(out, [section.name for section in opened])
    slices = spots_slices(opened, job)
    return [SeenSpots(*one) for one in zip(opened, paths, slices, strict=True)]


def _see_fields(paths: Sequence[Path], out: Path | None, job: Job) -> Sequence[Seen]:
    if out is not None and [out.resolve()] != [path.resolve() for path in paths]:
        msg = f"--out {out}: domains of superpixels go into the result itself; leave --out away."
        raise InputError(msg)
    seen = [_see_field(ResultFolder.open(path), job) for path in paths]
    first = seen[0].field.decoder
    for one in seen[1:]:
        own = one.field.decoder
        same = own.genes == first.genes and np.array_equal(own.weights, first.weights)  # type: ignore[arg-type]
        if not same:
            msg = (
                f"{one.result.path}: its field comes of another model than that of "
                f"{seen[0].result.path}; enhance both in one command, or find domains in each."
            )
            raise InputError(msg)
    return seen


def _see_field(result: ResultFolder, job: Job) -> SeenField:
    """Read the latents of the newest run, of the finest level that fits into memory."""
    run = result.latest_run()
    field = result.field(run)
    needed = int(result.tissue(run).sum()) * field.decoder.channels * 4
    level = 0
    while needed > _MEMORY_SHARE * job.memory_bytes and level < len(field.latent) - 1:
        level, needed = level + 1, needed // 4
    if level:
        job.note(f"{result.name}: superpixels of {field.grid.scale_um(level):g} µm, to fit memory.")
    raster = field.latent[level]
    rows, columns, latents = [], [], []
    tiles = list(tiles_of((raster.shape[0], raster.shape[1]), tile_size(raster)))
    with job.stage(f"Reading the field of {result.name}", len(tiles)) as stage:
        for tile in tiles:
            latent = np.asarray(raster[tile.rows, tile.columns], np.float32)
            there = np.isfinite(latent[..., 0])
            row, column = np.nonzero(there)
            rows.append(row + tile.rows.start)
            columns.append(column + tile.columns.start)
            latents.append(latent[there])
            stage.advance()
    row, column = np.concatenate(rows), np.concatenate(columns)
    pitch = field.grid.scale_um(level)
    xy = np.column_stack([column, row]).astype(np.float64) * pitch
    slice_ = Slice(result.name, xy, pitch, latent=np.concatenate(latents))
    return SeenField(result, run, field, level, row, column, slice_)


def expression_of_spots(seen: Sequence[Seen], found: Domains) -> Expression | None:
    """Compare the domains over the spots of all sections together; None for superpixels."""
    if not isinstance(seen[0], SeenSpots):
        return None
    slices, genes = [one.slice for one in seen], seen[0].slice.genes
    pairs = [
        (s.counts, labels)
        for s, labels in zip(slices, found.labels, strict=True)
        if s.counts is not None
    ]
    symbols = symbols_of(seen[0].section.need_spots(), genes)
    values = [d.value for d in new_domains(found.n_domains)]
    return spots_expression(pairs, genes, symbols, values)
