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
from napari_stenhance.methods.stamgc.protocol import Domains, Slice
from napari_stenhance.methods.training_section import input_identity
from napari_stenhance.results.domains import (
    CONFIDENCE,
    EMBEDDING,
    DomainRunContent,
    label_spots,
    new_domains,
)
from napari_stenhance.results.field import GeneField
from napari_stenhance.results.inputs import log_section
from napari_stenhance.results.label_map import (
    LABELS_MOST,
    nearest_labels,
    pixel_um,
    raster_labels,
    reach_um,
)
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import field_run
from napari_stenhance.results.summaries import (
    Expression,
    field_expression,
    spots_expression,
    symbols_of,
)
from napari_stenhance.results.tables import check_storable
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import Section
from napari_stenhance.section.spots import counts_of
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.tiles import tile_size, tiles_of
from napari_stenhance.tasks.domain_options import open_spots, spots_slices
from napari_stenhance.tasks.inference import name_outputs
from napari_stenhance.tasks.options import SlideOptions

_PIXELS_IN_PITCH = 8
# The latent itself, and what smoothing and clustering make of it.
_BYTES_EACH = 4 * 4


class DomainInput(Protocol):
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

    def lay(self, found: Domains, at: int, expression: Expression | None) -> DomainRunContent:
        """Return what is written of the slice number `at`."""
        ...


@dataclass(frozen=True)
class SpotsInput:
    """The spots of a section, and where their result goes."""

    section: Section
    path: Path
    slice: Slice

    @property
    def identity(self) -> dict[str, Any]:
        """Name and hashes."""
        return input_identity(self.section)

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
            log_section(result, self.section)
            yield result

    def lay(self, found: Domains, at: int, expression: Expression | None) -> DomainRunContent:
        """Label the spots, and the places nearest to each."""
        assert expression is not None
        labels, domains = found.labels[at], new_domains(found.n_domains)
        (xy, pitch), mpp = self.section.positions(), self.section.mpp
        slide, reach = self.section.slide, reach_um(xy)
        grid = (
            Grid.around(xy, pitch / _PIXELS_IN_PITCH, reach, mpp)
            if slide is None or mpp is None
            else Grid.over(slide, pixel_um(pitch))
        )
        confidence = {CONFIDENCE: found.confidence[at]}
        spots = label_spots(self.section.need_spots(), labels, domains, **confidence)
        spots.obsm[EMBEDDING] = found.embedding[at]
        return DomainRunContent(
            domains=domains,
            grid=grid,
            label=nearest_labels(xy, labels, grid, reach),
            expression=expression,
            number=np.bincount(labels, minlength=LABELS_MOST + 1),
            spots=spots,
        )


@dataclass(frozen=True)
class FieldInput:
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

    def lay(self, found: Domains, at: int, expression: Expression | None) -> DomainRunContent:
        """Label the superpixels."""
        base, labels = self.field.grid, found.labels[at]
        shape = self.field.latent[self.level].shape
        grid = Grid(base.scale_um(self.level), (shape[0], shape[1]), base.mpp)
        raster = np.zeros(grid.shape, np.uint8)
        raster[self.row, self.column] = labels
        domains = new_domains(found.n_domains)
        values = [d.value for d in domains]
        return DomainRunContent(
            domains=domains,
            grid=grid,
            label=raster_labels(raster),
            expression=field_expression(self.field, self.level, raster, values),
            number=np.bincount(labels, minlength=LABELS_MOST + 1),
            field={"run": self.run, "level": self.level},
        )


def open_inputs(options: Any, cache: Cache, job: Job) -> Sequence[DomainInput]:
    """Open what domains are found in.

    Raises
    ------
    InputError
        If an input cannot be used, sections are mixed with results, or fields come of different
        models.
    """
    # In Python, also sections that are open, and tables.
    sections: Sequence[Any] = options.sections
    if not sections:
        msg = "domains: name at least one section with spots, or a result of enhance."
        raise InputError(msg)
    fields = [isinstance(s, Path) and ResultFolder.is_result(s) for s in sections]
    if all(fields):
        return _see_fields(options, job)
    if any(fields):
        msg = "domains: spots and superpixels cannot be put into domains together; name sections, "
        msg += "or results."
        raise InputError(msg)
    if options.superpixel_um is not None:
        msg = "Spots have no superpixels; choose their width for a result of enhance."
        raise InputError(msg, option="superpixel_um")
    options.check_alone(sections, options.image)
    opened = [open_spots(s, options, options.image, cache, job) for s in sections]
    for section in opened:
        check_storable(section.need_spots(), section.where)
    paths = name_outputs(options.out, opened)
    slices = spots_slices(opened, job)
    return [SpotsInput(*one) for one in zip(opened, paths, slices, strict=True)]


def _see_fields(options: Any, job: Job) -> Sequence[DomainInput]:
    paths, out = options.sections, options.out
    if out is not None and [out.resolve()] != [path.resolve() for path in paths]:
        msg = f"{out}: domains of superpixels go into the result itself; name no other folder."
        raise InputError(msg, option="out")
    default = SlideOptions().opening()
    for option, value in options.opening().items():
        if value != default[option]:
            msg = "A result has its slide, and the scale of that, already; open none another way."
            raise InputError(msg, option=option)
    seen = [_see_field(ResultFolder.open(path), options.superpixel_um, job) for path in paths]
    first = seen[0].field.decoder
    for one in seen[1:]:
        decoder = one.field.decoder
        same = decoder.genes == first.genes and np.array_equal(decoder.weights, first.weights)  # type: ignore[arg-type]
        if not same:
            msg = (
                f"{one.result.path}: its field comes of another model than that of "
                f"{seen[0].result.path}; enhance both in one command, or find domains in each."
            )
            raise InputError(msg)
    return seen


def _see_field(result: ResultFolder, superpixel_um: float | None, job: Job) -> FieldInput:
    """Read the latents of the field taken unasked, at the level whose superpixels are so wide."""
    opened = field_run(result)
    run, field = opened.name, opened.field
    widths = [field.grid.scale_um(level) for level in range(len(field.latent))]
    level = 0 if superpixel_um is None else _level_of(superpixel_um, widths, result)
    _check_memory(int(result.tissue(run).sum()), field, level, result, job)
    raster = field.latent[level]
    rows, columns, latents = [], [], []
    tiles = list(tiles_of((raster.shape[0], raster.shape[1]), tile_size(raster)))
    with job.stage(f"Reading the field of {result.name}", len(tiles)) as stage:
        for tile in tiles:
            latent = np.asarray(raster[tile.rows, tile.columns], np.float32)
            predicted = np.isfinite(latent[..., 0])
            row, column = np.nonzero(predicted)
            rows.append(row + tile.rows.start)
            columns.append(column + tile.columns.start)
            latents.append(latent[predicted])
            stage.advance()
    row, column = np.concatenate(rows), np.concatenate(columns)
    pitch = field.grid.scale_um(level)
    xy = np.column_stack([column, row]).astype(np.float64) * pitch
    slice_ = Slice(result.name, xy, pitch, latent=np.concatenate(latents))
    return FieldInput(result, run, field, level, row, column, slice_)


def _level_of(superpixel_um: float, widths: Sequence[float], result: ResultFolder) -> int:
    """Find the level of a field whose superpixels are so wide.

    Raises
    ------
    InputError
        If there is none.
    """
    level = int(np.argmin([abs(width - superpixel_um) for width in widths]))
    if not np.isclose(widths[level], superpixel_um, rtol=1e-3):
        offered = ", ".join(f"{width:g}" for width in widths)
        msg = (
            f"{result.path}: there are no superpixels of {superpixel_um:g} µm; choose one of "
            f"{offered} µm."
        )
        raise InputError(msg, option="superpixel_um")
    return level


def _check_memory(
    tissue: int, field: GeneField, level: int, result: ResultFolder, job: Job
) -> None:
    """Refuse more superpixels than fit into the job's memory: never fewer of them in silence.

    Raises
    ------
    InputError
        If they do not fit; names what would.
    """
    needed = [
        -(-tissue // 4**n) * field.decoder.channels * _BYTES_EACH for n in range(len(field.latent))
    ]
    if needed[level] <= job.memory_bytes:
        return
    fits = [n for n in range(level, len(needed)) if needed[n] <= job.memory_bytes]
    advice = (
        f"choose superpixels of {field.grid.scale_um(fits[0]):g} µm, which take "
        f"{needed[fits[0]] / 1e9:.2g} GB"
        if fits
        else "free some memory"
    )
    msg = (
        f"{result.path}: domains of superpixels of {field.grid.scale_um(level):g} µm take "
        f"{needed[level] / 1e9:.2g} GB, and {job.memory_bytes / 1e9:.2g} GB are left for them; "
        f"{advice}."
    )
    raise InputError(msg, option="superpixel_um")


def expression_of_spots(seen: Sequence[DomainInput], found: Domains) -> Expression | None:
    """Compare the domains over the spots of all sections together; None for superpixels."""
    if not isinstance(seen[0], SpotsInput):
        return None
    genes = seen[0].slice.genes
    pairs = [
        (counts_of(one.section.need_spots(), genes), labels)
        for one, labels in zip(seen, found.labels, strict=True)
        if isinstance(one, SpotsInput)
    ]
    symbols = symbols_of(seen[0].section.need_spots(), genes)
    values = [d.value for d in new_domains(found.n_domains)]
    return spots_expression(pairs, genes, symbols, values)
