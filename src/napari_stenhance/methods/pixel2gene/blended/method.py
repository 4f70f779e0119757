"""Pixel2Gene, preset `blended`: the image and the counts around, each gene by its own weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.methods.basis import GeneBasis
from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.methods.drawing import LEARNED_MOST, some_of
from napari_stenhance.methods.members import held_out_accuracy
from napari_stenhance.methods.pixel2gene.blended.counted import (
    HIDDEN_SHARE,
    WIDTHS_UM,
    SpotWindow,
    halves,
)
from napari_stenhance.methods.pixel2gene.blended.model import BlendedModel
from napari_stenhance.methods.pixel2gene.blended.surroundings import Surroundings, told_axes
from napari_stenhance.methods.pixel2gene.ensemble import Pixel2GeneEnsemble
from napari_stenhance.methods.pixel2gene.model import Pixel2GeneModel
from napari_stenhance.methods.robust import Learned
from napari_stenhance.methods.shallow import SAID, Proportions
from napari_stenhance.methods.squares import SQUARE_UM, Squares
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Job

_MOST_AXES = 64
_WEIGHTS_DIFFER = 0.3
"""Standard deviation of the weights of genes about their mean, before anything is counted."""


@dataclass(frozen=True)
class Pixel2GeneBlend:
    """Pixel2Gene with preset `blended`: `Method`.

    `robust` says what the image says. Beside it, the proportions that spots around a superpixel
    count are brought to the same gene basis and smoothed, each axis by a Gaussian of its own. A
    quarter of the transcripts is hidden from all of that: these choose the Gaussians, and how much
    of each gene is taken of the image and of the counts; then they are counted too. It is no longer
    the published method, which sees the image alone, and it predicts the section that it learned
    from, no other.

    Attributes
    ----------
    image : Pixel2GeneEnsemble
    """

    image: Pixel2GeneEnsemble

    @property
    def crops_um(self) -> None:
        """It sees superpixels."""

    @property
    def halo_um(self) -> float:
        """As far as the image is looked at."""
        return self.image.halo_um

    @property
    def least_share(self) -> float:
        """As of `robust`."""
        return self.image.least_share

    @property
    def most_spots(self) -> None:
        """All: of those that the networks do not learn from, counts are seen."""

    @property
    def genes(self) -> str:
        """As of `robust`."""
        return self.image.genes

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        return {
            **asdict(self.image.recipe),
            "widths_um": list(WIDTHS_UM),
            "hidden_share": HIDDEN_SHARE,
        }

    def fit(
        self, samples: Sequence[TrainingSection], genes: Sequence[str], job: Job
    ) -> BlendedModel:
        """Learn from the spots of one section.

        Raises
        ------
        InputError
            If there are several sections, fewer than ten spots, or counts that were imputed.
        InferenceError
            If the device fails.
        """
        if len(samples) > 1:
            msg = (
                f"{', '.join(s.name for s in samples)}: preset blended takes the counts of the "
                "section that it predicts; give one section at a time, or choose robust."
            )
            raise InputError(msg, option="preset")
        (sample,) = samples
        _check_counted(sample)
        seed = self.image.seed
        weights = sample.library if sample.shallow else None
        drawn = some_of(len(sample.xy_um), LEARNED_MOST, np.random.default_rng(seed), weights)
        seen, hidden = _dealt(sample, drawn, seed)
        learned = self.image.learn([seen], genes, job, proportional=True)
        with job.stage(f"Counting around the superpixels of {sample.name}", 1) as stage:
            model = _blend(sample, hidden, learned, seed)
            stage.advance()
        return model


def _check_counted(sample: TrainingSection) -> None:
    """Refuse what was imputed: there are no transcripts to deal.

    Raises
    ------
    InputError
        If it was.
    """
    if sample.measured is not None:
        msg = (
            f"{sample.name}: preset blended hides some transcripts from itself, and these genes "
            "were imputed, not counted; give the section as it was measured, or choose robust."
        )
        raise InputError(msg, option="preset")


def _proportions(learned: Learned[Pixel2GeneModel]) -> Proportions:
    """Return the proportions that were learned, as it was asked for."""
    assert learned.proportions is not None
    return learned.proportions


def _dealt(sample: TrainingSection, drawn: NDArray[np.int64], seed: int) -> list[TrainingSection]:
    """Return some spots twice: with the transcripts that are seen, and with those that are not."""
    parts: list[list[sp.csr_array[np.float32]]] = [[], []]
    for rows, *both in halves(sample.counts, seed):
        low, high = np.searchsorted(drawn, (rows.start, rows.stop))
        for kept, side in zip(parts, both, strict=True):
            kept.append(side[drawn[low:high] - rows.start])
    spots = sample.only(drawn)
    return [replace(spots, counts=sp.csr_array(sp.vstack(kept))) for kept in parts]


def _blend(
    sample: TrainingSection,
    hidden: TrainingSection,
    learned: Learned[Pixel2GeneModel],
    seed: int,
) -> BlendedModel:
    """Add to what the image says of a section what its spots count."""
    genes, grid = learned.model.decoder.genes, sample.features.grid
    masses, libraries = _sums(sample, learned, seed)
    window = SpotWindow.around(sample)
    told = told_axes(window, masses, libraries, grid.pitch_um)
    seen = Surroundings.of(window, masses[0], libraries[0], told, grid.pitch_um)
    counted = _under_spots(seen, hidden, learned.held_out)
    blend = _Blend.weighing(hidden, genes, learned, (seen, counted))
    masses, libraries = masses.sum(axis=0), libraries.sum(axis=0)
    every = Surroundings.of(window, masses, libraries, told, grid.pitch_um)
    decoder = blend.decoder(hidden, learned, counted)
    return BlendedModel(
        image=learned.model,
        around=every,
        slide=sample.features.slide.identity(),
        mpp=grid.mpp,
        decoder=decoder,
        familiar=learned.model.familiar,
        pitch_um=learned.model.pitch_um,
        encoder=learned.model.encoder,
        encoder_identity=learned.model.encoder_identity,
    )


def _sums(
    sample: TrainingSection, learned: Learned[Pixel2GeneModel], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Sum the scores of the transcripts of all spots, of those that are seen, and hidden.

    Returns
    -------
    masses : ndarray of float32, shape (2, spots, axes)
    libraries : ndarray of float64, shape (2, spots)
        How many transcripts they are.
    """
    axes = learned.whole.axes[:_MOST_AXES]
    position = {gene: n for n, gene in enumerate(sample.genes)}
    modelled = [position[gene] for gene in learned.model.decoder.genes]
    vectors = np.zeros((len(sample.genes), len(axes)), np.float32)
    vectors[modelled] = (axes * (1e4 / _proportions(learned).noise)).T
    mean = (axes @ learned.whole.mean).astype(np.float32)
    masses = np.empty((2, sample.counts.shape[0], len(axes)), np.float32)
    libraries = np.empty(masses.shape[:2])
    for rows, *both in halves(sample.counts, seed):
        for side, part in enumerate(both):
            library = np.asarray(part.sum(axis=1, dtype=np.float64)).ravel()
            libraries[side, rows] = library
            masses[side, rows] = part @ vectors - library[:, None].astype(np.float32) * mean
    return masses, libraries


def _under_spots(
    around: Surroundings, spots: TrainingSection, image: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return what is counted around the superpixels under each spot, (spots, axes), their mean.

    Where little is, what the image says of the spot takes its place.
    """
    under = spots.footprints
    said = image[under.spot]
    there = around.beside(under.row, under.column, said, np.zeros_like(said))[0]
    ones = np.ones(len(under.spot), np.float32)
    together = sp.csr_array((ones, (under.spot, np.arange(len(ones)))))
    mean: NDArray[np.float32] = (together @ there) / under.counts()[:, None].astype(np.float32)
    return mean


@dataclass(frozen=True)
class _Blend:
    """How much of each gene is taken of the counts.

    Attributes
    ----------
    share : ndarray of float64, shape (genes,)
        From 0, the image alone, to 1.
    basis : GeneBasis
        Of latents of both: those of the image, then those of the counts.
    """

    share: NDArray[np.float64]
    basis: GeneBasis

    @classmethod
    def weighing(
        cls,
        hidden: TrainingSection,
        genes: Sequence[str],
        learned: Learned[Pixel2GeneModel],
        around: tuple[Surroundings, NDArray[np.float32]],
    ) -> _Blend:
        """Weigh by the transcripts that neither has seen: least squares, for each gene.

        Of a gene that little is counted of, the weight is drawn towards that of all genes together.
        An axis that the counts tell nothing of is left to the image.
        """
        basis, noise = learned.basis, _proportions(learned).noise
        seen, counted = around
        weights = learned.whole.axes[seen.axes].astype(np.float64)
        image, library = learned.held_out, hidden.library[:, None]
        away = (counted - seen.of_image(image)).astype(np.float32)
        together = hidden.counts_of(genes).T @ away
        # Σ (counted − depth · what the image says) · how far the counts are from the image.
        of_hidden = np.einsum("gk,kg->g", together.astype(np.float64), weights * (1e4 / noise))
        depth_away = (library * away).astype(np.float64)
        of_image = basis.mean * (depth_away.sum(axis=0) @ weights)
        product = image.T.astype(np.float64) @ depth_away
        of_image += np.einsum("jg,jk,kg->g", basis.axes, product, weights, optimize=True)
        square = away.T.astype(np.float64) @ depth_away
        length = np.einsum("jg,jk,kg->g", weights, square, weights, optimize=True)
        gained = of_hidden - of_image
        common = np.clip(gained.sum() / max(length.sum(), 1e-12), 0, 1)
        prior = learned.mean_depth / _WEIGHTS_DIFFER**2
        share = np.clip((gained + prior * common) / (length + prior), 0, 1)
        both_tell = np.isin(np.arange(len(basis.axes)), seen.axes)[:, None]
        of_image = basis.axes * (1 - share * both_tell)
        of_both = np.concatenate([of_image, weights * share]).astype(np.float32)
        return cls(share, GeneBasis(of_both, basis.mean))

    def decoder(
        self,
        hidden: TrainingSection,
        learned: Learned[Pixel2GeneModel],
        counted: NDArray[np.float32],
    ) -> Decoder:
        """Make the decoder of both, judged by the transcripts that neither has seen."""
        proportions, old = _proportions(learned), learned.model.decoder
        latent = np.concatenate([learned.held_out, counted], axis=1)
        measured = [proportions.of_section(hidden, old.genes)]
        squares = Squares.of([hidden], np.zeros(len(latent), np.int64))
        accuracy = held_out_accuracy(
            squares.mean_of(latent), self.basis.axes, squares.of_sections(measured), squares.depths
        )
        decoder = Decoder(
            genes=old.genes,
            weights=self.basis.axes,
            bias=self.basis.mean,
            unit=old.unit,
            held_out_r=accuracy.r.astype(np.float32),
            held_out_r_given_depth=accuracy.r_given_depth.astype(np.float32),
            spread_scale=old.spread_scale,
        )
        # What is modelled, and judged, is said with the blend.
        doubts = [doubt for doubt in old.doubts if doubt != SAID]
        said = (
            "Blended with what the spots around each superpixel count, of the median gene to "
            f"{np.median(self.share):.0%}: no longer the published method, which sees the image "
            "alone. What is shown is log1p CP10k to first order about each gene's mean; held-out r "
            f"compares squares of {SQUARE_UM:g} µm, of transcripts that were hidden."
        )
        return replace(proportions.decoded(decoder), doubts=(*doubts, said))
