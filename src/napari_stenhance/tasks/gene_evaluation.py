"""Hide spots, learn from others, and compare what is predicted of them, beside baselines."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.source import FeatureSettings, FeatureSource
from napari_stenhance.features.superpixels import TILE
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.genes import choose_genes, variance
from napari_stenhance.methods.protocol import Fitted, FittedCrops, Method, Positions
from napari_stenhance.methods.training_section import TrainingSection, input_identity
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.baselines import Interpolation, by_depth, by_place, ridge
from napari_stenhance.scoring.ceiling import noise_ceiling
from napari_stenhance.scoring.gene_scores import bootstrap, overall, score_genes, score_spots
from napari_stenhance.scoring.normalisation import as_normalised, normalised
from napari_stenhance.scoring.recovery import recovered
from napari_stenhance.scoring.scales import Normalisation
from napari_stenhance.scoring.splits import beyond, block_folds, random_part
from napari_stenhance.section.distinct import DistinctPositions
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.lattice import array_numbers
from napari_stenhance.section.section import Section
from napari_stenhance.section.slide import Box
from napari_stenhance.storage.tiles import tiles_of
from napari_stenhance.tasks.believed import believed
from napari_stenhance.tasks.inference import note_doubts
from napari_stenhance.tasks.scored_part import ScoredPart, SpotMaps
from napari_stenhance.tasks.training import take_sample

CEILING = "noise ceiling"
"""What no prediction can beat."""

_BLOCK_UM = 1000.0
_SHAPE_MOST = 400


@dataclass(frozen=True, eq=False)
class HiddenSpots:
    """Spots that are hidden, and what is learned from meanwhile.

    Attributes
    ----------
    name : str
        What is predicted: a section, or a part of it.
    section : Section
        Of the spots that are hidden, with all of its spots.
    hidden : ndarray of bool, shape (spots,)
        Of that section.
    learned : tuple of Section
        Cut to the spots that are learned from.
    here : ndarray of bool, shape (spots,), or None
        Spots of that section that are learned from; None if it is another.
    as_published : bool
        Whether it is what published programs report, of all spots.
    """

    name: str
    section: Section
    hidden: NDArray[np.bool_]
    learned: tuple[Section, ...]
    here: NDArray[np.bool_] | None = None
    as_published: bool = False

    def identity(self) -> dict[str, Any]:
        """Return what decides it: the spots, hidden and learned from, and the slides."""
        return {
            "section": input_identity(self.section),
            "hidden": hashlib.sha256(np.packbits(self.hidden).data).hexdigest(),
            "learned": [input_identity(section) for section in self.learned],
            "as_published": self.as_published,
        }

    def sizes(self) -> dict[str, Any]:
        """Say how many spots are hidden, and learned from."""
        learned = sum(section.need_spots().n_obs for section in self.learned)
        hidden = int(self.hidden.sum())
        return {"name": self.name, "hidden_spots": hidden, "learned_spots": learned}


def hide_share(section: Section, share: float, seed: int) -> HiddenSpots:
    """Learn from a random share of the spots of a section, and hide the others."""
    # Whole places: what is hidden is nowhere learned from.
    places = DistinctPositions.among(section.spots_um())
    learned = random_part(len(places.first), share, seed)[places.of]
    hidden = _within(section.name, section, ~learned, learned)
    return replace(hidden, as_published=True)


def hide_blocks(section: Section, folds: int, buffer_um: float, seed: int) -> Iterator[HiddenSpots]:
    """Hide each of so many sets of blocks of tissue, and what lies near them from learning.

    Raises
    ------
    InputError
        If a buffer leaves nothing to learn from.
    """
    xy_um = section.spots_um()
    fold = block_folds(xy_um, _BLOCK_UM, folds, np.random.default_rng(seed))
    for number in range(folds):
        hidden = fold == number
        learned = beyond(xy_um, hidden, buffer_um)
        if not hidden.any() or not learned.any():
            msg = (
                f"{section.name}: with {folds} folds of blocks and a buffer of {buffer_um:g} µm "
                "nothing is left to hide, or to learn from; take fewer folds, or a smaller buffer."
            )
            raise InputError(msg, option="buffer")
        yield _within(f"{section.name}, fold {number + 1}", section, hidden, learned)


def hide_sections(sections: Sequence[Section], tests: Sequence[Section]) -> Iterator[HiddenSpots]:
    """Predict other sections than are learned from; without any, each in turn from the others.

    Raises
    ------
    InputError
        If nothing is left to learn from, or one section would be predicted from itself.
    """
    hidden = {test.counts_sha256 for test in tests}
    if len({one.counts_sha256 for one in sections}) < len(sections):
        names = ", ".join(section.name for section in sections)
        msg = f"{names}: two of them have the same spots, and would be predicted from themselves; "
        raise InputError(msg + "give each section once.", option="sections")
    others = tuple(one for one in sections if one.counts_sha256 not in hidden)
    if not others:
        msg = "All sections are to be predicted, and none is left to learn from; give others."
        raise InputError(msg, option="test")
    for test in tests or sections:
        learned = tuple(section for section in others if section is not test)
        yield HiddenSpots(test.name, test, np.ones(test.need_spots().n_obs, bool), learned)


def _within(
    name: str, section: Section, hidden: NDArray[np.bool_], learned: NDArray[np.bool_]
) -> HiddenSpots:
    part = replace(section, spots=section.need_spots()[learned].copy())
    return HiddenSpots(name, section, hidden, (part,), learned)


def score_hidden(
    held_out: HiddenSpots,
    method: Method,
    settings: FeatureSettings,
    genes: str | Sequence[str],
    scored: int,
    seed: int,
    job: Job,
    normalise: Normalisation = "log1p-cp10k",
) -> ScoredPart:
    """Learn, and score what is predicted of the spots that are hidden.

    Genes are chosen on the spots that are learned from, too: those that are modelled, and those
    of them that vary most, which are scored.

    Returns
    -------
    ScoredPart
        Of "method", its measures: means over genes as `overall`, between which ends two of them
        lie, "genes", how many, what `believed` says, and those of `recovered` where these are
        published; of each gene and of each hidden spot; and what was predicted.

    Raises
    ------
    InputError
        If there are too few spots, or genes cannot be chosen.
    InferenceError
        If the device fails.
    """
    samples = [take_sample(section, settings, method, job) for section in held_out.learned]
    fitted = method.fit(samples, choose_genes(genes, samples), job)
    note_doubts(fitted, job)
    spots = held_out.section.need_spots()
    names, columns = _most_variable(fitted, samples, spots.var_names, scored)
    compared = _Compared.of_genes(held_out, names, normalise)
    predicted = predict_spots(held_out.section, fitted, settings, job, columns)
    found = compared.score({"method": predicted}, seed, job)
    if normalise == "log1p-cp10k":
        # Intervals and cuts are of that.
        found.values["method"] |= compared.believed(fitted.decoder, columns, predicted)
    features = open_features(held_out.section.need_slide(), settings, job)
    return replace(found, maps=compared.maps(predicted, features))


def score_baselines(
    held_out: HiddenSpots,
    method: Method,
    settings: FeatureSettings,
    genes: Sequence[str],
    job: Job,
    normalise: Normalisation = "log1p-cp10k",
) -> ScoredPart:
    """Score what a method must beat, and cannot: these have no seed.

    Parameters
    ----------
    held_out : HiddenSpots
    method : Method
        It says what is seen of the slide.
    settings : FeatureSettings
    genes : sequence of str
        That are scored.
    job : Job
    normalise : str

    Returns
    -------
    ScoredPart
        As `score_hidden`, of each baseline; of the "noise ceiling" `r` and `r given depth`.
    """
    samples = [take_sample(section, settings, method, job) for section in held_out.learned]
    compared = _Compared.of_genes(held_out, genes, normalise)
    found = compared.score(_baselines(held_out, samples, method, settings, genes, job), 0, job)
    best = noise_ceiling(compared.counts, compared.columns, 0, normalise)
    of_genes = {"r": best.r, "r given depth": best.r_given_depth}
    found.values[CEILING] = {
        "genes": len(genes),
        **{name: float(r.mean()) for name, r in of_genes.items()},
    }
    found.of_genes[CEILING] = pd.DataFrame(of_genes, index=list(genes))
    return found


@dataclass(frozen=True, eq=False)
class _Compared:
    """What predictions are compared with: some genes of a section."""

    held_out: HiddenSpots
    names: tuple[str, ...]
    columns: NDArray[np.intp]
    every: sp.csr_array[np.float32]
    """Counts of all spots and genes of the section."""
    normalise: Normalisation

    @classmethod
    def of_genes(
        cls, held_out: HiddenSpots, genes: Sequence[str], normalise: Normalisation
    ) -> _Compared:
        spots = held_out.section.need_spots()
        columns = spots.var_names.get_indexer(list(genes))
        return cls(held_out, tuple(genes), columns, sp.csr_array(spots.X), normalise)

    @cached_property
    def counts(self) -> sp.csr_array[np.float32]:
        """Those of the hidden spots."""
        return sp.csr_array(self.every[self.held_out.hidden])

    @cached_property
    def measured(self) -> NDArray[np.float64]:
        """What was measured in those, on the scale of comparison."""
        return normalised(self.counts, self.columns, self.normalise)

    def scaled(
        self, predicted: NDArray[np.floating], counts: sp.csr_array[np.float32]
    ) -> NDArray[np.float64]:
        """Bring predictions of spots to the scale of comparison, given their counts."""
        return as_normalised(predicted, counts, self.columns, self.normalise)

    def maps(self, predicted: NDArray[np.floating], features: FeatureSource) -> SpotMaps:
        section, hidden = self.held_out.section, self.held_out.hidden
        tissue, tissue_box = _coarsely(features.tissue, features.grid)
        return SpotMaps(
            section=section.name,
            xy_um=section.spots_um()[hidden],
            geometry=section.geometry(),
            others_um=section.spots_um()[~hidden],
            genes=self.names,
            predicted=self.scaled(predicted[hidden], self.counts).astype(np.float32),
            measured=self.measured.astype(np.float32),
            tissue=tissue,
            tissue_box=tissue_box,
        )

    def score(self, by: dict[str, NDArray[Any]], seed: int, job: Job) -> ScoredPart:
        """Score predictions of all spots of the section, (spots, genes) of log1p CP10k."""
        section, hidden = self.held_out.section, self.held_out.hidden
        names = section.need_spots().obs_names[hidden]
        depth = np.asarray(self.counts.sum(axis=1), np.float64).ravel()
        counted = sp.csr_array(self.counts[:, self.columns]).toarray() > 0
        xy_um, pitch_um = section.spots_um()[hidden], section.geometry().pitch_um
        found = ScoredPart({})
        for what, values in by.items():
            job.check()
            apart = self.scaled(values[hidden], self.counts), self.measured
            scores = score_genes(*apart, depth, xy_um, pitch_um, counted)
            found.values[what] = {"genes": len(self.names), **overall(scores, *apart)}
            if self.held_out.as_published:
                found.values[what] |= self._recovered(values)
            ends = bootstrap(*apart, depth, seed)
            for name, (low, high) in ends.items():
                found.values[what] |= {f"{name}, from": low, f"{name}, to": high}
            found.of_genes[what] = scores.set_index(pd.Index(self.names))
            found.of_spots[what] = score_spots(*apart).set_index(names)
        return found

    def believed(
        self, decoder: Decoder, columns: NDArray[np.intp], predicted: NDArray[np.floating]
    ) -> dict[str, float]:
        """Compare with what a model promises of hidden spots; its columns are of its own genes."""
        section, hidden = self.held_out.section, self.held_out.hidden
        xy_um = section.spots_um()[hidden]
        return believed(decoder, columns, predicted[hidden], self.measured, xy_um)

    def _recovered(self, values: NDArray[Any]) -> dict[str, float]:
        """Compare as is published: on all spots."""
        predicted = self.scaled(values, self.every)
        measured = normalised(self.every, self.columns, self.normalise)
        return recovered(predicted, measured, ~self.held_out.hidden)


def _coarsely(tissue: NDArray[np.bool_], grid: Grid) -> tuple[NDArray[np.bool_], Box]:
    """Return where at least half of so many superpixels is tissue, and its outer corners."""
    step = math.ceil(max(tissue.shape) / _SHAPE_MOST)
    rows, columns = (math.ceil(n / step) for n in tissue.shape)
    whole = np.zeros((rows * step, columns * step), bool)
    whole[: tissue.shape[0], : tissue.shape[1]] = tissue
    share = whole.reshape(rows, step, columns, step).mean(axis=(1, 3))
    return share >= 0.5, grid.box_um(slice(0, rows * step), slice(0, columns * step))


def _most_variable(
    fitted: Fitted, samples: Sequence[TrainingSection], there: Sequence[str], number: int
) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Return the modelled genes that vary most where they were learned, and their columns."""
    genes = fitted.decoder.genes
    spread = variance([sample.log1p_cp10k(genes) for sample in samples])
    known = set(there)
    columns = [n for n in np.argsort(-spread, kind="stable") if genes[n] in known][:number]
    if not columns:
        msg = "No gene that was learned is measured in the section that is predicted."
        raise InputError(msg, option="sections")
    return tuple(genes[n] for n in columns), np.array(columns)


def _baselines(
    held_out: HiddenSpots,
    samples: Sequence[TrainingSection],
    method: Method,
    settings: FeatureSettings,
    genes: Sequence[str],
    job: Job,
) -> dict[str, NDArray[Any]]:
    """Predict what a method must beat, each (spots, genes) of the section that is predicted."""
    section = held_out.section
    depth = np.asarray(sp.csr_array(section.need_spots().X).sum(axis=1), np.float64).ravel()
    known = np.concatenate([sample.log1p_cp10k(genes).toarray() for sample in samples])
    library = np.concatenate([sample.library for sample in samples])
    features = np.concatenate([_spot_features(sample, method) for sample in samples])
    by: dict[str, NDArray[Any]] = {
        "mean": np.broadcast_to(known.mean(axis=0), (len(depth), len(genes))),
        "depth alone": by_depth(library, known, depth),
        "ridge": ridge(features, known, _features_of(section, method, settings, job)),
    }
    if held_out.here is not None:
        (sample,) = samples
        at = section.spots_um()
        by["nearest spot"] = Interpolation(sample.xy_um, known, 1)(at)
        by["inverse distance"] = Interpolation(sample.xy_um, known)(at)
        by["Gaussian process"] = by_place(sample.xy_um, known, at, 0)
    return by


def _spot_features(sample: TrainingSection, method: Method) -> NDArray[np.floating]:
    """Average the features under each spot; where a method sees crops, take those of its middle."""
    if method.crops_um is not None:
        return sample.features.at(sample.xy_um)
    under = sample.footprints
    return under.mean(sample.features.superpixels(under.row, under.column))


def _features_of(
    section: Section, method: Method, settings: FeatureSettings, job: Job
) -> NDArray[np.floating]:
    features = open_features(section.need_slide(), settings, job)
    if method.crops_um is not None:
        return features.at(section.spots_um())
    under = _under_spots(section, features)
    features.extract(under.mask(features.grid.shape, 0))
    return under.mean(features.superpixels(under.row, under.column))


def _under_spots(section: Section, features: FeatureSource) -> Footprints:
    """Return the superpixels under each spot; of one off the tissue, the nearest that is tissue."""
    grid, tissue, xy_um = features.grid, features.tissue, section.spots_um()
    under = Footprints.under(grid, xy_um, section.geometry(), tissue)
    return under.with_nearest(grid, xy_um, tissue)


def predict_spots(
    section: Section,
    fitted: Fitted,
    settings: FeatureSettings,
    job: Job,
    genes: NDArray[np.intp] | None = None,
) -> NDArray[np.float32]:
    """Predict every spot of a section, (spots, genes), on tissue or not; by default all genes."""
    features = open_features(section.need_slide(), settings, job)
    grid = features.grid
    halo = math.ceil(fitted.halo_um / grid.pitch_um)
    if genes is None:
        genes = np.arange(len(fitted.decoder.genes))
    if isinstance(fitted, FittedCrops):
        xy_um, everywhere = section.spots_um(), np.ones(grid.shape, dtype=bool)
        anywhere = Footprints.under(grid, xy_um, section.geometry(), everywhere)
        features.extract(anywhere.mask(grid.shape, halo))
        positions = Positions(xy_um, array_numbers(section.need_spots()))
        latent = fitted.latent_at(features, positions, job)
        return fitted.decoder.values(latent.mean, genes)
    under = _under_spots(section, features)
    features.extract(under.mask(grid.shape, halo))
    pairs = _latents(features, fitted, under, halo, job)
    return fitted.decoder.values(under.mean(pairs).astype(np.float32), genes)


def _latents(
    features: FeatureSource, fitted: Fitted, under: Footprints, halo: int, job: Job
) -> NDArray[np.float32]:
    """Predict single superpixels, tile by tile: (pairs, r)."""
    latents = np.empty((len(under.row), fitted.decoder.channels), np.float32)
    for tile in tiles_of(features.grid.shape, TILE):
        row, column = under.row - tile.rows.start, under.column - tile.columns.start
        here = (row >= 0) & (row < tile.shape[0]) & (column >= 0) & (column < tile.shape[1])
        if here.any():
            seen = features.tile(tile.rows, tile.columns, halo, raw=fitted.raw)
            latents[here] = fitted.latent(seen).mean[row[here], column[here]]
        job.check()
    return latents
