"""Runs of every kind, and those that predicted a gene field."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.methods.calibration import (
    covered_of_variable,
    said_of_interval,
    told_from_depth,
    why_no_intervals,
)
from napari_stenhance.methods.decoder import Decoder, Unit
from napari_stenhance.methods.familiar import unfamiliar_doubts
from napari_stenhance.results.domains import domain_runs
from napari_stenhance.results.field import GeneField, What
from napari_stenhance.results.gene_source import GeneSource, Origin
from napari_stenhance.results.gene_statistics import GeneStatistics, field_statistics
from napari_stenhance.results.genes import written_genes
from napari_stenhance.results.imputed import imputed_runs
from napari_stenhance.results.lattice import lattice_name, lattices
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.run import Run, run_of
from napari_stenhance.running.numbers import counted
from napari_stenhance.storage.levels import Levels


class FieldRun(GeneSource):
    """A run that predicted a gene field, or began to."""

    kind = "fields"
    pooled = True

    @property
    def number(self) -> int:
        """How many fields the result had before it."""
        return self.result.runs.index(self.name)

    @cached_property
    def field(self) -> GeneField:
        """What was predicted."""
        return self.result.field(self.name)

    @property
    def genes(self) -> tuple[str, ...]:
        """Genes that the field can show."""
        return self.field.genes

    @cached_property
    def aliases(self) -> Mapping[str, str]:
        """Which gene each id, or symbol, means that the measured table had beside its names."""
        return self.field.decoder.aliases

    @property
    def unit(self) -> Unit:
        """Unit of their images."""
        return self.field.unit

    def gene_levels(self, gene: str, what: What = "expression") -> Levels:
        """Decode a gene, or its spread, where it is looked at."""
        return self.field.levels(gene, what)

    def sum_levels(self, weights: Mapping[str, float]) -> Levels:
        """Decode genes, and add them up, where they are looked at."""
        return self.field.sum_levels(weights)

    def compute_statistics(self) -> GeneStatistics:
        """Compute mean and Moran's I of every gene from the latent raster."""
        return field_statistics(self.field)

    @property
    def held_out_r(self) -> NDArray[np.float32]:
        """Pearson's r of each gene over held-out spots."""
        return self.field.decoder.held_out_r

    @property
    def held_out_r_given_depth(self) -> NDArray[np.float32]:
        """The same with the log total count of the spots held constant."""
        return self.field.decoder.held_out_r_given_depth

    @cached_property
    def told_from_depth(self) -> NDArray[np.bool_] | None:
        """Whether each gene is more than depth; None where no held-out spots are kept."""
        return told_from_depth(self.field.decoder)

    @property
    def shown_first(self) -> str:
        """The gene that was predicted best on held-out spots."""
        return self.genes[int(np.argmax(np.nan_to_num(self.held_out_r, nan=-np.inf)))]

    def gene_origin(self, _gene: str) -> Origin:
        """Say that all of it is predicted."""
        return "predicted"

    @property
    def created(self) -> bool:
        """Whether its rasters are there, to be filled."""
        return bool(self.attributes.get("field_created", False))

    @property
    def learned_imputed(self) -> bool:
        """Whether what it learned, and was held out from it, was imputed, not measured."""
        return any(one.get("imputed", False) for one in self.identity["learned_from"])

    @property
    def why_no_intervals(self) -> str:
        """Why spots have no prediction intervals, in words; empty where they have."""
        return why_no_intervals(self.field.decoder, self.identity)

    def gene_trust(self, gene: str) -> str:
        """Say how well a gene was predicted on held-out spots."""
        held_out = self.identity["recipe"].get("folds", 0) > 0
        said = said_of_held_out(self.field.decoder, gene, held_out=held_out)
        against = " (of an imputed gene: with what was imputed)" if self.learned_imputed else ""
        lines = [f"{gene} on what was held out: {said}{against}"]
        told = self.told_from_depth
        if told is not None and not told[self.field.decoder.index_of(gene)]:
            known = np.isfinite(self.held_out_r_given_depth[self.field.decoder.index_of(gene)])
            why = "not above 0 by its error" if known else "not known"
            lines.append(f"it cannot be told from depth: its r given depth is {why}")
        why = self.why_no_intervals
        interval = f"no prediction interval: {why}" if why else ""
        interval = interval or said_of_interval(self.field.decoder, gene)
        return "; ".join([*lines, interval, *self._unfamiliar_doubts])

    def describe(self) -> list[str]:
        """Say what it learned from, and what was predicted how well."""
        state = "complete" if self.complete else "not complete: run the same command again"
        learned = ", ".join(one["name"] for one in self.identity["learned_from"])
        what = "imputed genes of " if self.learned_imputed else ""
        inside = ", inside a region" if self.in_region else ""
        said = f"Run {self.name} ({state}): learned from {what}{learned}, "
        lines = [f"{said}seed {self.attributes['seed']}{inside}"]
        if self.created:
            rows, columns = self.grid.shape
            said = f"  {counted(len(self.genes), 'gene')} in {self.unit}, on {rows} × {columns} "
            said += (
                f"superpixels of {self.grid.pitch_um:g} µm, rank {self.field.decoder.channels}; "
            )
            lines.append(f"{said}{len(written_genes(self))} written as images")
            lines += [f"  {self.how_well}"] * bool(self.how_well)
            lines += [f"  {line}" for line in self.how_far]
            unknown = "Unfamiliar tissue is not known of this run"
            lines += [f"  {self.how_unfamiliar or unknown}"] * self.complete
        if "tissue_sha256" in self.identity:
            kept = self.result.tissue_names(self.name)[-1]
            lines.append(f"  Tissue as given: {kept} ({self.result.tissue_kind(self.name)})")
        tables = (lattice_name(self.name, s) for s in lattices(self.result, self.name))
        return [*lines, *(f"  Table {table}" for table in tables)]

    @property
    def how_well(self) -> str:
        """How well it predicts what was held out (spots, squares or transcripts), in words."""
        r, given = (v[np.isfinite(v)] for v in (self.held_out_r, self.held_out_r_given_depth))
        if not len(r):
            return ""
        beyond = f", with depth held constant {np.median(given):.2f}" if len(given) else ""
        genes = counted(len(r), "gene")
        return f"On what was held out, of {genes}: median r {np.median(r):.2f}{beyond}"

    @property
    def how_far(self) -> list[str]:
        """Say how many spots intervals cover, and how many genes are no more than depth."""
        decoder, told = self.field.decoder, self.told_from_depth
        if decoder.held_out is None or told is None:
            return [f"No prediction intervals: {self.why_no_intervals}"]
        share = covered_of_variable(decoder, decoder.held_out)
        spots = counted(len(decoder.held_out), "held-out spot")
        said = (
            "Prediction intervals of spots, for 9 in 10: calibrated on other blocks of at most "
            f"1 mm, they hold {share:.0%} of {spots} of the sections learned from"
        )
        if np.isnan(share):
            said = f"Prediction intervals of spots: {spots}, too few to check any"
        lost = f"{counted(int((~told).sum()), 'gene')} of {len(told)} cannot be told from depth"
        return [said, f"{lost} (r given depth not above 0 by its error)"]

    @property
    def _unfamiliar_doubts(self) -> list[str]:
        learned = [one["name"] for one in self.identity["learned_from"]]
        return unfamiliar_doubts(self.attributes.get("unfamiliar"), learned)

    @property
    def how_unfamiliar(self) -> str:
        """How much of the tissue is unlike what was learned from, in words."""
        share = self.attributes.get("unfamiliar")
        if share is None:
            return ""
        return f"{share:.0%} of the tissue lies beyond what 95% of the training tissue stays within"


def said_of_held_out(decoder: Decoder, gene: str, *, held_out: bool) -> str:
    """Say how well a gene was predicted on spots that were held out, or why that is not known."""
    index = decoder.index_of(gene)
    r, given = (float(v[index]) for v in (decoder.held_out_r, decoder.held_out_r_given_depth))
    if not held_out:
        return "not known, for this recipe holds none out"
    if np.isnan(r):
        # Written before genes were averaged over the sections in which they vary.
        older = np.isnan(decoder.held_out_r_given_depth).all()
        where = "it does not vary in every section" if older else "it varies in no section"
        return f"not known, for {where} that was learned from"
    return f"r = {r:.2f}" + ("" if np.isnan(given) else f", with depth held constant {given:.2f}")


def field_runs(result: ResultFolder) -> tuple[FieldRun, ...]:
    """List the gene fields of a result, complete or not, oldest first."""
    return tuple(FieldRun(result, name) for name in result.runs)


def every_run(result: ResultFolder) -> tuple[Run, ...]:
    """List the runs of every kind, each with its `kind`; only fields may be incomplete."""
    return (*field_runs(result), *imputed_runs(result), *domain_runs(result))


def field_run(result: ResultFolder, name: str = "") -> FieldRun:
    """Open a gene field; by default the newest of the whole slide, or else that of a region.

    Raises
    ------
    InputError
        If there is none that is complete, or none of that name.
    """
    return run_of(result, _whole_last(result), name, "gene field", "enhance")


def gene_run(result: ResultFolder, name: str = "") -> GeneSource:
    """Open a run that has genes; by default as `field_run`, or else the newest imputation.

    Raises
    ------
    InputError
        If there is none that is complete, or none of that name.
    """
    runs = (*imputed_runs(result), *_whole_last(result))
    return run_of(result, runs, name, "run with genes", "enhance or impute")


def _whole_last(result: ResultFolder) -> list[FieldRun]:
    """List gene fields by how soon they are taken unasked: one of a region is a part of others."""
    return sorted(field_runs(result), key=lambda run: not run.in_region)
